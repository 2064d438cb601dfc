"""Jobs: the whole graph for one sleeve."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition  # a type only


def sleeve_pipeline() -> UnresolvedAssetJobDefinition:
    """Return the job of every asset and check, for one sleeve at a time: its partitions are theirs."""
    return dg.define_asset_job(
        "sleeve_pipeline",
        selection=dg.AssetSelection.all(),
        description="From raw bars to report and tracker, for one sleeve.",
    )
