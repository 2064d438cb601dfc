"""What slow twins share: one window at a time, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

NAN = math.nan


def cells(x: np.ndarray, value: Callable[[int, int], float]) -> np.ndarray:
    return np.array([[value(t, j) for j in range(x.shape[1])] for t in range(x.shape[0])], dtype=float).reshape(x.shape)


def window_of(x: np.ndarray, t: int, j: int, window: int) -> list[float]:
    return [float(v) for v in x[max(0, t - window + 1) : t + 1, j]]


def known_of(x: np.ndarray, t: int, j: int, window: int) -> list[float]:
    return [v for v in window_of(x, t, j, window) if not math.isnan(v)]


def over_windows(
    x: np.ndarray, window: int, min_count: int, statistic: Callable[[list[float]], float], least: int = 1
) -> np.ndarray:
    def value(t: int, j: int) -> float:
        known = known_of(x, t, j, window)
        return statistic(known) if len(known) >= max(least, min_count) else NAN

    return cells(x, value)


def central(known: list[float], power: int) -> float:
    mean = math.fsum(known) / len(known)
    return math.fsum((v - mean) ** power for v in known) / len(known)


def prices(returns: list[float]) -> list[float]:
    path = [1.0]
    for change in returns:
        path.append(path[-1] * (1.0 + change))
    return path
