"""`@allocator`: a function from train returns to weights becomes an entry, looked up by its name.

The methods are one per file beside this one; caps.py holds the limits, weights.py the stage.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from quant_core.allocation.caps import Caps
from quant_core.graph.catalog import Catalog, collect
from quant_core.market.panel import Matrix, Panel


@dataclass(frozen=True)
class Allocator:
    """An allocation method as found in its module.

    Its function takes the streams of K atoms over a train window, all known, none constant, and returns weights [K]
    that are not negative and sum to 1. One that names the keyword `caps` meets the limits itself and sums to their
    capacity where that is below 1; the others are projected afterwards.
    """

    name: str
    function: Callable[..., Matrix]

    @property
    def doc(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def wants_caps(self) -> bool:
        """Whether the function meets the limits itself."""
        return "caps" in inspect.signature(self.function).parameters

    def __call__(self, returns: Panel, *, caps: Caps | None = None) -> Matrix:
        """Return the method's weights [K] for `returns` [T, K]; without `caps` nothing is limited."""
        limits: dict[str, Any] = {"caps": caps or Caps.none(returns.shape[1])} if self.wants_caps else {}
        return self.function(returns, **limits)


def allocator() -> Callable[[Callable[..., Matrix]], Allocator]:
    """Make a function an allocation method under its own name."""

    def as_allocator(function: Callable[..., Matrix]) -> Allocator:
        return Allocator(function.__name__, function)

    return as_allocator


@cache
def allocators() -> Catalog[Allocator]:
    """Return every allocation method of this package by name."""
    return collect("quant_core.allocation", Allocator, title="allocation method")
