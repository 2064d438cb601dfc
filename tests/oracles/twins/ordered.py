"""Slow twins of the kernels in ordered.py: same names, plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np

from tests.oracles.windows import over_windows

SAMPLES = {"level": lambda x: 0.2}


def move_median(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, statistics.median)


def move_cvar(x: np.ndarray, window: int, level: float, min_count: int) -> np.ndarray:
    def worst(known: list[float]) -> float:
        return statistics.fmean(sorted(known)[: max(1, math.floor(level * len(known)))])

    return over_windows(x, window, min_count, worst)
