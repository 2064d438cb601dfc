"""Trend: where the price has been going. How much it moved on the way is in volatility.py."""

from __future__ import annotations

from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.moving import move_mean
from quant_core.kernels.paths import move_compound, move_distance
from quant_core.market.panel import Matrix


@feature(family="trend", unit="fraction per year", warmup=108)
def momentum(returns: Matrix, *, window: int = 120, min_count: int = 108, periods_per_year: int = 252) -> Matrix:
    """Mean return of the last 120 bars, at least 108 of them known, times the bars in a year."""
    return move_mean.filled(returns, window, min_count) * periods_per_year


@feature(family="trend", unit="fraction", warmup=229, lower=-1.0)
def momentum_12_1(returns: Matrix, *, window: int = 252, skip: int = 20, min_count: int = 209) -> Matrix:
    """Compound return of the last 252 bars but the latest 20, at least 209 of these 232 returns known.

    Source: Jegadeesh & Titman (1993), Journal of Finance 48(1), with the month skipped.
    """
    return move_compound.filled(returns, window, skip, min_count)


@feature(family="trend", unit="fraction", warmup=19)
def distance_to_mean(returns: Matrix, *, window: int = 20, min_count: int = 19) -> Matrix:
    """Last close over the mean of the last 20 closes, minus one, all 19 returns between them known.

    The closes are rebuilt from returns, so that a new life of the ticker is no jump.
    """
    return move_distance.filled(returns, window, min_count)


table = family_stage(__name__)
