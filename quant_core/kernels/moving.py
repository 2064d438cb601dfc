"""Moving moments: sum, mean, deviation, variance, skewness, kurtosis. Pairs of series: pairs.py; paths: paths.py.

A value depends on its window alone, bit for bit, whatever came before it (a tick of 1e17 leaves no trace once it has
left): sums and sums of squares are exact (exact.py), those of higher powers are joined by doubling (doubling.py). Where
moments from sums would cancel, in a window whose level is large against its spread, they are computed again about its
mean.

Conventions of all moving kernels: x, out [T, N]; row t of `out` reads rows t - window + 1 .. t; the window speaks with
`min_count` known values, else NaN; NaN cells are skipped, never counted, and so are infinite ones.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, front, kernel
from quant_core.kernels.doubling import chunk_rows, fill_silent_rows, strip_columns, sum_powers
from quant_core.kernels.exact import (
    EXTRACTOR,
    FIRST,
    HEADROOM,
    PARTIALS,
    ROWS,
    SECOND,
    SERIES,
    THIRD,
    add_exactly,
    copy_state,
    exact_total,
    extractor_of,
    fits_in_limbs,
    ratio_of_limbs,
    sample_magnitudes,
    slide_three,
    slide_two,
)

_EPS = float(np.finfo(np.float64).eps)

# Share of the sum of squares that the spread must be: sums lose as many digits as it has zeros.
CANCELS = 1e-5
CANCELS_HIGHER = 0.05
# Marks in `out` of windows to compute again:
AGAIN = math.inf  # its sums are not known
CANCELLED = -math.inf  # its sums are exact, and cancel

STRIP = 1024  # columns: wide strips are read faster, as long as a window of rows stays in the cache
SUM, MEAN, DEVIATION = 0, 1, 2

# Rows of the state of a strip: the sums of values and of their squares, the number of known values, misfits.
VALUES, SQUARES, KNOWN, MISFITS = 0, SERIES, 2 * SERIES, 2 * SERIES + 1


@kernel
def has_spread(squares: float, mean: float, known: float) -> bool:
    """Return whether a sum of squares exceeds what rounding the mean leaves on equal values."""
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
def reset_sums(greatest: float, window: int, state: Matrix, i: int) -> None:
    """Begin the exact sums of column i: nothing added yet, extractors for values up to `greatest`.

    state: [MISFITS + 1, at least i].
    """
    for row in range(state.shape[0]):
        state[row, i] = 0.0
    state[VALUES + EXTRACTOR, i] = extractor_of(greatest, window)
    state[SQUARES + EXTRACTOR, i] = extractor_of(greatest * greatest, window)


@kernel
def slide_complete(
    x: Matrix, start: int, stop: int, lo: int, hi: int, window: int, kind: int, state: Matrix, out: Matrix
) -> tuple[bool, bool]:
    """Fill rows start .. stop - 1 of `out` where all of each window is known.

    Returns whether all values were known and fit their extractors, and whether a cell holds AGAIN or CANCELLED.
    """
    left, right = np.uintp(lo), np.uintp(hi)
    ratio, reach = ratio_of_limbs(window), 1.0 / (3.0 * window)
    scale = 1.0 if kind == SUM else 1.0 / window
    n, inverse = float(window), 1.0 / (window * (window - 1.0))
    c, high, low = state[VALUES + EXTRACTOR], state[VALUES + FIRST], state[VALUES + SECOND]
    d, first = state[SQUARES + EXTRACTOR], state[SQUARES + FIRST]
    second, third = state[SQUARES + SECOND], state[SQUARES + THIRD]
    misfits, again = False, False
    for t in range(start, stop):
        new, old, answer = x[t], x[t - window], out[t]
        if kind == DEVIATION:
            for j in range(left, right):
                i, value, gone = j - left, new[j], old[j]
                high[i], low[i], total, is_fit = slide_two(value, gone, c[i], ratio, high[i], low[i])
                misfits |= (not is_fit) | (not abs(value) <= c[i] * reach)
                first[i], second[i], third[i], squares, is_fit, is_sure = slide_three(
                    value * value, gone * gone, d[i], ratio, first[i], second[i], third[i]
                )
                misfits |= not is_fit
                result = deviation_from_sums(total, squares, n, inverse)
                result = result if is_sure else AGAIN
                answer[j] = result
                again |= abs(result) == AGAIN
        else:
            for j in range(left, right):
                i, value = j - left, new[j]
                high[i], low[i], total, is_fit = slide_two(value, old[j], c[i], ratio, high[i], low[i])
                misfits |= (not is_fit) | (not abs(value) <= c[i] * reach)
                answer[j] = total * scale
    return not misfits, again


@kernel
def slide_known(
    x: Matrix,
    start: int,
    stop: int,
    lo: int,
    hi: int,
    window: int,
    least: float,
    kind: int,
    state: Matrix,
    out: Matrix,
) -> tuple[bool, bool, bool]:
    """Fill rows start .. stop - 1 of `out` from the known values of each window.

    Returns whether all values fit their extractors, whether all were known, and whether a cell holds AGAIN or
    CANCELLED.
    """
    left, right = np.uintp(lo), np.uintp(hi)
    ratio, reach = ratio_of_limbs(window), 1.0 / (3.0 * window)
    c, high, low = state[VALUES + EXTRACTOR], state[VALUES + FIRST], state[VALUES + SECOND]
    n = state[KNOWN]
    d, first = state[SQUARES + EXTRACTOR], state[SQUARES + FIRST]
    second, third = state[SQUARES + SECOND], state[SQUARES + THIRD]
    misfits, is_missing, again = False, False, False
    for t in range(start, stop):
        new, old, answer, was_there = x[t], x[max(0, t - window)], out[t], t >= window
        if kind == DEVIATION:
            for j in range(left, right):
                i, value, gone = j - left, new[j], old[j]
                is_known, was_known = value - value == 0.0, (gone - gone == 0.0) & was_there
                value, gone = value if is_known else 0.0, gone if was_known else 0.0
                n[i] += (1.0 if is_known else 0.0) - (1.0 if was_known else 0.0)
                is_missing |= not is_known
                high[i], low[i], total, is_fit = slide_two(value, gone, c[i], ratio, high[i], low[i])
                misfits |= (not is_fit) | (not abs(value) <= c[i] * reach)
                first[i], second[i], third[i], squares, is_fit, is_sure = slide_three(
                    value * value, gone * gone, d[i], ratio, first[i], second[i], third[i]
                )
                misfits |= not is_fit
                result = deviation_from_sums(total, squares, n[i], 1.0 / (n[i] * (n[i] - 1.0)))
                result = result if is_sure else AGAIN
                result = result if n[i] >= least else np.nan
                answer[j] = result
                again |= abs(result) == AGAIN
        else:
            for j in range(left, right):
                i, value, gone = j - left, new[j], old[j]
                is_known, was_known = value - value == 0.0, (gone - gone == 0.0) & was_there
                value, gone = value if is_known else 0.0, gone if was_known else 0.0
                n[i] += (1.0 if is_known else 0.0) - (1.0 if was_known else 0.0)
                is_missing |= not is_known
                high[i], low[i], total, is_fit = slide_two(value, gone, c[i], ratio, high[i], low[i])
                misfits |= (not is_fit) | (not abs(value) <= c[i] * reach)
                result = total * (1.0 if kind == SUM else 1.0 / n[i])
                answer[j] = result if n[i] >= least else np.nan
    return not misfits, not is_missing, again


@kernel
def mend_columns(
    x: Matrix, start: int, stop: int, lo: int, hi: int, window: int, kind: int, state: Matrix, out: Matrix
) -> None:
    """Reset the extractors of columns whose values did not fit, and leave AGAIN in their rows start .. stop - 1."""
    ratio, reach, misfits = ratio_of_limbs(window), 1.0 / (3.0 * window), state[MISFITS]
    c, d = state[VALUES + EXTRACTOR], state[SQUARES + EXTRACTOR]
    for t in range(start, stop):
        for j in range(lo, hi):
            value = x[t, j] if x[t, j] - x[t, j] == 0.0 else 0.0
            is_fit = fits_in_limbs(value, c[j - lo], ratio, 2) & (abs(value) <= c[j - lo] * reach)
            is_fit &= (kind != DEVIATION) or fits_in_limbs(value * value, d[j - lo], ratio, 3)
            misfits[j - lo] = misfits[j - lo] if is_fit else 1.0
    for j in range(lo, hi):
        if misfits[j - lo] > 0.0:
            first, greatest = max(0, stop - window), 0.0
            for t in range(first, stop):
                greatest = max(greatest, abs(x[t, j]) if x[t, j] - x[t, j] == 0.0 else 0.0)
            reset_sums(HEADROOM * greatest, window, state, j - lo)
            for t in range(first, stop):
                if x[t, j] - x[t, j] == 0.0:
                    add_exactly(x[t, j], ratio, 2, state, VALUES, j - lo)
                    add_exactly(x[t, j] * x[t, j], ratio, 3, state, SQUARES, j - lo)
                    state[KNOWN, j - lo] += 1.0
            for t in range(start, stop):
                out[t, j] = AGAIN


@kernel
def deviation_from_sums(total: float, squares: float, n: float, inverse: float) -> float:
    """Return the standard deviation from sums; CANCELLED where these cancel. inverse: 1 / (n (n - 1))."""
    whole = n * squares
    spread = whole - total * total
    is_sound = spread > CANCELS * whole
    value = math.sqrt(spread * inverse if is_sound else 0.0)
    return value if is_sound else CANCELLED


@kernel
def deviation_about_mean(x: Matrix, t: int, j: int, window: int) -> float:
    """Return the standard deviation of one window from its distances to its mean."""
    n, _, squares, _, _ = central_sums(x, t, j, window)
    return math.sqrt(squares / (n - 1.0)) if squares < math.inf else np.nan


@kernel
def moment_from_terms(
    x: Matrix, t: int, j: int, window: int, least: float, kind: int, terms: Matrix, partials: Matrix
) -> float:
    """Return the moment of one window, summed on its own. terms: [window], partials: [PARTIALS] scratch."""
    n = 0
    for k in range(max(0, t - window + 1), t + 1):
        if x[k, j] - x[k, j] == 0.0:
            terms[n] = x[k, j]
            n += 1
    if n < least:
        return np.nan
    total, last = 0.0, 0.0
    for _ in range(2 if kind == DEVIATION else 1):
        total, last = last, exact_total(terms, n, partials)
        for k in range(n):
            terms[k] *= terms[k]
    if kind != DEVIATION:
        return last if kind == SUM else last * (1.0 / n)
    value = deviation_from_sums(total, last, float(n), 1.0 / (float(n) * (n - 1.0)))
    return value if abs(value) < math.inf else deviation_about_mean(x, t, j, window)


@kernel
def move_moment(x: Matrix, window: int, least: float, kind: int, out: Matrix) -> None:
    """Fill `out` with SUM, MEAN or DEVIATION of each window; see `move_sum`, `move_mean` and `move_std`."""
    T, N = x.shape
    width = min(STRIP, N)
    state, saved, greatest = np.empty((MISFITS + 1, width)), np.empty((MISFITS + 1, width)), np.empty(width)
    terms, partials = np.empty(window), np.empty(PARTIALS)
    for lo in range(0, N, STRIP):
        hi = min(N, lo + STRIP)
        sample_magnitudes(x, lo, hi, greatest)
        for i in range(hi - lo):
            reset_sums(HEADROOM * greatest[i], window, state, i)
        complete = 0
        for start in range(0, T, ROWS):
            stop = min(T, start + ROWS)
            fits_all, is_complete, again = False, complete >= window, False
            if is_complete:
                copy_state(state, saved)
                fits_all, again = slide_complete(x, start, stop, lo, hi, window, kind, state, out)
                if not fits_all:
                    copy_state(saved, state)
            if not fits_all:
                fits_all, is_complete, again = slide_known(x, start, stop, lo, hi, window, least, kind, state, out)
            if not fits_all:
                mend_columns(x, start, stop, lo, hi, window, kind, state, out)
            if again or not fits_all:
                for t in range(start, stop):
                    for j in range(lo, hi):
                        if out[t, j] == AGAIN:
                            out[t, j] = moment_from_terms(x, t, j, window, least, kind, terms, partials)
                        elif out[t, j] == CANCELLED:
                            out[t, j] = deviation_about_mean(x, t, j, window)
            complete = complete + stop - start if is_complete else 0


@front
def move_sum(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Sum the known values of each window: the exact sum, rounded to nearest. x, out: [T, N], same unit."""
    move_moment(x, window, float(max(1, min_count)), SUM, out)


@front
def move_mean(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Average the known values of each window. x, out: [T, N], same unit."""
    move_moment(x, window, float(max(1, min_count)), MEAN, out)


@front
def move_std(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the standard deviation (ddof 1) of each window. x, out: [T, N], same unit.

    Relative error below 1e-10. NaN: fewer than two known values, too. Equal values have exactly 0.
    """
    move_moment(x, window, float(max(2, min_count)), DEVIATION, out)


@kernel
def move_skewness(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the population skewness m3 / m2^1.5 (biased, signed) of each window. x, out: [T, N], out without unit.

    NaN: a window without spread, too.
    """
    T, N = x.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(1, min_count))
    width, silent = min(lanes, N), fill_silent_rows(least, out)
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
    width, silent = min(lanes, N), fill_silent_rows(least, out)
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
