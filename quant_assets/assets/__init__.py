"""All assets: one per stage found, and those written by hand where Dagster adds something (tracking.py)."""

import dagster as dg

from quant_assets.assets.factory import asset_of
from quant_core.graph.registry import StageRegistry


def stage_assets(stages: StageRegistry, sleeves: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """Return one asset per stage, each after its inputs."""
    return [asset_of(spec, stages, sleeves) for spec in stages.ordered()]
