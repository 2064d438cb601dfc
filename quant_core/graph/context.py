"""The state of a run as references: small, frozen, never a frame. Where the frames are is the store's business."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from quant_core.errors import MissingVersionError
from quant_core.evidence.code_change import CodeChange, code_change, differing
from quant_core.evidence.manifest import read_manifest
from quant_core.evidence.store import DataRef, Store
from quant_core.graph.diff import Parts, TableDiff
from quant_core.graph.outcome import OutcomeDiff, outcome_diff, tables_diff
from quant_core.graph.registry import StageRegistry


class ContextDiff(BaseModel):
    """What differs between two contexts; everything empty means nothing does.

    `tables` goes from section (data, features, scores, selection, weights, figures) to stage; `outcome` tells who was
    added and removed, and how weights and figures moved. Tables whose bytes are not there are in `refs` only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class SelectionContext(BaseModel):
    """What a stage is run with: identity, parameters and references to the tables so far."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    run_id: str
    sleeve: str
    home: str = Field(description="Folder of the ledger and the store.")
    sleeve_path: str | None = Field(default=None, description="The sleeve file, when not found by name.")
    as_of: str | None = Field(default=None, description="Knowledge time (ISO); null: latest.")
    params: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Given values per stage.")
    refs: dict[str, DataRef] = Field(default_factory=dict, description="Committed tables by stage id.")

    def with_ref(self, ref: DataRef) -> SelectionContext:
        """Return a context with one more reference."""
        return self.model_copy(update={"refs": {**self.refs, ref.stage: ref}})

    def diff(self, other: SelectionContext) -> ContextDiff:
        """Return what differs from `other`: parameters given, code, knowledge time, tables, and what they came to."""
        both = (self, other)
        given = [{f"{s}.{f}": value for s, table in c.params.items() for f, value in table.items()} for c in both]
        parts: list[dict[str, Parts]] = [{id: {"valid": ref} for id, ref in c.refs.items()} for c in both]
        stores = [Store(Path(c.home)) for c in both]

        # One content-addressed version is the same in every home.
        def holds(ref: DataRef) -> bool:
            return any(store.exists(ref) for store in stores)

        def read(ref: DataRef) -> pl.DataFrame:
            return next(store for store in stores if store.exists(ref)).read(ref)

        tables, _ = tables_diff(StageRegistry.load("quant_core"), read, holds, *parts)
        hashes = [{id: ref.sha256 for id, ref in c.refs.items()} for c in both]
        held = [{id: p for id, p in table.items() if holds(p["valid"])} for table in parts]
        return ContextDiff(
            params=differing(*given),
            code=_code_change(self, other),
            as_of=None if self.as_of == other.as_of else (self.as_of, other.as_of),
            refs=differing(*hashes),
            tables=tables,
            outcome=outcome_diff(read, *held),
        )


def _code_change(first: SelectionContext, second: SelectionContext) -> CodeChange | None:
    try:
        then, now = (read_manifest(Path(context.home), context.run_id).code for context in (first, second))
    except MissingVersionError:
        return None
    return code_change(then, now)
