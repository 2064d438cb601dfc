"""Where the tiny graph runs: a home, sleeves and a Dagster instance of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from tiny_location import pipeline

from quant_assets.location import code_location
from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.commit import Reader
from quant_core.graph.registry import StageRegistry

TABLES = ("ingest/raw", "ingest/bars", "report/counts")


@dataclass
class Desk:
    home: Path
    sleeves: Path
    instance: dg.DagsterInstance
    environ: Mapping[str, str]
    projections: list[Path] = field(default_factory=list)

    @property
    def stages(self) -> StageRegistry:
        return StageRegistry.load("tiny_graph")

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.home)

    def definitions(self) -> dg.Definitions:
        return code_location(self.environ, package="tiny_graph")

    def run(
        self,
        *,
        only: tuple[str, ...] | None = TABLES,
        config: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> dg.ExecuteInProcessResult:
        ops = {name: {"config": values} for name, values in (config or {}).items()}
        selection = None if only is None else [dg.AssetKey(key.split("/")) for key in only]
        return (
            self.definitions()
            .resolve_job_def("sleeve_pipeline")
            .execute_in_process(
                **{
                    "partition_key": "tiny",
                    "instance": self.instance,
                    "raise_on_error": False,
                    "asset_selection": selection,
                    "run_config": {"ops": ops, "resources": dict(resources or {})},
                    **given,
                }
            )
        )

    def execute(self, **given: Any) -> dg.JobExecutionResult:
        """Run the whole job as a process of its own could: re-execution needs that."""
        only = None if "reexecution_options" in given else [dg.AssetKey(key.split("/")) for key in TABLES]
        job, tags = dg.reconstructable(pipeline), {"dagster/partition": "tiny"}
        return dg.execute_job(job, self.instance, **{"tags": tags, "asset_selection": only, **given})

    def frame(self, stage: str) -> pl.DataFrame:
        return Reader(self.evidence, "tiny").frame(stage)


def events_of(result: dg.ExecuteInProcessResult, kind: str) -> list[Any]:
    return [event for event in result.all_events if event.event_type_value == kind]
