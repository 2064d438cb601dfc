"""Compares two contexts, for `SelectionContext.diff` of graph/context.py."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from quant_core.errors import MissingVersionError
from quant_core.evidence.runs.code_change import CodeChange, changed_items, code_change
from quant_core.evidence.runs.manifest import read_manifest
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.store.store import Store
from quant_core.graph.commit import Parts
from quant_core.graph.context import SelectionContext
from quant_core.graph.differences import ContextDiff
from quant_core.graph.registry import StageRegistry
from quant_core.lifecycle.compare.outcome import outcome_diff, tables_diff


def context_diff(first: SelectionContext, second: SelectionContext) -> ContextDiff:
    """Compare the given parameters, the code, the knowledge times, the tables and the results of two contexts."""
    both = (first, second)
    registry = StageRegistry.load("quant_core")
    given = [{f"{s}.{f}": value for s, table in c.params.items() for f, value in table.items()} for c in both]
    parts: list[dict[str, Parts]] = [{id: {"valid": ref} for id, ref in c.refs.items()} for c in both]
    stores = [Store(Path(c.home)) for c in both]

    # One content-addressed version is the same in every home.
    def holds(ref: DataRef) -> bool:
        return any(store.exists(ref) for store in stores)

    def read(ref: DataRef) -> pl.DataFrame:
        return next(store for store in stores if store.exists(ref)).read(ref)

    tables, _ = tables_diff(registry, read, holds, *parts)
    hashes = [{id: ref.sha256 for id, ref in c.refs.items()} for c in both]
    present = [{id: p for id, p in table.items() if holds(p["valid"])} for table in parts]
    return ContextDiff(
        params=changed_items(*given),
        code=_code_change(first, second),
        as_of=None if first.as_of == second.as_of else (first.as_of, second.as_of),
        refs=changed_items(*hashes),
        tables=tables,
        outcome=outcome_diff(registry, read, *present),
    )


def _code_change(first: SelectionContext, second: SelectionContext) -> CodeChange | None:
    try:
        then, now = (read_manifest(Path(context.home), context.run_id).code for context in (first, second))
    except MissingVersionError:
        return None
    return code_change(then, now)
