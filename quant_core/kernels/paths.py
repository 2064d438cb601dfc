"""Moving statistics of a path of returns: compound return, distance to mean, drawdown, autocorrelation, efficiency.

The path of a window is joined by doubling (doubling.py): a node of 2k rows is an older and a newer node of k rows, the
newer one's prices taken times what the older one grew to. Conventions are those of moving.py.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, front, kernel
from quant_core.kernels.block_windows import STRIP, begin_pairs, begin_sums, block_entries, ring_size, sum_window
from quant_core.kernels.doubling import chunk_rows, fill_silent_rows, strip_columns, sum_powers, sum_windows
from quant_core.kernels.serial_dependence import correlate

# What is kept of a path that starts at price 1: its last price, the highest, the lowest, and the deepest fall.
GROWTH, HIGHEST, LOWEST, FALL = 0, 1, 2, 3
COMPOUND, DRAWDOWN, DEEPEST = 0, 1, 2


@kernel
def join_paths(older: Matrix, old: int, newer: Matrix, new: int, length: int, out: Matrix, place: int) -> None:
    """Join neighbouring paths, `length` of them from the cells old, new and place on; out may be newer.

    older, newer, out: [4, cells].
    """
    growth, highest = older[GROWTH, old : old + length], older[HIGHEST, old : old + length]
    low, into = newer[LOWEST, new : new + length], out[FALL, place : place + length]
    fall, deepest = older[FALL, old : old + length], newer[FALL, new : new + length]
    for i in range(length):
        into[i] = min(min(fall[i], deepest[i]), growth[i] * low[i] / highest[i] - 1.0)
    lowest, into = older[LOWEST, old : old + length], out[LOWEST, place : place + length]
    for i in range(length):
        into[i] = min(lowest[i], growth[i] * low[i])
    high, into = newer[HIGHEST, new : new + length], out[HIGHEST, place : place + length]
    for i in range(length):
        into[i] = max(highest[i], growth[i] * high[i])
    grown, into = newer[GROWTH, new : new + length], out[GROWTH, place : place + length]
    for i in range(length):
        into[i] = growth[i] * grown[i]


@kernel
def read_paths(returns: Matrix, start: int, stop: int, lo: int, hi: int, paths: Matrix, known: Matrix) -> None:
    """Read single rows as paths. paths: [4, cells], known: [cells], filled; rows and columns as in `read_strip`."""
    width, first = hi - lo, max(0, start)
    left, right = np.uintp(lo), np.uintp(hi)
    for i in range((first - start) * width):
        known[i], paths[GROWTH, i], paths[HIGHEST, i], paths[LOWEST, i], paths[FALL, i] = 0.0, 1.0, 1.0, 1.0, 0.0
    for t in range(first, stop):
        place = np.uintp((t - start) * width) - left
        for j in range(left, right):
            is_known = returns[t, j] - returns[t, j] == 0.0
            price = 1.0 + (returns[t, j] if is_known else 0.0)
            known[place + j] = 1.0 if is_known else 0.0
            paths[GROWTH, place + j] = price
            paths[HIGHEST, place + j] = max(1.0, price)
            paths[LOWEST, place + j] = min(1.0, price)
            paths[FALL, place + j] = min(1.0, price) - 1.0


@kernel
def join_windows(window: int, width: int, cells: int, length: int, a: Matrix, b: Matrix, out: Matrix) -> None:
    """Join the rows of every window. a, b: [4, at least cells], a overwritten; out: [4, at least length], filled.

    Rows are ordered as in `doubling.sum_windows`.
    """
    size, done = 1, 0
    # A literal zero would compile `join_paths` once more for each place it appears in.
    first = int(np.intp(0))
    while True:
        if window & size:
            start = cells - done * width - length
            if done == 0:
                for plane in range(4):
                    for i in range(length):
                        out[plane, i] = a[plane, start + i]
            else:
                join_paths(a, start, out, first, length, out, first)
            done += size
        if 2 * size > window:
            return
        shift = size * width
        join_paths(a, first, a, shift, cells - shift, b, shift)
        a, b = b, a
        size *= 2


@kernel
def move_paths(kind: int, returns: Matrix, window: int, skip: int, least: float, out: Matrix) -> None:
    """Fill `out` with the figure `kind` of the path of `window` returns that ends `skip` rows before each row."""
    T, N = returns.shape
    rows, lanes = chunk_rows(window), strip_columns(window)
    width, silent = min(lanes, N), fill_silent_rows(least, out)
    most = (rows + window - 1) * width
    a, b, path = np.empty((4, most)), np.empty((4, most)), np.empty((4, rows * width))
    counts, n = np.empty((2, most)), np.empty(rows * width)
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            length, cells = (stop - start) * (hi - lo), (stop - start + window - 1) * (hi - lo)
            read_paths(returns, start - skip - window + 1, stop - skip, lo, hi, a, counts[0, :cells])
            sum_windows(window, hi - lo, counts[0, :cells], counts[1, :cells], n[:length])
            join_windows(window, hi - lo, cells, length, a, b, path)
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    i = place + j
                    value = path[GROWTH, i] / (path[HIGHEST, i] if kind == DRAWDOWN else 1.0) - 1.0
                    value = path[FALL, i] if kind == DEEPEST else value
                    out[t, j] = value if n[i] >= least else np.nan


@front
def move_compound(returns: Matrix, window: int, skip: int, min_count: int, out: Matrix) -> None:
    """Compound the returns of each window but its latest `skip` rows. returns, out: [T, N], fractions."""
    move_paths(COMPOUND, returns, window - skip, skip, float(max(1, min_count)), out)


@kernel
def move_distance(returns: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Return price / mean price - 1 over the last `window` prices. returns, out: [T, N], fractions.

    As in `move_drawdown` the prices are rebuilt from the window - 1 returns between them; `min_count` counts returns.
    """
    T, N = returns.shape
    least, state = float(max(1, min_count)), np.empty((3, LANES))
    wealth, total, known = state[0], state[1], state[2]
    for lo in range(0, N, LANES):
        left, right = np.uintp(lo), np.uintp(min(N, lo + LANES))
        for t in range(T):
            wealth[:], total[:], known[:] = 1.0, 1.0, 0.0
            for k in range(max(0, t - window + 2), t + 1):
                for j in range(left, right):
                    is_known, i = returns[k, j] - returns[k, j] == 0.0, j - left
                    grown = wealth[i] * (1.0 + (returns[k, j] if is_known else 0.0))
                    wealth[i] = grown
                    total[i] += grown if is_known else 0.0
                    known[i] += 1.0 if is_known else 0.0
            for j in range(left, right):
                i = j - left
                distance = wealth[i] * (known[i] + 1.0) / total[i] - 1.0
                out[t, j] = distance if known[i] >= least else np.nan


@front
def move_drawdown(returns: Matrix, window: int, min_count: int, is_worst: bool, out: Matrix) -> None:
    """Measure the fall of wealth below its peak over the last `window` prices. returns, out: [T, N], fractions.

    `window` prices hold window - 1 returns; wealth is rebuilt from these, so that a bar without return (a first bar,
    an unconfirmed jump) bends nothing. With `is_worst` the deepest fall anywhere in the window, else today's.
    """
    move_paths(DEEPEST if is_worst else DRAWDOWN, returns, window - 1, 0, float(max(1, min_count)), out)


@kernel
def move_autocorrelation(x: Matrix, window: int, lag: int, min_count: int, out: Matrix) -> None:
    """Take the autocorrelation of each window at a lag: sum(d[k] d[k-lag]) / sum(d^2) about the window's mean.

    x, out: [T, N]. A pair counts when both of its rows are known and in the window; `min_count` counts pairs.

    NaN: a window without spread, too.
    Source: Box & Jenkins (1976), Time Series Analysis, section 2.1.5.
    """
    T, N = x.shape
    if lag < 1 or lag >= window:
        out[:] = np.nan
        return
    recent = np.empty(ring_size(lag + 1) * STRIP)
    blocks, others = np.empty(block_entries(window) * 3 * STRIP), np.empty(block_entries(window - lag) * 3 * STRIP)
    now, sums, pairs, rho = np.empty(3 * STRIP), np.empty(3 * STRIP), np.empty(3 * STRIP), np.empty(STRIP)
    for lo in range(0, N, STRIP):
        hi = min(lo + STRIP, N)
        recent[:], blocks[:], others[:] = np.nan, 0.0, 0.0
        for t in range(T):
            begin_sums(x, t, lo, hi, recent, now)
            sum_window(blocks, t, window, now, sums)
            begin_pairs(recent, t, lag, now)
            sum_window(others, t, window - lag, now, pairs)
            correlate(sums, pairs, max(1.0, float(min_count)), rho)
            for j in range(hi - lo):
                # Bounded by Cauchy and Schwarz; rounding may miss the bound by an ulp.
                value = 1.0 if rho[j] > 1.0 else rho[j]
                out[t, lo + j] = -1.0 if value < -1.0 else value


@kernel
def move_efficiency(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take abs(sum x) / sqrt(sum x^2) of each window: how far a path went for the steps it took.

    x, out: [T, N]; under independent symmetric steps half-normal, whatever their tails.

    NaN: a window whose steps are all zero, too.
    Source: self-normalised sums, de la Pena, Lai & Shao (2009), Self-Normalized Processes.
    """
    T, N = x.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(1, min_count))
    width, silent = min(lanes, N), fill_silent_rows(least, out)
    scratch, sums = np.empty((3, (rows + window - 1) * width)), np.empty((3, rows * width))
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            sum_powers(x, start, stop, lo, hi, window, scratch, sums)
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    squares = sums[2, place + j]
                    value = abs(sums[1, place + j]) / math.sqrt(squares)
                    speaks = (sums[0, place + j] >= least) & (squares > 0.0)
                    out[t, j] = value if speaks else np.nan
