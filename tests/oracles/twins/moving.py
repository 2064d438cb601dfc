"""Slow twins of the kernels in moving.py: same names, plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np

from tests.oracles.windows import NAN, central, over_windows

NO_PANEL = ("move_moment", "slide_complete", "slide_known", "mend_columns")


def move_sum(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, math.fsum)


def move_mean(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, statistics.fmean)


def move_std(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, statistics.stdev, least=2)


def move_skewness(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def skewness(known: list[float]) -> float:
        return NAN if len(set(known)) == 1 else central(known, 3) / central(known, 2) ** 1.5

    return over_windows(x, window, min_count, skewness)


def move_kurtosis(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def kurtosis(known: list[float]) -> float:
        return NAN if len(set(known)) == 1 else central(known, 4) / central(known, 2) ** 2 - 3.0

    return over_windows(x, window, min_count, kurtosis)
