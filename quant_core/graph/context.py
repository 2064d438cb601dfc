"""The state of a run as references: small, frozen, never a frame. Where the frames are is the store's business.

A context runs one stage after the other; a whole graph is run by runner.py.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field

from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.refs import DataRef
from quant_core.graph.commit import Reader, commit_result
from quant_core.graph.compute import Compute, SerialCompute
from quant_core.graph.differences import ContextDiff
from quant_core.graph.landing import Landing
from quant_core.graph.parameters import resolve_plan
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import execute_stage, mask_own_secrets, open_run
from quant_core.graph.stage import StageSpec
from quant_core.market.sleeves import find_sleeve, read_sleeve
from quant_core.settings import Settings


class SelectionContext(BaseModel):
    """What a stage runs with: identity, parameters and references to the tables so far."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    run_id: str
    sleeve: str
    home: str = Field(description="Folder of the ledger and the store.")
    sleeve_path: str | None = Field(default=None, description="The sleeve file, when not found by name.")
    as_of: str | None = Field(default=None, description="Knowledge time (ISO); null: latest.")
    params: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Given values per stage.")
    refs: dict[str, DataRef] = Field(default_factory=dict, description="Committed tables by stage id.")

    def with_ref(self, ref: DataRef) -> SelectionContext:
        """Return a context with one more reference."""
        return self.model_copy(update={"refs": {**self.refs, ref.stage: ref}})

    def diff(self, other: SelectionContext) -> ContextDiff:
        """Return the differences from `other`: parameters given, code, knowledge time, tables and results."""
        # Imported by name: comparing is in a room above the graph.
        compare = import_module("quant_core.lifecycle.compare.contexts")
        return cast("ContextDiff", compare.context_diff(self, other))

    def after(self, spec: StageSpec, *, compute: Compute | None = None) -> SelectionContext:
        """Run one stage inside the run of this context and return the context with one more reference.

        The run is opened if the ledger does not know it yet; closing it is the caller's business
        (`Evidence.close_run`). Inputs are read as the run may read them.

        Raises
        ------
        QuantError
            Whatever the stage, its gate or the store refuses.
        """
        registry = StageRegistry.load("quant_core")
        settings = Settings.from_environment(os.environ, home=Path(self.home))
        path = self.sleeve_path
        file = read_sleeve(Path(path), name=self.sleeve) if path else find_sleeve(self.sleeve, settings.sleeves)
        plan = resolve_plan(registry, file, overrides=self.params, environ=os.environ)
        engine = compute or SerialCompute()
        evidence = Evidence(settings.home)
        facts = {"started_by": "context"}
        open_run(evidence, plan, run_id=self.run_id, as_of=self.as_of, compute=engine.name, facts=facts)
        reader = Reader(evidence, self.sleeve, self.run_id, given=self.refs)
        landing = Landing(evidence, self.sleeve, self.run_id, mask=mask_own_secrets)
        own = replace(plan.stages[spec.id], function=spec.function)
        finished = execute_stage(own, reader.frames(own), plan, compute=engine, as_of=self.as_of, landing=landing)
        return self.with_ref(commit_result(reader, own, finished).ref)
