"""The set-up of a run: its parameters are settled and it is open in the ledger before any step starts.

Settings are in run_settings.py, the engine in engine.py, opening in open_run.py. Tables are loaded and committed in
io_managers.py.
"""

import os
from typing import ClassVar

import dagster as dg
from pydantic import Field, PrivateAttr

from quant_assets.outcomes import close_run, starter_of
from quant_assets.resources.engine import Engine
from quant_assets.resources.open_run import OpenRun, StepEvidence, open_dagster_run
from quant_assets.resources.run_settings import AS_OF_TAG, RunSettings
from quant_core.errors import UsageError
from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.commit import Reader
from quant_core.graph.compute import Compute
from quant_core.graph.registry import StageRegistry
from quant_core.settings import Settings


class RunPlan(dg.ConfigurableResource):  # type: ignore[type-arg]  # the value of this resource is itself
    """Where the run reads and writes, and what every stage's parameters are. A bad value stops a run at once.

    Attributes
    ----------
    package : str
        Python package whose rooms hold the stages. A subclass may name another.
    required : tuple of str
        Environment variables without which no run starts. A subclass may name some.
    """

    # Class variables, because a launch that configures one field resets the other fields to their defaults.
    package: ClassVar[str] = "quant_core"
    required: ClassVar[tuple[str, ...]] = ()

    home: str | None = Field(default=None, description="Ledger, store and reports. Default: QUANT_HOME.")
    as_of: str | None = Field(default=None, description=f"Knowledge time (ISO). The run tag {AS_OF_TAG} wins.")
    engine: str | None = Field(default=None, description="Engine, such as serial or ray. Default: QUANT_COMPUTE.")

    _settings: Settings = PrivateAttr()
    _evidence: Evidence = PrivateAttr()
    _engine: Engine | None = PrivateAttr(default=None)
    _opened: OpenRun | None = PrivateAttr(default=None)
    # Whether an executor started this process for one step of the run.
    _is_step: bool = PrivateAttr(default=False)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Resolve and validate all parameters, clean up after dead runs, open this run. Outside a run: only read.

        The IO manager holds a copy of this resource that launch configuration does not reach. Both read it from the run
        and resolve the same plan; the second finds the run open.
        """
        run, instance = context.run, context.instance
        fields = {"home": self.home, "as_of": self.as_of, "engine": self.engine}
        chosen = RunSettings.of(run, fields, self.required)
        self._settings, self._evidence = chosen.settings, Evidence(chosen.settings.home)
        if run is None:
            return
        starter = starter_of(instance, run.run_id) if instance else None
        if starter is not None and starter != os.getpid():
            self._evidence, self._is_step = StepEvidence(chosen.settings.home, starter), True
        self._engine = Engine(chosen.settings.compute)
        plan = chosen.plan(run, StageRegistry.load(self.package))
        self._opened = open_dagster_run(
            self._evidence, run, plan, as_of=chosen.as_of, compute=self._engine.name, instance=instance
        )

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Stop the engine and, unless other processes still work on the run, close it in the ledger."""
        if self._engine is not None:
            self._engine.close()
        if self._opened is not None and context.instance is not None and not self._is_step:
            close_run(self._evidence, context.instance, self._opened.run_id)

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
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
            self._engine = Engine(self._settings.compute)
        return self._engine.compute

    def reader(self, sleeve: str) -> Reader:
        """Return how tables of `sleeve` are read: as the run may, or the newest heads outside a run."""
        if self._opened is None:
            return Reader(self._evidence, sleeve)
        return Reader(self._evidence, sleeve, self._opened.run_id, self._opened.parents)
