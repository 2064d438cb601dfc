"""Every row that ingest kept out, with the stage and the reason, as one table."""

from __future__ import annotations

import polars as pl

from quant_core.graph.stage import stage
from quant_core.market.contracts.ingest import Exclusions


@stage(
    "ingest.exclusions", inputs={"raw": "ingest.raw#exclusions", "bars": "ingest.bars#exclusions"}, output=Exclusions
)
def exclusions(raw: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Stack the exclusions of the landing and of the bars; `row` is the position in the landing in both."""
    stages = {"ingest.raw": raw, "ingest.bars": bars}
    stacked = pl.concat(table.with_columns(stage=pl.lit(id)) for id, table in stages.items())
    return stacked.select(*Exclusions.dtypes)
