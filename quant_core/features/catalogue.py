"""What a feature is, and the catalogue of all of them.

A feature is a function in a family file: its name is the column, its positional parameters are its inputs, its
keyword-only parameters are its parameters, the first sentence of its docstring describes it. Running them lives in
compute.py, their tables in families.py.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from quant_core.errors import UnknownNameError, UsageError
from quant_core.graph.catalog import Catalog, collect
from quant_core.market.contracts.features import ValueColumn
from quant_core.market.panel import Matrix

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
"""Columns of bars a feature may name as input; prices in quote currency, volume in the unit the sleeve declares."""

INPUTS = (*BAR_COLUMNS, "returns")
"""`returns`: simple return since the symbol's last bar within one life; NaN while a jump is provisional."""


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature as found in its module: calling it calls the function.

    Attributes
    ----------
    function : callable
        Matrices [T, W] in, one per input, for a block of W symbols; a matrix of that shape out. Columns do not meet:
        what compares symbols belongs in alpha.
    family : str
        The file it stands in and the table it goes to.
    unit : str
    warmup : int
        Bars of a symbol, from its first on, at which the feature cannot be known yet.
    lower, upper : float, optional
        Inclusive bounds of its values.
    has_infinite_memory : bool
        Whether a value depends on all bars before it (recursive features), not on a window.
    """

    function: Callable[..., Matrix]
    family: str
    unit: str
    warmup: int
    lower: float | None = None
    upper: float | None = None
    has_infinite_memory: bool = False

    @property
    def name(self) -> str:
        """The function's name: the column."""
        return self.function.__name__

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of bar columns, of `returns` or of other features, in call order."""
        return tuple(p.name for p in _parameters(self.function) if p.kind is p.POSITIONAL_OR_KEYWORD)

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters and their defaults."""
        return {p.name: p.default for p in _parameters(self.function) if p.kind is p.KEYWORD_ONLY}

    @cached_property
    def description(self) -> str:
        """First sentence of the docstring."""
        text = " ".join((inspect.getdoc(self.function) or "").split())
        return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]

    @property
    def column(self) -> ValueColumn:
        """Its column in the family's contract."""
        return ValueColumn(self.name, f"{self.description} Unit: {self.unit}.", self.lower, self.upper)

    def __call__(self, *args: Any, **kwargs: Any) -> Matrix:
        """Return the function's answer."""
        return self.function(*args, **kwargs)


def feature(
    *,
    family: str,
    unit: str,
    warmup: int,
    lower: float | None = None,
    upper: float | None = None,
    has_infinite_memory: bool = False,
) -> Callable[[Callable[..., Matrix]], Feature]:
    """Make a function a feature; see `Feature` for the arguments.

    Raises
    ------
    UsageError
        The function has no input, a parameter without default, or no docstring.
    """

    def made(function: Callable[..., Matrix]) -> Feature:
        entry = Feature(function, family, unit, warmup, lower, upper, has_infinite_memory)
        loose = [name for name, default in entry.parameters.items() if default is inspect.Parameter.empty]
        if not entry.inputs or loose or len(entry.inputs) + len(entry.parameters) != len(_parameters(function)):
            raise UsageError(f"feature {entry.name!r}: inputs are positional, parameters keyword-only with a default.")
        if not entry.description.endswith("."):
            raise UsageError(f"feature {entry.name!r} needs a docstring whose first sentence can describe its column.")
        if entry.name in INPUTS:
            raise UsageError(f"feature {entry.name!r} bears the name of an input; give it a name of its own.")
        return entry

    return made


@cache
def catalogue(package: str = "quant_core.features") -> Catalog[Feature]:
    """Return every feature of a package by name.

    Raises
    ------
    UnknownNameError
        A feature names an input that is neither a bar column nor a feature; lists the near matches.
    UsageError
        Features feed each other in a circle.
    """
    found = collect(package, Feature)
    in_order(found, found)
    return found


def in_order(names: Iterable[str], among: Catalog[Feature]) -> tuple[Feature, ...]:
    """Return the named features and those they build on, each once and after its inputs.

    Raises
    ------
    UnknownNameError
        A name, or the input of a feature, that is not known; lists the near matches.
    UsageError
        Features feed each other in a circle.
    """
    done: dict[str, Feature] = {}

    def visit(entry: Feature, path: tuple[str, ...]) -> None:
        if entry.name in path:
            raise UsageError(f"features feed each other in a circle: {' -> '.join((*path, entry.name))}.")
        for name in entry.inputs:
            if name not in INPUTS and name not in among:
                raise UnknownNameError(f"input of feature {entry.name!r}:", name, [*INPUTS, *among])
            if name in among and name not in done:
                visit(among[name], (*path, entry.name))
        done[entry.name] = entry

    for name in names:
        if name not in done:
            visit(among[name], ())
    return tuple(done.values())


def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function).parameters.values())
