"""Moving order statistics: median and expected shortfall. Moments live in moving.py, whose conventions hold here too.

Each column keeps its window sorted: one value leaves and one enters per row. Nothing is added up along the way, so the
values do not drift.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel


@kernel
def find_sorted(values: Matrix, n: int, value: float) -> int:
    """Return the first place among values[:n], ascending, that is not below `value`."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def move_sorted(x: Matrix, t: int, j: int, window: int, values: Matrix, n: int) -> int:
    """Take the window of column j from row t - 1 to row t: values[:n] ascending; return the new n. values: [window]."""
    if t >= window and not math.isnan(x[t - window, j]):
        n -= 1
        for i in range(find_sorted(values, n + 1, x[t - window, j]), n):
            values[i] = values[i + 1]
    if not math.isnan(x[t, j]):
        place = find_sorted(values, n, x[t, j])
        for i in range(n, place, -1):
            values[i] = values[i - 1]
        # Adding zero makes -0.0 a 0.0: equal values must be equal bits, or their order would remember the past.
        values[place] = x[t, j] + 0.0
        n += 1
    return n


@kernel
def move_median(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the median of each window, the mean of the middle two where their number is even. x, out: [T, N]."""
    values = np.empty(window)
    for j in range(x.shape[1]):
        n = 0
        for t in range(x.shape[0]):
            n = move_sorted(x, t, j, window, values, n)
            if n >= max(1, min_count):
                out[t, j] = values[n // 2] if n % 2 else 0.5 * (values[n // 2 - 1] + values[n // 2])
            else:
                out[t, j] = np.nan


@kernel
def move_cvar(x: Matrix, window: int, level: float, min_count: int, out: Matrix) -> None:
    """Average the k = max(1, floor(level n)) smallest of the n known values of each window. x, out: [T, N].

    The convention: whole observations only, the worst ones; returns give a negative number where the tail loses.

    Source: Acerbi & Tasche (2002), Journal of Banking & Finance 26(7), the estimator of their equation 4.7.
    """
    values = np.empty(window)
    for j in range(x.shape[1]):
        n = 0
        for t in range(x.shape[0]):
            n = move_sorted(x, t, j, window, values, n)
            if n >= max(1, min_count):
                # 0.05 x 60 lies a hair above 3, 0.29 x 100 a hair below 29.
                k = max(1, math.floor(level * n + 1e-9))
                total = 0.0
                for i in range(k):
                    total += values[i]
                out[t, j] = total / k
            else:
                out[t, j] = np.nan
