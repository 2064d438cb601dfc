"""Between a long table and matrices of some symbols: rows into cells and back, and what is read along the rows.

A long table stands in order of symbol and date: symbol j owns the rows starts[j] to starts[j + 1], and `row` says at
which date each stands. No kernel here is one of panels [T, N]; who cuts the blocks is features/bars.py.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quant_core.kernels._jit import LANES, Mask, Matrix, kernel

Column = npt.NDArray[np.float64]
Days = npt.NDArray[np.int32]
Stamps = npt.NDArray[np.integer]
Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

TILE = 512
"""Dates per pass over the symbols of a block: each symbol's rows are read and written in stretches long enough for the
processor to fetch ahead, while the block stays in the second-level cache."""

WIDTH = TILE + 8
"""A little more than a power of two: lines of a block do not compete for the same places of the cache."""

EIGHT = 8
"""Symbols written at a time: a row of so many values is a line of the cache."""


@kernel
def find_changes(words: Words, first: Places) -> int:
    """Find the rows whose text lies elsewhere in memory than that of the row before; return how many there are.

    words: [R, 2], Arrow's string views; first: [C], filled as far as it goes.
    """
    flat, rows = words.reshape(-1), words.shape[0]
    count = 0
    for low in range(0, rows, TILE):
        high = min(low + TILE, rows)
        # Nearly all stretches lie within one symbol: a sum of differences is several of them at a time.
        differing = 1 if low == 0 else 0
        for k in range(np.uintp(max(2 * low, 2)), np.uintp(2 * high)):
            differing += 1 if flat[k] != flat[k - np.uintp(2)] else 0
        if differing == 0:
            continue
        for i in range(low, high):
            if i == 0 or words[i, 0] != words[i - 1, 0] or words[i, 1] != words[i - 1, 1]:
                if count < first.size:
                    first[count] = i
                count += 1
    return count


@kernel
def mark_days(stamps: Stamps, low: int, is_there: Mask) -> None:
    """Mark the days that come in a table. stamps: [R], the first of them is `low`; is_there: [days], all False."""
    for i in range(stamps.size):
        is_there[np.uintp(stamps[i] - low)] = True


@kernel
def number_days(stamps: Stamps, low: int, place: Days, row: Days) -> None:
    """Fill row [R] with the place [days] of each row's day; see `mark_days`."""
    for i in range(stamps.size):
        row[i] = place[np.uintp(stamps[i] - low)]


@kernel
def is_in_order(row: Days, starts: Places) -> bool:
    """Whether the rows of each symbol stand in the order of their dates, no date twice. row: [R]; starts: [N + 1]."""
    faults = 0
    for j in range(starts.size - 1):
        rows = row[starts[j] : starts[j + 1]]
        for k in range(rows.size - 1):
            faults += 1 if rows[k + 1] <= rows[k] else 0
    return faults == 0


@kernel
def first_row(row: Days, low: int, high: int, day: int) -> int:
    """Return the first of the rows low to high that stands at `day` or later; `high` if none does. row: ascending."""
    while low < high:
        middle = (low + high) // 2
        if row[middle] < day:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def end_row(row: Days, low: int, high: int, day: int, size: int) -> int:
    """Return the end of the rows from `low` on, below `high`, that stand at the dates `day` to `day + size`, less one.

    A symbol with a row at each of them is seen at a glance.
    """
    end = low + size
    if end <= high and row[end - 1] == day + size - 1:
        return end
    return first_row(row, low, min(end, high), day + size)


@kernel
def fill_matrix(
    column: Column, lowest: float, row: Days, starts: Places, members: Places, top: int, matrix: Matrix
) -> None:
    """Put the rows of some symbols into a matrix whose first row is the date `top`.

    column: [R]; lowest: a value below it, or not finite, is not known; row: [R]; starts: [N + 1]; members: [W] symbols,
    one per column; matrix: [H, W].

    NaN: a cell without a row, and a value that is not known.
    """
    height, width = matrix.shape
    at, flipped = np.empty(LANES, dtype=np.int64), np.empty((LANES, WIDTH))
    for lo in range(0, width, LANES):
        lanes = min(LANES, width - lo)
        for j in range(lanes):
            at[j] = first_row(row, starts[members[lo + j]], starts[members[lo + j] + 1], top)
        for first in range(0, height, TILE):
            size, day = min(TILE, height - first), top + first
            for j in range(lanes):
                end = end_row(row, at[j], starts[members[lo + j] + 1], day, size)
                values = column[at[j] : end]
                if values.size == size:
                    for k in range(size):
                        flipped[j, k] = values[k]
                else:
                    places = row[at[j] : end]
                    for k in range(size):
                        flipped[j, k] = np.nan
                    for k in range(values.size):
                        flipped[j, np.uintp(places[k] - day)] = values[k]
                at[j] = end
            for k in range(size):
                for j in range(np.uintp(lo), np.uintp(lo + lanes)):
                    value = flipped[j - np.uintp(lo), k]
                    matrix[first + k, j] = value if value >= lowest and value < np.inf else np.nan


@kernel
def write_eight(matrix: Matrix, left: int, first: int, stop: int, places: Places, column: Column) -> None:
    """Write the rows first .. stop - 1 of eight columns of a matrix to a table's column: each value is moved once.

    matrix: [H, W]; left: the first of the eight; places: [EIGHT] where each one's row `first` goes; column: [R].
    """
    a = np.uintp(left)
    b, c, d, e = a + np.uintp(1), a + np.uintp(2), a + np.uintp(3), a + np.uintp(4)
    f, g, h = a + np.uintp(5), a + np.uintp(6), a + np.uintp(7)
    i, j, k, m = np.uintp(places[0]), np.uintp(places[1]), np.uintp(places[2]), np.uintp(places[3])
    n, o, p, q = np.uintp(places[4]), np.uintp(places[5]), np.uintp(places[6]), np.uintp(places[7])
    for row in range(np.uintp(stop - first)):
        t = row + np.uintp(first)
        column[i + row], column[j + row] = matrix[t, a], matrix[t, b]
        column[k + row], column[m + row] = matrix[t, c], matrix[t, d]
        column[n + row], column[o + row] = matrix[t, e], matrix[t, f]
        column[p + row], column[q + row] = matrix[t, g], matrix[t, h]


@kernel
def tell_known(values: Column, known: Mask) -> None:
    """Make NaN of what is not finite, and tell which values are known. values: [n]; known: [n], or empty."""
    infinite = 0
    for k in range(values.size):
        infinite += 1 if abs(values[k]) == np.inf else 0
    if infinite > 0:
        for k in range(values.size):
            values[k] = values[k] if abs(values[k]) < np.inf else np.nan
    for k in range(known.size):
        known[k] = values[k] == values[k]


@kernel
def write_eight_dates(
    matrix: Matrix, left: int, first: int, stop: int, row: Days, top: int, places: Places, column: Column
) -> None:
    """Do as `write_eight` where dates are missing, without a branch: a value without a row is overwritten by the next.

    row: [R]; top: the date of the matrix's first row; places: [EIGHT] where each one's next row goes, moved on. Each
    symbol must have a row at stop - 1 or later.
    """
    a = np.uintp(left)
    b, c, d, e = a + np.uintp(1), a + np.uintp(2), a + np.uintp(3), a + np.uintp(4)
    f, g, h = a + np.uintp(5), a + np.uintp(6), a + np.uintp(7)
    i, j, k, m = np.uintp(places[0]), np.uintp(places[1]), np.uintp(places[2]), np.uintp(places[3])
    n, o, p, q = np.uintp(places[4]), np.uintp(places[5]), np.uintp(places[6]), np.uintp(places[7])
    for t in range(np.uintp(first), np.uintp(stop)):
        day = np.int32(t + np.uintp(top))
        column[i], column[j], column[k], column[m] = matrix[t, a], matrix[t, b], matrix[t, c], matrix[t, d]
        column[n], column[o], column[p], column[q] = matrix[t, e], matrix[t, f], matrix[t, g], matrix[t, h]
        i, j = i + np.uintp(row[i] == day), j + np.uintp(row[j] == day)
        k, m = k + np.uintp(row[k] == day), m + np.uintp(row[m] == day)
        n, o = n + np.uintp(row[n] == day), o + np.uintp(row[o] == day)
        p, q = p + np.uintp(row[p] == day), q + np.uintp(row[q] == day)
    places[0], places[1], places[2], places[3] = i, j, k, m
    places[4], places[5], places[6], places[7] = n, o, p, q


@kernel
def write_group(
    matrix: Matrix, left: int, row: Days, at: Places, ends: Places, top: int, column: Column, known: Mask
) -> bool:
    """Write eight columns of a matrix; False, and nothing written, if one of their symbols has no row.

    left: the first of the eight; at, ends: [W] the rows of each; all else as in `fill_column`.
    """
    earliest, latest, stop, is_unbroken = matrix.shape[0], 0, matrix.shape[0], True
    for j in range(left, left + EIGHT):
        if ends[j] == at[j]:
            return False
        begin, end = row[at[j]] - top, row[ends[j] - 1] - top + 1
        is_unbroken &= end - begin == ends[j] - at[j]
        earliest, latest, stop = min(earliest, begin), max(latest, begin), min(stop, end)
    places = at[left : left + EIGHT].copy()
    if is_unbroken and latest < stop:
        for j in range(left, left + EIGHT):
            begin = row[at[j]] - top
            for t in range(begin, latest):
                column[at[j] + (t - begin)] = matrix[t, j]
            places[j - left] += latest - begin
        write_eight(matrix, left, latest, stop, places, column)
        for j in range(EIGHT):
            places[j] += stop - latest
    else:
        write_eight_dates(matrix, left, earliest, max(earliest, stop), row, top, places, column)
    for j in range(left, left + EIGHT):
        for place in range(places[j - left], ends[j]):
            column[place] = matrix[row[place] - top, j]
        tell_known(column[at[j] : ends[j]], known[at[j] : ends[j]])
    return True


@kernel
def write_broken(
    matrix: Matrix, lo: int, hi: int, row: Days, at: Places, ends: Places, top: int, column: Column, known: Mask
) -> None:
    """Write the columns lo .. hi - 1 of a matrix, LANES at the most, whatever dates their symbols miss.

    at, ends: [hi - lo] the rows of each, `at` overwritten; all else as in `fill_column`.
    """
    height, flipped = matrix.shape[0], np.empty((LANES, WIDTH))
    for first in range(0, height, TILE):
        size, day = min(TILE, height - first), top + first
        for k in range(size):
            for j in range(np.uintp(lo), np.uintp(hi)):
                value = matrix[first + k, j]
                flipped[j - np.uintp(lo), k] = value if abs(value) < np.inf else np.nan
        for j in range(hi - lo):
            end = end_row(row, at[j], ends[j], day, size)
            values, are_known = column[at[j] : end], known[at[j] : end]
            if values.size == size:
                for k in range(size):
                    values[k] = flipped[j, k]
            else:
                places = row[at[j] : end]
                for k in range(values.size):
                    values[k] = flipped[j, np.uintp(places[k] - day)]
            for k in range(are_known.size):
                are_known[k] = values[k] == values[k]
            at[j] = end


@kernel
def fill_column(
    matrix: Matrix, row: Days, starts: Places, members: Places, since: Places, top: int, column: Column, known: Mask
) -> None:
    """Put the cells of a matrix that have a row back into the table; see `fill_matrix`.

    since: [W] of each symbol, the date from which on its rows are written; column: [R]; known: [R] whether the value
    written is, told while it is at hand, or empty.

    NaN: what is not finite.
    """
    height, width = matrix.shape
    at, ends = np.empty(width, dtype=np.int64), np.empty(width, dtype=np.int64)
    for j in range(width):
        high = starts[members[j] + 1]
        at[j] = first_row(row, starts[members[j]], high, max(top, since[j]))
        ends[j] = end_row(row, at[j], high, top, height)
    # In a wide matrix rows lie pages apart: eight symbols at a time would take longer.
    is_narrow, lo = width <= LANES, 0
    while lo < width:
        hi, is_written = lo, False
        while hi < width and hi - lo < LANES and not is_written:
            if is_narrow and hi + EIGHT <= width:
                is_written = write_group(matrix, hi, row, at, ends, top, column, known)
            hi += 0 if is_written else min(EIGHT, width - hi)
        if hi > lo:
            write_broken(matrix, lo, hi, row, at[lo:hi], ends[lo:hi], top, column, known)
        lo = hi + EIGHT if is_written else hi


@kernel
def fill_returns(close: Column, life: Column, is_provisional: Column, starts: Places, column: Column) -> None:
    """Return close / previous close - 1 along the rows of each symbol, within one life.

    close, column: [R]; life, is_provisional: [R], or empty where all is one life and no row provisional; starts:
    [symbols + 1], any of them. The previous close is that of the symbol's last row with one. A close that is not above
    zero and finite is not known. The same as `step_returns` of matrices, without a matrix.

    NaN: without a close, at the first row of a life, and at a provisional row.
    """
    for j in range(starts.size - 1):
        low, high = starts[j], starts[j + 1]
        prices, found = close[low:high], column[low:high]
        exceptions = 0
        for k in range(prices.size):
            exceptions += 0 if prices[k] > 0.0 and prices[k] < np.inf else 1
        for era in life[low:high]:
            exceptions += 1 if era != life[low] else 0
        for mark in is_provisional[low:high]:
            exceptions += 1 if mark != 0.0 else 0
        if exceptions == 0:
            for k in range(1, prices.size):
                found[k] = prices[k] / prices[k - 1] - 1.0
            found[:1] = np.nan
            continue
        last, era = np.nan, np.nan
        for k in range(prices.size):
            price = prices[k]
            found[k] = np.nan
            if price > 0.0 and price < np.inf:
                new = life[low + k] if life.size > 0 else 0.0
                if new == era and (is_provisional.size == 0 or is_provisional[low + k] == 0.0):
                    found[k] = price / last - 1.0
                last, era = price, new


@kernel
def count_shared_rows(
    old_row: Days, old_starts: Places, row: Days, starts: Places, before: Places, limit: int, kept: Places
) -> None:
    """Count the first rows of each symbol of a table that stand at the same dates as in an older table.

    old_row: [Q], old_starts: [M + 1], the older table; row: [R], starts: [N + 1]; before: [N] each symbol's place in
    the older table, -1 where it is new; limit: dates from there on are not compared; kept: [N].
    """
    for j in range(before.size):
        count = 0
        if before[j] >= 0:
            old, new = old_starts[before[j]], starts[j]
            most = min(old_starts[before[j] + 1] - old, starts[j + 1] - new)
            while count < most and row[new + count] < limit and row[new + count] == old_row[old + count]:
                count += 1
        kept[j] = count


@kernel
def count_shared_values(
    old_column: Column, old_starts: Places, column: Column, starts: Places, before: Places, kept: Places
) -> None:
    """Lower `kept` to the rows before the first whose value has other bits than in the older table.

    See `count_shared_rows`. All that is NaN is one value: not known.
    """
    for j in range(before.size):
        if before[j] >= 0:
            old, new = old_starts[before[j]], starts[j]
            count, is_equal = 0, True
            while is_equal and count < kept[j]:
                a, b = old_column[old + count], column[new + count]
                # Zeros of two signs are equal, their inverses are not.
                is_equal = (a == b and math.copysign(1.0, a) == math.copysign(1.0, b)) or (
                    math.isnan(a) and math.isnan(b)
                )
                count += is_equal
            kept[j] = count


@kernel
def copy_rows(
    old_column: Column,
    old_known: Mask,
    old_starts: Places,
    starts: Places,
    before: Places,
    kept: Places,
    column: Column,
    known: Mask,
) -> None:
    """Copy the first `kept` [N] rows of each symbol from an older table; see `count_shared_rows`.

    old_column: [Q]; old_known: [Q] whether a value is known, or empty where all are; column: [R]; known: [R] whether
    the value copied is.

    NaN: what is not known.
    """
    for j in range(before.size):
        if kept[j] == 0:
            continue
        old, new = old_starts[before[j]], starts[j]
        values, told = column[new : new + kept[j]], known[new : new + kept[j]]
        old_values = old_column[old : old + kept[j]]
        if old_known.size == 0:
            for k in range(values.size):
                values[k], told[k] = old_values[k], True
        else:
            old_told = old_known[old : old + kept[j]]
            for k in range(values.size):
                values[k] = old_values[k] if old_told[k] else np.nan
                told[k] = old_told[k]
