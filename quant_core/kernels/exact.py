"""Exact sums over every window: a value that leaves a running sum leaves nothing behind.

A running sum in floating point remembers the rounding of every value it ever saw. These do not round: each value is cut
into limbs, multiples of a spacing of its column (error-free extraction, Rump, Ogita and Oishi 2008, SIAM J. Sci.
Comput. 31, 189); limbs of one spacing add and subtract without error, and the answer is the exact sum of the window,
rounded once to the nearest number. So it depends on the window alone, bit for bit, whatever the spacing, the start and
the order were.

A spacing is set by its extractor c = 1.5 2^k, large against any sum of a window: (value + c) - c is the value rounded
to multiples of 2^(k - 52). Two limbs hold values that differ in size by 2^30 and more, three hold products of such. A
value that does not fit is noticed; its windows are then summed one by one (`exact_total`), to the same bits.

The state of a series is SERIES rows of a matrix, one column for each of the strip: its extractor and three limbs.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel

SERIES = 4
EXTRACTOR, FIRST, SECOND, THIRD = 0, 1, 2, 3
"""Rows of a series: its extractor and its limbs, the coarsest first."""

ROWS = 64
"""Rows a sum runs over before a check whether all values fit."""

PARTIALS = 64
"""Numbers that hold the exact sum of any doubles: their exponents span 2,098 bits, 53 in each."""

HEADROOM = 16.0
"""How much larger than the sample the values of a column may become before its extractor must be reset."""

SAMPLED = 8
"""One row in so many is looked at for the size of a column's values."""


@kernel
def ratio_of_limbs(summands: int) -> float:
    """Return the extractor of one limb as a share of the one before: sums of so many limbs must not round."""
    ratio = 2.0**-52
    while summands * 2.0**-52 > ratio:
        ratio *= 2.0
    return ratio


@kernel
def extractor_of(greatest: float, summands: int) -> float:
    """Return the extractor for sums of values no larger than `greatest`; NaN, which nothing fits, if there is none."""
    bound = greatest * summands
    if bound == 0.0:
        return 0.0
    return 1.5 * 2.0 ** (math.frexp(bound)[1] + 1) if bound < 1e300 else np.nan


@kernel
def round_to_spacing(value: float, extractor: float) -> float:
    """Return the value rounded to a multiple of the extractor's spacing."""
    return (value + extractor) - extractor


@kernel
def slide_two(
    value: float, gone: float, extractor: float, ratio: float, high: float, low: float
) -> tuple[float, float, float, bool]:
    """Add a value to two limbs, take another away; return the limbs, their sum, and whether the value fits."""
    a, b = round_to_spacing(value, extractor), round_to_spacing(gone, extractor)
    rest = value - a
    high, low = high + (a - b), low + (rest - (gone - b))
    return high, low, high + low, round_to_spacing(rest, extractor * ratio) == rest


@kernel
def slide_three(
    value: float, gone: float, extractor: float, ratio: float, high: float, middle: float, low: float
) -> tuple[float, float, float, float, bool, bool]:
    """Add a value to three limbs, take another away.

    Returns the limbs, the double nearest to their sum, whether the value fits, and whether that double surely is the
    nearest: at a tie the last bits would decide, and they are not read.
    """
    second = extractor * ratio
    a, b = round_to_spacing(value, extractor), round_to_spacing(gone, extractor)
    value, gone, high = value - a, gone - b, high + (a - b)
    a, b = round_to_spacing(value, second), round_to_spacing(gone, second)
    value, gone, middle = value - a, gone - b, middle + (a - b)
    low += value - gone
    s = high + middle
    z = s - high
    error = (high - (s - z)) + (middle - z)
    tail = error + low
    z = tail - error
    rest = (error - (tail - z)) + (low - z)
    total = s + tail
    z = total - s
    left = (s - (total - z)) + (tail - z)
    is_tie = (rest != 0.0) & (left != 0.0) & ((total + 2.0 * left) - total == 2.0 * left)
    return high, middle, low, total, round_to_spacing(value, second * ratio) == value, not is_tie


@kernel
def fits_in_limbs(value: float, extractor: float, ratio: float, limbs: int) -> bool:
    """Return whether `limbs` limbs hold a value to its last bit."""
    for _ in range(limbs - 1):
        value -= round_to_spacing(value, extractor)
        extractor *= ratio
    return round_to_spacing(value, extractor) == value


@kernel
def add_exactly(value: float, ratio: float, limbs: int, state: Matrix, row: int, i: int) -> None:
    """Add a value to the series of column i that begins at `row`; one that does not fit sets its extractor to NaN."""
    extractor = state[row + EXTRACTOR, i]
    if not fits_in_limbs(value, extractor, ratio, limbs):
        state[row + EXTRACTOR, i] = np.nan
    for limb in range(1, limbs):
        part = round_to_spacing(value, extractor)
        state[row + limb, i] += part
        value -= part
        extractor *= ratio
    state[row + limbs, i] += value


@kernel
def sample_magnitudes(x: Matrix, lo: int, hi: int, greatest: Matrix) -> None:
    """Fill greatest [at least hi - lo] with the greatest size of a finite value among a sample of the rows."""
    left, right = np.uintp(lo), np.uintp(hi)
    for i in range(hi - lo):
        greatest[i] = 0.0
    for t in range(0, x.shape[0], SAMPLED):
        for j in range(left, right):
            size, most = abs(x[t, j]), greatest[j - left]
            greatest[j - left] = size if (size > most) & (size < np.inf) else most


@kernel
def copy_state(state: Matrix, saved: Matrix) -> None:
    """Copy one state to another of its shape."""
    for row in range(state.shape[0]):
        for i in range(state.shape[1]):
            saved[row, i] = state[row, i]


@kernel
def exact_total(terms: Matrix, count: int, partials: Matrix) -> float:
    """Return the exact sum of the first `count` terms, rounded to nearest; NaN beyond the largest double.

    partials: [PARTIALS] scratch. Source: Shewchuk (1997), Discrete Comput. Geom. 18, 305; Python's `math.fsum`.
    """
    held = 0
    for k in range(count):
        value: float = terms[k]
        kept = 0
        for i in range(held):
            other: float = partials[i]
            if abs(value) < abs(other):
                value, other = other, value
            total = value + other
            low: float = other - (total - value)
            if low != 0.0:
                partials[kept] = low
                kept += 1
            value = total
        if not abs(value) < np.inf:
            return np.nan
        partials[kept] = value
        held = kept + 1
    total, low = 0.0, 0.0
    while held > 0 and low == 0.0:
        held -= 1
        value = total
        total = value + partials[held]
        low = partials[held] - (total - value)
    if held > 0 and ((low < 0.0 and partials[held - 1] < 0.0) or (low > 0.0 and partials[held - 1] > 0.0)):
        other = total + 2.0 * low
        if other - total == 2.0 * low:
            return other
    return total
