"""Equal weight: the yardstick of every other method."""

from __future__ import annotations

import numpy as np

from quant_core.allocation.allocator import allocator
from quant_core.market.panel import Matrix, Panel


@allocator()
def equal_weight(returns: Panel) -> Matrix:
    """Return the same weight for each atom [K]."""
    size = returns.shape[1]
    return np.full(size, 1.0 / size)
