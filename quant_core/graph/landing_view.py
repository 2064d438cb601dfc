"""The view of a landing at a knowledge time, and how it is judged and stored: its batches are in the store already.

Batches are landed in landing.py; every other result is judged in judge.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from quant_core.evidence.store.refs import DataRef, Part
from quant_core.evidence.store.store import Store
from quant_core.graph.finished import Finished, apply_table_rules, find_over_budget, measure
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import Split


@dataclass(frozen=True, eq=False)
class View(Split):
    """The batches that had landed at a knowledge time; their rows are not yet cut at it.

    Attributes
    ----------
    valid, exclusions : DataFrame
        Rows of the whole view or, if `versions` are given, of those batches that no commit has judged yet.
    actions : DataFrame
        Corporate actions, taken from the latest batch that carried any; each such batch carries the full list.
    versions : mapping of part to DataRef, ...
        The batches the view is made of, oldest first; empty: its rows are written as a version of their own.
    counts : mapping of rule to rows
        Rows excluded in the whole view.
    made_of : int, optional
        Number of source rows that `valid` was built from.
    until : int
        Seq of the last batch in view: those up to it are judged with this view.
    """

    actions: pl.DataFrame = field(default_factory=pl.DataFrame)
    versions: Mapping[Part, tuple[DataRef, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    made_of: int | None = None
    until: int = -1


@dataclass(frozen=True, eq=False)
class FinishedView(Finished):
    """A judged view: its exclusions are counted over all batches, and its versions are stored as a list.

    Attributes
    ----------
    view : View
    """

    view: View = field(default_factory=lambda: View(pl.DataFrame()))

    @property
    def excluded(self) -> dict[str, int]:
        """Number of rows excluded per rule in the whole view."""
        return dict(self.view.counts)

    @property
    def facts(self) -> dict[str, Any]:
        """The last batch that was judged with this view."""
        return {"landed": self.view.until}

    def store_parts(self, store: Store, spec: StageSpec, sleeve: str) -> dict[Part, DataRef]:
        """Write the list of the versions in view; a view cut at a knowledge time has none and is written as rows."""
        if self.view.versions:
            return {part: store.write_list(versions) for part, versions in self.view.versions.items()}
        return super().store_parts(store, spec, sleeve)

    def frames(self, spec: StageSpec) -> dict[Part, tuple[pl.DataFrame, tuple[str, ...]]]:
        """Return each part of the view, corporate actions among them, with the key its rows are sorted by."""
        return {**super().frames(spec), "actions": (self.view.actions, ("row",))}


def judge_view(spec: StageSpec, view: View) -> FinishedView:
    """Judge a view by budgets and rules on the whole table; its rows met the contract when they landed."""
    found, warnings = apply_table_rules(spec, view.valid)
    made_of = view.valid.height if view.made_of is None else view.made_of
    broken = [*find_over_budget(spec, view.excluded, made_of), *found]
    return FinishedView(
        view.valid,
        view.exclusions,
        tuple(broken),
        tuple(warnings),
        measure(spec, view.valid, broken),
        contract=view.contract,
        view=view,
    )
