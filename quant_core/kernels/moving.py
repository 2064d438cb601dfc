"""Moving moments: sum, mean, deviation, variance, skewness, kurtosis. Pairs of series: pairs.py; paths: paths.py.

Windows are summed by doubling (doubling.py): a value depends on its window alone, bit for bit, whatever stood before it
(an outlier of 1e17 leaves no trace once it has left). Moments come from sums of powers; where these would cancel, in
a window whose level is large against its spread, the window is gone through again about its mean.

Conventions of all moving kernels: x, out [T, N]; row t of `out` reads rows t - window + 1 .. t; the window speaks with
`min_count` known values, else NaN; NaN cells are skipped, never counted, and so are infinite ones.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, front, kernel
from quant_core.kernels.doubling import chunk_rows, invert, silence, strip_columns, sum_powers

_EPS = float(np.finfo(np.float64).eps)

# Share of the sum of squares that the spread must be: sums lose as many digits as it has zeros.
CANCELS = 1e-5
CANCELS_HIGHER = 0.05
AGAIN = math.inf  # stands in `out` until the window has been gone through again


@kernel
def has_spread(squares: float, mean: float, known: float) -> bool:
    """Tell a sum of squares from what rounding the mean leaves behind on equal values."""
    noise = known * _EPS * mean
    return squares > known * noise * noise


@kernel
def central_sums(x: Matrix, t: int, j: int, window: int) -> tuple[float, float, float, float, float]:
    """Return number, mean and sums of the squared, cubed and fourth-power distances to it of one window."""
    total, n = 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if x[k, j] - x[k, j] == 0.0:
            total += x[k, j]
            n += 1.0
    mean, squares, cubes, fourths = total / n, 0.0, 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if x[k, j] - x[k, j] == 0.0:
            distance = x[k, j] - mean
            squares += distance * distance
            cubes += distance * distance * distance
            fourths += distance * distance * (distance * distance)
    if not has_spread(squares, mean, n):
        squares = 0.0
    return n, mean, squares, cubes, fourths


@kernel
def move_sum(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Sum the known values of each window. x, out: [T, N], same unit."""
    T, N = x.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(1, min_count))
    width, silent = min(lanes, N), silence(least, out)
    scratch, sums = np.empty((3, (rows + window - 1) * width)), np.empty((2, rows * width))
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            sum_powers(x, start, stop, lo, hi, window, scratch, sums)
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    out[t, j] = sums[1, place + j] if sums[0, place + j] >= least else np.nan


@kernel
def move_mean(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Average the known values of each window. x, out: [T, N], same unit."""
    T, N = x.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(1, min_count))
    width, silent = min(lanes, N), silence(least, out)
    scratch, sums = np.empty((3, (rows + window - 1) * width)), np.empty((2, rows * width))
    inverse = np.empty(rows * width)
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            is_complete = sum_powers(x, start, stop, lo, hi, window, scratch, sums)
            invert(sums[0], 0.0, is_complete, inverse)
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    mean = sums[1, place + j] * inverse[place + j]
                    out[t, j] = mean if sums[0, place + j] >= least else np.nan


@kernel
def move_std(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the standard deviation (ddof 1) of each window. x, out: [T, N], same unit.

    Relative error below 1e-10. NaN: fewer than two known values, too. Equal values have exactly 0.
    """
    T, N = x.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(2, min_count))
    width, silent = min(lanes, N), silence(least, out)
    scratch, sums = np.empty((3, (rows + window - 1) * width)), np.empty((3, rows * width))
    inverse, inverse_less = np.empty(rows * width), np.empty(rows * width)
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            is_complete = sum_powers(x, start, stop, lo, hi, window, scratch, sums)
            invert(sums[0], 0.0, is_complete, inverse)
            invert(sums[0], 1.0, is_complete, inverse_less)
            must_repeat = False
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    total, squares = sums[1, place + j], sums[2, place + j]
                    spread = squares - total * total * inverse[place + j]
                    is_sound = spread > CANCELS * squares
                    value = math.sqrt(spread * inverse_less[place + j] if is_sound else 0.0)
                    value = value if is_sound else AGAIN
                    out[t, j] = value if sums[0, place + j] >= least else np.nan
                    must_repeat |= not is_sound
            if must_repeat:
                for t in range(start, stop):
                    for j in range(lo, hi):
                        if out[t, j] == AGAIN:
                            n, _, squares, _, _ = central_sums(x, t, j, window)
                            out[t, j] = math.sqrt(squares / (n - 1.0)) if squares < AGAIN else np.nan


@front
def move_variance(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the variance (ddof 1) of each window. x, out: [T, N], out in the unit of x squared.

    NaN: fewer than two known values, too. Equal values have exactly 0.
    """
    move_std(x, window, min_count, out)
    np.multiply(out, out, out)


@kernel
def move_skewness(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the population skewness m3 / m2^1.5 (biased, signed) of each window. x, out: [T, N], out without unit.

    NaN: a window without spread, too.
    """
    T, N = x.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(1, min_count))
    width, silent = min(lanes, N), silence(least, out)
    scratch, sums = np.empty((3, (rows + window - 1) * width)), np.empty((4, rows * width))
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            sum_powers(x, start, stop, lo, hi, window, scratch, sums)
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    n = sums[0, place + j]
                    mean, second, third = sums[1, place + j] / n, sums[2, place + j] / n, sums[3, place + j] / n
                    variance = second - mean * mean
                    is_sound = variance > CANCELS_HIGHER * second
                    cube = third - mean * (3.0 * second - 2.0 * mean * mean)
                    value = cube / (variance * math.sqrt(variance if is_sound else 1.0))
                    value = value if is_sound else AGAIN
                    out[t, j] = value if n >= least else np.nan
            for t in range(start, stop):
                for j in range(lo, hi):
                    if out[t, j] == AGAIN:
                        n, _, squares, cubes, _ = central_sums(x, t, j, window)
                        out[t, j] = cubes / n / (squares / n) ** 1.5 if 0.0 < squares < AGAIN else np.nan


@kernel
def move_kurtosis(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the population excess kurtosis m4 / m2^2 - 3 (biased) of each window. x, out: [T, N], out without unit.

    NaN: a window without spread, too. Never below -2, which rounding would miss by an ulp.
    """
    T, N = x.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(1, min_count))
    width, silent = min(lanes, N), silence(least, out)
    scratch, sums = np.empty((3, (rows + window - 1) * width)), np.empty((5, rows * width))
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            sum_powers(x, start, stop, lo, hi, window, scratch, sums)
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    n = sums[0, place + j]
                    mean, second, third = sums[1, place + j] / n, sums[2, place + j] / n, sums[3, place + j] / n
                    square = mean * mean
                    variance = second - square
                    fourth = sums[4, place + j] / n - mean * (4.0 * third - mean * (6.0 * second - 3.0 * square))
                    value = max(-2.0, fourth / (variance * variance) - 3.0)
                    value = value if variance > CANCELS_HIGHER * second else AGAIN
                    out[t, j] = value if n >= least else np.nan
            for t in range(start, stop):
                for j in range(lo, hi):
                    if out[t, j] == AGAIN:
                        n, _, squares, _, fourths = central_sums(x, t, j, window)
                        value = max(-2.0, n * fourths / (squares * squares) - 3.0)
                        out[t, j] = value if 0.0 < squares < AGAIN else np.nan
