"""Every row that ingest excluded, with the stage and the reason, as one table."""

from __future__ import annotations

import polars as pl

from quant_core.graph.stage import stage
from quant_core.market.contracts.ingest import Exclusions


@stage(
    "ingest.exclusions",
    inputs={
        "raw": "ingest.raw#exclusions",
        "actions": "ingest.actions#exclusions",
        "bars": "ingest.bars#exclusions",
    },
    output=Exclusions,
)
def exclusions(raw: pl.DataFrame, actions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Stack what the landing, the actions and the bars excluded; `row` is the position among the rows landed."""
    stages = {"ingest.raw": raw, "ingest.actions": actions, "ingest.bars": bars}
    stacked = pl.concat(table.with_columns(stage=pl.lit(id)) for id, table in stages.items())
    return stacked.select(*Exclusions.dtypes)
