"""Sums over every window by doubling: the arithmetic behind higher moments (moving.py), paths.py and trading.py.

A window of 20 rows is a node of 16 rows and one of 4; a node of 16 rows is four nodes of 4. Each row so costs a handful
of additions whatever the window, and yet its value depends on its window alone, bit for bit: the order of the additions
is fixed by the window's length, and no sum is carried from row to row. The error is that of pairwise summation.

Strips of columns are read into flat arrays, row after row; a view shifted by k rows is the older half of every node.
"""

from __future__ import annotations

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, kernel


@kernel
def chunk_rows(window: int) -> int:
    """Return how many rows are summed at a time: the window - 1 rows read again for each chunk must not weigh much."""
    return max(64, 3 * window)


@kernel
def strip_columns(window: int) -> int:
    """Return how many columns are read at a time: many are read faster, as long as scratch stays in the cache."""
    return 2 * LANES if window <= LANES else LANES


@kernel
def fill_silent_rows(least: float, out: Matrix) -> int:
    """Fill the rows of `out` that cannot have `least` known values yet with NaN; return how many they are."""
    first: int = min(out.shape[0], max(0, int(least) - 1))
    out[:first] = np.nan
    return first


@kernel
def add_four(newest: Matrix, second: Matrix, third: Matrix, oldest: Matrix, total: Matrix) -> None:
    """Add four neighbouring nodes. All: [cells]."""
    for i in range(total.size):
        total[i] = (newest[i] + second[i]) + (third[i] + oldest[i])


@kernel
def add_nodes(nodes: Matrix, count: int, shift: int, end: int, is_first: bool, total: Matrix) -> None:
    """Add one to three neighbouring nodes to total [length], or begin it with them.

    nodes: [cells]; the newest node of the last cell of `total` ends at cell `end`, each older one `shift` cells before.
    """
    first, length = end - total.size, total.size
    one = nodes[first:end]
    two = nodes[first - shift : end - shift] if count > 1 else one
    three = nodes[first - 2 * shift : end - 2 * shift] if count > 2 else one
    if is_first and count == 1:
        for i in range(length):
            total[i] = one[i]
    elif is_first and count == 2:
        for i in range(length):
            total[i] = one[i] + two[i]
    elif is_first:
        for i in range(length):
            total[i] = (one[i] + two[i]) + three[i]
    elif count == 1:
        for i in range(length):
            total[i] += one[i]
    elif count == 2:
        for i in range(length):
            total[i] += one[i] + two[i]
    else:
        for i in range(length):
            total[i] += (one[i] + two[i]) + three[i]


@kernel
def sum_windows(window: int, width: int, a: Matrix, b: Matrix, total: Matrix) -> None:
    """Sum every window. a: [cells], zero where not known, overwritten; b: [cells]; total: [length], filled.

    The last `length` cells of `a` are the newest rows of the windows summed; window - 1 rows come before them. The
    first cells of a level do not hold a node: it would begin before the array.
    """
    cells = a.size
    size, done = 1, 0
    while True:
        digit, shift = (window // size) % 4, size * width
        if digit > 0:
            add_nodes(a, digit, shift, cells - done * width, done == 0, total)
            done += digit * size
        if 4 * size > window:
            return
        second, third, oldest = a[2 * shift : cells - shift], a[shift : cells - 2 * shift], a[: cells - 3 * shift]
        add_four(a[3 * shift :], second, third, oldest, b[3 * shift :])
        a, b = b, a
        size *= 4


@kernel
def read_strip(x: Matrix, start: int, stop: int, lo: int, hi: int, values: Matrix) -> bool:
    """Read rows start .. stop - 1 of columns lo .. hi - 1, zero where not known; return whether all are known.

    x: [T, N]; start may be negative, rows before the first are not known; values: [cells], filled. A value that is not
    finite is not known.
    """
    width = hi - lo
    first = max(0, start)
    for i in range((first - start) * width):
        values[i] = 0.0
    left, right = np.uintp(lo), np.uintp(hi)  # a signed index of columns would be tested for wrapping around
    is_missing = start < 0
    for t in range(first, stop):
        place = np.uintp((t - start) * width) - left
        for j in range(left, right):
            is_known = x[t, j] - x[t, j] == 0.0
            values[place + j] = x[t, j] if is_known else 0.0
            is_missing |= not is_known
    return not is_missing


@kernel
def mark_known(x: Matrix, start: int, stop: int, lo: int, hi: int, known: Matrix) -> None:
    """Fill known [cells] with 1 where a value is known, else 0; rows and columns as in `read_strip`."""
    width = hi - lo
    first = max(0, start)
    for i in range((first - start) * width):
        known[i] = 0.0
    left, right = np.uintp(lo), np.uintp(hi)
    for t in range(first, stop):
        place = np.uintp((t - start) * width) - left
        for j in range(left, right):
            known[place + j] = 1.0 if x[t, j] - x[t, j] == 0.0 else 0.0


@kernel
def raise_to(values: Matrix, power: int, out: Matrix) -> None:
    """Fill out [cells] with values^power, power 1 to 4."""
    if power == 1:
        for i in range(out.size):
            out[i] = values[i]
    elif power == 2:
        for i in range(out.size):
            out[i] = values[i] * values[i]
    elif power == 3:
        for i in range(out.size):
            out[i] = values[i] * values[i] * values[i]
    else:
        for i in range(out.size):
            square = values[i] * values[i]
            out[i] = square * square


@kernel
def sum_powers(x: Matrix, start: int, stop: int, lo: int, hi: int, window: int, scratch: Matrix, sums: Matrix) -> bool:
    """Sum powers of the known values of every window; return whether all windows are complete.

    x: [T, N]; scratch: [3, at least cells]; sums: [powers, at least (stop - start) (hi - lo)], filled as far: the
    number of known values, the sum of them, of their squares, and so on.
    """
    width = hi - lo
    length, cells = (stop - start) * width, (stop - start + window - 1) * width
    values, a, b = scratch[0, :cells], scratch[1, :cells], scratch[2, :cells]
    is_complete = read_strip(x, start - window + 1, stop, lo, hi, values)
    n = sums[0, :length]
    if is_complete:
        for i in range(length):
            n[i] = window
    else:
        mark_known(x, start - window + 1, stop, lo, hi, a)
        sum_windows(window, width, a, b, n)
    for power in range(sums.shape[0] - 1, 0, -1):
        if power == 1:
            sum_windows(window, width, values, b, sums[1, :length])
        else:
            raise_to(values, power, a)
            sum_windows(window, width, a, b, sums[power, :length])
    return is_complete
