"""Slow twins of the kernels in trend_lines.py: same names, numpy on one window at a time."""

from __future__ import annotations

import numpy as np

from tests.oracles.twins.pairs import correlation, covariance, over_pairs

NO_PANEL = ("move_line", "slide_line", "mend_lines")


def time_of(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x), dtype=float)[:, None] * np.ones(x.shape)


def move_slope(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_pairs(time_of(x), x, window, min_count, lambda a, b: covariance(a, b) / covariance(a, a))


def move_rsquare(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_pairs(time_of(x), x, window, min_count, lambda a, b: correlation(a, b) ** 2)


def move_resi(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def residual(a: np.ndarray, b: np.ndarray) -> float:
        return float(b[-1] - np.polyfit(a - a[-1], b, 1)[1])

    found = over_pairs(time_of(x), x, window, min_count, residual)
    return np.where(np.isnan(x), np.nan, found)
