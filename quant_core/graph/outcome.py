"""What differs between the tables of two runs: winners, weights, figures, and rows and cells by section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from quant_core.evidence.code_change import differing
from quant_core.evidence.store import DataRef
from quant_core.graph.diff import Parts, SetDiff, TableDiff, WeightDiff, set_diff, table_diff, weight_diff
from quant_core.graph.registry import StageRegistry

Read = Callable[[DataRef], pl.DataFrame]
Holds = Callable[[DataRef], bool]

SELECTION, PORTFOLIO, METRICS = "synthesis.selection", "report.portfolio", "backtest.metrics"
SECTIONS = {
    "data": ("ingest",),
    "features": ("features",),
    "scores": ("alpha", "inference"),
    "selection": ("synthesis",),
    "weights": ("allocation", "report"),
    "figures": ("backtest",),
}
"""Which rooms' tables a section of the diff is about."""


class OutcomeDiff(BaseModel):
    """What differs in what a run came to: winners, weights, figures.

    `selection` compares the winners of the last rebalance (symbol and direction), `dates` counts rebalances by whether
    their winners differ, `weights` compares the last portfolio per method, `figures` the metrics by "portfolio/metric".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    selection: SetDiff | None
    dates: tuple[int, int] = Field(description="Rebalances whose winners differ, of all either run has.")
    weights: dict[str, WeightDiff]
    figures: dict[str, tuple[float | None, float | None]] = Field(description="Those that differ.")

    @property
    def is_empty(self) -> bool:
        """Whether both came to the same."""
        is_same = self.selection is None or not (self.selection.added or self.selection.removed)
        return is_same and not self.dates[0] and not self.figures and not any(w.changed for w in self.weights.values())


def outcome_diff(read: Read, first: Mapping[str, Parts], second: Mapping[str, Parts]) -> OutcomeDiff:
    """Compare what two sets of tables came to.

    Parameters
    ----------
    read : callable
        Returns the table of a reference.
    first, second : mapping of stage id to parts
        A table that is not there counts as empty.
    """
    picked = [_winners(read, tables) for tables in (first, second)]
    dates = sorted({*picked[0], *picked[1]})
    last = [names[max(names)] if names else frozenset[str]() for names in picked]
    books = [_books(read, tables) for tables in (first, second)]
    return OutcomeDiff(
        selection=set_diff(*last) if any(picked) else None,
        dates=(sum(picked[0].get(day) != picked[1].get(day) for day in dates), len(dates)),
        weights={
            method: weight_diff(books[0].get(method, {}), books[1].get(method, {}))
            for method in sorted({*books[0], *books[1]})
        },
        figures=differing(_figures(read, first), _figures(read, second)),
    )


def tables_diff(
    registry: StageRegistry, read: Read, holds: Holds, first: Mapping[str, Parts], second: Mapping[str, Parts]
) -> tuple[dict[str, dict[str, TableDiff]], dict[str, str]]:
    """Compare the valid rows of all tables.

    Parameters
    ----------
    registry : StageRegistry
        Its contracts say which rows are the same.
    read, holds : callable
        Return the table of a reference, and whether its bytes are there.
    first, second : mapping of stage id to parts

    Returns
    -------
    tuple
        Section to stage to what differs, and stage to why a table was not compared; equal tables are in neither.
    """
    found: dict[str, dict[str, TableDiff]] = {section: {} for section in SECTIONS}
    missing: dict[str, str] = {}
    section_of = {room: section for section, rooms in SECTIONS.items() for room in rooms}
    for spec in registry.ordered():
        a, b = (tables.get(spec.id, {}).get("valid") for tables in (first, second))
        if a is None or b is None:
            if a != b:
                missing[spec.id] = "only in the second" if a is None else "only in the first"
        elif a.sha256 != b.sha256:
            if not (holds(a) and holds(b)):
                missing[spec.id] = "its bytes were collected; replay the run"
            else:
                found[section_of.get(spec.room, "data")][spec.id] = table_diff(read(a), read(b), spec.output.key)
    return {section: tables for section, tables in found.items() if tables}, missing


def _winners(read: Read, tables: Mapping[str, Parts]) -> dict[Any, frozenset[str]]:
    ref = tables.get(SELECTION, {}).get("valid")
    if ref is None:
        return {}
    named = read(ref).select("date", name=pl.col("symbol") + " " + pl.col("direction"))
    grouped = named.group_by("date").agg("name")
    return {day: frozenset(names) for day, names in grouped.iter_rows()}


def _books(read: Read, tables: Mapping[str, Parts]) -> dict[str, dict[str, float]]:
    ref = tables.get(PORTFOLIO, {}).get("valid")
    if ref is None:
        return {}
    books: dict[str, dict[str, float]] = {}
    for method, atom, weight in read(ref).select("method", "atom", "weight").iter_rows():
        books.setdefault(method, {})[atom] = weight
    return books


def _figures(read: Read, tables: Mapping[str, Parts]) -> dict[str, float | None]:
    ref = tables.get(METRICS, {}).get("valid")
    if ref is None:
        return {}
    return {f"{name}/{metric}": value for name, metric, value in read(ref)["portfolio", "metric", "value"].iter_rows()}
