"""Moving extremes: the largest and the smallest known value of each window, and how many bars ago it came.

The conventions are those of moving.py; quantiles and ranks live in ordered.py. Rows are cut into stretches of `window`
rows. A window is the end of one stretch and the beginning of the next, so its extreme is that of two running ones,
forwards through this stretch and backwards through the last: three comparisons a cell, whatever the window. Extremes
do not round: where the stretches begin leaves no trace in the answer. An infinite value is a value like others.

Source: van Herk (1992), Pattern Recognition Letters 13(7); Gil & Werman (1993), IEEE PAMI 15(5).
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, kernel

_STRIP = 2 * LANES
"""Columns at a time: so little is done per cell that on narrower strips a wide panel waits for memory (6.6 ns a cell on
64 columns of 5,000, 3.0 on 128)."""


@kernel
def slide_extreme(x: Matrix, sign: float, window: int, min_count: int, found: Matrix) -> None:
    """Take the largest (sign 1) or smallest (sign -1) known value of each window. x, found: [T, N]."""
    rows, columns = x.shape
    span, width = max(1, min(window, rows)), min(_STRIP, columns)
    ending, running, known = np.empty((span + 1, width)), np.empty(width), np.empty(width)
    least = max(1, min_count)
    for left in range(0, columns, _STRIP):
        lo, hi = np.uintp(left), np.uintp(min(left + _STRIP, columns))
        ending[:], known[:] = -np.inf, 0.0
        for t in range(rows):
            place = t % span
            if place == 0:
                running[:] = -np.inf
                for k in range(span - 1 if t else 0, 0, -1):
                    for j in range(lo, hi):
                        # Adding zero makes -0.0 a 0.0: equal values must be equal bits.
                        value = -np.inf if math.isnan(x[t - span + k, j]) else sign * x[t - span + k, j] + 0.0
                        before = ending[k + 1, j - lo]
                        ending[k, j - lo] = value if value > before else before
            if t >= span:
                for j in range(lo, hi):
                    known[j - lo] -= 0.0 if math.isnan(x[t - span, j]) else 1.0
            for j in range(lo, hi):
                value = -np.inf if math.isnan(x[t, j]) else sign * x[t, j] + 0.0
                known[j - lo] += 0.0 if math.isnan(x[t, j]) else 1.0
                best = running[j - lo]
                best = value if value > best else best
                running[j - lo] = best
                older = ending[place + 1, j - lo]
                best = older if older > best else best
                found[t, j] = sign * best + 0.0 if known[j - lo] >= least else np.nan


@kernel
def slide_place(x: Matrix, sign: float, window: int, min_count: int, found: Matrix) -> None:
    """Count the bars since the largest (sign 1) or smallest (sign -1) known value. x, found: [T, N].

    A running extreme is NaN until a known value has come; every comparison with NaN is false.
    """
    rows, columns = x.shape
    span, width = max(1, min(window, rows)), min(_STRIP, columns)
    ending, its_row = np.empty((span + 1, width)), np.empty((span + 1, width))
    running, row, known = np.empty(width), np.empty(width), np.empty(width)
    least = max(1, min_count)
    for left in range(0, columns, _STRIP):
        lo, hi = np.uintp(left), np.uintp(min(left + _STRIP, columns))
        ending[:], its_row[:], known[:] = np.nan, 0.0, 0.0
        for t in range(rows):
            place = t % span
            now = float(t)
            if place == 0:
                running[:] = np.nan
                for k in range(span - 1 if t else 0, 0, -1):
                    then = float(t - span + k)
                    for j in range(lo, hi):
                        value, before, where = sign * x[t - span + k, j], ending[k + 1, j - lo], its_row[k + 1, j - lo]
                        # Not below: of equal values the older one counts.
                        is_best = (value == value) & (not value < before)
                        ending[k, j - lo] = value if is_best else before
                        its_row[k, j - lo] = then if is_best else where
            if t >= span:
                for j in range(lo, hi):
                    known[j - lo] -= 0.0 if math.isnan(x[t - span, j]) else 1.0
            for j in range(lo, hi):
                value, best, where = sign * x[t, j], running[j - lo], row[j - lo]
                known[j - lo] += 1.0 if value == value else 0.0
                is_best = (value == value) & (not value <= best)
                best = value if is_best else best
                where = now if is_best else where
                running[j - lo], row[j - lo] = best, where
                older, its = ending[place + 1, j - lo], its_row[place + 1, j - lo]
                is_older = (older == older) & (not older < best)
                where = its if is_older else where
                found[t, j] = now - where if known[j - lo] >= least else np.nan


@kernel
def move_max(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the largest known value of each window. x, out: [T, N], same unit."""
    slide_extreme(x, 1.0, window, min_count, out)


@kernel
def move_min(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the smallest known value of each window. x, out: [T, N], same unit."""
    slide_extreme(x, -1.0, window, min_count, out)


@kernel
def move_argmax(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Count the bars since the largest known value of each window; on equal values the oldest. x, out: [T, N].

    0 is the newest bar, window - 1 the oldest one.
    """
    slide_place(x, 1.0, window, min_count, out)


@kernel
def move_argmin(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Count the bars since the smallest known value of each window; on equal values the oldest. x, out: [T, N].

    0 is the newest bar, window - 1 the oldest one.
    """
    slide_place(x, -1.0, window, min_count, out)
