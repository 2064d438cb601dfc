"""Sources: functions that read rows from outside, with their parameters, found by their kind.

The sources themselves are the files in sources/; the landing (raw.py) checks the rows.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, cast

import polars as pl
from pydantic import AfterValidator, JsonValue, ValidationError

from quant_core.errors import ConfigError
from quant_core.graph.catalog import Catalog, collect
from quant_core.graph.landing import Tell, ignore_message
from quant_core.graph.stage import Params
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve, first_fault


def _is_a_day(text: str) -> str:
    date.fromisoformat(text)
    return text


IsoDay = Annotated[str, AfterValidator(_is_a_day)]
"""An option that is a day, as text: 2024-01-31."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One answer of a source, landed once as it was sent and never changed.

    Attributes
    ----------
    rows : Split
        Valid: date, symbol, close and any of open, high, low, volume, known_at, row, in order of arrival. Exclusions:
        rows that could not be read, `row` giving their position in the answer.
    request : mapping
        The request, as JSON values: no path of this machine, no secret.
    marks : mapping of str to str
        How far the source has been read after this batch, under names of the source's own: a symbol's last date, a
        file's hash. What was landed before keeps its marks.
    actions : DataFrame, optional
        All corporate actions the source knows, or None if this batch reports none: date (ex-date), symbol, kind,
        factor, and where known to, known_at; see the contract Actions.
    made_of : int, optional
        Rows of the source the valid ones were put together from; None: each is one. Losses of the source are
        measured against them.
    """

    rows: Split
    request: Mapping[str, JsonValue] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    actions: pl.DataFrame | None = None
    made_of: int | None = None


@dataclass(frozen=True)
class Landed:
    """The state a growing source receives before it reads.

    Attributes
    ----------
    marks : mapping of str to str
        As left by the batches landed so far; empty at the first landing.
    now : datetime
        The landing's clock, aware, UTC.
    tell : callable
        Takes one line of progress.
    """

    marks: Mapping[str, str]
    now: datetime
    tell: Tell = ignore_message


Snapshot = Callable[[Any, Sleeve], pl.DataFrame | Split | Batch]
Increments = Callable[[Any, Sleeve, Landed], Iterator[Batch]]


@dataclass(frozen=True)
class Source:
    """A source as found in its module.

    Attributes
    ----------
    name : str
        The `kind` a sleeve file names.
    function : callable
        For a snapshot: takes (params, sleeve) and returns everything there is; what it leaves out is no longer known.
        For a source that grows: takes (params, sleeve, landed) and yields batches of what has not landed yet, so that
        an interrupted landing goes on where it stopped.
    params : type of Params
        The other keys of the `[source]` table.
    grows : bool
        Whether batches add to what has landed; else each landing replaces the one before.
    is_live : bool
        Whether rows without a stamp are known from their landing on. Else those of the first landing are known always.
    anchors : tuple of str
        Options of a source that grows which say what it reads from, such as the exchange: another value is another
        source, and its landing starts from scratch.
    """

    name: str
    function: Snapshot | Increments
    params: type[Params]
    grows: bool = False
    is_live: bool = False
    anchors: tuple[str, ...] = ()

    @property
    def doc(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    def __call__(self, *args: Any) -> Any:  # noqa: D102 - calls the function
        return self.function(*args)

    def batches(self, params: Params, sleeve: Sleeve, landed: Landed) -> Iterator[Batch]:
        """Read the source: one batch of a snapshot, as many as there are of a source that grows."""
        if self.grows:
            yield from cast("Increments", self.function)(params, sleeve, landed)
        else:
            read = cast("Snapshot", self.function)(params, sleeve)
            split = Split(read) if isinstance(read, pl.DataFrame) else read
            yield split if isinstance(split, Batch) else Batch(split)

    def options(self, given: Mapping[str, Any]) -> Params:
        """Return the `[source]` keys as this source's parameters.

        Raises
        ------
        ConfigError
            An unknown key or a value of the wrong type or size; names the key.
        """
        try:
            return self.params.model_validate_json(json.dumps(given))
        except ValidationError as error:
            known = ", ".join(self.params.model_fields) or "none"
            said = f"table [source] of kind {self.name!r}: {first_fault(error)}. Its keys: {known}."
            raise ConfigError(said) from error


def source(
    name: str, *, params: type[Params], grows: bool = False, is_live: bool = False, anchors: tuple[str, ...] = ()
) -> Callable[[Snapshot | Increments], Source]:
    """Make a function a source of the kind `name`; see `Source`."""

    def as_source(function: Snapshot | Increments) -> Source:
        return Source(name, function, params, grows, is_live, anchors)

    return as_source


def sources() -> Catalog[Source]:
    """Return every source by its kind; an unknown kind is an error that lists the near matches."""
    return collect("quant_core.ingest.sources", Source, title="source kind")
