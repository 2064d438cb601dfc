"""Slow twins of the kernels in decay.py: same names, plain Python."""

from __future__ import annotations

import math

import numpy as np

from tests.oracles.windows import NAN, cells, over_windows, window_of


def move_decay_linear(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        newest_first = enumerate(reversed(window_of(x, t, j, window)))
        known = [(window - age, v) for age, v in newest_first if not math.isnan(v)]
        if len(known) < max(1, min_count):
            return NAN
        return math.fsum(weight * v for weight, v in known) / sum(weight for weight, _ in known)

    return cells(x, value)


def move_product(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, math.prod)
