"""Moving statistics of a path of returns: compound return, distance to mean, drawdown, autocorrelation, efficiency.

Moments live in moving.py, whose conventions hold here too; order statistics in ordered.py.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Matrix, kernel
from quant_core.kernels.moving import has_spread, sum_squares, sum_window


@kernel
def move_compound(returns: Matrix, window: int, skip: int, min_count: int, out: Matrix) -> None:
    """Compound the returns of each window but its latest `skip` rows. returns, out: [T, N], fractions."""
    columns = returns.shape[1]
    wealth, known = np.empty(columns), np.empty(columns)
    for t in range(returns.shape[0]):
        for j in range(columns):
            wealth[j], known[j] = 1.0, 0.0
        for k in range(max(0, t - window + 1), t - skip + 1):
            for j in range(columns):
                change = returns[k, j]
                is_known = not math.isnan(change)
                wealth[j] *= 1.0 + (change if is_known else 0.0)
                known[j] += 1.0 if is_known else 0.0
        for j in range(columns):
            out[t, j] = wealth[j] - 1.0 if known[j] >= max(1, min_count) else np.nan


@kernel
def move_distance(returns: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Return price / mean price - 1 over the last `window` prices. returns, out: [T, N], fractions.

    As in `move_drawdown` the prices are rebuilt from the window - 1 returns between them; `min_count` counts returns.
    """
    columns = returns.shape[1]
    wealth, total, known = np.empty(columns), np.empty(columns), np.empty(columns)
    for t in range(returns.shape[0]):
        for j in range(columns):
            wealth[j], total[j], known[j] = 1.0, 1.0, 0.0
        for k in range(max(0, t - window + 2), t + 1):
            for j in range(columns):
                change = returns[k, j]
                is_known = not math.isnan(change)
                wealth[j] *= 1.0 + (change if is_known else 0.0)
                total[j] += wealth[j] if is_known else 0.0
                known[j] += 1.0 if is_known else 0.0
        for j in range(columns):
            mean = total[j] / (known[j] + 1.0)
            out[t, j] = wealth[j] / mean - 1.0 if known[j] >= max(1, min_count) else np.nan


@kernel
def move_drawdown(returns: Matrix, window: int, min_count: int, is_worst: bool, out: Matrix) -> None:
    """Measure the fall of wealth below its peak over the last `window` prices. returns, out: [T, N], fractions.

    `window` prices hold window - 1 returns; wealth is rebuilt from these, so that a bar without return (a first bar,
    an unconfirmed jump) bends nothing. With `is_worst` the deepest fall anywhere in the window, else today's.
    """
    columns = returns.shape[1]
    wealth, peak = np.empty(columns), np.empty(columns)
    worst, known = np.empty(columns), np.empty(columns)
    for t in range(returns.shape[0]):
        for j in range(columns):
            wealth[j], peak[j], worst[j], known[j] = 1.0, 1.0, 0.0, 0.0
        for k in range(max(0, t - window + 2), t + 1):
            for j in range(columns):
                change = returns[k, j]
                is_known = not math.isnan(change)
                wealth[j] *= 1.0 + (change if is_known else 0.0)
                known[j] += 1.0 if is_known else 0.0
                peak[j] = wealth[j] if wealth[j] > peak[j] else peak[j]
                fall = wealth[j] / peak[j] - 1.0
                worst[j] = fall if fall < worst[j] else worst[j]
        for j in range(columns):
            fall = worst[j] if is_worst else wealth[j] / peak[j] - 1.0
            out[t, j] = fall if known[j] >= max(1, min_count) else np.nan


@kernel
def move_autocorrelation(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the lag-1 autocorrelation of each window: sum(d[k] d[k-1]) / sum(d^2) about the window's mean.

    x, out: [T, N]. A pair counts when both neighbouring rows are known and in the window; `min_count` counts pairs.

    NaN: a window without spread, too.
    Source: Box & Jenkins (1976), Time Series Analysis, section 2.1.5.
    """
    columns = x.shape[1]
    mean, known, squares = np.empty(columns), np.empty(columns), np.empty(columns)
    products, pairs = np.empty(columns), np.empty(columns)
    for t in range(x.shape[0]):
        sum_window(x, t, window, mean, known)
        for j in range(columns):
            mean[j] /= known[j]
            products[j] = 0.0
            pairs[j] = 0.0
        sum_squares(x, t, window, mean, squares)
        for k in range(max(1, t - window + 2), t + 1):
            for j in range(columns):
                product = (x[k, j] - mean[j]) * (x[k - 1, j] - mean[j])
                is_pair = not math.isnan(x[k, j]) and not math.isnan(x[k - 1, j])
                products[j] += product if is_pair else 0.0
                pairs[j] += 1.0 if is_pair else 0.0
        for j in range(columns):
            if pairs[j] >= max(1, min_count) and has_spread(squares[j], mean[j], known[j]):
                # Bounded by Cauchy and Schwarz; rounding may miss the bound by an ulp.
                out[t, j] = min(1.0, max(-1.0, products[j] / squares[j]))
            else:
                out[t, j] = np.nan


@kernel
def move_efficiency(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take abs(sum x) / sqrt(sum x^2) of each window: how far a path went for the steps it took.

    x, out: [T, N]; under independent symmetric steps half-normal, whatever their tails.

    NaN: a window whose steps are all zero, too.
    Source: self-normalised sums, de la Pena, Lai & Shao (2009), Self-Normalized Processes.
    """
    columns = x.shape[1]
    total, known = np.empty(columns), np.empty(columns)
    origin, squares = np.zeros(columns), np.empty(columns)
    for t in range(x.shape[0]):
        sum_window(x, t, window, total, known)
        sum_squares(x, t, window, origin, squares)
        for j in range(columns):
            if known[j] >= max(1, min_count) and squares[j] > 0.0:
                out[t, j] = abs(total[j]) / math.sqrt(squares[j])
            else:
                out[t, j] = np.nan
