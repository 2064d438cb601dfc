"""Moving statistics of how a symbol trades: price impact and bars without movement.

Moments live in moving.py, whose conventions hold here too; the returns all of them need in scatter.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, kernel
from quant_core.kernels.doubling import chunk_rows, fill_silent_rows, strip_columns, sum_windows


@kernel
def move_lag_ratio(close: Matrix, returns: Matrix, window: int, out: Matrix) -> None:
    """Divide the close `window` rows before by the close, where all returns between the two are known. All: [T, N]."""
    T, N = close.shape
    run = np.empty(LANES)
    for lo in range(0, N, LANES):
        left, right = np.uintp(lo), np.uintp(min(N, lo + LANES))
        run[:] = 0.0
        for t in range(T):
            before = max(0, t - window)
            for j in range(left, right):
                step, i = returns[t, j], j - left
                run[i] = run[i] + 1.0 if step == step else 0.0
                out[t, j] = close[before, j] / close[t, j] if run[i] >= window and t >= window else np.nan


@kernel
def move_zero_share(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the share of the known values of each window that are exactly zero. x, out: [T, N], out a fraction.

    Source: Lesmond, Ogden & Trzcinka (1999), Review of Financial Studies 12(5).
    """
    T, N = x.shape
    zeros, known = np.empty(LANES), np.empty(LANES)
    least = float(max(1, min_count))
    for lo in range(0, N, LANES):
        left, right = np.uintp(lo), np.uintp(min(N, lo + LANES))
        zeros[:], known[:] = 0.0, 0.0
        for t in range(T):
            # Whole numbers, hence exact: these sums may run from row to row.
            if t >= window:
                for j in range(left, right):
                    old = x[t - window, j]
                    zeros[j - left] -= 1.0 if old == 0.0 else 0.0
                    known[j - left] -= 1.0 if old - old == 0.0 else 0.0
            for j in range(left, right):
                value, i = x[t, j], j - left
                zeros[i] += 1.0 if value == 0.0 else 0.0
                known[i] += 1.0 if value - value == 0.0 else 0.0
                out[t, j] = zeros[i] / known[i] if known[i] >= least else np.nan


@kernel
def move_amihud(returns: Matrix, value: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Average abs(return) / traded value over each window. returns, value, out: [T, N]; out per unit of value.

    A bar counts when its return is known and its traded value is known and above zero: without trades there is no
    impact to measure.

    Source: Amihud (2002), Journal of Financial Markets 5(1), equation 1.
    """
    T, N = returns.shape
    rows, lanes, least = chunk_rows(window), strip_columns(window), float(max(1, min_count))
    width, silent = min(lanes, N), fill_silent_rows(least, out)
    scratch, sums = np.empty((3, (rows + window - 1) * width)), np.empty((2, rows * width))
    for lo in range(0, N, lanes):
        hi = min(N, lo + lanes)
        left, right = np.uintp(lo), np.uintp(hi)
        for start in range(silent, T, rows):
            stop, first = min(T, start + rows), start - window + 1
            length, cells = (stop - start) * (hi - lo), (stop - first) * (hi - lo)
            impact, counts, b = scratch[0, :cells], scratch[1, :cells], scratch[2, :cells]
            for i in range((max(0, first) - first) * (hi - lo)):
                impact[i], counts[i] = 0.0, 0.0
            for t in range(max(0, first), stop):
                place = np.uintp((t - first) * (hi - lo)) - left
                for j in range(left, right):
                    step = abs(returns[t, j]) / value[t, j]
                    is_traded = (value[t, j] > 0.0) & (step - step == 0.0)
                    impact[place + j] = step if is_traded else 0.0
                    counts[place + j] = 1.0 if is_traded else 0.0
            sum_windows(window, hi - lo, counts, b, sums[0, :length])
            sum_windows(window, hi - lo, impact, b, sums[1, :length])
            for t in range(start, stop):
                place = np.uintp((t - start) * (hi - lo)) - left
                for j in range(left, right):
                    n = sums[0, place + j]
                    out[t, j] = sums[1, place + j] / n if n >= least else np.nan
