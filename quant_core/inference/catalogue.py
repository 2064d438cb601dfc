"""Defines a scorer, and the catalogue of all of them. The champion is in log_mps.py, the table in conviction.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from quant_core.graph.catalog import Catalog, collect

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """The result of a scorer for R rows from K factors.

    Attributes
    ----------
    conviction : ndarray [R]
        In (0, 1]; NaN where too little is known.
    coverage : ndarray [R]
        Known weight over the weight of all factors.
    contributions : ndarray [K, R]
        What each factor added, in the scorer's own unit; NaN where it is not known or has no weight.
    """

    conviction: Array
    coverage: Array
    contributions: Array


@dataclass(frozen=True, eq=False)
class Scorer:
    """A scorer as found in its module: calling it calls the function.

    Attributes
    ----------
    function : callable
        probabilities [K, R] (NaN: not known) and weights [K] (0 or more, not all 0) in, a `Scored` out. Each row
        is scored alone.
    """

    function: Callable[[Array, Array], Scored]

    @property
    def name(self) -> str:
        """The function's name: the label in the table."""
        return self.function.__name__

    def __call__(self, probabilities: Array, weights: Array) -> Scored:
        """Return the scorer's result."""
        return self.function(probabilities, weights)


def scorer(function: Callable[[Array, Array], Scored]) -> Scorer:
    """Make a function a scorer; see `Scorer` for its arguments."""
    return Scorer(function)


@cache
def catalogue(package: str = "quant_core.inference") -> Catalog[Scorer]:
    """Return every scorer of a package by name."""
    return collect(package, Scorer)
