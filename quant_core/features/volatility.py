"""Volatility: how much the price moves and how far it has fallen. Its shape in the tails is in tail.py."""

from __future__ import annotations

import math

import numpy as np

from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.moving import move_std, move_sum
from quant_core.kernels.paths import move_drawdown
from quant_core.kernels.recursive import ewm_mean
from quant_core.market.panel import Matrix


@feature(family="volatility", unit="fraction per square root of a year", warmup=227, lower=0.0)
def volatility(returns: Matrix, *, window: int = 252, min_count: int = 227, periods_per_year: int = 252) -> Matrix:
    """Annualised standard deviation (ddof 1) of the returns of the last 252 bars, at least 227 of them known."""
    return move_std.apply(returns, window, min_count) * math.sqrt(periods_per_year)


@feature(family="volatility", unit="fraction per square root of a year", warmup=20, lower=0.0)
def volatility_20(returns: Matrix, *, window: int = 20, min_count: int = 20, periods_per_year: int = 252) -> Matrix:
    """Annualised standard deviation (ddof 1) of the returns of the last 20 bars, all of them known."""
    return move_std.apply(returns, window, min_count) * math.sqrt(periods_per_year)


@feature(family="volatility", unit="fraction", warmup=227, lower=-1.0, upper=0.0)
def drawdown(returns: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Last close over the highest of the last 252 closes, minus one, at least 227 returns between them known.

    The closes are rebuilt from returns, so that a new life of the ticker is not a fall.
    """
    return move_drawdown.apply(returns, window, min_count, False)


@feature(family="volatility", unit="fraction", warmup=227, lower=-1.0, upper=0.0)
def max_drawdown(returns: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Deepest fall from a peak within the last 252 closes, at least 227 returns between them known.

    The closes are rebuilt from returns, so that a new life of the ticker is not a fall.
    """
    return move_drawdown.apply(returns, window, min_count, True)


@feature(family="volatility", unit="fraction of the close", warmup=14, lower=0.0, has_infinite_memory=True)
def atr_14(top: Matrix, bottom: Matrix, close: Matrix, last_close: Matrix, life: Matrix, *, window: int = 14) -> Matrix:
    """Average true range of 14 bars, smoothed as Wilder does, over the close.

    The true range reaches from high to low, and to the previous close where that is outside.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, section III.
    """
    true_range = np.maximum(top, last_close) - np.minimum(bottom, last_close)
    return ewm_mean.apply(true_range, life, 1.0 / window, window, False) / close


@feature(family="volatility", unit="fraction", warmup=17, lower=0.0)
def bollinger_width_20(close: Matrix, sma20: Matrix, *, window: int = 20, min_count: int = 18) -> Matrix:
    """Width of the Bollinger bands over their middle: 4 standard deviations of the last 20 closes over their mean.

    The deviation is that of the population; 18 closes must be known, all of one life.
    Source: Bollinger (2001), Bollinger on Bollinger Bands.
    """
    known = move_sum.apply(np.where(np.isnan(close), np.nan, 1.0), window, min_count)
    return 4.0 * move_std.apply(close, window, min_count) * np.sqrt((known - 1.0) / known) / sma20


@feature(family="volatility", unit="fraction", warmup=0, lower=0.0)
def bar_range(top: Matrix, bottom: Matrix) -> Matrix:
    """High over low of the bar, minus one."""
    return top / bottom - 1.0


table = family_stage(__name__)
