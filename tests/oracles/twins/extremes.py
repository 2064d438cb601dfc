"""Slow twins of the kernels in extremes.py: same names, plain Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.oracles.windows import NAN, cells, known_of, over_windows, window_of


def move_max(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, max)


def move_min(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, min)


def _bars_since(x: np.ndarray, window: int, min_count: int, extreme: Callable[[list[float]], float]) -> np.ndarray:
    def value(t: int, j: int) -> float:
        known, bars = known_of(x, t, j, window), window_of(x, t, j, window)
        # list.index finds the oldest of equal values.
        return len(bars) - 1 - bars.index(extreme(known)) if len(known) >= max(1, min_count) else NAN

    return cells(x, value)


def move_argmax(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return _bars_since(x, window, min_count, max)


def move_argmin(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return _bars_since(x, window, min_count, min)
