"""The plan of a run: parameters of all stages settled and the run opened in the ledger before any step starts.

Which values win is decided in graph/plan.py. Loading and committing tables lives in io_managers.py.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field, PrivateAttr

from quant_assets.outcomes import close_finished, close_run, starter_of
from quant_core.cli import engine_of
from quant_core.errors import ConfigError, UsageError
from quant_core.evidence.chain import Record
from quant_core.evidence.commits import Evidence
from quant_core.evidence.documents import make_folder
from quant_core.evidence.writer import Writer, boot_id, process_start
from quant_core.graph.commit import Reader
from quant_core.graph.compute import Compute
from quant_core.graph.plan import Plan, resolve_plan
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import opened_run
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings

PARTITION_TAG = "dagster/partition"
AS_OF_TAG = "quant/as_of"


@dataclass(frozen=True)
class OpenRun:
    """A run whose plan stands and whose `genesis` is in the ledger.

    Attributes
    ----------
    run_id : str
        Dagster's.
    plan : Plan
    as_of : str, optional
        Knowledge time (ISO); None: latest.
    parents : tuple of str
        Runs this one re-executes, nearest first.
    """

    run_id: str
    plan: Plan
    as_of: str | None
    parents: tuple[str, ...]


class RunPlan(dg.ConfigurableResource):  # type: ignore[type-arg]  # the value of this resource is itself
    """Where the run reads and writes, and what every stage's parameters are. A bad value stops a run at once.

    Attributes
    ----------
    package : str
        Python package whose rooms hold the stages. A subclass may name another.
    required : tuple of str
        Environment variables without which no run starts. A subclass may name some.
    """

    # Given at construction they would be lost: a launch that configures one field resets the others to their defaults.
    package: ClassVar[str] = "quant_core"
    required: ClassVar[tuple[str, ...]] = ()

    home: str | None = Field(default=None, description="Ledger, store and reports. Default: QUANT_HOME.")
    as_of: str | None = Field(default=None, description=f"Knowledge time (ISO). The run tag {AS_OF_TAG} wins.")
    engine: str | None = Field(default=None, description="Engine, such as serial or ray. Default: QUANT_COMPUTE.")

    _settings: Settings = PrivateAttr()
    _evidence: Evidence = PrivateAttr()
    _opened: OpenRun | None = PrivateAttr(default=None)
    # Whether an executor started this process for one step of the run.
    _is_step: bool = PrivateAttr(default=False)
    _engine: Compute | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Resolve and validate all parameters, clean up after dead runs, open this run. Outside a run: only read.

        The IO manager holds a copy of this resource that launch configuration does not reach: both read it from the run
        and come to the same plan, and the second finds the run open.
        """
        missing = [name for name in self.required if not os.environ.get(name)]
        if missing:
            raise ConfigError(f"{missing[0]} is not set; this environment has no default for it.")
        run = context.run
        given = {"home": self.home, "as_of": self.as_of, "engine": self.engine} | launched(run)
        self._settings = Settings.from_environment(os.environ, home=given["home"], compute=given["engine"])
        self._evidence = Evidence(self._settings.home)
        if run is None:
            return
        starter = starter_of(context.instance, run.run_id) if context.instance else None
        if starter is not None and starter != os.getpid():
            self._evidence, self._is_step = _StepEvidence(self._settings.home, starter), True
        engine = self._settings.compute
        if engine not in entry_points(group="quant.modes").names:
            engine_of(engine)  # serial, or the error that says what is missing
        plan, as_of = self._resolved(run), run.tags.get(AS_OF_TAG) or given["as_of"]
        facts = {
            "started_by": "dagster",
            "dagster_run_id": run.run_id,
            "parent_run": run.parent_run_id,
            "root_run": run.root_run_id,
        }
        with _opening(self._settings.home):
            if context.instance is not None:
                close_finished(self._evidence, context.instance)
            self._evidence.abandon_dead()
            self._evidence.sweep()
            opened_run(self._evidence, plan, run_id=run.run_id, as_of=as_of, compute=engine, facts=facts)
        parents = tuple(dict.fromkeys(other for other in (run.parent_run_id, run.root_run_id) if other))
        self._opened = OpenRun(run.run_id, plan, as_of, parents)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Stop the engine and, unless other processes still work on the run, close it in the ledger."""
        engine, self._engine = self._engine, None
        if engine is not None and hasattr(engine, "close"):
            engine.close()
        if self._opened is not None and context.instance is not None and not self._is_step:
            close_run(self._evidence, context.instance, self._opened.run_id)

    @property
    def settings(self) -> Settings:
        """Settings in force."""
        return self._settings

    @property
    def evidence(self) -> Evidence:
        """Ledger and store of the home."""
        return self._evidence

    @property
    def stages(self) -> StageRegistry:
        """Every stage by id; inside a run, as its sleeve runs them."""
        return StageRegistry.load(self.package) if self._opened is None else self._opened.plan.stages

    @property
    def run(self) -> OpenRun:
        """The run under way.

        Raises
        ------
        UsageError
            Used outside a run.
        """
        if self._opened is None:
            raise UsageError("no run is open here; parameters exist inside a run only.")
        return self._opened

    @property
    def compute(self) -> Compute:
        """The compute engine, started by the first step that asks for it."""
        if self._engine is None:
            self._engine = engine_of(self._settings.compute)
        return self._engine

    def reader(self, sleeve: str) -> Reader:
        """Return how tables of `sleeve` are read: as the run may, or the newest heads outside a run."""
        if self._opened is None:
            return Reader(self._evidence, sleeve)
        return Reader(self._evidence, sleeve, self._opened.run_id, self._opened.parents)

    def _resolved(self, run: dg.DagsterRun) -> Plan:
        sleeve = run.tags.get(PARTITION_TAG)
        if sleeve is None:
            raise UsageError("a run works on one sleeve; start it with --partition SLEEVE.")
        file = find_sleeve(sleeve, self._settings.sleeves)
        return resolve_plan(self.stages, file, overrides=given_params(self.stages, run.run_config), environ=os.environ)


class _StepEvidence(Evidence):
    """Evidence for which a run belongs to the process that starts its steps: between two steps it is not dead."""

    def __init__(self, home: Path, starter: int) -> None:
        super().__init__(home)
        self._starter = starter

    def open_run(self, run_id: str, payload: Mapping[str, Any], *, owner: Writer | None = None) -> Record:
        return super().open_run(run_id, payload, owner=owner or _process(self._starter))


def launched(run: dg.DagsterRun | None) -> dict[str, Any]:
    """Return what a launch gave for the fields of RunPlan, names of environment variables looked up."""
    config: Mapping[str, Any] = run.run_config if run else {}
    given = ((config.get("resources") or {}).get("plan") or {}).get("config") or {}
    return {name: os.environ[value["env"]] if isinstance(value, Mapping) else value for name, value in given.items()}


def given_params(stages: StageRegistry, run_config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the launch configuration gives, by stage id; a null means not given."""
    ops = run_config.get("ops") or {}
    given = {name.replace("__", ".", 1): (op or {}).get("config") or {} for name, op in ops.items()}
    return {id: _without_nulls(values) for id, values in given.items() if id in stages and _without_nulls(values)}


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    """Drop nulls, and tables that held nothing else; an empty table is a value."""
    kept = {k: _without_nulls(v) if isinstance(v, Mapping) else v for k, v in values.items() if v is not None}
    return {name: value for name, value in kept.items() if value != {} or values[name] == {}}


@contextmanager
def _opening(home: Path) -> Iterator[None]:
    """Let one process at a time open runs: steps that start together would each pin another state of the ledger."""
    with (make_folder(home / "cache") / "opening.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _process(pid: int) -> Writer | None:
    started = process_start(pid)
    return None if started is None else Writer(pid=pid, boot_id=boot_id(), started=started)
