"""Slow twins of the kernels in paths.py: same names, plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np

from tests.oracles.windows import NAN, cells, known_of, over_windows, prices, window_of

NO_PANEL = ("move_paths", "join_paths", "join_windows")
SAMPLES = {"skip": lambda x: 3, "is_worst": lambda x: True, "lag": lambda x: 2}


def move_compound(returns: np.ndarray, window: int, skip: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        part = window_of(returns, t, j, window)
        known = [v for v in part[: max(0, len(part) - skip)] if not math.isnan(v)]
        return prices(known)[-1] - 1.0 if len(known) >= min_count else NAN

    return cells(returns, value)


def move_distance(returns: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def distance(known: list[float]) -> float:
        path = prices(known)
        return path[-1] / statistics.fmean(path) - 1.0

    return over_windows(returns, window - 1, min_count, distance)


def move_drawdown(returns: np.ndarray, window: int, min_count: int, is_worst: bool) -> np.ndarray:
    def fall(known: list[float]) -> float:
        path = prices(known)
        falls = [price / max(path[: k + 1]) - 1.0 for k, price in enumerate(path)]
        return min(falls) if is_worst else falls[-1]

    return over_windows(returns, window - 1, min_count, fall)


def move_autocorrelation(x: np.ndarray, window: int, lag: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        part, known = window_of(x, t, j, window), known_of(x, t, j, window)
        if len(set(known)) < 2:
            return NAN
        mean = statistics.fmean(known)
        pairs = [(a - mean) * (b - mean) for a, b in zip(part, part[lag:], strict=False) if not math.isnan(a + b)]
        return math.fsum(pairs) / math.fsum((v - mean) ** 2 for v in known) if len(pairs) >= min_count else NAN

    return cells(x, value)


def move_efficiency(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def efficiency(known: list[float]) -> float:
        squares = math.fsum(v * v for v in known)
        return abs(math.fsum(known)) / math.sqrt(squares) if squares else NAN

    return over_windows(x, window, min_count, efficiency)
