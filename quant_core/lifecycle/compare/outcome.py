"""Compares the results of two runs: winners, weights, figures, and the rows and cells of each table by section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from quant_core.evidence.runs.code_change import changed_items
from quant_core.evidence.store.refs import DataRef
from quant_core.graph.commit import Parts
from quant_core.graph.differences import OutcomeDiff, TableDiff
from quant_core.graph.registry import StageRegistry
from quant_core.graph.stage import Shown
from quant_core.lifecycle.compare.tables import set_diff, table_diff, weight_diff

Read = Callable[[DataRef], pl.DataFrame]
Holds = Callable[[DataRef], bool]

SECTIONS = {
    "data": ("ingest",),
    "features": ("features",),
    "scores": ("alpha", "inference"),
    "selection": ("synthesis",),
    "weights": ("allocation", "report"),
    "figures": ("backtest",),
}
"""The rooms whose tables each section of a diff compares."""


def outcome_diff(
    registry: StageRegistry, read: Read, first: Mapping[str, Parts], second: Mapping[str, Parts]
) -> OutcomeDiff:
    """Compare the winners, weights and figures of two sets of tables.

    Parameters
    ----------
    registry : StageRegistry
        Its stages declare which table holds the selection, the portfolio and the figures.
    read : callable
        Returns the table of a reference.
    first, second : mapping of stage id to parts
        A missing table counts as empty.
    """
    shown = [_Tables(registry, read, tables) for tables in (first, second)]
    picked = [_winners(tables) for tables in shown]
    dates = sorted({*picked[0], *picked[1]})
    last = [names[max(names)] if names else frozenset[str]() for names in picked]
    books = [_books(tables) for tables in shown]
    return OutcomeDiff(
        selection=set_diff(*last) if any(picked) else None,
        dates=(sum(picked[0].get(day) != picked[1].get(day) for day in dates), len(dates)),
        weights={
            method: weight_diff(books[0].get(method, {}), books[1].get(method, {}))
            for method in sorted({*books[0], *books[1]})
        },
        figures=changed_items(*(_figures(tables) for tables in shown)),
    )


def tables_diff(
    registry: StageRegistry, read: Read, holds: Holds, first: Mapping[str, Parts], second: Mapping[str, Parts]
) -> tuple[dict[str, dict[str, TableDiff]], dict[str, str]]:
    """Compare the valid rows of all tables.

    Parameters
    ----------
    registry : StageRegistry
        Its contracts have the key that matches rows.
    read, holds : callable
        Return the table of a reference, and whether its bytes exist.
    first, second : mapping of stage id to parts

    Returns
    -------
    tuple
        Section to stage to differences, and stage to why its table was not compared; equal tables are in neither.
    """
    found: dict[str, dict[str, TableDiff]] = {section: {} for section in SECTIONS}
    missing: dict[str, str] = {}
    section_of = {room: section for section, rooms in SECTIONS.items() for room in rooms}
    for spec in registry.order_stages():
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


@dataclass(frozen=True)
class _Tables:
    """The tables of one run, found by what their stages show."""

    registry: StageRegistry
    read: Read
    parts: Mapping[str, Parts]

    def frame(self, shown: Shown) -> pl.DataFrame | None:
        """Return the table that shows this, None if the run has none."""
        refs = (self.parts.get(id, {}).get("valid") for id, spec in self.registry.items() if spec.shows == shown)
        ref = next((ref for ref in refs if ref is not None), None)
        return None if ref is None else self.read(ref)


def _winners(tables: _Tables) -> dict[Any, frozenset[str]]:
    frame = tables.frame("selection")
    if frame is None:
        return {}
    named = frame.select("date", name=pl.col("symbol") + " " + pl.col("direction"))
    grouped = named.group_by("date").agg("name")
    return {day: frozenset(names) for day, names in grouped.iter_rows()}


def _books(tables: _Tables) -> dict[str, dict[str, float]]:
    frame = tables.frame("portfolio")
    books: dict[str, dict[str, float]] = {}
    if frame is not None:
        for method, atom, weight in frame.select("method", "atom", "weight").iter_rows():
            books.setdefault(method, {})[atom] = weight
    return books


def _figures(tables: _Tables) -> dict[str, float | None]:
    frame = tables.frame("figures")
    if frame is None:
        return {}
    return {f"{name}/{metric}": value for name, metric, value in frame["portfolio", "metric", "value"].iter_rows()}
