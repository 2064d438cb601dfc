"""Inverse volatility: equal risk if nothing were correlated."""

from __future__ import annotations

from quant_core.allocation.allocator import allocator
from quant_core.market.panel import Matrix, Panel


@allocator()
def inverse_volatility(returns: Panel) -> Matrix:
    """Return weights [K] proportional to one over the standard deviation (ddof 1) of the train returns."""
    inverse = 1.0 / returns.values.std(axis=0, ddof=1)
    weights: Matrix = inverse / inverse.sum()
    return weights
