"""Counts what was kept and what was not."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from quant_core.graph.stage import stage
from quant_core.market.contracts.split import contract


class _Counts(pa.DataFrameModel):
    """One count."""

    name: pl.String = pa.Field(isin=["kept", "excluded", "landed"], description="Of what.")
    rows: pl.Int64 = pa.Field(ge=0, description="How many.")


Counts = contract(_Counts, key=("name",))


@stage(
    "report.counts",
    inputs={"kept": "ingest.bars", "lost": "ingest.bars#exclusions", "landed": "ingest.raw"},
    output=Counts,
)
def counts(kept: pl.DataFrame, lost: pl.DataFrame, landed: pl.DataFrame) -> pl.DataFrame:
    """Count rows."""
    return pl.DataFrame(
        {"name": ["kept", "excluded", "landed"], "rows": [kept.height, lost.height, landed.height]},
        schema=Counts.dtypes,
    )
