"""Tail: the shape of the distribution of returns. Its width is in volatility.py."""

from __future__ import annotations

from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.moving import move_kurtosis, move_skewness
from quant_core.kernels.ordered import move_cvar
from quant_core.market.panel import Matrix


@feature(family="tail", unit="none", warmup=227)
def skew(returns: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Skewness (population, with its sign) of the returns of the last 252 bars, at least 227 of them known."""
    return move_skewness.apply(returns, window, min_count)


@feature(family="tail", unit="none", warmup=227, lower=-2.0)
def kurtosis(returns: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Excess kurtosis (population) of the returns of the last 252 bars, at least 227 of them known."""
    return move_kurtosis.apply(returns, window, min_count)


@feature(family="tail", unit="fraction", warmup=227, lower=-1.0)
def cvar(returns: Matrix, *, window: int = 252, level: float = 0.05, min_count: int = 227) -> Matrix:
    """Mean of the worst 5 % of the returns of the last 252 bars, at least 227 of them known; a loss is negative."""
    return move_cvar.apply(returns, window, level, min_count)


table = family_stage(__name__)
