"""Kernels from a long table to matrices of some symbols: rows into cells, returns along rows, rows two tables share.

A long table is sorted by symbol and date: symbol j owns the rows starts[j] to starts[j + 1], and `row` holds the date
of each. Cells go back in columns.py; who cuts the blocks is features/tiles.py.
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


@kernel
def find_changes(words: Words, first: Places) -> int:
    """Find the rows whose text is elsewhere in memory than that of the row before; return how many there are.

    words: [R, 2], Arrow's string views; first: [C], filled as far as it goes.
    """
    flat, rows = words.reshape(-1), words.shape[0]
    count = 0
    for low in range(0, rows, TILE):
        high = min(low + TILE, rows)
        # Nearly all stretches are within one symbol: a sum of differences is several of them at a time.
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
    """Return whether the rows of each symbol are in order of their dates, none twice. row: [R]; starts: [N + 1]."""
    faults = 0
    for j in range(starts.size - 1):
        rows = row[starts[j] : starts[j + 1]]
        for k in range(rows.size - 1):
            faults += 1 if rows[k + 1] <= rows[k] else 0
    return faults == 0


@kernel
def first_row(row: Days, low: int, high: int, day: int) -> int:
    """Return the first of the rows low to high at `day` or later; `high` if there is none. row: ascending."""
    while low < high:
        middle = (low + high) // 2
        if row[middle] < day:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def end_row(row: Days, low: int, high: int, day: int, size: int) -> int:
    """Return the end of the rows from `low` on, below `high`, at the dates `day` to `day + size`, less one.

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
def fill_returns(close: Column, life: Column, is_provisional: Column, starts: Places, column: Column) -> None:
    """Return close / previous close - 1 along the rows of each symbol, within one life.

    close, column: [R]; life, is_provisional: [R], or empty where all is one life and no row provisional; starts:
    [symbols + 1], any of them. The previous close is that of the symbol's last row with one. A close that is not above
    zero and finite is not known.

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
    """Count the first rows of each symbol of a table that are at the same dates as in an older table.

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
        values, is_known = column[new : new + kept[j]], known[new : new + kept[j]]
        old_values = old_column[old : old + kept[j]]
        if old_known.size == 0:
            for k in range(values.size):
                values[k], is_known[k] = old_values[k], True
        else:
            was_known = old_known[old : old + kept[j]]
            for k in range(values.size):
                values[k] = old_values[k] if was_known[k] else np.nan
                is_known[k] = was_known[k]
