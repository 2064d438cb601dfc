"""Slow twins of the kernels in recursive.py: same names, plain Python, each cell from its whole history."""

from __future__ import annotations

import math

import numpy as np

from tests.oracles.windows import NAN, cells


def lives(x: np.ndarray) -> np.ndarray:
    """Two lives in every other column, and here and there a bar without one."""
    row, column = np.indices(x.shape)
    life = 1.0 + ((row >= 35) & (column % 2 == 1))
    return np.where((row * 5 + column) % 23 == 4, np.nan, life)


SAMPLES = {
    "life": lives,
    "returns": lambda x: np.where((np.arange(len(x)) % 17 == 9)[:, None], np.nan, x),
    "alpha": lambda x: 0.2,
    "is_weighted": lambda x: False,
}


def history(life: np.ndarray, t: int, j: int, *matrices: np.ndarray) -> list[tuple[float, ...]]:
    """Return the known values of the life of row t, oldest first; none where row t itself is not known."""
    found: list[tuple[float, ...]] = []
    for k in range(t, -1, -1):
        values = tuple(float(matrix[k, j]) for matrix in matrices)
        is_known = all(math.isfinite(v) for v in values) and not math.isnan(life[k, j])
        if is_known and life[k, j] != life[t, j]:
            break
        if is_known:
            found.append(values)
        elif k == t:
            break
    return found[::-1]


def number_lives(close: np.ndarray, returns: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        bars = [k for k in range(t + 1) if math.isfinite(close[k, j])]
        if not math.isfinite(close[t, j]):
            return NAN
        return sum(k == bars[0] or math.isnan(returns[k, j]) for k in bars)

    return cells(close, value)


def count_rows_apart(life: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        bars = [k for k in range(t + 1) if not math.isnan(life[k, j])]
        others = [k for k in bars if life[k, j] != life[bars[-1], j]]
        return t - others[-1] if others else NAN

    return cells(life, value)


def previous_bar(x: np.ndarray, life: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        bars = history(life, t, j, x)
        return bars[-2][0] if len(bars) > 1 else NAN

    return cells(x, value)


def count_run(x: np.ndarray, life: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        signs = [np.sign(v) for (v,) in history(life, t, j, x)]
        if not signs:
            return NAN
        same = next((k for k, sign in enumerate(reversed(signs)) if sign != signs[-1]), len(signs))
        return float(signs[-1]) * same

    return cells(x, value)


def exponential(values: list[float], alpha: float, least: int) -> float:
    """Return the mean of the first `least` values moved by alpha towards each later one."""
    if len(values) < max(1, least):
        return NAN
    mean = math.fsum(values[: max(1, least)]) / max(1, least)
    for v in values[max(1, least) :]:
        mean = (1.0 - alpha) * mean + alpha * v
    return mean


def ewm_mean(x: np.ndarray, life: np.ndarray, alpha: float, min_count: int, is_weighted: bool) -> np.ndarray:
    def value(t: int, j: int) -> float:
        values = [v for (v,) in history(life, t, j, x)]
        if not is_weighted:
            return exponential(values, alpha, min_count)
        weights = [(1.0 - alpha) ** k for k in range(len(values))][::-1]
        known = len(values) >= max(1, min_count)
        return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights) if known else NAN

    return cells(x, value)
