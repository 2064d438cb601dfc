"""Sums and paths of the newest blocks of 1, 2, 4 ... rows, and windows joined from these blocks.

Arithmetic that scaling.py, serial_dependence.py and paths.py share; sums over long
stretches of rows live in doubling.py.

A block of 2n rows is an older and a newer block of n rows, a window one block for each power of two in its length. A
row so costs as many steps as a window has doublings, and a value depends on its window alone, bit for bit: the order of
the additions is fixed by the window's length, nothing is carried from row to row. Rows before the first are not known.

Arrays are flat: an entry is a few fields, a field one number for each column of a strip. Offsets are unsigned, as
places counted from the front are, and known to the compiler, which so sees that fields do not overlap.

Sums are taken about zero, not about the mean: meant for returns and the like. A level of a thousand deviations
costs six digits; values whose deviation is under a millionth of their size count as equal.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, kernel

STRIP = LANES // 2
"""Columns at a time."""

KNOWN = np.uintp(0 * STRIP)
"""First field of every entry: how many values, pairs or steps are known. They are sums: 3 fields, with ..."""
TOTAL = np.uintp(1 * STRIP)
SQUARED = np.uintp(2 * STRIP)
"""... the sum of the values and of their squares; ..."""
PRODUCT = np.uintp(1 * STRIP)
BOTH = np.uintp(2 * STRIP)
"""... or, of pairs, the sum of their products and of their sums."""

PATH = 9
"""Fields of a path of known steps: their number, ..."""
PLACE = np.uintp(1 * STRIP)
"""... where they lead to, ..."""
PLACES = np.uintp(2 * STRIP)
PLACES_SQUARED = np.uintp(3 * STRIP)
SLANT = np.uintp(4 * STRIP)
"""... the places after each step: their sum, that of their squares, that of each times its number 1, 2, ..."""
STEPS_SQUARED = np.uintp(5 * STRIP)
NEIGHBOURS = np.uintp(6 * STRIP)
"""... the sum of the steps' squares and of each step times the one before it, ..."""
OLDEST = np.uintp(7 * STRIP)
NEWEST = np.uintp(8 * STRIP)
"""... the first and the last step."""


@kernel
def has_remainder(left: float, whole: float) -> bool:
    """Return whether a sum of squares exceeds the rounding noise of subtracting it from `whole`."""
    return left > 1e-12 * whole


@kernel
def block_entries(window: int) -> int:
    """Return how many entries the blocks of a window need; those of n rows are n .. 2n - 1."""
    entries = 2
    while entries <= window:
        entries *= 2
    return entries


@kernel
def ring_size(rows: int) -> int:
    """Return a power of two that is at least `rows`."""
    size = 1
    while size < rows:
        size *= 2
    return size


@kernel
def count_known(x: Matrix, t: int, lo: int, hi: int, window: int, held: Matrix) -> None:
    """Update the number of known values of the window from row t - 1 to row t: held [STRIP], exact."""
    gone, left = np.uintp(max(0, t - window)), np.uintp(lo)
    for j in range(left, np.uintp(hi)):
        leaves = 1.0 if t >= window and not math.isnan(x[gone, j]) else 0.0
        held[j - left] += (0.0 if math.isnan(x[t, j]) else 1.0) - leaves


@kernel
def begin_sums(x: Matrix, t: int, lo: int, hi: int, recent: Matrix, now: Matrix) -> None:
    """Put row t into `recent`, a ring of rows, and as sums into the entry `now`."""
    row, left = np.uintp((t * STRIP) & (recent.size - 1)), np.uintp(lo)
    now[:] = 0.0
    for j in range(left, np.uintp(hi)):
        i, is_known = j - left, not math.isnan(x[t, j])
        value = x[t, j] if is_known else 0.0
        recent[row + i] = x[t, j]
        now[KNOWN + i], now[TOTAL + i], now[SQUARED + i] = (1.0 if is_known else 0.0), value, value * value


@kernel
def begin_pairs(recent: Matrix, t: int, lag: int, now: Matrix) -> None:
    """Put the pair of rows t and t - lag of the ring `recent` into the entry `now`."""
    a, b = np.uintp((t * STRIP) & (recent.size - 1)), np.uintp(((t - lag) * STRIP) & (recent.size - 1))
    for j in range(np.uintp(STRIP)):
        newer, older = recent[a + j], recent[b + j]
        is_pair = not math.isnan(newer) and not math.isnan(older)
        now[KNOWN + j] = 1.0 if is_pair else 0.0
        now[PRODUCT + j] = newer * older if is_pair else 0.0
        now[BOTH + j] = newer + older if is_pair else 0.0


@kernel
def double_sums(blocks: Matrix, t: int, n: int, now: Matrix) -> None:
    """Turn the sums over the n rows that end at row t, in `now`, into those over 2n rows; `blocks` keeps the former."""
    place = np.uintp((n + (t & (n - 1))) * now.size)
    for i in range(np.uintp(now.size)):
        older = blocks[place + i]
        blocks[place + i] = now[i]
        now[i] += older


@kernel
def sum_window(blocks: Matrix, t: int, window: int, now: Matrix, total: Matrix) -> None:
    """Fill the entry `total` with the sums over the window that ends at row t, of which `now` has the newest row."""
    n, is_first = 1, True
    while n <= window:
        if window & n:
            newer = window & (n - 1)
            place = np.uintp((n + ((t - newer) & (n - 1))) * now.size)
            for i in range(np.uintp(now.size)):
                part = blocks[place + i] if newer else now[i]
                total[i] = part if is_first else total[i] + part
            is_first = False
        double_sums(blocks, t, n, now)
        n *= 2


@kernel
def begin_path(x: Matrix, t: int, lo: int, hi: int, paths: Matrix, entry: int) -> None:
    """Put row t as a path of one step into an entry of `paths`."""
    place, left = np.uintp(entry * PATH * STRIP), np.uintp(lo)
    paths[place : place + np.uintp(PATH * STRIP)] = 0.0
    for j in range(left, np.uintp(hi)):
        i, is_known = place + j - left, not math.isnan(x[t, j])
        step = x[t, j] if is_known else 0.0
        paths[i + KNOWN] = 1.0 if is_known else 0.0
        paths[i + PLACE], paths[i + PLACES], paths[i + SLANT] = step, step, step
        paths[i + PLACES_SQUARED], paths[i + STEPS_SQUARED] = step * step, step * step
        paths[i + OLDEST], paths[i + NEWEST] = step, step


@kernel
def join_paths(paths: Matrix, older: int, newer: int, both: int) -> None:
    """Join two paths, one after the other, into a third entry."""
    a, b, c = np.uintp(older * PATH * STRIP), np.uintp(newer * PATH * STRIP), np.uintp(both * PATH * STRIP)
    for j in range(np.uintp(STRIP)):
        m, n, at, places = paths[a + KNOWN + j], paths[b + KNOWN + j], paths[a + PLACE + j], paths[b + PLACES + j]
        squares = paths[b + PLACES_SQUARED + j] + at * (2.0 * places + n * at)
        slant = paths[b + SLANT + j] + m * places + at * n * (0.5 * (n + 1.0) + m)
        seam = paths[a + NEWEST + j] * paths[b + OLDEST + j]
        oldest = paths[a + OLDEST + j] if m > 0.0 else paths[b + OLDEST + j]
        newest = paths[b + NEWEST + j] if n > 0.0 else paths[a + NEWEST + j]
        paths[c + KNOWN + j] = m + n
        paths[c + PLACE + j] = at + paths[b + PLACE + j]
        paths[c + PLACES + j] = paths[a + PLACES + j] + (places + n * at)
        paths[c + PLACES_SQUARED + j] = paths[a + PLACES_SQUARED + j] + squares
        paths[c + SLANT + j] = paths[a + SLANT + j] + slant
        paths[c + STEPS_SQUARED + j] = paths[a + STEPS_SQUARED + j] + paths[b + STEPS_SQUARED + j]
        paths[c + NEIGHBOURS + j] = (paths[a + NEIGHBOURS + j] + paths[b + NEIGHBOURS + j]) + seam
        paths[c + OLDEST + j], paths[c + NEWEST + j] = oldest, newest


@kernel
def double_path(paths: Matrix, t: int, n: int, now: int, then: int) -> None:
    """Turn the path of the n rows that end at row t, in entry `now`, into that of 2n rows, in `then`."""
    slot = n + (t & (n - 1))
    join_paths(paths, slot, now, then)
    place, source = np.uintp(slot * PATH * STRIP), np.uintp(now * PATH * STRIP)
    for i in range(np.uintp(PATH * STRIP)):
        paths[place + i] = paths[source + i]


@kernel
def walk_window(x: Matrix, t: int, lo: int, hi: int, window: int, paths: Matrix) -> int:
    """Return the entry with the path of the window that ends at row t. paths: `block_entries` and four more."""
    now = paths.size // (PATH * STRIP) - 4
    then, path, spare = now + 1, now + 2, now + 3
    begin_path(x, t, lo, hi, paths, now)
    paths[path * PATH * STRIP : (path + 1) * PATH * STRIP] = 0.0
    n = 1
    while n <= window:
        if window & n:
            newer = window & (n - 1)
            join_paths(paths, n + ((t - newer) & (n - 1)) if newer else now, path, spare)
            path, spare = spare, path
        double_path(paths, t, n, now, then)
        now, then = then, now
        n *= 2
    return path
