"""Compares two versions of a table, two selections, two portfolios. Choosing the tables of a run: outcome.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import polars as pl

from quant_core.graph.differences import ColumnDiff, SetDiff, TableDiff, WeightDiff

_EXAMPLES = 5


def table_diff(first: pl.DataFrame, second: pl.DataFrame, key: Sequence[str]) -> TableDiff:
    """Compare two versions of a table, row by row.

    Parameters
    ----------
    first, second : DataFrame
        Keys are unique in each.
    key : sequence of str
        Columns that identify a row.
    """
    shared = [name for name in first.columns if first.schema[name] == second.schema.get(name)]
    odd = tuple(sorted(({*first.columns} | {*second.columns}) - {*shared}))
    values = [name for name in shared if name not in key]
    if not set(key) <= set(shared):
        return TableDiff(
            rows=(first.height, second.height),
            added=second.height,
            removed=first.height,
            changed=0,
            columns={},
            schema_change=odd,
            examples=(),
        )
    before, after = _shared_rows(first.select(shared), second.select(shared), list(key))
    unequal = {name: before[name].ne_missing(after[name]) for name in values}
    columns = {name: _column_diff(before[name], after[name], mask) for name, mask in unequal.items() if mask.any()}
    is_changed = pl.Series([False] * before.height, dtype=pl.Boolean)
    for name in columns:
        is_changed = is_changed | unequal[name]
    added = _others(second, before, key)
    removed = _others(first, before, key)
    marked = (("+", added), ("-", removed), ("~", before.filter(is_changed)))
    return TableDiff(
        rows=(first.height, second.height),
        added=added.height,
        removed=removed.height,
        changed=int(is_changed.sum()),
        columns=columns,
        schema_change=odd,
        examples=tuple(
            f"{mark} {' '.join(str(value) for value in row)}"
            for mark, rows in marked
            for row in rows.select(key).head(_EXAMPLES).iter_rows()
        ),
    )


def set_diff(first: Iterable[str], second: Iterable[str]) -> SetDiff:
    """Compare two sets of names."""
    a, b = set(first), set(second)
    return SetDiff(
        added=tuple(sorted(b - a)),
        removed=tuple(sorted(a - b)),
        kept=len(a & b),
        jaccard=len(a & b) / len(a | b) if a | b else 1.0,
    )


def weight_diff(first: Mapping[str, float], second: Mapping[str, float]) -> WeightDiff:
    """Compare two books of weights by name."""
    pairs = {name: (first.get(name, 0.0), second.get(name, 0.0)) for name in sorted({*first, *second})}
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return WeightDiff(changed=changed, distance=sum(abs(a - b) for a, b in changed.values()) / 2.0)


def _shared_rows(first: pl.DataFrame, second: pl.DataFrame, key: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows whose keys both tables have, in one order; no row is copied where all keys are the same."""
    if not first.select(key).equals(second.select(key)):
        first, second = (
            one.join(other.select(key), on=key, how="semi", nulls_equal=True)
            for one, other in ((first, second), (second, first))
        )
        if not first.select(key).equals(second.select(key)):
            first, second = first.sort(key), second.sort(key)
    return first, second


def _others(table: pl.DataFrame, shared: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the keys of the rows that are not among those shared."""
    if table.height == shared.height:
        return table.select(key).clear()
    return table.select(key).join(shared.select(key), on=list(key), how="anti", nulls_equal=True)


def _column_diff(before: pl.Series, after: pl.Series, mask: pl.Series) -> ColumnDiff:
    largest = None
    if before.dtype.is_numeric():
        old, new = (column.filter(mask).cast(pl.Float64) for column in (before, after))
        largest = cast("float | None", (old - new).abs().max())
    return ColumnDiff(cells=int(mask.sum()), largest=largest)
