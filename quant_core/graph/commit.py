"""A finished stage becomes a committed version: both files, one ledger record, documents published.

Shared by the script and by the IO manager, which is why their tables are equal bytes. Judging a result is judge.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import polars as pl

from quant_core.errors import GateError, UsageError
from quant_core.evidence.files.documents import write_document
from quant_core.evidence.files.names import encode_name
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.store.refs import DataRef, Part
from quant_core.evidence.store.store import Store
from quant_core.graph.finished import Finished
from quant_core.graph.landing import PARTS
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.rule_names import with_current_names
from quant_core.meter import measure_validation

Parts = Mapping[Part, DataRef]
"""The files of one version of a table."""

# Decoding a table costs more than most stages spend on it; above this size, memory matters more.
HELD_BYTES = 256 << 20


@dataclass
class TableCache:
    """Keeps tables that later stages of a run read again, as the store returned them, within a bound of memory.

    Attributes
    ----------
    left : mapping of input to number
        How many more times the run reads it.
    """

    left: Counter[str]
    _frames: dict[str, tuple[DataRef, pl.DataFrame]] = field(default_factory=dict, init=False)

    def frame(self, store: Store, source: str, ref: DataRef) -> pl.DataFrame:
        """Return the table of `ref`: from the store, or from memory once the bytes in the store are verified."""
        known, frame = self._frames.pop(source, (None, None))
        if known == ref and frame is not None:
            store.verify(ref)
        else:
            frame = store.read(ref)
        self.left[source] -= 1
        size = sum(held.estimated_size() for _, held in self._frames.values()) + frame.estimated_size()
        if self.left[source] > 0 and size <= HELD_BYTES:
            # A copy that shares the bytes: the next stage does not see what this one does to its table.
            self._frames[source] = (ref, frame.clone())
        return frame


@dataclass(frozen=True)
class Reader:
    """Reads tables for one run: its own commits first, then those of runs it repeats, then the heads it is pinned to.

    Attributes
    ----------
    evidence : Evidence
    sleeve : str
    run_id : str, optional
        None outside a run: newest heads.
    parents : tuple of str
        Runs this one re-executes, nearest first.
    given : mapping of stage id to DataRef
        References the caller holds; they are preferred to those of the ledger.
    held : TableCache, optional
        Tables not to be read twice; None: each is read from the store every time.
    """

    evidence: Evidence
    sleeve: str
    run_id: str | None = None
    parents: tuple[str, ...] = ()
    given: Mapping[str, DataRef] = field(default_factory=dict)
    held: TableCache | None = None

    def ref(self, source: str) -> DataRef:
        """Return the reference behind an input such as "ingest.raw" or "ingest.raw#exclusions"."""
        stage, part = parts_of(source)
        if part == "valid" and stage in self.given:
            return self.given[stage]
        return self.evidence.resolve(stage, self.sleeve, run_id=self.run_id, parents=self.parents, part=part)

    def frame(self, source: str) -> pl.DataFrame:
        """Return the table behind an input."""
        ref = self.ref(source)
        store = self.evidence.store
        return with_current_names(store.read(ref) if self.held is None else self.held.frame(store, source, ref))

    def frames(self, spec: StageSpec, *, only: Collection[str] | None = None) -> dict[str, pl.DataFrame]:
        """Return the inputs of a stage by argument (default: all); of a table of its pattern the columns it reads."""
        found: dict[str, pl.DataFrame] = {}
        for argument in spec.inputs if only is None else sorted(only):
            source = spec.inputs[argument]
            columns = spec.columns(argument)
            found[argument] = (
                self.frame(source) if columns is None else self.evidence.store.read(self.ref(source), columns)
            )
        return found


def parts_of(source: str) -> tuple[str, Part]:
    """Return stage and part of an input such as "ingest.raw#exclusions"; the default part is the valid rows.

    Raises
    ------
    UsageError
        No table has a part of that name.
    """
    stage, _, part = source.partition("#")
    if part not in ("", *PARTS):
        raise UsageError(f"input {source!r}: a table has the parts {', '.join(PARTS)}.")
    return stage, cast("Part", part or "valid")


def parts_in(commit: Record) -> dict[Part, DataRef]:
    """Return every part a commit record names."""
    return {part: ref_in(commit, part) for part in PARTS if part in commit.data}


@dataclass(frozen=True)
class Committed:
    """A version and the ledger record that made it current."""

    ref: DataRef
    exclusions: DataRef
    record: Record


def commit_result(reader: Reader, spec: StageSpec, finished: Finished) -> Committed:
    """Commit the result of a stage, or refuse it.

    Raises
    ------
    GateError
        A blocking rule is broken; the ledger has the reasons, the head does not move.
    ContractError
        The valid rows break the contract after all.
    ConflictError
        Another run committed first.
    """
    evidence, run_id = reader.evidence, reader.run_id or ""
    if finished.broken:
        evidence.refuse(run_id=run_id, stage=spec.id, sleeve=reader.sleeve, reasons=list(finished.broken))
        raise GateError(f"{spec.id}: {' '.join(finished.broken)}")
    start = perf_counter()
    with measure_validation() as meter:
        refs = finished.store_parts(evidence.store, spec, reader.sleeve)
    seconds = {
        "stage": finished.seconds.get("stage", 0.0),
        "validation": finished.seconds.get("validation", 0.0) + meter.seconds,
        "loading": finished.seconds.get("loading", 0.0) + meter.loading,
        "write": perf_counter() - start - meter.seconds - meter.loading,
    }
    facts: dict[str, Any] = {
        "excluded": finished.excluded,
        "metrics": dict(finished.metrics),
        "warnings": list(finished.warnings),
        "seconds": {name: round(spent, 3) for name, spent in seconds.items()},
        "parents": {source: reader.ref(source).sha256 for source in spec.inputs.values()},
    }
    facts |= finished.facts
    record = evidence.commit(
        run_id=run_id,
        stage=spec.id,
        sleeve=reader.sleeve,
        valid=refs["valid"],
        exclusions=refs["exclusions"],
        actions=refs.get("actions"),
        facts=facts,
    )
    if spec.publishes:
        publish_for(reader, finished.valid)
    return Committed(refs["valid"], refs["exclusions"], record)


def publish_for(reader: Reader, documents: pl.DataFrame) -> None:
    """Publish the documents of a run; a run with a knowledge time never replaces the newest ones."""
    evidence, run_id = reader.evidence, reader.run_id or ""
    is_newest = evidence.run(run_id).genesis.data.get("as_of") is None
    publish(evidence.home, reader.sleeve, run_id, documents, is_newest=is_newest)


def publish(home: Path, sleeve: str, run_id: str, documents: pl.DataFrame, *, is_newest: bool) -> None:
    """Write each document under `reports/<sleeve>/<run id>/` and, if it is the newest, under `reports/<sleeve>/`."""
    folder = home / "reports" / encode_name(sleeve)
    for name, content in documents.select("name", "content").iter_rows():
        for place in (folder / encode_name(run_id), folder)[: 1 + is_newest]:
            write_document(place / name, content.encode())
