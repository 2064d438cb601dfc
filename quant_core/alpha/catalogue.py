"""Defines a factor, and the catalogue of all of them.

A factor is a function in a file of this room: its name is the column, its positional parameters are the feature columns
it reads, the first sentence of its docstring describes it. A sleeve makes a factor of one feature by naming it
(sleeve_factors.py). Computing all of them is in factors.py.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from quant_core.alpha.score_maps import SCORE_MAPS, ScoreMap
from quant_core.errors import UsageError
from quant_core.graph.catalog import Catalog, collect
from quant_core.market.contracts.features import ValueColumn
from quant_core.market.panel import Matrix

Role = Literal["alpha", "tradability"]


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor: calling it calls the function.

    Attributes
    ----------
    name : str
        The column.
    inputs : tuple of str
        Feature columns it reads, in call order.
    description : str
        One sentence.
    function : callable
        Matrices [T, N] in, one per feature named; the raw value [T, N] out.
    map : ScoreMap
        Turns raw values into probabilities; it also defines which end is better.
    directional : bool
        Whether a short wants the other end: its probability is one minus that of a long. Otherwise it keeps it.
    is_long_only : bool
        Whether it is not known for a short, which would need another statistic of the other tail.
    role : "alpha" or "tradability"
        alpha: which way a symbol will go; tradability: how easily it can be traded.
    """

    name: str
    inputs: tuple[str, ...]
    description: str
    function: Callable[..., Matrix]
    map: ScoreMap
    directional: bool
    is_long_only: bool = False
    role: Role = "alpha"

    def column(self, *, is_off: bool = False) -> ValueColumn:
        """Return its column in the factor table, with the facts that inference needs.

        Parameters
        ----------
        is_off : bool
            Whether the sleeve has switched off the family of a feature it reads.
        """
        facts = {
            "directional": self.directional,
            "is_long_only": self.is_long_only,
            "is_tradability": self.role == "tradability",
            "is_off": is_off,
        }
        described = f"{self.description} Probability across members, map {self.map.name}."
        return ValueColumn(self.name, described, 0.0, 1.0, facts)

    def __call__(self, *features: Matrix) -> Matrix:
        """Return the raw value."""
        return self.function(*features)


def factor(
    *, map: str, directional: bool, is_long_only: bool = False, role: Role = "alpha"
) -> Callable[[Callable[..., Matrix]], Factor]:
    """Make a function a factor; see `Factor` for the arguments.

    Raises
    ------
    UnknownNameError
        No score map of that name; lists the near matches.
    UsageError
        The function reads no feature or has no docstring, or it is both directional and long only.
    """

    def as_factor(function: Callable[..., Matrix]) -> Factor:
        entry = Factor(
            name=function.__name__,
            inputs=tuple(inspect.signature(function).parameters),
            description=_first_sentence(function),
            function=function,
            map=SCORE_MAPS[map],
            directional=directional,
            is_long_only=is_long_only,
            role=role,
        )
        if not entry.inputs or not entry.description.endswith("."):
            raise UsageError(f"factor {entry.name!r} needs a feature as parameter and a docstring that describes it.")
        if fault := find_side_fault(directional=directional, is_long_only=is_long_only, role=role):
            raise UsageError(f"factor {entry.name!r}: {fault}")
        return entry

    return as_factor


def find_side_fault(*, directional: bool, is_long_only: bool, role: Role) -> str | None:
    """Return what is contradictory about the two sides of a factor, in one sentence; None if nothing is."""
    if directional and is_long_only:
        return "a directional factor is known for shorts, not long only."
    if directional and role == "tradability":
        return "how easily a symbol can be traded is the same for both sides; set directional = false."
    return None


def _first_sentence(function: Callable[..., Matrix]) -> str:
    text = " ".join((inspect.getdoc(function) or "").split())
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


@cache
def catalogue(package: str = "quant_core.alpha") -> Catalog[Factor]:
    """Return every factor of a package by name."""
    return collect(package, Factor)
