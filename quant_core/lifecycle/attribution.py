"""Attributes a change: recompute the first run, swapping in the second's inputs one at a time.

Effects of inputs that interact do not add up; the last line swaps in all of them at once.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quant_core.errors import MissingVersionError
from quant_core.evidence.runs.code_change import code_change
from quant_core.evidence.runs.manifest import code_facts
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.graph.commit import Parts
from quant_core.graph.compute import Compute, SerialCompute
from quant_core.graph.differences import OutcomeDiff
from quant_core.graph.parameters import recorded_plan
from quant_core.graph.registry import StageRegistry
from quant_core.lifecycle.compare.outcome import outcome_diff
from quant_core.lifecycle.compare.recompute import Recomputed, Workshop, inputs_among
from quant_core.lifecycle.diff import describe_outcome_diff, param_changes
from quant_core.lifecycle.runs import RunTables, edge_stages, find_run, tables_of
from quant_core.settings import CHECKOUT

CODE, DATA, SLEEVE, AS_OF, ALL = "code", "data", "sleeve", "as_of", "all inputs at once"


class Effect(BaseModel):
    """The effect of one input on the outcome of the first run, with all others unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str = Field(description='"code", "data", "sleeve", "as_of", a parameter, or "all inputs at once".')
    change: tuple[Any, Any] | None
    outcome: OutcomeDiff
    failed: dict[str, str] = Field(description="Stage to why it failed.")


class Attribution(BaseModel):
    """The effects of all inputs that differ between two runs, and the rest.

    `unexplained` compares the second run with the first one recomputed with all inputs of the second: those
    differences were caused by code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[str, str]
    effects: tuple[Effect, ...]
    unexplained: OutcomeDiff


@dataclass(frozen=True)
class _Inputs:
    """All inputs of a run besides the code."""

    definition: Mapping[str, Any]
    params: Mapping[str, Mapping[str, Any]]
    as_of: str | None
    pinned: Mapping[str, Parts]


def attribute_changes(
    evidence: EvidenceReader,
    first: str,
    second: str,
    *,
    registry: StageRegistry | None = None,
    compute: Compute | None = None,
    progress: Callable[[str], None] = lambda input: None,
) -> Attribution:
    """Swap one input at a time from the second run into the first, and compute the effect of each on the outcome.

    Inputs are the landed data, the sleeve's declaration, the knowledge time and each parameter that differs (one of the
    same name and change in several stages is one input). "code" is the first run recomputed by this checkout; the
    others are compared with that. Stages whose inputs did not change are not computed again.

    Raises
    ------
    MissingVersionError
        The manifest of a run is older than replay, or the run read no landed data.
    """
    registry = registry or StageRegistry.load("quant_core")
    a, b = (tables_of(evidence, find_run(evidence, name)) for name in (first, second))
    then, now = (_inputs_of(run, edge_stages(registry)) for run in (a, b))
    effects: list[Effect] = []
    with tempfile.TemporaryDirectory(prefix="diff-") as scratch:
        workshop = Workshop.at(evidence.home, Path(scratch), registry, compute or SerialCompute())

        for run in (a, b):
            _remember(workshop, run)

        def outcome(given: _Inputs) -> dict[str, Recomputed]:
            plan = recorded_plan(registry, given.definition, given.params, registry)
            return workshop.compute_graph(plan, given.as_of, given.pinned)

        progress(CODE)
        base = outcome(then)
        effects.append(_effect(workshop, CODE, None, a.parts, base))
        for name, change, given in _swaps(a, b, then, now):
            progress(name)
            effects.append(_effect(workshop, name, change, _tables(base), outcome(given)))
        progress(ALL)
        whole = outcome(now)
        effects.append(_effect(workshop, ALL, None, _tables(base), whole))
        left = outcome_diff(registry, workshop.read, _tables(whole), b.parts)
    return Attribution(runs=(a.run.run_id, b.run.run_id), effects=tuple(effects), unexplained=left)


def describe_attribution(found: Attribution) -> str:
    """Return an attribution as lines of text."""
    lines = [f"causes, from {found.runs[0]} to {found.runs[1]}, one input at a time:"]
    for effect in found.effects:
        change = "" if effect.change is None else f": {effect.change[0]} -> {effect.change[1]}"
        lines.append(f"- {effect.input}{change}")
        lines += [f"    {line}" for line in _brief(effect.outcome)]
        lines += [f"    {stage} failed: {reason}" for stage, reason in effect.failed.items()]
    lines.append("- not explained by inputs (other code)")
    return "\n".join([*lines, *(f"    {line}" for line in _brief(found.unexplained))])


def _inputs_of(run: RunTables, edge_stages: frozenset[str]) -> _Inputs:
    manifest = run.manifest
    if manifest.sleeve_definition is None:
        raise MissingVersionError(
            f"the manifest of run {run.run.run_id} has no sleeve definition: it is too old. Compare newer runs."
        )
    missing = [stage for stage in sorted(edge_stages & set(manifest.params)) if stage not in run.parts]
    if missing:
        raise MissingVersionError(
            f"run {run.run.run_id} did not read {missing[0]}, so it cannot be recomputed. Compare other runs."
        )
    pinned = {stage: run.parts[stage] for stage in edge_stages & set(manifest.params)}
    return _Inputs(manifest.sleeve_definition, manifest.params, manifest.as_of, pinned)


def _remember(workshop: Workshop, run: RunTables) -> None:
    """Reuse the recorded tables of a run if its code means the same as this checkout's."""
    manifest = run.manifest
    if manifest.sleeve_definition is None or not code_change(manifest.code, code_facts(CHECKOUT)).is_empty:
        return
    plan = recorded_plan(workshop.registry, manifest.sleeve_definition, manifest.params, manifest.params)
    for spec in plan.stages.order_stages(run.own):
        inputs, missing = inputs_among(spec, run.parts)
        if not missing:
            workshop.remember(spec, plan, manifest.as_of, inputs, run.parts[spec.id])


def _swaps(
    a: RunTables, b: RunTables, then: _Inputs, now: _Inputs
) -> list[tuple[str, tuple[Any, Any] | None, _Inputs]]:
    """Return, for each input that differs, the first run's inputs with that one of the second's."""
    swaps: list[tuple[str, tuple[Any, Any] | None, _Inputs]] = []
    if then.pinned != now.pinned:
        swaps.append((DATA, None, _Inputs(then.definition, then.params, then.as_of, now.pinned)))
    if then.definition != now.definition:
        swaps.append((SLEEVE, None, _Inputs(now.definition, then.params, then.as_of, then.pinned)))
    if then.as_of != now.as_of:
        swaps.append((AS_OF, (then.as_of, now.as_of), _Inputs(then.definition, then.params, now.as_of, then.pinned)))
    groups: dict[str, list[str]] = {}
    changes = param_changes(a, b)
    for name, change in changes.items():
        stage, _, field = name.rpartition(".")
        if stage not in then.pinned:
            groups.setdefault(json.dumps([field, change]), []).append(name)
    for names in groups.values():
        params = {stage: dict(table) for stage, table in then.params.items()}
        for name in names:
            stage, _, field = name.rpartition(".")
            params[stage][field] = changes[name][1]
        swaps.append(
            (" and ".join(names), changes[names[0]], _Inputs(then.definition, params, then.as_of, then.pinned))
        )
    return swaps


def _effect(
    workshop: Workshop,
    input: str,
    change: tuple[Any, Any] | None,
    before: Mapping[str, Parts],
    after: Mapping[str, Recomputed],
) -> Effect:
    return Effect(
        input=input,
        change=change,
        outcome=outcome_diff(workshop.registry, workshop.read, before, _tables(after)),
        failed={stage: answer.reason for stage, answer in after.items() if answer.reason is not None},
    )


def _tables(found: Mapping[str, Recomputed]) -> dict[str, Parts]:
    return {stage: answer.parts for stage, answer in found.items() if answer.parts}


def _brief(outcome: OutcomeDiff) -> list[str]:
    return describe_outcome_diff(outcome)[:2] + [
        line for line in describe_outcome_diff(outcome)[2:] if line.startswith("weights,")
    ]
