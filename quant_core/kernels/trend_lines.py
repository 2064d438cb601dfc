"""Moving slopes: the least-squares line of a series against time, window by window. Two series are in pairs.py.

Sums of x and of x times its age are exact (exact.py), and windows are computed again about their means where these
would cancel; the conventions are those of moving.py. A missing row leaves a gap in time.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel
from quant_core.kernels.exact import (
    EXTRACTOR,
    FIRST,
    HEADROOM,
    PARTIALS,
    ROWS,
    SECOND,
    SERIES,
    add_exactly,
    exact_total,
    extractor_of,
    fits_in_limbs,
    ratio_of_limbs,
    round_to_spacing,
    sample_magnitudes,
    slide_two,
)
from quant_core.kernels.moving import AGAIN, CANCELLED, central_sums
from quant_core.kernels.pairs import PAIRED

# Share of sum(age x) that its distance to mean(age) sum(x) must be.
CANCELS_AGED = 1e-6

# Rows of the state of a strip. Two series, whose extractor is that of the first: x, age x. Then the number of known
# rows, the sums of their ages and squared ages; misfits. The newest row is of age 0.
VALUES, AGED = 0, SERIES
KNOWN, AGES, AGES_SQUARED, MISFITS = 2 * SERIES, 2 * SERIES + 1, 2 * SERIES + 2, 2 * SERIES + 3

# The same as places in a flat state, whose rows are known not to overlap: unsigned, as places counted from 0 are.
AT_EXTRACTOR, AT_HIGH = np.uintp((VALUES + EXTRACTOR) * PAIRED), np.uintp((VALUES + FIRST) * PAIRED)
AT_LOW = np.uintp((VALUES + SECOND) * PAIRED)
AT_AGED_HIGH, AT_AGED_LOW = np.uintp((AGED + FIRST) * PAIRED), np.uintp((AGED + SECOND) * PAIRED)
AT_KNOWN, AT_AGES = np.uintp(KNOWN * PAIRED), np.uintp(AGES * PAIRED)
AT_AGES_SQUARED = np.uintp(AGES_SQUARED * PAIRED)


@kernel
def reset_line(greatest: float, window: int, state: Matrix, i: int) -> None:
    """Begin the exact sums of column i: nothing added yet, an extractor for values up to `greatest`.

    state: [MISFITS + 1, at least i].
    """
    for row in range(state.shape[0]):
        state[row, i] = 0.0
    state[VALUES + EXTRACTOR, i] = extractor_of(greatest, window * window)


@kernel
def slope_from_sums(n: float, ages: float, ages_squared: float, total: float, aged: float) -> float:
    """Return a line's slope from its sums; CANCELLED where these cancel."""
    product, spread = aged - ages * (total / n), ages_squared - ages * (ages / n)
    return -product / spread if abs(product) > CANCELS_AGED * abs(aged) else CANCELLED


@kernel
def slide_lines(
    x: Matrix, start: int, stop: int, lo: int, hi: int, window: int, least: float, state: Matrix, out: Matrix
) -> tuple[bool, bool]:
    """Fill rows start .. stop - 1 of `out`. state: flat.

    Returns whether all values fit their extractors, and whether a cell holds AGAIN or CANCELLED.
    """
    left, right = np.uintp(lo), np.uintp(hi)
    ratio, reach, span = ratio_of_limbs(window * window), 1.0 / (3.0 * window * window), float(window)
    misfits, again = False, False
    for t in range(start, stop):
        new, old, answer, was_there = x[t], x[max(0, t - window)], out[t], t >= window
        for j in range(left, right):
            i, value, gone = j - left, new[j], old[j]
            is_known, was_known = value - value == 0.0, (gone - gone == 0.0) & was_there
            value, gone = value if is_known else 0.0, gone if was_known else 0.0
            left_out = 1.0 if was_known else 0.0
            n, ages, ages_squared = state[AT_KNOWN + i], state[AT_AGES + i], state[AT_AGES_SQUARED + i]
            ages_squared += 2.0 * ages + n - span * span * left_out
            ages += n - span * left_out
            n += (1.0 if is_known else 0.0) - left_out
            state[AT_KNOWN + i], state[AT_AGES + i], state[AT_AGES_SQUARED + i] = n, ages, ages_squared
            c = state[AT_EXTRACTOR + i]
            high = round_to_spacing(gone, c)
            state[AT_AGED_HIGH + i] += state[AT_HIGH + i] - span * high
            state[AT_AGED_LOW + i] += state[AT_LOW + i] - span * (gone - high)
            aged = state[AT_AGED_HIGH + i] + state[AT_AGED_LOW + i]
            state[AT_HIGH + i], state[AT_LOW + i], total, fit = slide_two(
                value, gone, c, ratio, state[AT_HIGH + i], state[AT_LOW + i]
            )
            misfits |= (not fit) | (not abs(value) <= c * reach)
            result = slope_from_sums(n, ages, ages_squared, total, aged)
            result = result if n >= least else np.nan
            answer[j] = result
            again |= abs(result) == AGAIN
    return not misfits, again


@kernel
def mend_lines(x: Matrix, start: int, stop: int, lo: int, hi: int, window: int, state: Matrix, out: Matrix) -> None:
    """Reset the extractors of columns whose values did not fit, and leave AGAIN in their rows start .. stop - 1."""
    ratio, reach = ratio_of_limbs(window * window), 1.0 / (3.0 * window * window)
    for t in range(start, stop):
        for j in range(lo, hi):
            i, value = j - lo, x[t, j] if x[t, j] - x[t, j] == 0.0 else 0.0
            c = state[VALUES + EXTRACTOR, i]
            fit = fits_in_limbs(value, c, ratio, 2) & (abs(value) <= c * reach)
            state[MISFITS, i] = state[MISFITS, i] if fit else 1.0
    for j in range(lo, hi):
        i, first, greatest = j - lo, max(0, stop - window), 0.0
        if state[MISFITS, i] > 0.0:
            for t in range(first, stop):
                greatest = max(greatest, abs(x[t, j]) if x[t, j] - x[t, j] == 0.0 else 0.0)
            reset_line(HEADROOM * greatest, window, state, i)
            for t in range(first, stop):
                state[AGES_SQUARED, i] += 2.0 * state[AGES, i] + state[KNOWN, i]
                state[AGES, i] += state[KNOWN, i]
                state[AGED + FIRST, i] += state[VALUES + FIRST, i]
                state[AGED + SECOND, i] += state[VALUES + SECOND, i]
                if x[t, j] - x[t, j] == 0.0:
                    add_exactly(x[t, j], ratio, 2, state, VALUES, i)
                    state[KNOWN, i] += 1.0
            for t in range(start, stop):
                out[t, j] = AGAIN


@kernel
def slope_about_means(x: Matrix, t: int, j: int, window: int) -> float:
    """Return the slope of one window from the distances to its means."""
    n, mean, squares, _, _ = central_sums(x, t, j, window)
    ages = 0.0
    for k in range(max(0, t - window + 1), t + 1):
        ages += float(t - k) if x[k, j] - x[k, j] == 0.0 else 0.0
    ages /= n
    spread, product = 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if x[k, j] - x[k, j] == 0.0:
            spread += (float(t - k) - ages) * (float(t - k) - ages)
            product += (float(t - k) - ages) * (x[k, j] - mean)
    result = -product / spread if squares > 0.0 else 0.0
    return result if abs(result) < math.inf else np.nan


@kernel
def slope_from_terms(x: Matrix, t: int, j: int, window: int, least: float, terms: Matrix, partials: Matrix) -> float:
    """Return the slope of one window, summed on its own. terms: [2, 2 window]."""
    n, ages, ages_squared = 0, 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        value, age = x[k, j], float(t - k)
        if value - value == 0.0:
            # The upper half of its bits: whole ages times halves do not round.
            high = round_to_spacing(value, value * 2.0**27)
            terms[0, n], terms[1, 2 * n], terms[1, 2 * n + 1] = value, age * high, age * (value - high)
            n, ages, ages_squared = n + 1, ages + age, ages_squared + age * age
    if n < least:
        return np.nan
    total, aged = exact_total(terms[0], n, partials), exact_total(terms[1], 2 * n, partials)
    result = slope_from_sums(float(n), ages, ages_squared, total, aged)
    return result if abs(result) < math.inf else slope_about_means(x, t, j, window)


@kernel
def move_slope(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the slope of each window's least-squares line against time. x, out: [T, N], out in units of x per bar.

    A missing row leaves a gap in time. NaN: fewer than two known values, too.
    """
    T, N = x.shape
    state, greatest, least = np.empty((MISFITS + 1, PAIRED)), np.empty(PAIRED), float(max(2, min_count))
    flat = state.reshape(state.size)
    terms, partials = np.empty((2, 2 * window)), np.empty(PARTIALS)
    for lo in range(0, N, PAIRED):
        hi = min(N, lo + PAIRED)
        sample_magnitudes(x, lo, hi, greatest)
        for i in range(hi - lo):
            reset_line(HEADROOM * greatest[i], window, state, i)
        for start in range(0, T, ROWS):
            stop = min(T, start + ROWS)
            all_fit, again = slide_lines(x, start, stop, lo, hi, window, least, flat, out)
            if not all_fit:
                mend_lines(x, start, stop, lo, hi, window, state, out)
            if again or not all_fit:
                for t in range(start, stop):
                    for j in range(lo, hi):
                        if out[t, j] == AGAIN:
                            out[t, j] = slope_from_terms(x, t, j, window, least, terms, partials)
                        elif out[t, j] == CANCELLED:
                            out[t, j] = slope_about_means(x, t, j, window)
