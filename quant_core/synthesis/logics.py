"""Logics: rules that turn the returns of symbols into position paths. One frozen entry each, found by type.

What a position earns is in atoms.py; how much of it is held is allocation's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from quant_core.graph.catalog import Catalog, collect
from quant_core.market.panel import Panel


@dataclass(frozen=True)
class Logic:
    """A named rule from returns [T, N] to positions [T, N] in {-1, 0, 1}.

    The position at t earns the return of t, so it may use rows before t only; NaN where it is not known, and then the
    atom has no return.
    """

    name: str
    function: Callable[[Panel], Panel]

    def __call__(self, returns: Panel) -> Panel:
        """Return the positions."""
        return self.function(returns)


def logic(function: Callable[[Panel], Panel]) -> Logic:
    """Make a function a logic of its name."""
    return Logic(function.__name__, function)


@cache
def logics() -> Catalog[Logic]:
    """Return all logics by name."""
    return collect(__name__, Logic)


@logic
def trend(returns: Panel) -> Panel:
    """Hold the atom's direction through every bar: always 1.

    The default adds no timing of its own: a long atom is r, a short one -min(r, 1), and what the optimiser sees is what
    the simulator trades.
    """
    return returns.like(np.ones(returns.shape))
