"""Moving moments: mean, standard deviation, skewness, kurtosis. Paths live in paths.py, order statistics in ordered.py.

Every window is summed anew, in row order: a value depends on its window alone, bit for bit, whatever stood before it
(an outlier of 1e17 leaves no trace once it has left). Rows are the outer loop and columns the inner one, so that a
window is summed for many columns at once (0.3 ns a cell against 1.1 ns column by column, 252-row windows).

Conventions of all moving kernels: x, out [T, N]; row t of `out` reads rows t - window + 1 .. t; the window speaks with
`min_count` known values, else NaN; NaN cells are skipped, never counted.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel

_EPS = float(np.finfo(np.float64).eps)


@kernel
def sum_window(x: Matrix, t: int, window: int, total: Matrix, known: Matrix) -> None:
    """Sum the known values of the window that ends at row t. x: [T, N]; total, known: [N], both overwritten."""
    columns = x.shape[1]
    for j in range(columns):
        total[j] = 0.0
        known[j] = 0.0
    for k in range(max(0, t - window + 1), t + 1):
        for j in range(columns):
            value = x[k, j]
            is_known = not math.isnan(value)
            total[j] += value if is_known else 0.0
            known[j] += 1.0 if is_known else 0.0


@kernel
def sum_squares(x: Matrix, t: int, window: int, mean: Matrix, squares: Matrix) -> None:
    """Sum the squared distances to `mean` in the window that ends at row t. x: [T, N]; mean, squares: [N]."""
    columns = x.shape[1]
    for j in range(columns):
        squares[j] = 0.0
    for k in range(max(0, t - window + 1), t + 1):
        for j in range(columns):
            value = x[k, j]
            distance = value - mean[j]
            squares[j] += 0.0 if math.isnan(value) else distance * distance


@kernel
def has_spread(squares: float, mean: float, known: float) -> bool:
    """Tell a sum of squares from what rounding the mean leaves behind on equal values."""
    noise = known * _EPS * mean
    return squares > known * noise * noise


@kernel
def move_mean(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Average the known values of each window. x, out: [T, N], same unit."""
    columns = x.shape[1]
    total, known = np.empty(columns), np.empty(columns)
    for t in range(x.shape[0]):
        sum_window(x, t, window, total, known)
        for j in range(columns):
            out[t, j] = total[j] / known[j] if known[j] >= max(1, min_count) else np.nan


@kernel
def move_std(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the standard deviation (ddof 1) of each window. x, out: [T, N], same unit.

    NaN: fewer than two known values, too. Equal values have exactly 0.
    """
    columns = x.shape[1]
    mean, known, squares = np.empty(columns), np.empty(columns), np.empty(columns)
    for t in range(x.shape[0]):
        sum_window(x, t, window, mean, known)
        for j in range(columns):
            mean[j] /= known[j]
        sum_squares(x, t, window, mean, squares)
        for j in range(columns):
            n = known[j]
            if n < max(2, min_count) or math.isnan(squares[j]):
                out[t, j] = np.nan
            else:
                out[t, j] = math.sqrt(squares[j] / (n - 1.0)) if has_spread(squares[j], mean[j], n) else 0.0


@kernel
def move_skewness(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the population skewness m3 / m2^1.5 (biased, signed) of each window. x, out: [T, N], out without unit.

    NaN: a window without spread, too.
    """
    columns = x.shape[1]
    mean, known = np.empty(columns), np.empty(columns)
    squares, cubes = np.empty(columns), np.empty(columns)
    for t in range(x.shape[0]):
        sum_window(x, t, window, mean, known)
        for j in range(columns):
            mean[j] /= known[j]
            cubes[j] = 0.0
        sum_squares(x, t, window, mean, squares)
        for k in range(max(0, t - window + 1), t + 1):
            for j in range(columns):
                value = x[k, j]
                distance = value - mean[j]
                cubes[j] += 0.0 if math.isnan(value) else distance * distance * distance
        for j in range(columns):
            n = known[j]
            if n >= max(1, min_count) and has_spread(squares[j], mean[j], n):
                out[t, j] = (cubes[j] / n) / (squares[j] / n) ** 1.5
            else:
                out[t, j] = np.nan


@kernel
def move_kurtosis(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the population excess kurtosis m4 / m2^2 - 3 (biased) of each window. x, out: [T, N], out without unit.

    NaN: a window without spread, too. Never below -2, which rounding would miss by an ulp.
    """
    columns = x.shape[1]
    mean, known = np.empty(columns), np.empty(columns)
    squares, fourths = np.empty(columns), np.empty(columns)
    for t in range(x.shape[0]):
        sum_window(x, t, window, mean, known)
        for j in range(columns):
            mean[j] /= known[j]
            fourths[j] = 0.0
        sum_squares(x, t, window, mean, squares)
        for k in range(max(0, t - window + 1), t + 1):
            for j in range(columns):
                value = x[k, j]
                square = (value - mean[j]) * (value - mean[j])
                fourths[j] += 0.0 if math.isnan(value) else square * square
        for j in range(columns):
            n = known[j]
            if n >= max(1, min_count) and has_spread(squares[j], mean[j], n):
                variance = squares[j] / n
                out[t, j] = max(-2.0, (fourths[j] / n) / (variance * variance) - 3.0)
            else:
                out[t, j] = np.nan
