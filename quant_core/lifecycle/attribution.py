"""What caused a change: the first run computed again with one input after the other taken from the second.

Effects of inputs do not add up when they work together; the last line, all at once, says what they come to.
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
    """What one input does to the outcome of the first run, all others left as they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str = Field(description='"code", "data", "sleeve", "as_of", a parameter, or "all inputs at once".')
    change: tuple[Any, Any] | None
    outcome: OutcomeDiff
    failed: dict[str, str] = Field(description="Stage to why it came to nothing.")


class Attribution(BaseModel):
    """The effects of all inputs that differ between two runs, and what is left.

    `unexplained` compares the second run with the first one computed with everything taken from the second: what
    differs there was caused by code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[str, str]
    effects: tuple[Effect, ...]
    unexplained: OutcomeDiff


@dataclass(frozen=True)
class _Inputs:
    """Everything a run is a function of, besides the code."""

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
    """Swap one input at a time from the second run into the first, and say what each does to the outcome.

    Inputs are the landed data, the sleeve's declaration, the knowledge time and each parameter that differs (one of the
    same name and change in several stages is one input). "code" is the first run computed by the code at hand; the
    others are compared with that. Stages whose inputs did not change are not computed again.

    Raises
    ------
    MissingVersionError
        A run has a manifest older than replay, or did not land.
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
    """Say an attribution in lines for people."""
    lines = [f"what caused it, from {found.runs[0]} to {found.runs[1]}, one input at a time:"]
    for effect in found.effects:
        change = "" if effect.change is None else f": {effect.change[0]} -> {effect.change[1]}"
        lines.append(f"- {effect.input}{change}")
        lines += [f"    {line}" for line in _brief(effect.outcome)]
        lines += [f"    {stage} came to nothing: {reason}" for stage, reason in effect.failed.items()]
    lines.append("- not explained by inputs (other code)")
    return "\n".join([*lines, *(f"    {line}" for line in _brief(found.unexplained))])


def _inputs_of(run: RunTables, edge_stages: frozenset[str]) -> _Inputs:
    manifest = run.manifest
    if manifest.sleeve_definition is None:
        raise MissingVersionError(f"the manifest of run {run.run.run_id} has no sleeve definition: it is too old.")
    missing = [stage for stage in sorted(edge_stages & set(manifest.params)) if stage not in run.parts]
    if missing:
        raise MissingVersionError(f"run {run.run.run_id} read no {missing[0]}; there is nothing to start from.")
    pinned = {stage: run.parts[stage] for stage in edge_stages & set(manifest.params)}
    return _Inputs(manifest.sleeve_definition, manifest.params, manifest.as_of, pinned)


def _remember(workshop: Workshop, run: RunTables) -> None:
    """Take what a run recorded as it is where the code means the same: no need to compute that again."""
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
    """Return the first run's inputs with one of the second's, for each that differs."""
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
