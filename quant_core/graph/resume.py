"""Takes over the stages that a stopped run had finished, so that the next run of the same plan need not compute them.

A stage is taken over only if nothing it depends on differs: parameters, sleeve, knowledge time, seed, code, packages
and the hash of every input. Stages that touch the outside world always run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quant_core.errors import EvidenceError
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.index import Run
from quant_core.evidence.runs.manifest import Manifest, read_manifest
from quant_core.graph.commit import Reader, parts_in, publish_for
from quant_core.graph.stage import StageSpec

STOPPED = ("abandoned", "cancelled", "failed")


@dataclass(frozen=True)
class Resumption:
    """The commits of a stopped run that a new one may take over.

    Attributes
    ----------
    commits : mapping of stage id to Record
        Empty: there is nothing to resume.
    """

    commits: Mapping[str, Record] = field(default_factory=dict)

    @classmethod
    def of(cls, evidence: Evidence, manifest: Manifest) -> Resumption:
        """Return the commits of the sleeve's last run if it was stopped and had this manifest's plan and code."""
        runs = [run for run in evidence.runs() if run.genesis.data.get("sleeve") == manifest.sleeve]
        before = [run for run in runs if run.run_id != manifest.run_id]
        if not before or not _is_stopped(before[-1]) or not _is_same(evidence, before[-1], manifest):
            return cls()
        return cls({record.data["stage"]: record for record in before[-1].commits})

    def take_over(self, spec: StageSpec, reader: Reader) -> Record | None:
        """Commit a stage's old version for the run of `reader` and return the record; None if it must be computed.

        Raises
        ------
        ConflictError
            Another run committed first.
        """
        old = self.commits.get(spec.id)
        if old is None or spec.is_edge:
            return None
        parents = old.data["facts"]["parents"]
        if any(parents.get(source) != reader.ref(source).sha256 for source in spec.inputs.values()):
            return None
        parts, evidence, run_id = parts_in(old), reader.evidence, reader.run_id or ""
        try:
            for ref in parts.values():
                evidence.store.verify(ref)
        except EvidenceError:
            return None
        record = evidence.commit(
            run_id=run_id,
            stage=spec.id,
            sleeve=reader.sleeve,
            valid=parts["valid"],
            exclusions=parts["exclusions"],
            actions=parts.get("actions"),
            facts={**old.data["facts"], "taken_over": old.seq},
        )
        if spec.publishes:
            publish_for(reader, evidence.store.read(parts["valid"]))
        return record


def _is_stopped(run: Run) -> bool:
    return run.outcome is not None and run.outcome.data["outcome"] in STOPPED


def _is_same(evidence: Evidence, run: Run, manifest: Manifest) -> bool:
    """Return whether a run had the plan and the code of a manifest; False if its own manifest cannot be read."""
    try:
        old = read_manifest(evidence.home, run.run_id, sha256=str(run.genesis.data.get("manifest")))
    except EvidenceError:
        return False
    return run.python == evidence.run(manifest.run_id).python and _plan_of(old) == _plan_of(manifest)


def _plan_of(manifest: Manifest) -> tuple[object, ...]:
    code = manifest.code
    modules = code.source_hash if code.modules is None else code.modules
    return (manifest.params, manifest.sleeve_definition, manifest.as_of, manifest.seed, modules, code.packages)
