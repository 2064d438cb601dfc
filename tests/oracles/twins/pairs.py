"""Slow twins of the kernels in pairs.py: same names, numpy on one window at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.oracles.windows import NAN, cells

NO_PANEL = ("move_products", "slide_pairs", "mend_pairs")


def over_pairs(
    x: np.ndarray, y: np.ndarray, window: int, min_count: int, statistic: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    def value(t: int, j: int) -> float:
        part = slice(max(0, t - window + 1), t + 1)
        a, b = x[part, j], y[part, j]
        known = ~np.isnan(a) & ~np.isnan(b)
        return statistic(a[known], b[known]) if known.sum() >= max(2, min_count) else NAN

    return cells(x, value)


def covariance(a: np.ndarray, b: np.ndarray) -> float:
    return math.fsum((a - math.fsum(a) / len(a)) * (b - math.fsum(b) / len(b))) / (len(a) - 1)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(set(a)) == 1 or len(set(b)) == 1:
        return NAN
    return covariance(a, b) / math.sqrt(covariance(a, a) * covariance(b, b))


def move_covariance(x: np.ndarray, y: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_pairs(x, y, window, min_count, covariance)


def move_correlation(x: np.ndarray, y: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_pairs(x, y, window, min_count, correlation)
