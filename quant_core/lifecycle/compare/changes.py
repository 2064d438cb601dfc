"""Compares a commit with the sleeve's version before it, for the metadata of each materialization."""

from __future__ import annotations

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from quant_core.errors import EvidenceError
from quant_core.evidence.runs.reader import EvidenceReader, ref_in
from quant_core.graph.commit import Committed
from quant_core.graph.differences import SetDiff, TableDiff
from quant_core.graph.stage import StageSpec
from quant_core.lifecycle.compare.tables import set_diff, table_diff


class Changes(BaseModel):
    """The changes from one version of a table to the next."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str = Field(description="The run that committed the version before.")
    sha256: str = Field(description="That version.")
    table: TableDiff | None = Field(description="Null if the bytes of the version before are missing or damaged.")
    members: SetDiff | None = Field(description="Symbols on the last date of each, where the table has both columns.")


def changes_of(evidence: EvidenceReader, spec: StageSpec, committed: Committed, frame: pl.DataFrame) -> Changes | None:
    """Compare a committed table with the head its run started from; None for the first version of a table.

    Parameters
    ----------
    evidence : EvidenceReader
    spec : StageSpec
    committed : Committed
    frame : DataFrame
        Its valid rows.
    """
    run = evidence.run(committed.record.run_id)
    before = evidence.heads(at=run.pinned_seq).get((spec.id, committed.ref.sleeve))
    if before is None:
        return None
    ref = ref_in(before)
    try:
        held = frame if ref.sha256 == committed.ref.sha256 else evidence.store.read(ref)
    except EvidenceError:  # collected or damaged: the new commit must not fail for it
        held = None
    return Changes(
        run_id=before.run_id,
        sha256=ref.sha256,
        table=None if held is None else table_diff(held, frame, spec.output.key),
        members=None if held is None else _members(held, frame),
    )


def _members(before: pl.DataFrame, now: pl.DataFrame) -> SetDiff | None:
    if not {"date", "symbol"} <= {*before.columns} & {*now.columns}:
        return None
    last = [frame.filter(pl.col("date") == pl.col("date").max())["symbol"].drop_nulls() for frame in (before, now)]
    return set_diff(*(symbols.to_list() for symbols in last))
