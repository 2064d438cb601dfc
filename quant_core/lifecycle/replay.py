"""Replay: recompute a finished run from its recorded inputs, and compare hashes with the recorded ones.

Parameters and sleeve come from the manifest, tables from the store, nothing from the environment or today's files.
Landed data is not requested again.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from quant_core.errors import MissingVersionError, ReplayError
from quant_core.evidence.runs.code_change import CodeChange, code_change, describe_code_change
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.manifest import code_facts
from quant_core.evidence.store.refs import DataRef
from quant_core.graph.commit import Parts
from quant_core.graph.compute import Compute, SerialCompute
from quant_core.graph.parameters import recorded_plan
from quant_core.graph.registry import StageRegistry
from quant_core.graph.stage import StageSpec
from quant_core.lifecycle.compare.recompute import Workshop, inputs_among
from quant_core.lifecycle.runs import RunTables, find_run, tables_of
from quant_core.market.contracts.rule_names import is_equal_under_current_names
from quant_core.settings import CHECKOUT

RENAMED = "the same but for the names of rules: they are named for the defect they find since"
Verdict = Literal["same", "different", "failed", "pinned", "lost"]


class StageReplay(BaseModel):
    """The result of replaying one stage.

    same: both tables have the recorded hashes, or would have them if rules still had their old names (see `reason`).
    different: a hash differs from the recorded one. failed: no result (see `reason`). pinned: the stage
    touches the outside world, so its recorded tables were used. lost: it is pinned, and its bytes are missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    verdict: Verdict
    recorded: dict[str, str] = Field(description="SHA-256 per part, as recorded.")
    found: dict[str, str] = Field(description="SHA-256 per part, in this replay.")
    reason: str | None = None
    is_restored: bool = Field(default=False, description="Whether missing bytes were restored.")


class Replay(BaseModel):
    """The result of a replay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    sleeve: str
    as_of: str | None
    is_same: bool
    code: CodeChange
    stages: tuple[StageReplay, ...]

    def raise_if_different(self) -> None:
        """Raise ReplayError, naming stages and the code that differs, unless every hash is the recorded one."""
        if self.is_same:
            return
        wrong = [stage.stage for stage in self.stages if stage.verdict in ("different", "failed", "lost")]
        raise ReplayError(f"run {self.run_id} does not replay: {', '.join(wrong)}. {describe_code_change(self.code)}")


def replay_run(
    evidence: Evidence,
    name: str,
    *,
    registry: StageRegistry | None = None,
    compute: Compute | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Replay:
    """Recompute a run and compare hashes.

    Each stage is computed from the recorded versions of its inputs or, if these were collected, from those the replay
    computed. Missing versions that come out with their recorded hash are restored. The result is recorded as a note of
    the run.

    Parameters
    ----------
    evidence : Evidence
    name : str
        A name that `find_run` accepts.
    registry, compute : optional
        Default: the stages of the core, one process.
    progress : callable
        Called with the id of each stage before it is computed.

    Raises
    ------
    UnknownNameError
        No run has that name.
    MissingVersionError
        The run has no commits, or its manifest is older than replay.
    ConfigError
        This version of the code does not know a stage or parameter of the run.
    """
    registry = registry or StageRegistry.load("quant_core")
    tables = tables_of(evidence, find_run(evidence, name))
    run, manifest = tables.run, tables.manifest
    if not tables.own:
        raise MissingVersionError(f"run {run.run_id} has no commits; there is nothing to replay.")
    if manifest.sleeve_definition is None:
        raise MissingVersionError(
            f"the manifest of run {run.run_id} has no sleeve definition: it is older than replay."
        )
    stages = [id for id in manifest.params if id in tables.own]
    plan = recorded_plan(registry, manifest.sleeve_definition, manifest.params, stages)
    here = platform.python_version()
    change = code_change(manifest.code, code_facts(CHECKOUT), python=(run.python or here, here))
    found: list[StageReplay] = []
    with tempfile.TemporaryDirectory(prefix="replay-") as scratch:
        workshop = Workshop.at(evidence.home, Path(scratch), registry, compute or SerialCompute())
        made: dict[str, Parts] = {}
        for spec in plan.stages.order_stages(stages):
            progress(spec.id)
            recorded = tables.parts[spec.id]
            if spec.is_edge:
                is_there = all(map(evidence.store.exists, recorded.values()))
                found.append(_stage_replay(spec.id, recorded, recorded if is_there else {}, None, pinned=True))
                continue
            inputs, missing = inputs_among(spec, _at_hand(spec, workshop, tables, made))
            if missing:
                found.append(_stage_replay(spec.id, recorded, {}, f"its input {missing[0]} is not there"))
                continue
            answer = workshop.compute_stage(spec, plan, manifest.as_of, inputs)
            made[spec.id] = answer.parts
            is_restored = _restore_parts(evidence, workshop, recorded, answer.parts)
            reason = answer.reason or _renaming(workshop, recorded, answer.parts)
            found.append(_stage_replay(spec.id, recorded, answer.parts, reason, is_restored=is_restored))
    outcome = Replay(
        run_id=run.run_id,
        sleeve=manifest.sleeve,
        as_of=manifest.as_of,
        is_same=all(stage.verdict in ("same", "pinned") for stage in found),
        code=change,
        stages=tuple(found),
    )
    evidence.note(run.run_id, "replayed", _note(outcome))
    return outcome


def describe_replay(replay: Replay) -> str:
    """Return a replay as lines of text."""
    lines = [f"run {replay.run_id} of {replay.sleeve}: {'same hashes' if replay.is_same else 'DIFFERENT'}"]
    for stage in replay.stages:
        line = f"  {stage.verdict:<10} {stage.stage:<34} {stage.recorded.get('valid', '')[:12]}"
        if stage.verdict == "different":
            line += f" -> {stage.found.get('valid', '')[:12]}"
        lines.append(line + (" (restored)" if stage.is_restored else ""))
        if stage.reason:
            lines.append(f"             {stage.reason}")
    return "\n".join([*lines, describe_code_change(replay.code)])


def _at_hand(spec: StageSpec, workshop: Workshop, tables: RunTables, made: Mapping[str, Parts]) -> dict[str, Parts]:
    """Return the versions of a stage's parents: the recorded ones that exist, else those the replay computed."""
    found: dict[str, Parts] = {}
    for stage in spec.parents:
        again = made.get(stage, {})
        held = {
            part: ref if workshop.holds(ref) else again.get(part) for part, ref in tables.parts.get(stage, {}).items()
        }
        found[stage] = {part: ref for part, ref in held.items() if ref is not None}
    return found


def _restore_parts(evidence: Evidence, workshop: Workshop, recorded: Parts, made: Parts) -> bool:
    """Restore missing versions that came out with their recorded hash; return whether there were any."""
    is_restored = False
    for part, ref in recorded.items():
        again = made.get(part)
        if again is not None and again.sha256 == ref.sha256 and not evidence.store.exists(ref):
            evidence.store.write(workshop.read(again), stage=ref.stage, sleeve=ref.sleeve, key=(), part=part)
            is_restored = True
    return is_restored


def _stage_replay(
    stage: str, recorded: Parts, found: Parts, reason: str | None, *, pinned: bool = False, is_restored: bool = False
) -> StageReplay:
    then, now = _hashes(recorded), _hashes(found)
    verdict: Verdict = "pinned" if then == now else "lost"
    if not pinned:
        verdict = "failed" if not found else "same" if then == now or reason == RENAMED else "different"
    return StageReplay(stage=stage, verdict=verdict, recorded=then, found=now, reason=reason, is_restored=is_restored)


def _renaming(workshop: Workshop, recorded: Parts, made: Parts) -> str | None:
    """Return a reason if the tables differ only in rule names that were changed since, else None."""
    changed = [(ref, made[part]) for part, ref in recorded.items() if part in made and made[part].sha256 != ref.sha256]
    if not changed or len(made) != len(recorded) or not all(workshop.holds(ref) for ref, _ in changed):
        return None
    is_equal = (is_equal_under_current_names(workshop.read(ref), workshop.read(now)) for ref, now in changed)
    return RENAMED if all(is_equal) else None


def _hashes(parts: Mapping[Any, DataRef]) -> dict[str, str]:
    return {str(part): ref.sha256 for part, ref in sorted(parts.items())}


def _note(replay: Replay) -> dict[str, Any]:
    return {
        "is_same": replay.is_same,
        "stages": {stage.stage: stage.verdict for stage in replay.stages},
        "code_differs": not replay.code.is_empty,
    }
