"""How two tables, portfolios, runs and contexts differ, as values. Comparing them is in lifecycle/compare/."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quant_core.evidence.runs.code_change import CodeChange


class _Diff(BaseModel):
    """Root of the values of this module."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnDiff(_Diff):
    """Cells of one column that differ in rows both tables have."""

    cells: int
    largest: float | None = Field(description="Largest absolute difference of two known numbers; null: none.")


class TableDiff(_Diff):
    """Rows and cells that differ, matched by the key."""

    rows: tuple[int, int]
    added: int = Field(description="Rows only the second has.")
    removed: int = Field(description="Rows only the first has.")
    changed: int = Field(description="Rows both have, with other cells.")
    columns: dict[str, ColumnDiff] = Field(description="Columns with cells that differ.")
    schema_change: tuple[str, ...] = Field(description="Columns only one has, or of another type.")
    examples: tuple[str, ...] = Field(description="Keys of the first rows added (+), removed (-) and changed (~).")

    @property
    def is_empty(self) -> bool:
        """Whether the tables hold the same rows."""
        return not (self.added or self.removed or self.changed or self.schema_change)


class SetDiff(_Diff):
    """Members only one of the two has."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    kept: int
    jaccard: float = Field(description="Shared members by all members; 1 where both are empty.")


class WeightDiff(_Diff):
    """Weights that differ, by name: (first, second), 0 if it is not held."""

    changed: dict[str, tuple[float, float]]
    distance: float = Field(description="Half the sum of absolute differences: the share of the book to be traded.")


class OutcomeDiff(_Diff):
    """How the results of two runs differ: winners, weights, figures.

    `selection` compares the winners of the last rebalance (symbol and direction), `dates` counts rebalances by whether
    their winners differ, `weights` compares the last portfolio per method, `figures` the metrics by "portfolio/metric".
    """

    selection: SetDiff | None
    dates: tuple[int, int] = Field(description="Rebalances whose winners differ, of all either run has.")
    weights: dict[str, WeightDiff]
    figures: dict[str, tuple[float | None, float | None]] = Field(description="Those that differ.")

    @property
    def is_empty(self) -> bool:
        """Whether both have the same results."""
        is_same = self.selection is None or not (self.selection.added or self.selection.removed)
        return is_same and not self.dates[0] and not self.figures and not any(w.changed for w in self.weights.values())


class ContextDiff(_Diff):
    """How two contexts differ; all fields are empty if they are equal.

    `tables` goes from section (data, features, scores, selection, weights, figures) to stage; `outcome` shows who was
    added and removed, and how weights and figures moved. Tables whose bytes are not there are in `refs` only.
    """

    params: dict[str, tuple[Any, Any]] = Field(description='"stage.field" to (this, other).')
    code: CodeChange | None = Field(description="Null where a run has no manifest.")
    as_of: tuple[str | None, str | None] | None = Field(description="Knowledge times, where they differ.")
    refs: dict[str, tuple[str | None, str | None]] = Field(description="Stage id to (this, other) SHA-256.")
    tables: dict[str, dict[str, TableDiff]]
    outcome: OutcomeDiff

    @property
    def is_empty(self) -> bool:
        """Whether the two are the same."""
        return not self.params and not self.refs and self.as_of is None and (self.code is None or self.code.is_empty)
