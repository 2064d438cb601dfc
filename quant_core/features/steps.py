"""Types of the catalogue: feature, ingredient and grid, each a function of named inputs, and features by name.

The decorators that make them live in catalogue.py, the order in which they run in step_order.py.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from quant_core.graph.catalog import Catalog
from quant_core.market.contracts.features import ValueColumn
from quant_core.market.panel import Matrix

BAR_COLUMNS = ("open", "high", "low", "close", "volume", "vwap")
"""Columns of bars a feature may name as input; prices in quote currency, volume in the unit the sleeve declares.
`vwap`, the average price of the bar's trades, is not known where the source has none: nothing approximates it."""

INPUTS = (*BAR_COLUMNS, "returns")
"""`returns`: simple return since the symbol's last bar within one life; NaN while a jump is provisional."""

DEFAULT_FAMILIES = ("trend", "volatility", "predictability", "liquidity", "tail", "ratings")
"""Families computed by default; the others are big and must be named."""

Function = Callable[..., Matrix]
S = TypeVar("S", bound="Step")


@dataclass(frozen=True, eq=False)
class Step:
    """A function with named inputs; calling the step calls the function.

    Attributes
    ----------
    function : callable
        Matrices [T, W] in, one per input, for a block of W symbols; a matrix of that shape out. Columns do not meet,
        and no input is written to.
    is_cross_sectional : bool
        The matrices are [T, N] instead, of all symbols: columns meet, row by row. A symbol without a bar that day is
        NaN and no member of the row.
    has_infinite_memory : bool
        Whether a value depends on all bars before it (recursive features), not on a window.
    declared_memory : int, optional
        Bars a value reads, its inputs' included; see `memory_of`.
    window : int, optional
        Its place in a grid.
    """

    function: Function
    is_cross_sectional: bool = False
    has_infinite_memory: bool = False
    declared_memory: int | None = None
    window: int | None = None

    @property
    def name(self) -> str:
        """The function's name, and its window in a grid."""
        return self.function.__name__ + ("" if self.window is None else str(self.window))

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names as written, in call order: of bar columns, of `returns`, of other steps, of grids of other steps."""
        return tuple(p.name for p in parameters_of(self.function) if p.kind is p.POSITIONAL_OR_KEYWORD)

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters and their defaults."""
        own = {p.name: p.default for p in parameters_of(self.function) if p.kind is p.KEYWORD_ONLY}
        return own if self.window is None else own | {"window": self.window}

    @cached_property
    def doc(self) -> str:
        """The docstring, with its window inserted."""
        text = inspect.getdoc(self.function) or ""
        return text if self.window is None else text.replace("{window}", str(self.window))

    @property
    def description(self) -> str:
        """First sentence of the docstring."""
        return self._parts[0]

    @property
    def formula(self) -> str:
        """The docstring between its first sentence and `Source:`, paragraph by paragraph."""
        return self._parts[1]

    @property
    def source(self) -> str:
        """The docstring after `Source:`."""
        return self._parts[2]

    @cached_property
    def _parts(self) -> tuple[str, str, str]:
        body, _, source = self.doc.partition("Source:")
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", body)]
        first, *rest = re.split(r"(?<=\.)\s", paragraphs[0], maxsplit=1)
        return first, "\n\n".join(part for part in (*rest, *paragraphs[1:]) if part), " ".join(source.split())

    def __call__(self, *args: Any, **kwargs: Any) -> Matrix:
        """Return the function's answer."""
        own = {} if self.window is None else {"window": self.window}
        return self.function(*args, **own | kwargs)


@dataclass(frozen=True, eq=False)
class Ingredient(Step):
    """An input that steps share: computed once for all of them, never a column."""


@dataclass(frozen=True, eq=False)
class Feature(Step):
    """A step whose values are a column.

    Attributes
    ----------
    family : str
        The file it is in and the table it goes to.
    unit : str
    warmup : int
        Dates from a symbol's first bar on, at which the feature cannot be known yet.
    lower, upper : float, optional
        Inclusive bounds of its values.
    """

    family: str = ""
    unit: str = ""
    warmup: int = 0
    lower: float | None = None
    upper: float | None = None

    @property
    def column(self) -> ValueColumn:
        """Its column in the family's contract."""
        return ValueColumn(self.name, f"{self.description} Unit: {self.unit}.", self.lower, self.upper)


@dataclass(frozen=True, eq=False)
class Grid(Generic[S]):
    """One function under several windows: calling it calls the function, which then needs its `window`.

    Attributes
    ----------
    function : callable
    entries : tuple
        One step per window, named by the function and the window: `MA20`.
    """

    function: Function
    entries: tuple[S, ...]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Matrix:
        """Return the function's answer."""
        return self.function(*args, **kwargs)


class FeatureCatalog(Catalog[Feature]):
    """Features by name, and beside them the ingredients they may name as inputs."""

    def __init__(self, features: Iterable[Feature], ingredients: Iterable[Ingredient] = ()) -> None:
        super().__init__("feature", {entry.name: entry for entry in features})
        self.ingredients: Mapping[str, Ingredient] = {entry.name: entry for entry in ingredients}


def steps_of(values: Iterable[object]) -> list[Step]:
    """Return the steps among some values, grids unfolded."""
    found: list[Step] = []
    for value in values:
        found += value.entries if isinstance(value, Grid) else [value] if isinstance(value, Step) else []
    return found


def parameters_of(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Return what a function's signature names."""
    return tuple(inspect.signature(function).parameters.values())
