"""Slow twins of the kernels in trading.py: same names, plain Python."""

from __future__ import annotations

import math

import numpy as np

from tests.oracles.twins.moving import move_mean
from tests.oracles.windows import NAN, cells, over_windows

SAMPLES = {
    "value": lambda x: np.where(np.arange(x.size).reshape(x.shape) % 9 == 4, 0.0, np.exp(x) * 1e5),
}


def move_lag_ratio(close: np.ndarray, returns: np.ndarray, window: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        if t < window or any(math.isnan(step) for step in returns[t - window + 1 : t + 1, j]):
            return NAN
        return close[t - window, j] / close[t, j]

    return cells(close, value)


def move_zero_share(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, lambda known: known.count(0.0) / len(known))


def move_amihud(returns: np.ndarray, value: np.ndarray, window: int, min_count: int) -> np.ndarray:
    impact = np.array([abs(r) / v if v > 0.0 else NAN for r, v in zip(returns.flat, value.flat, strict=True)]).reshape(
        returns.shape
    )
    return move_mean(impact, window, min_count)
