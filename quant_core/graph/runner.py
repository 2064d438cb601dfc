"""Runs the graph as a plain Python program: open a run, execute stages in order, close it.

The Dagster graph calls the same `open_run`, `execute_stage` and `commit_result`, so script and graph yield equal
bytes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl
from pydantic import JsonValue
from uuid6 import uuid7

from quant_core.errors import ConflictError, QuantError, UnknownKeyError, UnknownNameError, UsageError
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.commits import Evidence, Outcome
from quant_core.evidence.runs.manifest import (
    Manifest,
    SleeveFileFacts,
    code_facts,
    host_facts,
    read_manifest,
    write_manifest,
)
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.store.refs import DataRef
from quant_core.graph.commit import Reader, TableCache, commit_result
from quant_core.graph.compute import Compute, SerialCompute
from quant_core.graph.finished import Finished
from quant_core.graph.judge import judge
from quant_core.graph.landing import Clock, Landing, ignore_message, utc_now
from quant_core.graph.parameters import Overrides, Plan, resolve_plan
from quant_core.graph.registry import StageRegistry
from quant_core.graph.resume import Resumption
from quant_core.graph.stage import StageSpec
from quant_core.kernels._jit import report_compilations
from quant_core.market.calendar import instant_of
from quant_core.market.sleeves import SleeveFile
from quant_core.masking import mask_secrets
from quant_core.meter import measure_validation
from quant_core.settings import CHECKOUT, Settings, ThreadSafeConfig

Progress = Callable[[StageSpec, str], None]
SEED = 20260101


def _ignore_progress(spec: StageSpec, event: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class RunResult:
    """The result of a finished run.

    Attributes
    ----------
    run_id : str
    plan : Plan
        Sleeve and resolved parameters.
    home : Path
    refs : mapping of stage id to DataRef
    excluded : mapping of "stage/rule" to number of rows
    metrics : mapping
        Aggregate numbers the stages reported.
    warnings : tuple of str
    """

    run_id: str
    plan: Plan
    home: Path
    refs: Mapping[str, DataRef] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def frame(self, stage: str) -> pl.DataFrame:
        """Return the table a stage of this run committed."""
        return Evidence(self.home).store.read(self.refs[stage])


def mask_own_secrets(text: str) -> str:
    """Return a text without the secrets of this process's environment, to be shown or recorded."""
    return mask_secrets(text, os.environ)


def execute_stage(
    spec: StageSpec,
    frames: Mapping[str, pl.DataFrame],
    plan: Plan,
    *,
    compute: Compute,
    as_of: str | None,
    landing: Landing | None = None,
) -> Finished:
    """Call a stage's function with what it names, and judge the result. Only a landing writes, batch by batch.

    The findings of the rules are recorded, so secrets of the environment are masked in them.

    Raises
    ------
    UsageError
        The stage touches the outside world and was given no landing.
    """
    if spec.is_edge and landing is None:
        raise UsageError(
            f"{spec.id} stores what its source sends and was given no landing; run it through DAGRunner or Dagster."
        )
    offered: dict[str, Any] = {
        "params": plan.params[spec.id],
        "compute": compute,
        "sleeve": plan.sleeve,
        "as_of": as_of,
        "contracts": spec.input_contracts,
        "landing": landing,
        "switched_off": plan.switched_off,
    }
    start = perf_counter()
    with measure_validation() as meter, report_compilations(landing.tell if landing else ignore_message):
        try:
            result = spec.function(**spec.arguments(frames), **{name: offered[name] for name in spec.wants})
        except UnknownNameError as error:  # a stage knows names from its parameters only
            raise UnknownKeyError(error.kind, error.name, error.known) from error
        finished = judge(spec, result, rows_in={name: frame.height for name, frame in frames.items()})
    spent = perf_counter() - start - meter.seconds - meter.loading
    findings = (finished.broken, (*spec.switched_off.values(), *finished.warnings))
    broken, warnings = (tuple(map(mask_own_secrets, sentences)) for sentences in findings)
    finished = replace(finished, broken=broken, warnings=warnings)
    return replace(finished, seconds={"stage": spent, "validation": meter.seconds, "loading": meter.loading})


def open_run(
    evidence: Evidence, plan: Plan, *, run_id: str, as_of: str | None, compute: str, facts: Mapping[str, Any]
) -> Manifest | None:
    """Open a run in the ledger, with its manifest, unless it is open already under the same plan (then return None).

    Parameters
    ----------
    evidence : Evidence
    plan : Plan
    run_id, as_of : str
    compute : str
        Name of the engine chosen.
    facts : mapping
        Who started it: script, dagster run id, parent run.

    Raises
    ------
    ConfigError
        `as_of` is not a date or an instant.
    ConflictError
        The run is open under another sleeve, knowledge time or other parameters.
    """
    if as_of is not None:
        instant_of(as_of)
    if evidence.knows(run_id):
        known = read_manifest(evidence.home, run_id)
        if (known.sleeve, known.as_of, known.params) != (plan.sleeve.name, as_of, plan.dump()):
            raise ConflictError(f"run {run_id} is open under another plan, see its manifest. Use a new run id.")
        return None
    seq = evidence.last_seq()
    pins: dict[str, JsonValue] = {"seq": seq, "champions": [], "trials": {}}
    heads = {
        f"{stage}/{sleeve}": record.data["valid"]["sha256"]
        for (stage, sleeve), record in evidence.heads(at=seq).items()
    }
    manifest = Manifest(
        run_id=run_id,
        sleeve=plan.sleeve.name,
        as_of=as_of,
        seed=SEED,
        code=code_facts(CHECKOUT),
        sleeve_file=SleeveFileFacts(name=f"{plan.sleeve.name}.toml", sha256=plan.sleeve_sha256 or None),
        sleeve_definition=plan.sleeve.model_dump(mode="json"),
        params=plan.dump(),
        origins={id: dict(origin) for id, origin in plan.origins.items()},
        inputs={table: sha for table, sha in heads.items() if table.endswith(f"/{plan.sleeve.name}")},
        pins=pins,
    )
    _, sha256 = write_manifest(evidence.home, manifest)
    payload = {
        "sleeve": plan.sleeve.name,
        "as_of": as_of,
        "seed": SEED,
        "manifest": sha256,
        "code": manifest.code.model_dump(mode="json", exclude={"packages", "modules"}),
        "host": host_facts(),
        "compute": compute,
        "pins": pins,
        **facts,
    }
    evidence.open_run(run_id, payload)
    return manifest


@dataclass(frozen=True)
class DAGRunner:
    """Walks the stages in order in this process.

    Attributes
    ----------
    settings : Settings
    registry : StageRegistry
    compute : Compute
    progress : callable
        Called with (stage, "start"), (stage, "done") and, in between, lines of progress.
    clock : callable
        Returns the instant of a landing.
    """

    settings: Settings
    registry: StageRegistry = field(default_factory=lambda: StageRegistry.load("quant_core"))
    compute: Compute = field(default_factory=SerialCompute)
    progress: Progress = _ignore_progress
    clock: Clock = utc_now

    def run(
        self,
        file: SleeveFile,
        *,
        overrides: Overrides | None = None,
        environ: Mapping[str, str] | None = None,
        as_of: str | None = None,
        only: Iterable[str] | None = None,
        run_id: str | None = None,
    ) -> RunResult:
        """Run the graph for one sleeve. Stages that a stopped last run had finished are taken over.

        Parameters
        ----------
        file : SleeveFile
        overrides : mapping of stage id to {field: value}, optional
        environ : mapping, optional
            Read for `QUANT__ROOM__FIELD`.
        as_of : str, optional
            Knowledge time (ISO); None: latest.
        only : iterable of stage ids, optional
            Default: all; inputs of the others are read as last committed.
        run_id : str, optional
            Default: a fresh UUID7.

        Raises
        ------
        QuantError
            The error that stopped it; the ledger has the outcome.
        """
        plan = resolve_plan(self.registry, file, overrides=overrides, environ=environ)
        evidence, run = Evidence(self.settings.home), run_id or str(uuid7())
        evidence.abandon_dead()
        evidence.sweep()
        facts = {"started_by": "script"}
        manifest = open_run(evidence, plan, run_id=run, as_of=as_of, compute=self.compute.name, facts=facts)
        resumption = Resumption() if manifest is None else Resumption.of(evidence, manifest)
        steps: dict[str, list[str]] = {"ok": [], "failed": []}
        refs: dict[str, DataRef] = {}
        excluded: dict[str, int] = {}
        metrics: dict[str, float] = {}
        warnings: list[str] = []
        try:
            stages = plan.stages.order_stages(only)
            held = TableCache(Counter(source for spec in stages for source in spec.whole_inputs))
            reader = Reader(evidence, plan.sleeve.name, run, held=held)
            with ThreadSafeConfig.use(self.settings):
                for spec in stages:
                    steps["failed"] = [spec.id]
                    self.progress(spec, "start")
                    record = resumption.take_over(spec, reader)
                    if record is None:
                        record = self._compute_stage(spec, reader, plan, as_of)
                    refs[spec.id] = ref_in(record)
                    recorded = record.data["facts"]
                    excluded |= {f"{spec.id}/{rule}": count for rule, count in recorded["excluded"].items()}
                    metrics |= recorded["metrics"]
                    warnings += [f"{spec.id}: {warning}" for warning in recorded["warnings"]]
                    steps["ok"].append(spec.id)
                    steps["failed"] = []
                    self.progress(spec, "done")
        except BaseException as stopped:
            _close_stopped_run(evidence, run, steps, stopped)
            raise
        evidence.close_run(run, "ok", steps)
        return RunResult(run, plan, evidence.home, refs, excluded, metrics, tuple(warnings))

    def _compute_stage(self, spec: StageSpec, reader: Reader, plan: Plan, as_of: str | None) -> Record:
        """Run one stage and return its commit."""
        evidence, run_id = reader.evidence, reader.run_id or ""
        tell = partial(self.progress, spec)
        landing = Landing(evidence, plan.sleeve.name, run_id, clock=self.clock, tell=tell, mask=mask_own_secrets)
        finished = execute_stage(spec, reader.frames(spec), plan, compute=self.compute, as_of=as_of, landing=landing)
        return commit_result(reader, spec, finished).record


def _close_stopped_run(evidence: Evidence, run: str, steps: Mapping[str, Any], stopped: BaseException) -> None:
    """Close a run that something stopped; failing at that never hides the first error."""
    outcome: Outcome = "cancelled" if isinstance(stopped, KeyboardInterrupt) else "failed"
    try:
        evidence.close_run(run, outcome, steps)
    except (QuantError, OSError) as error:
        stopped.add_note(f"the run could not be closed either: {error}")
