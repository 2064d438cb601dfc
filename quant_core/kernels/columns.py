"""Cells of a matrix back into the columns of a long table, eight symbols at a time where the matrix is narrow.

What the table is and how its rows became cells: scatter.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.kernels._jit import LANES, Mask, Matrix, kernel
from quant_core.kernels.scatter import TILE, WIDTH, Column, Days, Places, end_row, first_row

EIGHT = 8
"""Symbols written at a time: a row of so many values is a line of the cache."""


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
def mark_finite(values: Column, known: Mask) -> None:
    """Set values that are not finite to NaN, and mark the known ones. values: [n]; known: [n], or empty."""
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
    """Branch-free `write_eight` for columns with missing dates: a value without a row is overwritten by the next.

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
        mark_finite(column[at[j] : ends[j]], known[at[j] : ends[j]])
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
    written is known, or empty.

    NaN: what is not finite.
    """
    height, width = matrix.shape
    at, ends = np.empty(width, dtype=np.int64), np.empty(width, dtype=np.int64)
    for j in range(width):
        high = starts[members[j] + 1]
        at[j] = first_row(row, starts[members[j]], high, max(top, since[j]))
        ends[j] = end_row(row, at[j], high, top, height)
    # In a wide matrix rows are pages apart: eight symbols at a time would take longer.
    step = EIGHT if width <= LANES else LANES
    for lo in range(0, width, step):
        hi = min(lo + step, width)
        if hi - lo != EIGHT or not write_group(matrix, lo, row, at, ends, top, column, known):
            write_broken(matrix, lo, hi, row, at[lo:hi], ends[lo:hi], top, column, known)
