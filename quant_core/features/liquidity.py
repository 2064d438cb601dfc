"""Liquidity: how much of a symbol trades, and what trading moves."""

from __future__ import annotations

import numpy as np

from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.ordered import move_median
from quant_core.kernels.trading import move_amihud, move_zero_share
from quant_core.market.panel import Matrix


@feature(family="liquidity", unit="fraction", warmup=108, lower=0.0, upper=1.0)
def zero_return_share(returns: Matrix, *, window: int = 120, min_count: int = 108) -> Matrix:
    """Share of the returns of the last 120 bars that are exactly zero, at least 108 of them known."""
    return move_zero_share.apply(returns, window, min_count)


@feature(family="liquidity", unit="fraction per million of quote currency", warmup=54, lower=0.0)
def amihud(
    returns: Matrix,
    close: Matrix,
    volume: Matrix,
    *,
    window: int = 60,
    min_count: int = 54,
    scale: float = 1e6,
    volume_unit: str = "units",
) -> Matrix:
    """Mean of the absolute return over the traded value of the last 60 bars, times a million, 54 of them traded."""
    return move_amihud.apply(returns, _traded_value(close, volume, volume_unit), window, min_count) * scale


@feature(family="liquidity", unit="quote currency per bar", warmup=19, lower=0.0)
def liquidity(
    close: Matrix, volume: Matrix, *, window: int = 20, min_count: int = 20, volume_unit: str = "units"
) -> Matrix:
    """Median traded value of the last 20 bars, all of them known."""
    return move_median.apply(_traded_value(close, volume, volume_unit), window, min_count)


@feature(family="liquidity", unit="natural logarithm of quote currency per bar", warmup=19)
def log_traded_value(liquidity: Matrix) -> Matrix:
    """Natural logarithm of the median traded value of the last 20 bars, null where that is zero."""
    return np.log(liquidity)


def _traded_value(close: Matrix, volume: Matrix, volume_unit: str) -> Matrix:
    """Return quote currency per bar: volume itself where the sleeve counts value, else close x volume."""
    return volume if volume_unit == "value" else close * volume


table = family_stage(__name__)
