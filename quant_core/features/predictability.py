"""Predictability: whether past returns say anything about the next. Which way they point is in trend.py."""

from __future__ import annotations

from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.paths import move_autocorrelation, move_efficiency
from quant_core.market.panel import Matrix


@feature(family="predictability", unit="none, half-normal for independent returns", warmup=108, lower=0.0)
def efficiency(returns: Matrix, *, window: int = 120, min_count: int = 108) -> Matrix:
    """Sum of the returns of the last 120 bars, without sign, over the root of the sum of their squares, 108 known.

    Self-normalised: independent returns of any tail give a half-normal value, so that limits need no calibration.
    """
    return move_efficiency.filled(returns, window, min_count)


@feature(family="predictability", unit="correlation", warmup=109, lower=-1.0, upper=1.0)
def autocorrelation(returns: Matrix, *, window: int = 120, min_count: int = 108) -> Matrix:
    """Autocorrelation of neighbouring returns of the last 120 bars, at least 108 pairs known."""
    return move_autocorrelation.filled(returns, window, min_count)


table = family_stage(__name__)
