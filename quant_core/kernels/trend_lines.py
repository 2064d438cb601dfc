"""Moving least-squares lines of one series against time: slope, R^2, residual. Two series: pairs.py.

Sums of x, of x times its age and of squares are exact (exact.py), and windows are gone through again about their means
where these would cancel; the conventions are those of moving.py. A missing row leaves a gap in time.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, front, kernel
from quant_core.kernels.exact import (
    HEADROOM,
    PARTIALS,
    ROWS,
    SERIES,
    cut,
    exact_total,
    extractor_of,
    fits,
    ratio_of_limbs,
    sample_sizes,
    slide_three,
    slide_two,
    take_in,
)
from quant_core.kernels.moving import AGAIN, CANCELLED, CANCELS, central_sums
from quant_core.kernels.pairs import PAIRED

# Share of sum(age x) that its distance to mean(age) sum(x) must be.
CANCELS_AGED = 1e-6
SLOPE, SHARE, RESIDUAL = 0, 1, 2


@kernel
def open_line(greatest: float, window: int, state: Matrix, i: int) -> None:
    """Begin the exact sums of column i: nothing added yet, grids for values up to `greatest`.

    state: [3 SERIES + 4, at least i]: the sums of x, age x, x x; the number of known rows, the sums of their ages and
    squared ages; misfits. The newest row is of age 0; x and age x share a grid, and so its extractor.
    """
    for row in range(state.shape[0]):
        state[row, i] = 0.0
    state[0, i] = extractor_of(greatest, window * window)
    state[2 * SERIES, i] = extractor_of(greatest * greatest, window)


@kernel
def line_from(
    n: float, ages: float, aged_twice: float, total: float, aged: float, squares: float, newest: float, kind: int
) -> float:
    """Return what a line's sums say: slope, R^2 or newest residual; CANCELLED where they do."""
    mean = total / n
    product, spread = aged - ages * mean, aged_twice - ages * (ages / n)
    slope = -product / spread
    is_sound = abs(product) > CANCELS_AGED * abs(aged)
    value = slope
    if kind == SHARE:
        around = squares - total * mean
        is_sound = around > CANCELS * squares
        value = min(1.0, product / around * (product / spread))
    elif kind == RESIDUAL:
        value = newest - mean - slope * (ages / n)
    return value if is_sound else CANCELLED


@kernel
def slide_line(
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
) -> tuple[bool, bool]:
    """Fill rows start .. stop - 1 of `out`.

    Returns whether all values fit their grids, and whether a cell holds AGAIN or CANCELLED.
    """
    left, right = np.uintp(lo), np.uintp(hi)
    ratio, reach, span = ratio_of_limbs(window * window), 1.0 / (3.0 * window * window), float(window)
    ratio_squares = ratio_of_limbs(window)
    at0 = np.uintp(0 * PAIRED)
    at1 = np.uintp(1 * PAIRED)
    at2 = np.uintp(2 * PAIRED)
    at5 = np.uintp(5 * PAIRED)
    at6 = np.uintp(6 * PAIRED)
    at8 = np.uintp(8 * PAIRED)
    at9 = np.uintp(9 * PAIRED)
    at10 = np.uintp(10 * PAIRED)
    at11 = np.uintp(11 * PAIRED)
    at12 = np.uintp(12 * PAIRED)
    at13 = np.uintp(13 * PAIRED)
    at14 = np.uintp(14 * PAIRED)
    misfits, again = False, False
    for t in range(start, stop):
        new, old, answer, was_there = x[t], x[max(0, t - window)], out[t], t >= window
        for j in range(left, right):
            i, newest, gone = j - left, new[j], old[j]
            is_known, was_known = newest - newest == 0.0, (gone - gone == 0.0) & was_there
            value, gone = newest if is_known else 0.0, gone if was_known else 0.0
            left_out = 1.0 if was_known else 0.0
            n, ages, twice = state[at12 + i], state[at13 + i], state[at14 + i]
            twice += 2.0 * ages + n - span * span * left_out
            ages += n - span * left_out
            n += (1.0 if is_known else 0.0) - left_out
            state[at12 + i], state[at13 + i], state[at14 + i] = n, ages, twice
            c = state[at0 + i]
            high = cut(gone, c)
            state[at5 + i] += state[at1 + i] - span * high
            state[at6 + i] += state[at2 + i] - span * (gone - high)
            aged = state[at5 + i] + state[at6 + i]
            state[at1 + i], state[at2 + i], total, fit = slide_two(
                value, gone, c, ratio, state[at1 + i], state[at2 + i]
            )
            misfits |= (not fit) | (not abs(value) <= c * reach)
            squares, sure = 0.0, True
            if kind == SHARE:
                state[at9 + i], state[at10 + i], state[at11 + i], squares, fit, sure = slide_three(
                    value * value,
                    gone * gone,
                    state[at8 + i],
                    ratio_squares,
                    state[at9 + i],
                    state[at10 + i],
                    state[at11 + i],
                )
                misfits |= not fit
            result = line_from(n, ages, twice, total, aged, squares, newest, kind)
            result = result if sure else AGAIN
            result = result if n >= least else np.nan
            answer[j] = result
            again |= abs(result) == AGAIN
    return not misfits, again


@kernel
def mend_lines(
    x: Matrix, start: int, stop: int, lo: int, hi: int, window: int, kind: int, state: Matrix, out: Matrix
) -> None:
    """Leave AGAIN in the rows start .. stop - 1 of the columns whose values did not fit; set their grids anew."""
    ratio, reach = ratio_of_limbs(window * window), 1.0 / (3.0 * window * window)
    ratio_squares = ratio_of_limbs(window)
    for t in range(start, stop):
        for j in range(lo, hi):
            i, value = j - lo, x[t, j] if x[t, j] - x[t, j] == 0.0 else 0.0
            fit = fits(value, state[0, i], ratio, 2) & (abs(value) <= state[0, i] * reach)
            fit &= (kind != SHARE) or fits(value * value, state[8, i], ratio_squares, 3)
            state[15, i] = state[15, i] if fit else 1.0
    for j in range(lo, hi):
        i, first, greatest = j - lo, max(0, stop - window), 0.0
        if state[15, i] > 0.0:
            for t in range(first, stop):
                greatest = max(greatest, abs(x[t, j]) if x[t, j] - x[t, j] == 0.0 else 0.0)
            open_line(HEADROOM * greatest, window, state, i)
            for t in range(first, stop):
                state[14, i] += 2.0 * state[13, i] + state[12, i]
                state[13, i] += state[12, i]
                state[5, i] += state[1, i]
                state[6, i] += state[2, i]
                if x[t, j] - x[t, j] == 0.0:
                    take_in(x[t, j], ratio, 2, state, 0, i)
                    take_in(x[t, j] * x[t, j], ratio_squares, 3, state, 2 * SERIES, i)
                    state[12, i] += 1.0
            for t in range(start, stop):
                out[t, j] = AGAIN


@kernel
def line_about_means(x: Matrix, t: int, j: int, window: int, kind: int) -> float:
    """Return slope, R^2 or newest residual of one window from the distances to its means."""
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
    slope, has_line = -product / spread, squares > 0.0
    result = slope if has_line else 0.0
    if kind == SHARE:
        result = min(1.0, product / squares * (product / spread)) if has_line else np.nan
    elif kind == RESIDUAL:
        result = x[t, j] - mean - slope * ages if has_line else 0.0 * x[t, j]
    return result if abs(result) < math.inf else np.nan


@kernel
def line_again(
    x: Matrix, t: int, j: int, window: int, least: float, kind: int, terms: Matrix, partials: Matrix
) -> float:
    """Return what `out` must hold for one window, summed by itself. terms: [3, 2 window]."""
    n, ages, twice = 0, 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        value, age = x[k, j], float(t - k)
        if value - value == 0.0:
            high = cut(value, value * 2.0**27)  # the upper half of its bits: whole ages times halves do not round
            terms[0, n], terms[1, 2 * n], terms[1, 2 * n + 1] = value, age * high, age * (value - high)
            terms[2, n] = value * value
            n, ages, twice = n + 1, ages + age, twice + age * age
    if n < least:
        return np.nan
    for s in range(3 if kind == SHARE else 2):
        partials[PARTIALS + s] = exact_total(terms[s], 2 * n if s == 1 else n, partials)
    total, aged, squares = partials[PARTIALS], partials[PARTIALS + 1], partials[PARTIALS + 2]
    result = line_from(float(n), ages, twice, total, aged, squares, x[t, j], kind)
    return result if abs(result) < math.inf else line_about_means(x, t, j, window, kind)


@kernel
def move_line(x: Matrix, window: int, least: float, kind: int, out: Matrix) -> None:
    """Fill `out` with SLOPE, SHARE (R^2) or RESIDUAL (of the newest value) of each window's least-squares line."""
    T, N = x.shape
    state, greatest = np.empty((16, PAIRED)), np.empty(PAIRED)
    flat = state.reshape(state.size)
    terms, partials = np.empty((3, 2 * window)), np.empty(PARTIALS + 3)
    for lo in range(0, N, PAIRED):
        hi = min(N, lo + PAIRED)
        sample_sizes(x, lo, hi, greatest)
        for i in range(hi - lo):
            open_line(HEADROOM * greatest[i], window, state, i)
        for start in range(0, T, ROWS):
            stop = min(T, start + ROWS)
            all_fit, again = slide_line(x, start, stop, lo, hi, window, least, kind, flat, out)
            if not all_fit:
                mend_lines(x, start, stop, lo, hi, window, kind, state, out)
            if again or not all_fit:
                for t in range(start, stop):
                    for j in range(lo, hi):
                        if out[t, j] == AGAIN:
                            out[t, j] = line_again(x, t, j, window, least, kind, terms, partials)
                        elif out[t, j] == CANCELLED:
                            out[t, j] = line_about_means(x, t, j, window, kind)


@front
def move_slope(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the slope of each window's least-squares line against time. x, out: [T, N], out in units of x per bar.

    A missing row leaves a gap in time. NaN: fewer than two known values, too.
    """
    move_line(x, window, float(max(2, min_count)), SLOPE, out)


@front
def move_rsquare(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the share of each window's spread its least-squares line explains. x, out: [T, N], out a fraction.

    NaN: fewer than two known values or no spread, too.
    """
    move_line(x, window, float(max(2, min_count)), SHARE, out)


@front
def move_resi(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the newest value less what each window's least-squares line says of it. x, out: [T, N], same unit.

    NaN: where the newest value is not known or fewer than two are, too.
    """
    move_line(x, window, float(max(2, min_count)), RESIDUAL, out)
