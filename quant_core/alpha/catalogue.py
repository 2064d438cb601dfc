"""What a factor is, and the catalogue of all of them.

A factor is a function in a file of this room: its name is the column, its positional parameters are the feature columns
it reads, the first sentence of its docstring describes it. Computing all of them is in factors.py.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

from quant_core.alpha.score_maps import SCORE_MAPS, ScoreMap
from quant_core.errors import UsageError
from quant_core.graph.catalog import Catalog, collect
from quant_core.market.contracts.features import ValueColumn
from quant_core.market.panel import Matrix


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor as found in its module: calling it calls the function.

    Attributes
    ----------
    function : callable
        Matrices [T, N] in, one per feature named; the raw value [T, N] out.
    map : ScoreMap
        Turns raw values into probabilities; it also says which end is better.
    directional : bool
        Whether a short wants the other end: its probability is one minus that of a long. Otherwise it keeps it.
    is_long_only : bool
        Whether it says nothing about a short, whose side of the distribution is another statistic.
    """

    function: Callable[..., Matrix]
    map: ScoreMap
    directional: bool
    is_long_only: bool = False

    @property
    def name(self) -> str:
        """The function's name: the column."""
        return self.function.__name__

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Feature columns it reads, in call order."""
        return tuple(inspect.signature(self.function).parameters)

    @cached_property
    def description(self) -> str:
        """First sentence of the docstring."""
        text = " ".join((inspect.getdoc(self.function) or "").split())
        return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]

    @property
    def column(self) -> ValueColumn:
        """Its column in the factor table; what inference must know of it travels as facts."""
        facts = {"directional": self.directional, "is_long_only": self.is_long_only}
        described = f"{self.description} Probability across members, map {self.map.name}."
        return ValueColumn(self.name, described, 0.0, 1.0, facts)

    def __call__(self, *features: Matrix) -> Matrix:
        """Return the raw value."""
        return self.function(*features)


def factor(*, map: str, directional: bool, is_long_only: bool = False) -> Callable[[Callable[..., Matrix]], Factor]:
    """Make a function a factor; see `Factor` for the arguments.

    Raises
    ------
    UnknownNameError
        No score map of that name; lists the near matches.
    UsageError
        The function reads no feature or has no docstring, or it is both directional and long only.
    """

    def made(function: Callable[..., Matrix]) -> Factor:
        entry = Factor(function, SCORE_MAPS[map], directional, is_long_only)
        if not entry.inputs or not entry.description.endswith("."):
            raise UsageError(f"factor {entry.name!r} needs a feature as parameter and a docstring that describes it.")
        if directional and is_long_only:
            raise UsageError(f"factor {entry.name!r} is directional, so it is known for shorts: not long only.")
        return entry

    return made


@cache
def catalogue(package: str = "quant_core.alpha") -> Catalog[Factor]:
    """Return every factor of a package by name."""
    return collect(package, Factor)
