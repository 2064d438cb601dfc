"""Volatility: how much the price moves and how far it has fallen. Its shape in the tails is in tail.py."""

from __future__ import annotations

import math

from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.moving import move_std
from quant_core.kernels.paths import move_drawdown
from quant_core.market.panel import Matrix


@feature(family="volatility", unit="fraction per square root of a year", warmup=227, lower=0.0)
def volatility(returns: Matrix, *, window: int = 252, min_count: int = 227, periods_per_year: int = 252) -> Matrix:
    """Annualised standard deviation (ddof 1) of the returns of the last 252 bars, at least 227 of them known."""
    return move_std.filled(returns, window, min_count) * math.sqrt(periods_per_year)


@feature(family="volatility", unit="fraction per square root of a year", warmup=20, lower=0.0)
def volatility_20(returns: Matrix, *, window: int = 20, min_count: int = 20, periods_per_year: int = 252) -> Matrix:
    """Annualised standard deviation (ddof 1) of the returns of the last 20 bars, all of them known."""
    return move_std.filled(returns, window, min_count) * math.sqrt(periods_per_year)


@feature(family="volatility", unit="fraction", warmup=227, lower=-1.0, upper=0.0)
def drawdown(returns: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Last close over the highest of the last 252 closes, minus one, at least 227 returns between them known.

    The closes are rebuilt from returns, so that a new life of the ticker is no fall.
    """
    return move_drawdown.filled(returns, window, min_count, False)


@feature(family="volatility", unit="fraction", warmup=227, lower=-1.0, upper=0.0)
def max_drawdown(returns: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Deepest fall from a peak within the last 252 closes, at least 227 returns between them known.

    The closes are rebuilt from returns, so that a new life of the ticker is no fall.
    """
    return move_drawdown.filled(returns, window, min_count, True)


table = family_stage(__name__)
