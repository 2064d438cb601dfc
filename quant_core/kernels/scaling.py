"""Moving scaling exponents: how the reach of a path grows with its length.

Correlations lag by lag: serial_dependence.py.

A window is cut, from its first row on, into blocks of n rows, for n = smallest, twice that, ... while at least `fewest`
fit. The figure of a block does not depend on the window: it is computed once, when its last row comes,
and every window looks up the blocks it is cut into. A value so depends on its window alone, bit for bit. Rows before
the first are not known; a block speaks with three quarters of its values, a size with half of its blocks, a window with
all of its sizes, two or more.

The other conventions are those of moving.py and block_windows.py.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel
from quant_core.kernels.block_windows import (
    KNOWN,
    PATH,
    PLACE,
    PLACES,
    PLACES_SQUARED,
    SLANT,
    SQUARED,
    STEPS_SQUARED,
    STRIP,
    TOTAL,
    begin_path,
    begin_sums,
    count_known,
    double_path,
    double_sums,
    has_remainder,
)

_AT = np.uintp(0 * STRIP)
_HIGHEST = np.uintp(1 * STRIP)
_LOWEST = np.uintp(2 * STRIP)
_MEAN = np.uintp(3 * STRIP)
"""Fields of a walk about the mean."""

_REACH = np.uintp(0 * STRIP)
_SPEAKING = np.uintp(1 * STRIP)
"""Fields of a size: the reach of its blocks summed, and how many of them speak."""


@kernel
def expected_reach(known: int, is_detrended: bool, cache: Matrix) -> float:
    """Return the mean reach of independent normal values. cache: [n], the means so far, else NaN.

    Source: Anis & Lloyd (1976), Biometrika 63(1), without a correction for small n; detrended (n^2 - 4) / (15 n), from
    the covariance of a random walk less its regression on time.
    """
    if math.isnan(cache[known]):
        if is_detrended:
            cache[known] = (known * known - 4.0) / (15.0 * known)
        else:
            total = 0.0
            for i in range(1, known):
                total += math.sqrt((known - i) / i)
            ratio = math.lgamma(0.5 * (known - 1)) - math.lgamma(0.5 * known)
            cache[known] = math.exp(ratio) / math.sqrt(math.pi) * total
    return float(cache[known])


@kernel
def drop_sparse_blocks(n: int, known: Matrix, is_detrended: bool, cache: Matrix, reach: Matrix, own: int) -> None:
    """Drop blocks of n rows with under three quarters of known values; scale the others by the expected reach."""
    gaps, place = 0, np.uintp(own)
    for j in range(np.uintp(STRIP)):
        found = reach[place + j]
        reach[place + j] = found if 4.0 * known[KNOWN + j] >= 3.0 * n and found > 0.0 else 0.0
        gaps += 1 if known[KNOWN + j] < n else 0
    if gaps:
        for j in range(np.uintp(STRIP)):
            if known[KNOWN + j] < n and reach[place + j] > 0.0:
                expected = expected_reach(int(known[KNOWN + j]), is_detrended, cache)
                reach[place + j] *= expected_reach(n, is_detrended, cache) / expected


@kernel
def add_step(place: float, step: float) -> float:
    """Add a step if it is known."""
    return place if math.isnan(step) else place + step


@kernel
def larger_of(a: float, b: float) -> float:
    """Return the larger of two numbers."""
    return b if b > a else a


@kernel
def smaller_of(a: float, b: float) -> float:
    """Return the smaller of two numbers."""
    return b if b < a else a


@kernel
def rescaled_range(
    recent: Matrix, t: int, n: int, sums: Matrix, cache: Matrix, walk: Matrix, reach: Matrix, own: int
) -> None:
    """Fill reach from place `own` on: the range of the path of the n rows that end at t over their deviation; 0 silent.

    recent: a ring of rows; n: a multiple of 4; sums: of these n rows.
    """
    mask, place = recent.size - 1, np.uintp(own)
    walk[:] = 0.0
    for j in range(np.uintp(STRIP)):
        walk[_MEAN + j] = sums[TOTAL + j] / sums[KNOWN + j]
    for first in range((t - n + 1) * STRIP, (t + 1) * STRIP, 4 * STRIP):
        a, b = np.uintp(first & mask), np.uintp((first + STRIP) & mask)
        c, d = np.uintp((first + 2 * STRIP) & mask), np.uintp((first + 3 * STRIP) & mask)
        for j in range(np.uintp(STRIP)):
            at, highest, lowest, mean = walk[_AT + j], walk[_HIGHEST + j], walk[_LOWEST + j], walk[_MEAN + j]
            at = add_step(at, recent[a + j] - mean)
            highest, lowest = larger_of(highest, at), smaller_of(lowest, at)
            at = add_step(at, recent[b + j] - mean)
            highest, lowest = larger_of(highest, at), smaller_of(lowest, at)
            at = add_step(at, recent[c + j] - mean)
            highest, lowest = larger_of(highest, at), smaller_of(lowest, at)
            at = add_step(at, recent[d + j] - mean)
            walk[_HIGHEST + j], walk[_LOWEST + j], walk[_AT + j] = larger_of(highest, at), smaller_of(lowest, at), at
    for j in range(np.uintp(STRIP)):
        squares = sums[SQUARED + j] - sums[TOTAL + j] * walk[_MEAN + j]
        found = (walk[_HIGHEST + j] - walk[_LOWEST + j]) / math.sqrt(squares / sums[KNOWN + j])
        reach[place + j] = found if has_remainder(squares, sums[SQUARED + j]) else 0.0
    drop_sparse_blocks(n, sums, False, cache, reach, own)


@kernel
def fluctuation(n: int, path: Matrix, cache: Matrix, reach: Matrix, own: int) -> None:
    """Fill reach from place `own` on: the mean square distance of a path of n rows to its line of time; 0 silent."""
    place = np.uintp(own)
    for j in range(np.uintp(STRIP)):
        known, at, places = path[KNOWN + j], path[PLACE + j], path[PLACES + j]
        slant = path[SLANT + j] - 0.5 * (known + 1.0) * places
        rest = path[PLACES_SQUARED + j] - places * places / known
        rest -= slant * slant / (known * (known * known - 1.0) / 12.0)
        squares = path[STEPS_SQUARED + j] - at * at / known
        is_known = has_remainder(squares, path[STEPS_SQUARED + j]) and has_remainder(rest, path[PLACES_SQUARED + j])
        reach[place + j] = rest / known if is_known else 0.0
    drop_sparse_blocks(n, path, True, cache, reach, own)


@kernel
def find_block(t: int, last: int, window: int, size: int, sizes: int) -> int:
    """Return the entry of the block of `size` whose last row is the last-th of the window; else that of zeros."""
    place = t % window + last
    return size * window + (place - window if place >= window else place) if last <= window else sizes * window


@kernel
def add_reach(reach: Matrix, first: int, second: int, third: int, fourth: int, sums: Matrix, size: int) -> None:
    """Add four entries of reaches to entry `size` of sums."""
    a, b, place = np.uintp(first * STRIP), np.uintp(second * STRIP), np.uintp(size * 2 * STRIP)
    c, d = np.uintp(third * STRIP), np.uintp(fourth * STRIP)
    for j in range(np.uintp(STRIP)):
        one, two, three, four = reach[a + j], reach[b + j], reach[c + j], reach[d + j]
        sums[place + _REACH + j] += (one + two) + (three + four)
        speaking = (1.0 if one > 0.0 else 0.0) + (1.0 if two > 0.0 else 0.0)
        sums[place + _SPEAKING + j] += speaking + ((1.0 if three > 0.0 else 0.0) + (1.0 if four > 0.0 else 0.0))


@kernel
def add_blocks(reach: Matrix, t: int, n: int, window: int, size: int, sizes: int, sums: Matrix) -> None:
    """Add the reaches of the window's blocks of n rows to entry `size` of sums.

    reach: for each size an entry per row, modulo window, and at last one of zeros.
    """
    for last in range(n, window + 1, 4 * n):
        a, b = find_block(t, last, window, size, sizes), find_block(t, last + n, window, size, sizes)
        c, d = find_block(t, last + 2 * n, window, size, sizes), find_block(t, last + 3 * n, window, size, sizes)
        add_reach(reach, a, b, c, d, sums, size)


@kernel
def count_sizes(window: int, smallest: int, fewest: int) -> int:
    """Return how many of smallest, 2 smallest, 4 smallest ... fit into the window `fewest` times; 0 if only one."""
    sizes = 0
    while (smallest << sizes) * fewest <= window:
        sizes += 1
    return sizes if sizes > 1 else 0


@kernel
def fill_exponents(
    sums: Matrix, window: int, smallest: int, is_detrended: bool, cache: Matrix, exponent: Matrix
) -> None:
    """Fill exponent [STRIP]: 1/2 plus the slope of ln(mean reach) - ln(expected reach) on ln n; NaN: a size is silent.

    sums: overwritten. With sizes that double, least squares weighs them by whole numbers, so that one logarithm of a
    product of powers does for all.
    """
    sizes = sums.size // (2 * STRIP)
    squares = 0.0
    for size in range(sizes):
        weight = 2 * size - sizes + 1
        squares += weight * weight
        blocks, expected = window // (smallest << size), expected_reach(smallest << size, is_detrended, cache)
        place = np.uintp(size * 2 * STRIP)
        for j in range(np.uintp(STRIP)):
            speaking = sums[place + _SPEAKING + j]
            mean = sums[place + _REACH + j] / (speaking * expected)
            sums[place + _REACH + j] = mean if 2.0 * speaking >= blocks else np.nan
    exponent[:] = 1.0
    for size in range(sizes // 2):
        low, high = np.uintp(size * 2 * STRIP), np.uintp((sizes - 1 - size) * 2 * STRIP)
        for _ in range(sizes - 1 - 2 * size):
            for j in range(np.uintp(STRIP)):
                exponent[j] *= sums[high + _REACH + j] / sums[low + _REACH + j]
    scale = (1.0 if is_detrended else 2.0) / (squares * math.log(2.0))
    for j in range(STRIP):
        exponent[j] = 0.5 + scale * math.log(exponent[j])


@kernel
def move_hurst(x: Matrix, window: int, smallest: int, fewest: int, min_count: int, out: Matrix) -> None:
    """Take the Hurst exponent of each window by rescaled ranges: 1/2 for independent values. x, out: [T, N].

    1/2 plus the slope of ln(R/S) - ln E[R/S] on ln n, where R/S is the mean over the blocks of n rows of the range of
    their summed distances to their mean over their deviation (ddof 0), and E its value on independent normal values.
    The sums end at zero, so that it makes no difference whether they begin there. Not clipped. smallest: 4, 8, 16 ...

    NaN: a window with too few blocks, of equal values for one.
    Source: Hurst (1951), Transactions of the ASCE 116; Anis & Lloyd (1976), Biometrika 63(1).
    """
    rows, columns = x.shape
    sizes = count_sizes(window, smallest, fewest)
    if sizes == 0:
        out[:] = np.nan
        return
    largest = smallest << (sizes - 1)
    recent, blocks, now = np.empty(largest * STRIP), np.empty(largest * 3 * STRIP), np.empty(3 * STRIP)
    reach, sums = np.empty((sizes * window + 1) * STRIP), np.empty(sizes * 2 * STRIP)
    cache, walk, held, exponent = np.full(largest + 1, np.nan), np.empty(4 * STRIP), np.empty(STRIP), np.empty(STRIP)
    for lo in range(0, columns, STRIP):
        hi = min(lo + STRIP, columns)
        recent[:], blocks[:], reach[:], held[:] = np.nan, 0.0, 0.0, 0.0
        for t in range(rows):
            begin_sums(x, t, lo, hi, recent, now)
            count_known(x, t, lo, hi, window, held)
            sums[:] = 0.0
            n, size = 1, 0
            while n < largest:
                double_sums(blocks, t, n, now)
                n *= 2
                if n >= smallest:
                    own = (size * window + t % window) * STRIP
                    rescaled_range(recent, t, n, now, cache, walk, reach, own)
                    add_blocks(reach, t, n, window, size, sizes, sums)
                    size += 1
            fill_exponents(sums, window, smallest, False, cache, exponent)
            for j in range(hi - lo):
                out[t, lo + j] = exponent[j] if held[j] >= max(1, min_count) else np.nan


@kernel
def move_dfa(x: Matrix, window: int, smallest: int, fewest: int, min_count: int, out: Matrix) -> None:
    """Take the exponent of detrended fluctuations of each window: 1/2 for independent values. x, out: [T, N].

    1/2 plus the slope of ln F - ln E[F^2]^(1/2) on ln n, where F^2 is the mean square distance of the summed values of
    the blocks of n rows to their line of time, and E its value on independent values. smallest: 4, 8, 16 ...

    NaN: a window with too few blocks, of equal values for one.
    Source: Peng et al. (1994), Physical Review E 49(2), order 1.
    """
    rows, columns = x.shape
    sizes = count_sizes(window, smallest, fewest)
    if sizes == 0:
        out[:] = np.nan
        return
    largest = smallest << (sizes - 1)
    paths, held, exponent = np.empty((largest + 2) * PATH * STRIP), np.empty(STRIP), np.empty(STRIP)
    reach, sums = np.empty((sizes * window + 1) * STRIP), np.empty(sizes * 2 * STRIP)
    cache = np.full(largest + 1, np.nan)
    for lo in range(0, columns, STRIP):
        hi = min(lo + STRIP, columns)
        paths[:], reach[:], held[:] = 0.0, 0.0, 0.0
        for t in range(rows):
            now, then = largest, largest + 1
            begin_path(x, t, lo, hi, paths, now)
            count_known(x, t, lo, hi, window, held)
            sums[:] = 0.0
            n, size = 1, 0
            while n < largest:
                double_path(paths, t, n, now, then)
                now, then = then, now
                n *= 2
                if n >= smallest:
                    own = (size * window + t % window) * STRIP
                    path = paths[now * PATH * STRIP : (now + 1) * PATH * STRIP]
                    fluctuation(n, path, cache, reach, own)
                    add_blocks(reach, t, n, window, size, sizes, sums)
                    size += 1
            fill_exponents(sums, window, smallest, True, cache, exponent)
            for j in range(hi - lo):
                out[t, lo + j] = exponent[j] if held[j] >= max(1, min_count) else np.nan


@kernel
def read_block(x: Matrix, first: int, n: int, lo: int, hi: int, recent: Matrix, now: Matrix) -> None:
    """Put rows first .. first + n - 1 into `recent`, a ring of rows, and as sums into the entry `now`.

    Rows of a wide panel are far apart in RAM: so many at a time are fetched together.
    """
    left = np.uintp(lo)
    for t in range(first, first + n):
        row = np.uintp((t * STRIP) & (recent.size - 1))
        for j in range(left, np.uintp(hi)):
            recent[row + j - left] = x[t, j]
    now[:] = 0.0
    for t in range(first, first + n):
        row = np.uintp((t * STRIP) & (recent.size - 1))
        for j in range(np.uintp(STRIP)):
            is_known = not math.isnan(recent[row + j])
            value = recent[row + j] if is_known else 0.0
            now[KNOWN + j] += 1.0 if is_known else 0.0
            now[TOTAL + j] += value
            now[SQUARED + j] += value * value


@kernel
def estimate_hurst(x: Matrix, smallest: int, fewest: int, min_count: int, exponents: Matrix) -> None:
    """Fill exponents [N] with `move_hurst` of the last row of a window of all rows, up to rounding. x: [T, N]."""
    rows, columns = x.shape
    sizes = count_sizes(rows, smallest, fewest)
    if sizes == 0:
        exponents[:] = np.nan
        return
    largest = smallest << (sizes - 1)
    recent, blocks, now = np.empty(largest * STRIP), np.empty(largest * 3 * STRIP), np.empty(3 * STRIP)
    reach, sums = np.zeros(2 * STRIP), np.empty(sizes * 2 * STRIP)
    cache, walk, held, exponent = np.full(largest + 1, np.nan), np.empty(4 * STRIP), np.empty(STRIP), np.empty(STRIP)
    for lo in range(0, columns, STRIP):
        hi = min(lo + STRIP, columns)
        recent[:], sums[:], held[:] = np.nan, 0.0, 0.0
        for first in range(0, rows, smallest):
            count, last = min(smallest, rows - first), first + smallest - 1
            read_block(x, first, count, lo, hi, recent, now)
            held += now[:STRIP]
            n, size = smallest, 0
            # Rows after the last whole block of the smallest size are counted, and that is all.
            while count == smallest and (last + 1) % n == 0:
                rescaled_range(recent, last, n, now, cache, walk, reach, 0)
                add_reach(reach, 0, 1, 1, 1, sums, size)
                if n == largest:
                    break
                double_sums(blocks, last, n, now)
                n, size = 2 * n, size + 1
        fill_exponents(sums, rows, smallest, False, cache, exponent)
        for j in range(hi - lo):
            exponents[lo + j] = exponent[j] if held[j] >= max(1, min_count) else np.nan
