"""Moving statistics of how a symbol trades: price impact and bars without movement, and the returns all of them need.

Moments live in moving.py, whose conventions hold here too.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel


@kernel
def step_returns(close: Matrix, life: Matrix, is_provisional: Matrix, out: Matrix) -> None:
    """Return close / previous close - 1 of each symbol, within one life. All: [T, N]; is_provisional: 0 or 1.

    The previous close is that of the symbol's last bar, however many rows ago.

    NaN: without a close, at the first bar of a life, and at a provisional bar.
    """
    columns = close.shape[1]
    last, era = np.full(columns, np.nan), np.full(columns, np.nan)
    for t in range(close.shape[0]):
        for j in range(columns):
            price = close[t, j]
            out[t, j] = np.nan
            if not math.isnan(price):
                if life[t, j] == era[j] and is_provisional[t, j] == 0.0:
                    out[t, j] = price / last[j] - 1.0
                last[j], era[j] = price, life[t, j]


@kernel
def move_zero_share(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the share of the known values of each window that are exactly zero. x, out: [T, N], out a fraction.

    Source: Lesmond, Ogden & Trzcinka (1999), Review of Financial Studies 12(5).
    """
    columns = x.shape[1]
    zeros, known = np.empty(columns), np.empty(columns)
    for t in range(x.shape[0]):
        for j in range(columns):
            zeros[j], known[j] = 0.0, 0.0
        for k in range(max(0, t - window + 1), t + 1):
            for j in range(columns):
                zeros[j] += 1.0 if x[k, j] == 0.0 else 0.0
                known[j] += 0.0 if math.isnan(x[k, j]) else 1.0
        for j in range(columns):
            out[t, j] = zeros[j] / known[j] if known[j] >= max(1, min_count) else np.nan


@kernel
def move_amihud(returns: Matrix, value: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Average abs(return) / traded value over each window. returns, value, out: [T, N]; out per unit of value.

    A bar counts when its return is known and its traded value is known and above zero: without trades there is no
    impact to measure.

    Source: Amihud (2002), Journal of Financial Markets 5(1), equation 1.
    """
    columns = returns.shape[1]
    total, known = np.empty(columns), np.empty(columns)
    for t in range(returns.shape[0]):
        for j in range(columns):
            total[j], known[j] = 0.0, 0.0
        for k in range(max(0, t - window + 1), t + 1):
            for j in range(columns):
                impact = abs(returns[k, j]) / value[k, j]
                counts = value[k, j] > 0.0 and not math.isnan(impact)
                total[j] += impact if counts else 0.0
                known[j] += 1.0 if counts else 0.0
        for j in range(columns):
            out[t, j] = total[j] / known[j] if known[j] >= max(1, min_count) else np.nan
