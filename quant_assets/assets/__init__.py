"""All assets: one per stage found, and those written by hand where Dagster adds something (tracking.py)."""

from collections.abc import Iterable

import dagster as dg

from quant_assets.assets.factory import asset_of
from quant_core.graph.parameters import union_of_inputs
from quant_core.graph.registry import StageRegistry
from quant_core.market.sleeves import SleeveFile


def stage_assets(
    stages: StageRegistry, sleeves: dg.PartitionsDefinition[str], files: Iterable[SleeveFile] = ()
) -> list[dg.AssetsDefinition]:
    """Return one asset per stage, each after what it reads in any of the sleeve files."""
    read = union_of_inputs(stages, files)
    return [asset_of(spec, stages, sleeves, read[spec.id]) for spec in stages.order_stages()]
