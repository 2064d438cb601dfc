"""Slow twins of the kernels in serial_dependence.py: same names, plain Python, least squares by numpy."""

from __future__ import annotations

import math
import statistics

import numpy as np

from tests.oracles.windows import NAN, cells, known_of, over_windows, window_of

SAMPLES = {"lags": lambda x: 2, "is_augmented": lambda x: True}


def correlations(
    x: np.ndarray, t: int, j: int, window: int, lags: int, min_count: int
) -> tuple[int, list[tuple[float, int]]]:
    """Return the known values, and per lag the autocorrelation and its pairs; NaN where there are too few."""
    part, known = window_of(x, t, j, window), known_of(x, t, j, window)
    if len(known) < max(1, min_count) or len(set(known)) < 2:
        return 0, []
    mean = statistics.fmean(known)
    squares = math.fsum((v - mean) ** 2 for v in known)
    found = []
    for lag in range(1, lags + 1):
        pairs = [(a - mean) * (b - mean) for a, b in zip(part, part[lag:], strict=False) if not math.isnan(a + b)]
        is_known = len(pairs) >= max(1, min_count - lag)
        found.append((math.fsum(pairs) / squares if is_known else NAN, len(pairs)))
    return len(known), found


def move_ljung_box(x: np.ndarray, window: int, lags: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        n, found = correlations(x, t, j, window, lags, min_count)
        if not found or any(math.isnan(rho) for rho, _ in found):
            return NAN
        return n * (n + 2) * math.fsum(rho * rho / pairs for rho, pairs in found)

    return cells(x, value)


def move_variance_ratio(x: np.ndarray, window: int, lags: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        _, found = correlations(x, t, j, window, lags, min_count)
        if not found:
            return NAN
        ratio = 1.0 + 2.0 * sum((1.0 - lag / (lags + 1)) * rho for lag, (rho, _) in enumerate(found, start=1))
        return max(0.0, ratio) if not math.isnan(ratio) else NAN

    return cells(x, value)


def move_memory_depth(x: np.ndarray, window: int, lags: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        n, found = correlations(x, t, j, window, lags, min_count)
        if not found:
            return NAN
        depth = 0
        for rho, _ in found:
            if math.isnan(rho):
                return NAN
            if abs(rho) <= 2.0 / math.sqrt(n):
                break
            depth += 1
        return depth

    return cells(x, value)


def regression(steps: list[float], lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and, row by row, a one, the place before the step and the `lags` steps before it."""
    places = np.concatenate([[0.0], np.cumsum(steps)])
    rows = [[1.0, places[k], *steps[k - lags : k][::-1]] for k in range(lags, len(steps))]
    return np.array(steps[lags:]), np.array(rows)


def does_not_vary(values: np.ndarray) -> bool:
    return float(np.ptp(values)) <= 1e-7 * float(np.abs(values).max())


def move_half_life(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def half_life(steps: list[float]) -> float:
        y, rows = regression(steps, 0)
        if does_not_vary(y) or does_not_vary(rows[:, 1]):
            return NAN
        slope = float(np.linalg.lstsq(rows, y, rcond=None)[0][1])
        return -math.log(2.0) / slope if slope < 0.0 else NAN

    return over_windows(x, window, min_count, half_life, least=3)


def move_adf(x: np.ndarray, window: int, is_augmented: bool, min_count: int) -> np.ndarray:
    lags = 1 if is_augmented else 0

    def statistic(steps: list[float]) -> float:
        y, rows = regression(steps, lags)
        freedom = len(y) - 2 - lags
        if freedom < 1 or does_not_vary(y) or np.linalg.matrix_rank(rows, tol=1e-9) < 2 + lags:
            return NAN
        # Frisch & Waugh: the slope of what the other regressors leave of the places.
        place, others = rows[:, 1], np.delete(rows, 1, axis=1)
        left = place - others @ np.linalg.lstsq(others, place, rcond=None)[0]
        slope = float(left @ y / (left @ left))
        rest = float(np.sum((y - rows @ np.linalg.lstsq(rows, y, rcond=None)[0]) ** 2))
        return slope / math.sqrt(rest / freedom / (left @ left)) if rest > 1e-3 * float(y @ y) else NAN

    return over_windows(x, window, min_count, statistic, least=lags + 1)
