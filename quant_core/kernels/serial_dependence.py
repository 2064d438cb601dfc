"""Moving serial dependence: Ljung-Box, variance ratio, correlated lags, half-life, Dickey-Fuller.

One lag alone is move_autocorrelation in paths.py; how reach grows with length is in scaling.py.

Correlations are those of Box & Jenkins: products about the window's mean over its squares; a pair counts when both of
its rows are known and in the window. Beside `min_count` known values a window needs min_count - lag pairs at each of
its lags, as many as min_count rows without gaps have.

The other conventions are those of moving.py and block_windows.py.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel
from quant_core.kernels.block_windows import (
    BOTH,
    KNOWN,
    NEIGHBOURS,
    NEWEST,
    OLDEST,
    PATH,
    PLACE,
    PLACES,
    PLACES_SQUARED,
    PRODUCT,
    SQUARED,
    STEPS_SQUARED,
    STRIP,
    TOTAL,
    begin_pairs,
    begin_sums,
    block_entries,
    has_remainder,
    ring_size,
    sum_window,
    walk_window,
)

LJUNG_BOX, VARIANCE_RATIO, DEPTH = 0, 1, 2
"""The figures `slide_lags` computes from the correlations."""

_EXACT = 1e-3
"""Share of its squares that a regression must leave for a t statistic to mean something."""


@kernel
def correlate(sums: Matrix, pairs: Matrix, least: float, rho: Matrix) -> None:
    """Fill rho [STRIP] with the autocorrelation at one lag; NaN with fewer than `least` pairs or without spread.

    sums, pairs: entries of the window.
    """
    for j in range(np.uintp(STRIP)):
        known, total, raw = sums[KNOWN + j], sums[TOTAL + j], sums[SQUARED + j]
        mean = total / known
        squares = raw - mean * total
        product = pairs[PRODUCT + j] - mean * (pairs[BOTH + j] - mean * pairs[KNOWN + j])
        is_known = pairs[KNOWN + j] >= least and has_remainder(squares, raw)
        rho[j] = product / squares if is_known else np.nan


@kernel
def add_lag(which: int, share: float, sums: Matrix, pairs: Matrix, rho: Matrix, alive: Matrix, total: Matrix) -> None:
    """Add the correlation at one more lag to total [STRIP]; see `slide_lags`. share: lag / (lags + 1)."""
    if which == LJUNG_BOX:
        for j in range(STRIP):
            total[j] += sums[j] * (sums[j] + 2.0) * rho[j] * rho[j] / pairs[j]
    elif which == VARIANCE_RATIO:
        for j in range(STRIP):
            total[j] += 2.0 * (1.0 - share) * rho[j]
    else:
        for j in range(STRIP):
            unknown = 0.0 if alive[j] == 0.0 else rho[j] - rho[j]
            alive[j] = alive[j] if rho[j] * rho[j] * sums[j] > 4.0 else 0.0
            total[j] += alive[j] + unknown


@kernel
def slide_lags(x: Matrix, window: int, lags: int, min_count: int, which: int, found: Matrix) -> None:
    """Fill found [T, N] with one figure of the correlations at lags 1 .. lags."""
    rows, columns = x.shape
    if lags >= window:
        found[:] = np.nan
        return
    recent, blocks = np.empty(ring_size(lags + 1) * STRIP), np.empty((lags + 1, block_entries(window) * 3 * STRIP))
    now, sums, pairs = np.empty(3 * STRIP), np.empty(3 * STRIP), np.empty(3 * STRIP)
    rho, total, alive = np.empty(STRIP), np.empty(STRIP), np.empty(STRIP)
    for lo in range(0, columns, STRIP):
        hi = min(lo + STRIP, columns)
        recent[:], blocks[:] = np.nan, 0.0
        for t in range(rows):
            begin_sums(x, t, lo, hi, recent, now)
            sum_window(blocks[0], t, window, now, sums)
            total[:], alive[:] = 1.0 if which == VARIANCE_RATIO else 0.0, 1.0
            for lag in range(1, lags + 1):
                begin_pairs(recent, t, lag, now)
                sum_window(blocks[lag], t, window - lag, now, pairs)
                correlate(sums, pairs, max(1.0, min_count - lag), rho)
                add_lag(which, lag / (lags + 1.0), sums, pairs, rho, alive, total)
            for j in range(hi - lo):
                value = 0.0 if total[j] < 0.0 else total[j]
                found[t, lo + j] = value if sums[j] >= max(1, min_count) else np.nan


@kernel
def move_ljung_box(x: Matrix, window: int, lags: int, min_count: int, out: Matrix) -> None:
    """Take the Ljung-Box statistic of each window over lags 1 .. lags: n (n + 2) sum(rho^2 / pairs). x, out: [T, N].

    Of independent values it is chi-square with `lags` degrees of freedom; where their size is clustered it is larger.

    NaN: a window without spread, too.
    Source: Ljung & Box (1978), Biometrika 65(2), whose n - lag are the pairs of a window without gaps.
    """
    slide_lags(x, window, lags, min_count, LJUNG_BOX, out)


@kernel
def move_variance_ratio(x: Matrix, window: int, lags: int, min_count: int, out: Matrix) -> None:
    """Take the variance of sums of lags + 1 values over lags + 1 times that of one, in each window. x, out: [T, N].

    1 + 2 sum((1 - lag / (lags + 1)) rho): 1 for independent values, above for trends, below for reversals.

    NaN: a window without spread, too.
    Source: Cochrane (1988), Journal of Political Economy 96(5).
    """
    slide_lags(x, window, lags, min_count, VARIANCE_RATIO, out)


@kernel
def move_memory_depth(x: Matrix, window: int, lags: int, min_count: int, out: Matrix) -> None:
    """Count the lags, from 1 on and at most `lags`, whose autocorrelation is beyond 2 / sqrt(n) on either side.

    x, out: [T, N]. Independent values have 0 in 95 of 100 windows.

    NaN: a window without spread, too.
    """
    slide_lags(x, window, lags, min_count, DEPTH, out)


@kernel
def reversion_slope(path: Matrix, j: int) -> float:
    """Return the slope of steps on the places before them, column j of the strip; NaN where either does not vary."""
    lane = np.uintp(j)
    n, place, steps = path[KNOWN + lane], path[PLACE + lane], path[STEPS_SQUARED + lane]
    # Before each step: the places after it but the last, and the zero the path starts from.
    level, levels = path[PLACES + lane] - place, path[PLACES_SQUARED + lane] - place * place
    xx, yy = levels - level * level / n, steps - place * place / n
    # A step takes the square of the place by 2 place x step + step^2 further; the sum of that is place^2.
    xy = 0.5 * (place * place - steps) - level * place / n
    return xy / xx if has_remainder(xx, levels) and has_remainder(yy, steps) else np.nan


@kernel
def unit_root_statistic(path: Matrix, j: int, is_augmented: bool) -> float:
    """Return the t statistic of `reversion_slope`, with the step before as a regressor beside it if augmented."""
    lane = np.uintp(j)
    # With a lag the oldest step is not an observation; the place before it is zero.
    lags = 1.0 if is_augmented else 0.0
    n, place, steps = path[KNOWN + lane] - lags, path[PLACE + lane], path[STEPS_SQUARED + lane]
    rise, ends = place - lags * path[OLDEST + lane], steps - lags * path[OLDEST + lane] * path[OLDEST + lane]
    level, levels = path[PLACES + lane] - place, path[PLACES_SQUARED + lane] - place * place
    xx, yy = levels - level * level / n, ends - rise * rise / n
    xy = 0.5 * (place * place - steps) - level * rise / n
    if n <= 2.0 + lags or not (has_remainder(xx, levels) and has_remainder(yy, ends)):
        return np.nan
    if is_augmented:
        back, backs = place - path[NEWEST + lane], steps - path[NEWEST + lane] * path[NEWEST + lane]
        zz = backs - back * back / n
        xz, zy = 0.5 * (back * back + backs) - level * back / n, path[NEIGHBOURS + lane] - back * rise / n
        if not has_remainder(zz, backs) or not has_remainder(xx * zz - xz * xz, xx * zz):
            return np.nan
        # Frisch & Waugh: what the step before explains is taken off both sides.
        xx, xy, yy = xx - xz * xz / zz, xy - xz * zy / zz, yy - zy * zy / zz
    slope = xy / xx
    rest = yy - slope * xy
    return slope / math.sqrt(rest / (n - 2.0 - lags) / xx) if rest > _EXACT * ends else np.nan


@kernel
def move_half_life(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Count the rows in which half of a path's distance to its mean is gone, in each window. x, out: [T, N].

    x holds the steps of the path (log returns); it is rebuilt from those of the window, so that a missing one bends
    nothing. -ln(2) / b, with b the slope of a least squares of steps on the places before them: the path decays like
    exp(b t). The slope is biased towards reversion: a random walk has a number here too; `move_adf` tests for a
    real one.

    NaN: a path that does not revert (b >= 0), too.
    Source: Chan (2013), Algorithmic Trading, chapter 2, of an Ornstein-Uhlenbeck process.
    """
    rows, columns = x.shape
    paths = np.empty((block_entries(window) + 4) * PATH * STRIP)
    for lo in range(0, columns, STRIP):
        hi = min(lo + STRIP, columns)
        paths[:] = 0.0
        for t in range(rows):
            place = walk_window(x, t, lo, hi, window, paths) * PATH * STRIP
            path = paths[place : place + PATH * STRIP]
            for j in range(hi - lo):
                slope = reversion_slope(path, j) if path[j] >= max(3, min_count) else np.nan
                out[t, lo + j] = -math.log(2.0) / slope if slope < 0.0 else np.nan


@kernel
def move_adf(x: Matrix, window: int, is_augmented: bool, min_count: int, out: Matrix) -> None:
    """Take the augmented Dickey-Fuller t statistic (with a constant) of the path of each window. x, out: [T, N].

    x holds the steps of the path as in `move_half_life`. Augmented, the step before is a regressor too.

    NaN: a path of equal steps, or one of which the regression leaves less than a thousandth, too.
    Source: Said & Dickey (1984), Biometrika 71(3).
    """
    rows, columns = x.shape
    paths = np.empty((block_entries(window) + 4) * PATH * STRIP)
    for lo in range(0, columns, STRIP):
        hi = min(lo + STRIP, columns)
        paths[:] = 0.0
        for t in range(rows):
            place = walk_window(x, t, lo, hi, window, paths) * PATH * STRIP
            path = paths[place : place + PATH * STRIP]
            for j in range(hi - lo):
                out[t, lo + j] = unit_root_statistic(path, j, is_augmented) if path[j] >= max(1, min_count) else np.nan
