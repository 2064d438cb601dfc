"""Moving statistics of two series: covariance, correlation. One series against time is in trend_lines.py.

Windows are summed exactly (exact.py), and computed again about their means where sums would cancel; the
conventions are those of moving.py. A row counts where both series are known.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, front, kernel
from quant_core.kernels.exact import (
    EXTRACTOR,
    HEADROOM,
    PARTIALS,
    ROWS,
    SERIES,
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
from quant_core.kernels.moving import AGAIN, CANCELLED, CANCELS, has_spread

PAIRED = 256  # columns: the state of so many stays in the first-level cache
SUMS = 5
# Rows of the state of a strip: SUMS series (x, y, x x, x y, y y), the number of pairs, misfits.
KNOWN, MISFITS = SUMS * SERIES, SUMS * SERIES + 1

# The same as places in a flat state, whose rows are known not to overlap: unsigned, as places counted from 0 are. C is
# a series' extractor.
_AT = [np.uintp(row * PAIRED) for row in range(SUMS * SERIES + 1)]
X_C, X_HIGH, X_LOW, _ = _AT[:SERIES]
Y_C, Y_HIGH, Y_LOW, _ = _AT[SERIES : 2 * SERIES]
XX_C, XX_HIGH, XX_MIDDLE, XX_LOW = _AT[2 * SERIES : 3 * SERIES]
XY_C, XY_HIGH, XY_MIDDLE, XY_LOW = _AT[3 * SERIES : 4 * SERIES]
YY_C, YY_HIGH, YY_MIDDLE, YY_LOW = _AT[4 * SERIES : 5 * SERIES]
AT_KNOWN = _AT[KNOWN]


@kernel
def central_products(x: Matrix, y: Matrix, t: int, j: int, window: int) -> tuple[float, float, float, float]:
    """Return number of pairs and sums of dx dx, dx dy, dy dy about the means of one window."""
    n, total, other = 0.0, 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if (x[k, j] - x[k, j]) + (y[k, j] - y[k, j]) == 0.0:
            n += 1.0
            total += x[k, j]
            other += y[k, j]
    a, b = total / n, other / n
    xx, xy, yy = 0.0, 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if (x[k, j] - x[k, j]) + (y[k, j] - y[k, j]) == 0.0:
            xx += (x[k, j] - a) * (x[k, j] - a)
            xy += (x[k, j] - a) * (y[k, j] - b)
            yy += (y[k, j] - b) * (y[k, j] - b)
    xx = xx if has_spread(xx, a, n) else 0.0
    yy = yy if has_spread(yy, b, n) else 0.0
    return n, xx, xy if min(xx, yy) > 0.0 else 0.0, yy


@kernel
def fill_terms(a: float, b: float, terms: Matrix, k: int) -> None:
    """Set terms[:, k] to the terms of one pair in the five sums: x, y, x x, x y, y y. terms: [5, more than k]."""
    terms[0, k], terms[1, k], terms[2, k], terms[3, k], terms[4, k] = a, b, a * a, a * b, b * b


@kernel
def reset_pairs(greatest: float, other: float, window: int, state: Matrix, i: int, terms: Matrix) -> None:
    """Begin the exact sums of column i: nothing added yet, extractors for values up to `greatest` and `other`.

    state: [MISFITS + 1, PAIRED].
    """
    fill_terms(HEADROOM * greatest, HEADROOM * other, terms, 0)
    for row in range(state.shape[0]):
        state[row, i] = 0.0
    for s in range(SUMS):
        state[s * SERIES + EXTRACTOR, i] = extractor_of(terms[s, 0], window)


@kernel
def product_from_sums(n: float, total: float, other: float, xx: float, xy: float, yy: float, is_scaled: bool) -> float:
    """Return covariance, or correlation when `is_scaled`, from sums; CANCELLED where these cancel."""
    inverse = 1.0 / n
    a, b = total * inverse, other * inverse
    spread, product, spread_y = xx - a * total, xy - a * other, yy - b * other
    is_sound = (spread > CANCELS * xx) & (spread_y > CANCELS * yy)
    scale = math.sqrt(spread * spread_y if is_sound else 1.0)
    value = min(1.0, max(-1.0, product / scale)) if is_scaled else product * (1.0 / (n - 1.0))
    return value if is_sound else CANCELLED


@kernel
def slide_pairs(
    x: Matrix,
    y: Matrix,
    start: int,
    stop: int,
    lo: int,
    hi: int,
    window: int,
    least: float,
    is_scaled: bool,
    is_wide: bool,
    state: Matrix,
    out: Matrix,
) -> tuple[bool, bool]:
    """Fill rows start .. stop - 1 of `out`; products have three limbs when `is_wide`, else two. state: flat.

    Returns whether all values fit their extractors, and whether a cell holds AGAIN or CANCELLED.
    """
    left, right = np.uintp(lo), np.uintp(hi)
    ratio, reach = ratio_of_limbs(window), 1.0 / (3.0 * window)
    misfits, again = False, False
    for t in range(start, stop):
        new, old, new_y, old_y = x[t], x[max(0, t - window)], y[t], y[max(0, t - window)]
        answer, was_there = out[t], t >= window
        if is_wide:
            for j in range(left, right):
                i, a, b, c, d = j - left, new[j], new_y[j], old[j], old_y[j]
                is_known, was_known = (a - a) + (b - b) == 0.0, ((c - c) + (d - d) == 0.0) & was_there
                a, b = a if is_known else 0.0, b if is_known else 0.0
                c, d = c if was_known else 0.0, d if was_known else 0.0
                n = state[AT_KNOWN + i] + ((1.0 if is_known else 0.0) - (1.0 if was_known else 0.0))
                state[AT_KNOWN + i] = n
                state[X_HIGH + i], state[X_LOW + i], total, fit = slide_two(
                    a, c, state[X_C + i], ratio, state[X_HIGH + i], state[X_LOW + i]
                )
                misfits |= (not fit) | (not abs(a) <= state[X_C + i] * reach)
                state[Y_HIGH + i], state[Y_LOW + i], other, fit = slide_two(
                    b, d, state[Y_C + i], ratio, state[Y_HIGH + i], state[Y_LOW + i]
                )
                misfits |= (not fit) | (not abs(b) <= state[Y_C + i] * reach)
                state[XX_HIGH + i], state[XX_MIDDLE + i], state[XX_LOW + i], xx, fit, sure = slide_three(
                    a * a, c * c, state[XX_C + i], ratio, state[XX_HIGH + i], state[XX_MIDDLE + i], state[XX_LOW + i]
                )
                misfits |= not fit
                state[XY_HIGH + i], state[XY_MIDDLE + i], state[XY_LOW + i], xy, fit, sure_xy = slide_three(
                    a * b, c * d, state[XY_C + i], ratio, state[XY_HIGH + i], state[XY_MIDDLE + i], state[XY_LOW + i]
                )
                misfits |= not fit
                state[YY_HIGH + i], state[YY_MIDDLE + i], state[YY_LOW + i], yy, fit, sure_yy = slide_three(
                    b * b, d * d, state[YY_C + i], ratio, state[YY_HIGH + i], state[YY_MIDDLE + i], state[YY_LOW + i]
                )
                misfits |= not fit
                value = product_from_sums(n, total, other, xx, xy, yy, is_scaled)
                value = value if sure & sure_xy & sure_yy else AGAIN
                value = value if n >= least else np.nan
                answer[j] = value
                again |= abs(value) == AGAIN
        else:
            for j in range(left, right):
                i, a, b, c, d = j - left, new[j], new_y[j], old[j], old_y[j]
                is_known, was_known = (a - a) + (b - b) == 0.0, ((c - c) + (d - d) == 0.0) & was_there
                a, b = a if is_known else 0.0, b if is_known else 0.0
                c, d = c if was_known else 0.0, d if was_known else 0.0
                n = state[AT_KNOWN + i] + ((1.0 if is_known else 0.0) - (1.0 if was_known else 0.0))
                state[AT_KNOWN + i] = n
                state[X_HIGH + i], state[X_LOW + i], total, fit = slide_two(
                    a, c, state[X_C + i], ratio, state[X_HIGH + i], state[X_LOW + i]
                )
                misfits |= (not fit) | (not abs(a) <= state[X_C + i] * reach)
                state[Y_HIGH + i], state[Y_LOW + i], other, fit = slide_two(
                    b, d, state[Y_C + i], ratio, state[Y_HIGH + i], state[Y_LOW + i]
                )
                misfits |= (not fit) | (not abs(b) <= state[Y_C + i] * reach)
                state[XX_HIGH + i], state[XX_MIDDLE + i], xx, fit = slide_two(
                    a * a, c * c, state[XX_C + i], ratio, state[XX_HIGH + i], state[XX_MIDDLE + i]
                )
                misfits |= not fit
                state[XY_HIGH + i], state[XY_MIDDLE + i], xy, fit = slide_two(
                    a * b, c * d, state[XY_C + i], ratio, state[XY_HIGH + i], state[XY_MIDDLE + i]
                )
                misfits |= not fit
                state[YY_HIGH + i], state[YY_MIDDLE + i], yy, fit = slide_two(
                    b * b, d * d, state[YY_C + i], ratio, state[YY_HIGH + i], state[YY_MIDDLE + i]
                )
                misfits |= not fit
                value = product_from_sums(n, total, other, xx, xy, yy, is_scaled)
                value = value if n >= least else np.nan
                answer[j] = value
                again |= abs(value) == AGAIN
    return not misfits, again


@kernel
def mend_pairs(
    x: Matrix,
    y: Matrix,
    start: int,
    stop: int,
    lo: int,
    hi: int,
    window: int,
    state: Matrix,
    terms: Matrix,
    out: Matrix,
) -> None:
    """Reset the extractors of columns whose values did not fit, and leave AGAIN in their rows start .. stop - 1."""
    ratio, reach = ratio_of_limbs(window), 1.0 / (3.0 * window)
    for t in range(start, stop):
        for j in range(lo, hi):
            is_known = (x[t, j] - x[t, j]) + (y[t, j] - y[t, j]) == 0.0
            fill_terms(x[t, j] if is_known else 0.0, y[t, j] if is_known else 0.0, terms, 0)
            for s in range(SUMS):
                extractor = state[s * SERIES + EXTRACTOR, j - lo]
                is_fit = fits_in_limbs(terms[s, 0], extractor, ratio, 2 if s < 2 else 3)
                is_fit &= (s >= 2) | (abs(terms[s, 0]) <= extractor * reach)
                state[MISFITS, j - lo] = state[MISFITS, j - lo] if is_fit else 1.0
    for j in range(lo, hi):
        first, greatest, other = max(0, stop - window), 0.0, 0.0
        if state[MISFITS, j - lo] > 0.0:
            for t in range(first, stop):
                if (x[t, j] - x[t, j]) + (y[t, j] - y[t, j]) == 0.0:
                    greatest, other = max(greatest, abs(x[t, j])), max(other, abs(y[t, j]))
            reset_pairs(greatest, other, window, state, j - lo, terms)
            for t in range(first, stop):
                if (x[t, j] - x[t, j]) + (y[t, j] - y[t, j]) == 0.0:
                    fill_terms(x[t, j], y[t, j], terms, 0)
                    for s in range(SUMS):
                        add_exactly(terms[s, 0], ratio, 2 if s < 2 else 3, state, s * SERIES, j - lo)
                    state[KNOWN, j - lo] += 1.0
            for t in range(start, stop):
                out[t, j] = AGAIN


@kernel
def product_about_means(x: Matrix, y: Matrix, t: int, j: int, window: int, is_scaled: bool) -> float:
    """Return covariance, or correlation when `is_scaled`, of one window from the distances to its means."""
    known, xx, xy, yy = central_products(x, y, t, j, window)
    if not xx + yy < math.inf:
        return np.nan
    if not is_scaled:
        return xy / (known - 1.0)
    return min(1.0, max(-1.0, xy / (math.sqrt(xx) * math.sqrt(yy)))) if min(xx, yy) > 0.0 else np.nan


@kernel
def product_from_terms(
    x: Matrix, y: Matrix, t: int, j: int, window: int, least: float, is_scaled: bool, terms: Matrix, partials: Matrix
) -> float:
    """Return the answer for one window, summed on its own. terms: [5, window]."""
    n = 0
    for k in range(max(0, t - window + 1), t + 1):
        a, b = x[k, j], y[k, j]
        if (a - a) + (b - b) == 0.0:
            fill_terms(a, b, terms, n)
            n += 1
    if n < least:
        return np.nan
    for s in range(SUMS):
        partials[PARTIALS + s] = exact_total(terms[s], n, partials)
    total, other, xx = partials[PARTIALS], partials[PARTIALS + 1], partials[PARTIALS + 2]
    value = product_from_sums(float(n), total, other, xx, partials[PARTIALS + 3], partials[PARTIALS + 4], is_scaled)
    return value if abs(value) < math.inf else product_about_means(x, y, t, j, window, is_scaled)


@kernel
def move_products(x: Matrix, y: Matrix, window: int, least: float, is_scaled: bool, out: Matrix) -> None:
    """Fill `out` with covariances, or correlations when `is_scaled`; see `move_covariance` and `move_correlation`."""
    T, N = x.shape
    state, saved, greatest = np.empty((MISFITS + 1, PAIRED)), np.empty((MISFITS + 1, PAIRED)), np.empty((2, PAIRED))
    flat = state.reshape(state.size)
    terms, partials = np.empty((SUMS, window)), np.empty(PARTIALS + SUMS)
    for lo in range(0, N, PAIRED):
        hi = min(N, lo + PAIRED)
        sample_magnitudes(x, lo, hi, greatest[0])
        sample_magnitudes(y, lo, hi, greatest[1])
        for i in range(hi - lo):
            reset_pairs(greatest[0, i], greatest[1, i], window, state, i, terms)
        is_wide, all_fit, again = False, False, False
        for start in range(0, T, ROWS):
            stop = min(T, start + ROWS)
            copy_state(state, saved)
            for _ in range(2):
                all_fit, again = slide_pairs(x, y, start, stop, lo, hi, window, least, is_scaled, is_wide, flat, out)
                if all_fit or is_wide:
                    break
                copy_state(saved, state)
                is_wide = True
            if not all_fit:
                mend_pairs(x, y, start, stop, lo, hi, window, state, terms, out)
            if again or not all_fit:
                for t in range(start, stop):
                    for j in range(lo, hi):
                        if out[t, j] == AGAIN:
                            out[t, j] = product_from_terms(x, y, t, j, window, least, is_scaled, terms, partials)
                        elif out[t, j] == CANCELLED:
                            out[t, j] = product_about_means(x, y, t, j, window, is_scaled)


@front
def move_covariance(x: Matrix, y: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the covariance (ddof 1) of each window. x, y, out: [T, N], out in the unit of x times that of y.

    `min_count` counts pairs. NaN: fewer than two pairs, too. Exactly 0 where either has no spread.
    """
    move_products(x, y, window, float(max(2, min_count)), False, out)


@front
def move_correlation(x: Matrix, y: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take Pearson's correlation of each window. x, y, out: [T, N], out without unit, in [-1, 1].

    `min_count` counts pairs. NaN: where either has no spread, too.
    """
    move_products(x, y, window, float(max(2, min_count)), True, out)
