"""Recursive kernels: exponential means, runs, lives. Their state goes on from bar to bar; Wilder's are in technical.py.

Conventions of all kernels here: x, life, out [T, N], columns apart. A value that is not finite is not known, nor is one
at a bar without a life. The state is carried over bars that are not known, never reset by them: time counts in known
bars. It starts again where the life changes, so that nothing crosses from one asset to the next of the same ticker.

NaN: where x is not known, and before a column's first known bar.
"""

from __future__ import annotations

import numpy as np

from quant_core.kernels._jit import Matrix, kernel

STRIP = 1024
"""Columns that go through time together: a row of them is read in one go. Strips of 64 take three times as long on wide
panels, whose every row begins a new page. The state of all of them is one scratch array: so many separate ones would
have to be proved apart on each row, at the price of the vector loop."""


@kernel
def number_lives(close: Matrix, returns: Matrix, out: Matrix) -> None:
    """Fill `out` with the number of the life each bar belongs to, from 1 on. close, returns, out: [T, N].

    A bar with a close and no return begins a life: a first bar, a new asset under an old ticker, or a provisional jump.

    NaN: where the close is not known.
    """
    number = np.empty(STRIP)
    for first in range(0, close.shape[1], STRIP):
        lo, hi = np.uintp(first), np.uintp(min(first + STRIP, close.shape[1]))
        number[:] = 0.0
        for t in range(close.shape[0]):
            for j in range(lo, hi):
                is_bar = close[t, j] - close[t, j] == 0.0
                is_begun = (number[j - lo] == 0.0) | (returns[t, j] != returns[t, j])
                number[j - lo] += 1.0 if is_bar & is_begun else 0.0
                out[t, j] = number[j - lo] if is_bar else np.nan


@kernel
def is_one_life(life: Matrix, lo: int, hi: int, lowest: Matrix, highest: Matrix) -> bool:
    """Return whether columns lo to hi have one life each at most. life: [T, N]; lowest, highest: [hi - lo] scratch."""
    left, right = np.uintp(lo), np.uintp(hi)
    lowest[:], highest[:] = np.inf, -np.inf
    for t in range(life.shape[0]):
        for j in range(left, right):
            number, i = life[t, j], j - left
            lowest[i] = number if number < lowest[i] else lowest[i]
            highest[i] = number if number > highest[i] else highest[i]
    others = 0
    for column in range(hi - lo):
        others += 1 if highest[column] > lowest[column] else 0
    return others == 0


@kernel
def count_rows_apart(life: Matrix, out: Matrix) -> None:
    """Count the rows since the last bar of another life: a window of no more rows has one life. life, out: [T, N].

    NaN: where no other life was before. Rows without a bar count, and have a value.
    """
    state = np.empty((3, STRIP))
    current, last, other = state[0], state[1], state[2]
    for first in range(0, life.shape[1], STRIP):
        end = min(first + STRIP, life.shape[1])
        lo, hi = np.uintp(first), np.uintp(end)
        if is_one_life(life, first, end, current, last):
            out[:, lo:hi] = np.nan
            continue
        current[:], last[:], other[:] = np.nan, np.nan, np.nan
        for t in range(life.shape[0]):
            row = float(t)
            for j in range(lo, hi):
                i = j - lo
                is_bar = life[t, j] == life[t, j]
                # At the first bar of all `last` is NaN: no other life came before.
                other[i] = last[i] if is_bar & (life[t, j] != current[i]) else other[i]
                current[i] = life[t, j] if is_bar else current[i]
                last[i] = row if is_bar else last[i]
                out[t, j] = row - other[i]


@kernel
def previous_bar(x: Matrix, life: Matrix, out: Matrix) -> None:
    """Return the last known x before each bar, within one life and however many rows ago. x, life, out: [T, N].

    NaN: at the first known bar of a life, too.
    """
    state = np.empty((2, STRIP))
    current, last = state[0], state[1]
    for first in range(0, x.shape[1], STRIP):
        lo, hi = np.uintp(first), np.uintp(min(first + STRIP, x.shape[1]))
        current[:], last[:] = np.nan, np.nan
        for t in range(x.shape[0]):
            for j in range(lo, hi):
                i = j - lo
                is_known = (x[t, j] - x[t, j] == 0.0) & (life[t, j] == life[t, j])
                out[t, j] = last[i] if is_known & (life[t, j] == current[i]) else np.nan
                current[i] = life[t, j] if is_known else current[i]
                last[i] = x[t, j] if is_known else last[i]


@kernel
def count_run(x: Matrix, life: Matrix, out: Matrix) -> None:
    """Count the known bars in a row, up to this one, with the sign of x; negative where x is. x, life, out: [T, N].

    Zero has no sign: it counts 0 and ends a run.
    """
    state = np.empty((2, STRIP))
    current, run = state[0], state[1]
    for first in range(0, x.shape[1], STRIP):
        lo, hi = np.uintp(first), np.uintp(min(first + STRIP, x.shape[1]))
        current[:], run[:] = np.nan, 0.0
        for t in range(x.shape[0]):
            for j in range(lo, hi):
                i = j - lo
                is_known = (x[t, j] - x[t, j] == 0.0) & (life[t, j] == life[t, j])
                before = run[i] if life[t, j] == current[i] else 0.0
                up = (before if before > 0.0 else 0.0) + 1.0
                down = (before if before < 0.0 else 0.0) - 1.0
                after = up if x[t, j] > 0.0 else (down if x[t, j] < 0.0 else 0.0)
                run[i] = after if is_known else run[i]
                current[i] = life[t, j] if is_known else current[i]
                out[t, j] = after if is_known else np.nan


@kernel
def ewm_mean(x: Matrix, life: Matrix, alpha: float, min_count: int, is_weighted: bool, out: Matrix) -> None:
    """Average x with weights that fall by 1 - alpha from bar to bar. x, life, out: [T, N], same unit.

    Every bar moves the mean by (x - mean) gain, so that equal values have exactly their own mean. With `is_weighted`
    the gain is the newest bar's share of all weights (1 - alpha)^k: pandas' adjust=True. Else the first `min_count`
    values are averaged equally, and each later one has the gain alpha: the exponential mean of n values with
    alpha = 2 / (n + 1), Wilder's with 1 / n, both with n for `min_count`; pandas' adjust=False with 1 for it.

    NaN: before the `min_count`-th known value of a life, too.
    Source: Wilder (1978), New Concepts in Technical Trading Systems; pandas `ewm` with ignore_na=True.
    """
    state = np.empty((4, STRIP))
    current, mean, weight, known = state[0], state[1], state[2], state[3]
    decay = 1.0 - alpha if is_weighted else 1.0
    # The weights of `is_weighted` never reach 1 / alpha; those of equal shares are a count.
    equal = np.inf if is_weighted else float(max(1, min_count))
    for first in range(0, x.shape[1], STRIP):
        lo, hi = np.uintp(first), np.uintp(min(first + STRIP, x.shape[1]))
        current[:], mean[:], weight[:], known[:] = np.nan, 0.0, 0.0, 0.0
        for t in range(x.shape[0]):
            for j in range(lo, hi):
                i = j - lo
                value = x[t, j]
                is_known = (value - value == 0.0) & (life[t, j] == life[t, j])
                is_same = life[t, j] == current[i]
                before = mean[i] if is_same else 0.0
                share = decay * (weight[i] if is_same else 0.0) + 1.0
                n = (known[i] if is_same else 0.0) + 1.0
                after = before + (value - before) * (1.0 / share if share <= equal else alpha)
                mean[i] = after if is_known else mean[i]
                weight[i] = share if is_known else weight[i]
                known[i] = n if is_known else known[i]
                current[i] = life[t, j] if is_known else current[i]
                out[t, j] = after if is_known & (n >= min_count) else np.nan
