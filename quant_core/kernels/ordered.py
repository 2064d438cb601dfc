"""Moving order statistics: rank, quantile, median and expected shortfall.

The conventions are those of moving.py, whose moments, like the extremes of extremes.py, need no order. Ranks are
counted, window by window, for many columns at once. The others keep the window of each column sorted: one value leaves
and one enters per row, in one pass of selections over the whole window, without a branch and therefore many columns at
a time. Nothing is added up along the way, so the values do not drift. An infinite value is a value like others.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quant_core.kernels._jit import LANES, Matrix, front, kernel

Counts = npt.NDArray[np.int64]

_STRIP = LANES // 2
"""Columns whose windows are kept sorted at a time: two states of 60 rows fill the first-level cache."""


@kernel
def move_rank(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Rank the newest value among the known values of its window, over their number. x, out: [T, N], out in (0, 1].

    Equal values share the mean of their ranks. The smallest of n values has 1 / n, the largest 1.

    NaN: where the newest value is not known, too.
    """
    rows, columns = x.shape
    span, least = max(1, min(window, rows)), max(1, min_count)
    fours = (span + 3) // 4 * 4
    # The window in any order: rank does not ask for it. Rows beyond it, and those not yet there, compare as NaN does.
    ring, newest = np.empty((fours, LANES)), np.empty(LANES)
    twice, known = np.empty(LANES, dtype=np.int64), np.empty(LANES, dtype=np.int64)
    for left in range(0, columns, LANES):
        lo, hi = np.uintp(left), np.uintp(min(left + LANES, columns))
        width = hi - lo
        ring[:], known[:] = np.nan, 0
        for t in range(rows):
            slot = t % span
            for j in range(lo, hi):
                value, gone = x[t, j], ring[slot, j - lo]
                known[j - lo] += (0 if math.isnan(value) else 1) - (0 if math.isnan(gone) else 1)
                ring[slot, j - lo], newest[j - lo], twice[j - lo] = value, value, 1
            # One for each value below the newest, one for each not above it: with that first 1 twice its mean rank.
            for k in range(0, fours, 4):
                for j in range(width):
                    v, a, b, c, d = newest[j], ring[k, j], ring[k + 1, j], ring[k + 2, j], ring[k + 3, j]
                    below = (a < v) + (b < v) + (c < v) + (d < v)
                    twice[j] += below + (a <= v) + (b <= v) + (c <= v) + (d <= v)
            for j in range(lo, hi):
                n = known[j - lo]
                is_known = (n >= least) & (not math.isnan(newest[j - lo]))
                out[t, j] = twice[j - lo] / (2 * n) if is_known else np.nan


@kernel
def interpolate(low: float, high: float, share: float) -> float:
    """Return the value a share of the way from low to high; exactly low where both are equal, even if infinite."""
    step = high - low
    return low + (share * step if (share > 0.0) & (step > 0.0) else 0.0)


@kernel
def partition_below(values: Matrix, low: int, high: int, pivot: float, is_pivot_below: bool) -> int:
    """Move those of values[low:high] below the pivot, or equal to it, before the others; return where these begin."""
    end = low
    for k in range(low, high):
        value = values[k]
        values[k], values[end] = values[end], value
        end += 1 if value < pivot or (is_pivot_below and value == pivot) else 0
    return end


@kernel
def select_smallest(values: Matrix, count: int) -> None:
    """Move the `count` smallest values to the front, ascending. values: [n], without NaN."""
    low, high = 0, values.size
    while high - low > 1:
        a, b, c = values[low], values[(low + high) // 2], values[high - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        end = partition_below(values, low, high, pivot, False)
        if count <= end:
            high = end
            continue
        low = partition_below(values, end, high, pivot, True)
        if count <= low:
            break
    values[:count].sort()


@kernel
def average_tail(x: Matrix, level: float, found: Matrix) -> None:
    """Average the smallest floor(level T), at least 1, values of each column that is known throughout.

    The last row of what `read_sorted` finds when the window is all rows: without a window before it, nothing need be
    kept sorted. x: [T, N]; found: [N].
    """
    rows, columns = x.shape
    values, count = np.empty(rows), max(1, math.floor(level * rows + 1e-9))
    for j in range(columns):
        missing = 0
        for k in range(rows):
            values[k] = x[k, j] + 0.0
            missing += 1 if math.isnan(x[k, j]) else 0
        found[j] = np.nan
        if missing == 0:
            select_smallest(values, count)
            total = 0.0
            for k in range(count):
                total += values[k]
            found[j] = total / count


@kernel
def read_sorted(x: Matrix, window: int, q: float, is_tail: bool, min_count: int, found: Matrix) -> None:
    """Take the quantile q of each window, or the mean of its smallest floor(q n), at least 1, values. x, found: [T, N].

    The state of a strip of columns is its window ascending, between a first row of -inf and a last one of +inf, what is
    not known as +inf behind what is. With s the state before, d[i] = (s[i] if s[i] < leaving else s[i + 1]) is the
    window without the value that leaves, and max(d[i - 1], min(d[i], entering)) the one with the value that enters:
    four rows a round, for all columns of the strip. A real infinity is a value like others.
    """
    rows, columns = x.shape
    span, least = max(1, min(window, rows)), max(1, min_count)
    fours = (span + 3) // 4 * 4
    before, after = np.empty((fours + 2, _STRIP)), np.empty((fours + 2, _STRIP))
    leaving, entering, total = np.empty(_STRIP), np.empty(_STRIP), np.empty(_STRIP)
    # Rows that cannot have an answer yet are read at once.
    silent = min(rows, span - 1, least - 1)
    begun = np.empty(span)
    known, worst = np.empty(_STRIP, dtype=np.int64), np.empty(_STRIP, dtype=np.int64)
    if is_tail and span == rows == least and q <= 1.0:
        found[:silent] = np.nan
        average_tail(x, q, found[silent])
        return
    for left in range(0, columns, _STRIP):
        lo, hi = np.uintp(left), np.uintp(min(left + _STRIP, columns))
        width = hi - lo
        before[:], after[:], known[:] = np.inf, np.inf, 0
        before[0], after[0] = -np.inf, -np.inf
        leaving[:], entering[:] = np.inf, np.inf
        for j in range(left, min(left + _STRIP, columns)):
            for k in range(silent):
                found[k, j] = np.nan
                if not math.isnan(x[k, j]):
                    begun[known[j - left]] = x[k, j] + 0.0
                    known[j - left] += 1
            begun[: known[j - left]].sort()
            for k in range(known[j - left]):
                before[k + 1, j - left] = begun[k]
        for t in range(silent, rows):
            for j in range(lo, hi):
                value = x[t, j]
                # Adding zero makes -0.0 a 0.0: equal values must be equal bits, or their order would remember the past.
                entering[j - lo] = np.inf if math.isnan(value) else value + 0.0
                known[j - lo] += 0 if math.isnan(value) else 1
            if t >= span:
                for j in range(lo, hi):
                    value = x[t - span, j]
                    leaving[j - lo] = np.inf if math.isnan(value) else value
                    known[j - lo] -= 0 if math.isnan(value) else 1
            for i in range(1, fours + 1, 4):
                for j in range(width):
                    old, new = leaving[j], entering[j]
                    p, a, b, c = before[i - 1, j], before[i, j], before[i + 1, j], before[i + 2, j]
                    d, e = before[i + 3, j], before[i + 4, j]
                    p = p if p < old else a
                    a = a if a < old else b
                    b = b if b < old else c
                    c = c if c < old else d
                    d = d if d < old else e
                    e = a if a < new else new
                    after[i, j] = e if e > p else p
                    e = b if b < new else new
                    after[i + 1, j] = e if e > a else a
                    e = c if c < new else new
                    after[i + 2, j] = e if e > b else b
                    e = d if d < new else new
                    after[i + 3, j] = e if e > c else c
            before, after = after, before
            if is_tail:
                for j in range(width):
                    # 0.05 x 60 is a hair above 3, 0.29 x 100 a hair below 29.
                    worst[j], total[j] = max(1, math.floor(q * known[j] + 1e-9)), 0.0
                for i in range(max(1, math.floor(q * span + 1e-9))):
                    for j in range(width):
                        total[j] += before[i + 1, j] if i < worst[j] else 0.0
                for j in range(lo, hi):
                    found[t, j] = total[j - lo] / worst[j - lo] if known[j - lo] >= least else np.nan
            else:
                fewest, most = span, 0
                for j in range(width):
                    fewest, most = min(fewest, known[j]), max(most, known[j])
                if fewest == most:
                    place = max(0, most - 1) * q
                    below = int(place)
                    for j in range(lo, hi):
                        low, high = before[below + 1, j - lo], before[below + 2, j - lo]
                        found[t, j] = interpolate(low, high, place - below) if most >= least else np.nan
                else:
                    for j in range(lo, hi):
                        place = max(0, known[j - lo] - 1) * q
                        below = int(place)
                        low, high = before[below + 1, j - lo], before[below + 2, j - lo]
                        found[t, j] = interpolate(low, high, place - below) if known[j - lo] >= least else np.nan


@front
def move_quantile(x: Matrix, window: int, q: float, min_count: int, out: Matrix) -> None:
    """Take the quantile q of each window, on a straight line between neighbours. x, out: [T, N], same unit.

    NaN: between -inf and a larger value, too.
    Source: Hyndman & Fan (1996), The American Statistician 50(4), definition 7.
    """
    read_sorted(x, window, q, False, min_count, out)


@front
def move_median(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the median of each window, the mean of the middle two where their number is even. x, out: [T, N]."""
    read_sorted(x, window, 0.5, False, min_count, out)


@front
def move_cvar(x: Matrix, window: int, level: float, min_count: int, out: Matrix) -> None:
    """Average the k = max(1, floor(level n)) smallest of the n known values of each window. x, out: [T, N].

    The convention: whole observations only, the worst ones; returns give a negative number where the tail loses.

    Source: Acerbi & Tasche (2002), Journal of Banking & Finance 26(7), the estimator of their equation 4.7.
    """
    read_sorted(x, window, level, True, min_count, out)
