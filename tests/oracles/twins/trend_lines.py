"""Slow twins of the kernels in trend_lines.py: same names, numpy on one window at a time."""

from __future__ import annotations

import numpy as np

from tests.oracles.twins.pairs import covariance, over_pairs

NO_PANEL = ("slide_lines", "mend_lines")


def time_of(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x), dtype=float)[:, None] * np.ones(x.shape)


def move_slope(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_pairs(time_of(x), x, window, min_count, lambda a, b: covariance(a, b) / covariance(a, a))
