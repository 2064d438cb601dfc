"""The state of a run as references: small, frozen, never a frame. Where the frames are is the store's business."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quant_core.evidence.store import DataRef


class ContextDiff(BaseModel):
    """What differs between two contexts; everything empty means nothing does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    params: dict[str, tuple[Any, Any]] = Field(description='"stage.field" to (this, other).')
    refs: dict[str, tuple[str | None, str | None]] = Field(description="Stage id to (this, other) SHA-256.")
    as_of: tuple[str | None, str | None] | None = Field(description="Knowledge times, where they differ.")

    @property
    def is_empty(self) -> bool:
        """Whether the two are the same."""
        return not self.params and not self.refs and self.as_of is None


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
        """Return what differs from `other`: parameters given, tables, knowledge time."""
        keys = sorted({(s, f) for c in (self, other) for s, table in c.params.items() for f in table})
        params = {f"{s}.{f}": (self.params.get(s, {}).get(f), other.params.get(s, {}).get(f)) for s, f in keys}
        stages = sorted({*self.refs, *other.refs})
        hashes = {id: tuple(c.refs[id].sha256 if id in c.refs else None for c in (self, other)) for id in stages}
        return ContextDiff(
            params={name: pair for name, pair in params.items() if pair[0] != pair[1]},
            refs={id: (a, b) for id, (a, b) in hashes.items() if a != b},
            as_of=None if self.as_of == other.as_of else (self.as_of, other.as_of),
        )
