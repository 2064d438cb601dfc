"""Moving statistics of two series, or of one against time: covariance, correlation, least-squares line.

Windows are summed by doubling (doubling.py), and gone through again about their means where sums would cancel; the
conventions are those of moving.py. A row counts where both series are known.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, front, kernel
from quant_core.kernels.doubling import (
    add_four,
    add_nodes,
    chunk_rows,
    invert,
    raise_to,
    read_strip,
    silence,
    strip_columns,
    sum_windows,
)
from quant_core.kernels.moving import AGAIN, CANCELS, central_sums, has_spread

# Share of sum(age x) that its distance to mean(age) sum(x) must be.
CANCELS_AGED = 1e-6


@kernel
def central_products(x: Matrix, y: Matrix, t: int, j: int, window: int) -> tuple[float, float, float, float]:
    """Return number of pairs and sums of dx dx, dx dy, dy dy about the means of one window."""
    n, total, other = 0.0, 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if (x[k, j] - x[k, j]) + (y[k, j] - y[k, j]) == 0.0:
            n += 1.0
            total += x[k, j]
            other += y[k, j]
    a, b = total / n, other / n
    xx, xy, yy = 0.0, 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if (x[k, j] - x[k, j]) + (y[k, j] - y[k, j]) == 0.0:
            xx += (x[k, j] - a) * (x[k, j] - a)
            xy += (x[k, j] - a) * (y[k, j] - b)
            yy += (y[k, j] - b) * (y[k, j] - b)
    xx = xx if has_spread(xx, a, n) else 0.0
    yy = yy if has_spread(yy, b, n) else 0.0
    return n, xx, xy if min(xx, yy) > 0.0 else 0.0, yy


@kernel
def sum_products(
    x: Matrix, y: Matrix, start: int, stop: int, lo: int, hi: int, window: int, scratch: Matrix, sums: Matrix
) -> bool:
    """Fill sums[0 .. 5] with n, sum x, sum y, sum x x, sum x y, sum y y of every window; tell whether all are complete.

    scratch: [4, at least cells], sums: [6, at least length], as in `doubling.sum_powers`.
    """
    width, first = hi - lo, start - window + 1
    length, cells = (stop - start) * width, (stop - first) * width
    p, q, a, b = scratch[0, :cells], scratch[1, :cells], scratch[2, :cells], scratch[3, :cells]
    are_complete = read_strip(x, first, stop, lo, hi, p) and read_strip(y, first, stop, lo, hi, q)
    n = sums[0, :length]
    if are_complete:
        for i in range(length):
            n[i] = window
    else:
        left, right, above = np.uintp(lo), np.uintp(hi), max(0, first)
        for i in range((above - first) * width):
            p[i], q[i], a[i] = 0.0, 0.0, 0.0
        for t in range(above, stop):
            place = np.uintp((t - first) * width) - left
            for j in range(left, right):
                is_known = (x[t, j] - x[t, j]) + (y[t, j] - y[t, j]) == 0.0
                p[place + j] = x[t, j] if is_known else 0.0
                q[place + j] = y[t, j] if is_known else 0.0
                a[place + j] = 1.0 if is_known else 0.0
        sum_windows(window, width, a, b, n)
    for i in range(cells):
        a[i] = p[i] * p[i]
    sum_windows(window, width, a, b, sums[3, :length])
    for i in range(cells):
        a[i] = p[i] * q[i]
    sum_windows(window, width, a, b, sums[4, :length])
    for i in range(cells):
        a[i] = q[i] * q[i]
    sum_windows(window, width, a, b, sums[5, :length])
    sum_windows(window, width, p, b, sums[1, :length])
    sum_windows(window, width, q, b, sums[2, :length])
    return are_complete


@kernel
def move_products(x: Matrix, y: Matrix, window: int, least: float, is_scaled: bool, out: Matrix) -> None:
    """Fill `out` with covariances, or correlations when `is_scaled`; see `move_covariance` and `move_correlation`."""
    T, N = x.shape
    rows, lanes = chunk_rows(window), strip_columns(window)
    width, silent = min(lanes, N), silence(least, out)
    scratch, sums = np.empty((4, (rows + window - 1) * width)), np.empty((6, rows * width))
    inverse, inverse_less = np.empty(rows * width), np.empty(rows * width)
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            are_complete = sum_products(x, y, start, stop, lo, hi, window, scratch, sums)
            invert(sums[0], 0.0, are_complete, inverse)
            invert(sums[0], 1.0, are_complete, inverse_less)
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    cell = place + j
                    a, b = sums[1, cell] * inverse[cell], sums[2, cell] * inverse[cell]
                    xx, xy, yy = (
                        sums[3, cell] - a * sums[1, cell],
                        sums[4, cell] - a * sums[2, cell],
                        sums[5, cell] - b * sums[2, cell],
                    )
                    is_sound = (xx > CANCELS * sums[3, cell]) & (yy > CANCELS * sums[5, cell])
                    scale = math.sqrt(xx * yy if is_sound else 1.0)
                    value = min(1.0, max(-1.0, xy / scale)) if is_scaled else xy * inverse_less[cell]
                    value = value if is_sound else AGAIN
                    out[t, j] = value if sums[0, cell] >= least else np.nan
            for t in range(start, stop):
                for j in range(lo, hi):
                    if out[t, j] == AGAIN:
                        n, xx, xy, yy = central_products(x, y, t, j, window)
                        if not xx + yy < AGAIN:
                            out[t, j] = np.nan
                        elif not is_scaled:
                            out[t, j] = xy / (n - 1.0)
                        elif min(xx, yy) > 0.0:
                            out[t, j] = min(1.0, max(-1.0, xy / (math.sqrt(xx) * math.sqrt(yy))))
                        else:
                            out[t, j] = np.nan


@front
def move_covariance(x: Matrix, y: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the covariance (ddof 1) of each window. x, y, out: [T, N], out in the unit of x times that of y.

    `min_count` counts pairs. NaN: fewer than two pairs, too. Exactly 0 where either has no spread.
    """
    move_products(x, y, window, float(max(2, min_count)), False, out)


@front
def move_correlation(x: Matrix, y: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take Pearson's correlation of each window. x, y, out: [T, N], out without unit, in [-1, 1].

    `min_count` counts pairs. NaN: where either has no spread, too.
    """
    move_products(x, y, window, float(max(2, min_count)), True, out)


@kernel
def sum_aged(window: int, width: int, a: Matrix, b: Matrix, c: Matrix, d: Matrix, total: Matrix, aged: Matrix) -> None:
    """Sum x and age x of every window, the newest row being of age 0.

    a: [cells], zero where not known, overwritten; b, c, d: [cells] scratch; total, aged: [length], filled; rows stand
    as in `sum_windows`. An older node is k rows older than it says itself: sum (age + k) x = sum age x + k sum x.
    """
    cells, length = a.size, total.size
    for i in range(cells):
        c[i] = 0.0
    size, done = 1, 0
    while True:
        for _ in range((window // size) % 4):
            end = cells - done * width
            node, old, years = a[end - length : end], c[end - length : end], float(done)
            if done == 0:
                for i in range(length):
                    aged[i] = old[i]
            else:
                for i in range(length):
                    aged[i] += old[i] + years * node[i]
            add_nodes(a, 1, width, end, done == 0, total)
            done += size
        if 4 * size > window:
            return
        shift, k = size * width, float(size)
        add_four(
            c[3 * shift :],
            c[2 * shift : cells - shift],
            c[shift : cells - 2 * shift],
            c[: cells - 3 * shift],
            d[3 * shift :],
        )
        second, third, oldest, older = (
            a[2 * shift : cells - shift],
            a[shift : cells - 2 * shift],
            a[: cells - 3 * shift],
            d[3 * shift :],
        )
        for i in range(older.size):
            older[i] += k * (second[i] + (2.0 * third[i] + 3.0 * oldest[i]))
        add_four(a[3 * shift :], second, third, oldest, b[3 * shift :])
        a, b = b, a
        c, d = d, c
        size *= 4


@kernel
def count_ages(x: Matrix, start: int, stop: int, lo: int, hi: int, window: int, state: Matrix, sums: Matrix) -> None:
    """Fill sums[0 .. 2] with n, sum age, sum age^2 over the known rows of every window. state: [3, at least width].

    Whole numbers, hence exact: here sums may run from row to row.
    """
    width = hi - lo
    left, right = np.uintp(lo), np.uintp(hi)
    for k in range(3):
        for j in range(width):
            state[k, j] = 0.0
    gone, gone_aged = float(window), float(window) * float(window)
    for t in range(max(0, start - window + 1), stop):
        place = np.uintp(max(0, t - start) * width)
        leaving = t - window if t - window >= start - window + 1 else -1
        for j in range(left, right):
            i = j - left
            n, age, squared = state[0, i], state[1, i], state[2, i]
            old = 0.0
            if leaving >= 0:
                old = 1.0 if x[leaving, j] - x[leaving, j] == 0.0 else 0.0
            state[2, i] = squared + 2.0 * age + n - gone_aged * old
            state[1, i] = age + n - gone * old
            state[0, i] = n - old + (1.0 if x[t, j] - x[t, j] == 0.0 else 0.0)
        if t >= start:
            for j in range(left, right):
                for k in range(3):
                    sums[k, place + j - left] = state[k, j - left]


@kernel
def line_of(x: Matrix, t: int, j: int, window: int) -> tuple[float, float]:
    """Return slope per bar and the share of the spread it explains, of one window; NaN for none to explain."""
    n, mean, squares, _, _ = central_sums(x, t, j, window)
    ages = 0.0
    for k in range(max(0, t - window + 1), t + 1):
        ages += float(t - k) if x[k, j] - x[k, j] == 0.0 else 0.0
    ages /= n
    spread, product = 0.0, 0.0
    for k in range(max(0, t - window + 1), t + 1):
        if x[k, j] - x[k, j] == 0.0:
            spread += (float(t - k) - ages) * (float(t - k) - ages)
            product += (float(t - k) - ages) * (x[k, j] - mean)
    if not squares > 0.0:
        return 0.0, np.nan
    return -product / spread, min(1.0, product / squares * (product / spread))


@kernel
def move_line(x: Matrix, window: int, least: float, kind: int, out: Matrix) -> None:
    """Fill `out` with the slope (kind 0), R^2 (1) or newest residual (2) of each window's least-squares line."""
    T, N = x.shape
    rows, lanes = chunk_rows(window), strip_columns(window)
    width, silent = min(lanes, N), silence(least, out)
    scratch, sums = np.empty((4, (rows + window - 1) * width)), np.empty((6, rows * width))
    state = np.empty((3, width))
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop = min(T, start + rows)
            length, cells = (stop - start) * (hi - lo), (stop - start + window - 1) * (hi - lo)
            a, b, c, d = scratch[0, :cells], scratch[1, :cells], scratch[2, :cells], scratch[3, :cells]
            is_complete = read_strip(x, start - window + 1, stop, lo, hi, a)
            if is_complete:
                n = float(window)
                for i in range(length):
                    sums[0, i], sums[1, i] = n, n * (n - 1.0) / 2.0
                    sums[2, i] = n * (n - 1.0) * (2.0 * n - 1.0) / 6.0
            else:
                count_ages(x, start, stop, lo, hi, window, state, sums)
            if kind == 1:
                raise_to(a, 2, b)
                sum_windows(window, hi - lo, b, c, sums[5, :length])
            sum_aged(window, hi - lo, a, b, c, d, sums[3, :length], sums[4, :length])
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    cell = place + j
                    n, ages, total, aged = sums[0, cell], sums[1, cell], sums[3, cell], sums[4, cell]
                    mean, product = total / n, aged - ages * (total / n)
                    spread = sums[2, cell] - ages * (ages / n)
                    squares = sums[5, cell] - total * mean
                    slope = -product / spread
                    is_sound = abs(product) > CANCELS_AGED * abs(aged)
                    if kind == 1:
                        is_sound = squares > CANCELS * sums[5, cell]
                        value = min(1.0, product / squares * (product / spread))
                    elif kind == 2:
                        value = x[t, j] - mean - slope * (ages / n)
                    else:
                        value = slope
                    value = value if is_sound else AGAIN
                    out[t, j] = value if n >= least else np.nan
            for t in range(start, stop):
                for j in range(lo, hi):
                    if out[t, j] == AGAIN:
                        slope, share = line_of(x, t, j, window)
                        n, mean, _, _, _ = central_sums(x, t, j, window)
                        ages = sums[1, (t - start) * (hi - lo) + j - lo]
                        out[t, j] = share if kind == 1 else slope
                        if kind == 2:
                            out[t, j] = x[t, j] - mean - slope * (ages / n) if share == share else 0.0 * x[t, j]
                    if not abs(out[t, j]) < AGAIN:
                        out[t, j] = np.nan


@front
def move_slope(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the slope of each window's least-squares line against time. x, out: [T, N], out in units of x per bar.

    A missing row leaves a gap in time. NaN: fewer than two known values, too.
    """
    move_line(x, window, float(max(2, min_count)), 0, out)


@front
def move_rsquare(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the share of each window's spread its least-squares line explains. x, out: [T, N], out a fraction.

    NaN: fewer than two known values or no spread, too.
    """
    move_line(x, window, float(max(2, min_count)), 1, out)


@front
def move_resi(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the newest value less what each window's least-squares line says of it. x, out: [T, N], same unit.

    NaN: where the newest value is not known or fewer than two are, too.
    """
    move_line(x, window, float(max(2, min_count)), 2, out)
