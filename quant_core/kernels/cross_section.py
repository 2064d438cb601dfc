"""Cross-sectional kernels, row by row: ranks, scores, distances to group means, scaling.

Time-wise windows live in moving.py and its neighbours, score maps in alpha/.

Conventions of all of them: x, out [T, N]; mask [T, N] says which symbols belong to the row's cross-section; a member
counts where x is known; out is NaN for everyone else. Rows are independent. Ranks are exact in any order of the
columns; what is summed across a row moves by rounding when columns change places, never with the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quant_core.kernels._jit import Mask, Matrix, kernel

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)
_TOP_DIGIT = 11  # bits: the counters of three digits of 2,048 stay in the first-level cache
_WORD = np.uint64
_SIGN = np.uint64(1 << 63)


@kernel
def order_row(x: Matrix, mask: Mask, t: int, keys: Words, order: Words, spare: Words, counts: Counts) -> int:
    """Sort the members of row t; return their number n.

    keys, order, spare : uint64 [N], overwritten: order[:n] are columns by ascending value, spare[:n] the values as
    whole numbers in the same order (equal values, and they alone, are equal); counts : int64 [3, 2048], scratch.

    Three counting passes sort by the leading bits of a row's range (a column's number travels in the same word), then
    neighbours are put right by their whole keys; a row that crowds into few leading bits is finished by a shell sort.
    """
    one, columns, n = _WORD(1), x.shape[1], 0
    low, high = ~_WORD(0), _WORD(0)
    values = keys.view(np.float64)
    for j in range(columns):
        # Adding zero makes -0.0 a 0.0: equal values must be equal keys.
        values[j] = x[t, j] + 0.0
        order[n] = _WORD(j)
        n += 1 if mask[t, j] and not math.isnan(x[t, j]) else 0
    for i in range(n):
        key = keys[order[i]]
        key = ~key if key & _SIGN else key | _SIGN
        keys[order[i]] = key
        low, high = min(low, key), max(high, key)
    width, span = one, one
    while one << width < _WORD(columns):
        width += one
    while span < _WORD(64) and (high - low) >> span > _WORD(0):
        span += one
    digit = min(max(width, _WORD(9)) - _WORD(2), _WORD(_TOP_DIGIT))
    shift = max(span, _WORD(3) * digit) - _WORD(3) * digit
    size = np.uintp(one << digit)
    digits, own = (one << digit) - one, (one << width) - one
    units, twos, fours = counts[0], counts[1], counts[2]
    for k in range(size):
        units[k], twos[k], fours[k] = 0, 0, 0
    for i in range(n):
        lead = (keys[order[i]] - low) >> shift
        order[i] |= lead << width
        units[lead & digits] += 1
        twos[(lead >> digit) & digits] += 1
        fours[lead >> (digit + digit)] += 1
    unit, two, four = 0, 0, 0
    for k in range(size):
        units[k], unit = unit, unit + units[k]
        twos[k], two = two, two + twos[k]
        fours[k], four = four, four + fours[k]
    for i in range(n):
        k = (order[i] >> width) & digits
        spare[units[k]] = order[i]
        units[k] += 1
    for i in range(n):
        k = (spare[i] >> (width + digit)) & digits
        order[twos[k]] = spare[i]
        twos[k] += 1
    for i in range(n):
        k = order[i] >> (width + digit + digit)
        spare[fours[k]] = order[i] & own
        fours[k] += 1
    for i in range(n):
        order[i] = spare[i]
        spare[i] = keys[spare[i]]
    if not insert_neighbours(spare, order, n, 1, 8 * n):
        for gap in (4193, 1750, 701, 301, 132, 57, 23, 10, 4, 1):
            insert_neighbours(spare, order, n, gap, n * n)
    return n


@kernel
def insert_neighbours(keys: Words, order: Words, n: int, gap: int, limit: int) -> bool:
    """Sort keys[:n] by insertion, `gap` apart, order alongside; return whether `limit` steps were enough."""
    steps = 0
    for i in range(gap, n):
        key, column, place = keys[i], order[i], i
        while place >= gap and keys[place - gap] > key:
            keys[place], order[place] = keys[place - gap], order[place - gap]
            place -= gap
            steps += 1
        keys[place], order[place] = key, column
        if steps > limit:
            return False
    return True


@kernel
def rank_members(x: Matrix, mask: Mask, offset: float, ranks: Matrix) -> None:
    """Fill ranks [T, N] with (mean rank - 0.5 + offset / 2) / n."""
    columns = x.shape[1]
    keys, order, spare = np.empty(columns, _WORD), np.empty(columns, _WORD), np.empty(columns, _WORD)
    counts, ends = np.empty((3, 1 << _TOP_DIGIT), np.int64), np.empty(columns, np.int64)
    for t in range(x.shape[0]):
        n = order_row(x, mask, t, keys, order, spare, counts)
        if n < columns:
            for j in range(columns):
                ranks[t, j] = np.nan
        if n == 0:
            continue
        # Equal values take places first .. end - 1. No branches: whether two values tie is unpredictable.
        end, neighbour = n, spare[n - 1]
        for i in range(n - 1, -1, -1):
            end = end if spare[i] == neighbour else i + 1
            neighbour = spare[i]
            ends[i] = end
        first, neighbour = 0, spare[0]
        for i in range(n):
            first = first if spare[i] == neighbour else i
            neighbour = spare[i]
            ranks[t, order[i]] = 0.5 * (first + ends[i] + offset) / n


@kernel
def rank_rows(x: Matrix, mask: Mask, out: Matrix) -> None:
    """Rank each row's known members as p = (rank - 0.5) / n, equal values sharing their average rank.

    x, out : [T, N]; mask : bool [T, N], which symbols belong to the row's cross-section; a lone member has 0.5.

    NaN: outside the mask and where x is not known; n counts neither.
    """
    rank_members(x, mask, 0.0, out)


@kernel
def rank_share_rows(x: Matrix, mask: Mask, out: Matrix) -> None:
    """Rank each row's known members as rank / n in (0, 1], equal values sharing their average rank.

    x, out : [T, N]; mask : bool [T, N]. `rank_rows` mirrors (1 - p is the rank of -x), this one does not.

    NaN: outside the mask and where x is not known; n counts neither.
    """
    rank_members(x, mask, 1.0, out)


@kernel
def members_of(x: Matrix, mask: Mask, t: int, values: Matrix) -> int:
    """Write the known members of row t side by side into values [N]; return their number."""
    n = 0
    for j in range(x.shape[1]):
        values[n] = x[t, j]
        n += 1 if mask[t, j] and not math.isnan(x[t, j]) else 0
    return n


@kernel
def sum_of(values: Matrix, n: int) -> float:
    """Sum values[:n] in four chains, which are four times faster than one and always the same four."""
    a, b, c, d, whole = 0.0, 0.0, 0.0, 0.0, n - n % 4
    for i in range(0, whole, 4):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
    for i in range(whole, n):
        a += values[i]
    return (a + b) + (c + d)


@kernel
def zscore_rows(x: Matrix, mask: Mask, out: Matrix) -> None:
    """Subtract each row's mean and divide by its standard deviation (ddof 1), over known members.

    x, out : [T, N]; mask : bool [T, N], which symbols belong to the row's cross-section.

    NaN: outside the mask, where x is not known, and in rows of fewer than two members or without spread.
    """
    columns = x.shape[1]
    values = np.empty(columns)
    for t in range(x.shape[0]):
        n = members_of(x, mask, t, values)
        mean = sum_of(values, n) / n
        for i in range(n):
            values[i] = (values[i] - mean) * (values[i] - mean)
        squares = sum_of(values, n)
        # A spread below the rounding of the mean counts as none.
        noise = n * _EPS * mean
        spread = math.sqrt(squares / (n - 1)) if n > 1 and squares > n * noise * noise else np.nan
        for j in range(columns):
            out[t, j] = (x[t, j] - mean) / spread if mask[t, j] else np.nan


@kernel
def scale_rows(x: Matrix, mask: Mask, out: Matrix) -> None:
    """Divide each row by the sum of its members' absolute values, so that these add up to 1.

    x, out : [T, N]; mask : bool [T, N], which symbols belong to the row's cross-section.

    NaN: outside the mask, where x is not known, and in rows whose members are all zero.
    """
    columns = x.shape[1]
    values = np.empty(columns)
    for t in range(x.shape[0]):
        n = members_of(x, mask, t, values)
        for i in range(n):
            values[i] = abs(values[i])
        total = sum_of(values, n)
        whole = total if total > 0.0 else np.nan
        for j in range(columns):
            out[t, j] = x[t, j] / whole if mask[t, j] else np.nan


@kernel
def neutralise_rows(x: Matrix, mask: Mask, groups: npt.NDArray[np.int64], out: Matrix) -> None:
    """Subtract from each row's members the mean of their group: the residual of a regression on group dummies.

    x, out : [T, N], same unit; mask : bool [T, N]; groups : int64 [T, N], numbers from 0 on, negative where not known.
    A group's only member has 0.

    NaN: outside the mask, where x is not known and where the group is not.
    Source: `indneutralize` of Kakushadze (2016), Wilmott 84.
    """
    columns, size = x.shape[1], 1
    for t in range(x.shape[0]):
        for j in range(columns):
            size = max(size, groups[t, j] + 1)
    total, known = np.empty(size), np.empty(size)
    for t in range(x.shape[0]):
        for k in range(size):
            total[k], known[k] = 0.0, 0.0
        for j in range(columns):
            group = groups[t, j]
            if group >= 0 and mask[t, j] and not math.isnan(x[t, j]):
                total[group] += x[t, j]
                known[group] += 1.0
        for j in range(columns):
            group = groups[t, j]
            out[t, j] = x[t, j] - total[group] / known[group] if group >= 0 and mask[t, j] else np.nan
