"""The last asset of a run: shows the ledger's records in MLflow. resources/ decides what is projected, and how."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from quant_assets.assets.factory import OWNERS
from quant_assets.failures import Failing
from quant_assets.io_managers import key_of, stage_of
from quant_assets.outcomes import close_if_last
from quant_assets.resources.run_setup import RunPlan
from quant_core.graph.registry import StageRegistry

if TYPE_CHECKING:
    from quant_assets.resources.experiment import Projection

KEY = dg.AssetKey(["tracking", "mlflow"])


def tracking_asset(stages: StageRegistry, sleeves: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """Return the asset that projects the ledger, after every stage nothing else reads."""
    parents = {parent for spec in stages.values() for parent in spec.parents}

    @dg.asset(
        key=KEY,
        deps=[key_of(id) for id in stages if id not in parents],
        partitions_def=sleeves,
        group_name="tracking",
        kinds={"mlflow"},
        owners=OWNERS,
        op_tags={"dagster/priority": "-1"},
        automation_condition=dg.AutomationCondition.eager(),
    )
    def tracking__mlflow(context: dg.AssetExecutionContext, plan: RunPlan) -> dg.MaterializeResult[None]:
        """Project every run the ledger holds and MLflow does not show yet, failed and killed ones included.

        The ledger is the truth and MLflow a view of it: a tracker that does not answer defers the projection to the
        next run and changes nothing else.
        """
        # Every other step is over: closed now, the run is shown as ended and not as at work until the next one.
        close_if_last(plan.evidence, context.instance, context.run.run_id, stage_of(KEY))
        seen = _project(plan.evidence.home)
        context.log.info(f"projection={seen.state} runs={seen.runs} {seen.reason}".rstrip())
        return dg.MaterializeResult(metadata={"state": seen.state, "runs": seen.runs, "reason": seen.reason})

    return tracking__mlflow


def _project(home: Path) -> "Projection":
    from quant_assets.resources.tracking import project  # the door to mlflow: opened by this step only

    with Failing(stage_of(KEY)) as failing:
        return project(home, os.environ.get("QUANT_MLFLOW_URI"))
    raise failing.failure
