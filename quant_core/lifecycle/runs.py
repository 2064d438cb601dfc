"""Finds runs by name, and the tables a run read or made, for replay, diff and why. Reads evidence only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from quant_core.errors import MissingVersionError, UnknownNameError
from quant_core.evidence.runs.index import Run
from quant_core.evidence.runs.manifest import Manifest, read_manifest
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.evidence.store.refs import DataRef, Part
from quant_core.graph.commit import Parts, parts_in
from quant_core.graph.landing import PARTS
from quant_core.graph.registry import StageRegistry
from quant_core.market.contracts.rule_names import with_current_names

_BACK = re.compile(r"(?P<sleeve>.+?)(?:~(?P<back>\d+))?")
_SHORTEST = 8


@dataclass(frozen=True)
class RunTables:
    """A run and every table it could read: its own commits, else the versions pinned when it opened.

    Attributes
    ----------
    run : Run
    manifest : Manifest
    parts : mapping of stage id to its parts
    own : frozenset of str
        Stages the run committed itself.
    """

    run: Run
    manifest: Manifest
    parts: Mapping[str, Parts]
    own: frozenset[str]

    def ref(self, stage: str, part: Part = "valid") -> DataRef | None:
        """Return the reference of a table, None if the run had none."""
        return self.parts.get(stage, {}).get(part)

    def frame(self, evidence: EvidenceReader, stage: str, part: Part = "valid") -> pl.DataFrame:
        """Return a table the run read or made.

        Raises
        ------
        MissingVersionError
            The run had no such table.
        """
        ref = self.ref(stage, part)
        if ref is None:
            raise MissingVersionError(
                f"run {self.run.run_id} did not make or read {stage} ({part}). Choose another run."
            )
        return with_current_names(evidence.store.read(ref))


def find_run(evidence: EvidenceReader, name: str) -> Run:
    """Return a run by its id, the beginning of it, or as `SLEEVE` (its newest finished run) or `SLEEVE~N` (N before).

    Raises
    ------
    UnknownNameError
        No run has that name, or several ids begin so.
    """
    runs = evidence.runs()
    by_id = {run.run_id: run for run in runs}
    if name in by_id:
        return by_id[name]
    begun = [run for run in runs if run.run_id.startswith(name)] if len(name) >= _SHORTEST else []
    if len(begun) == 1:
        return begun[0]
    found = _BACK.fullmatch(name)
    if found is not None:
        back = int(found["back"] or 0)
        finished = [run for run in finished_runs(evidence, found["sleeve"]) if run.genesis.data.get("as_of") is None]
        if back < len(finished):
            return finished[-1 - back]
    raise UnknownNameError("run", name, {*by_id, *(str(run.genesis.data.get("sleeve")) for run in runs)})


def finished_runs(evidence: EvidenceReader, sleeve: str) -> list[Run]:
    """Return the runs of a sleeve that ended with outcome "ok" and committed a table, oldest first."""
    return [
        run
        for run in evidence.runs()
        if run.genesis.data.get("sleeve") == sleeve
        and run.outcome is not None
        and run.outcome.data["outcome"] == "ok"
        and run.commits
    ]


def tables_of(evidence: EvidenceReader, run: Run) -> RunTables:
    """Return the tables a run read or made, by stage.

    Raises
    ------
    IntegrityError, MissingVersionError
        Its manifest is not the recorded one, or is missing.
    """
    manifest = read_manifest(evidence.home, run.run_id, sha256=str(run.genesis.data["manifest"]))
    sleeve = manifest.sleeve
    own = {record.data["stage"]: parts_in(record) for record in run.commits if record.data["sleeve"] == sleeve}
    parents = tuple(str(run.genesis.data[name]) for name in ("parent_run", "root_run") if run.genesis.data.get(name))
    parts: dict[str, Parts] = dict(own)
    for stage in manifest.params:
        if stage not in own:
            parts[stage] = _read_parts(evidence, stage, sleeve, run.run_id, parents)
    return RunTables(run, manifest, {stage: found for stage, found in parts.items() if found}, frozenset(own))


def edge_stages(registry: StageRegistry) -> frozenset[str]:
    """Return the ids of the stages that touch the outside world: their tables are never recomputed."""
    return frozenset(id for id, spec in registry.items() if spec.is_edge)


def _read_parts(
    evidence: EvidenceReader, stage: str, sleeve: str, run_id: str, parents: tuple[str, ...]
) -> dict[Part, DataRef]:
    found: dict[Part, DataRef] = {}
    for part in PARTS:
        try:
            found[part] = evidence.resolve(stage, sleeve, run_id=run_id, parents=parents, part=part)
        except MissingVersionError:
            continue
    return found
