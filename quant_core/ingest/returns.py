"""Simple returns of each symbol on its own calendar. Which closes may be compared is decided in judgement.py."""

from __future__ import annotations

import polars as pl

from quant_core.graph.stage import TableRule, stage
from quant_core.ingest.judgement import bar_return
from quant_core.market.contracts.ingest import ReturnsSchema

PADDED_SHARE = 0.5


def padding(returns: pl.DataFrame) -> str | None:
    """Demand that no symbol with a year of returns has more than half of them exactly zero."""
    known = returns.drop_nulls("simple_return").group_by("symbol")
    counts = known.agg(pl.len().alias("bars"), (pl.col("simple_return") == 0.0).sum().alias("zeros"))
    padded = counts.filter((pl.col("bars") >= 252) & (pl.col("zeros") > PADDED_SHARE * pl.col("bars"))).sort("symbol")
    if padded.is_empty():
        return None
    return f"{padded.height} symbols have mostly zero returns, such as {padded['symbol'].head(3).to_list()}."


@stage(
    "ingest.returns",
    inputs={"bars": "ingest.bars"},
    output=ReturnsSchema,
    conserves="bars",
    rules=(TableRule("padding", padding, "warn"),),
)
def returns(bars: pl.DataFrame) -> pl.DataFrame:
    """Return close over the symbol's previous close less 1; null at the first bar of a life and while on trial.

    Across a halt or an excluded bar the return runs from the last trustworthy close: no move is lost, none is padded.
    """
    return bars.sort("symbol", "date").select("date", "symbol", simple_return=bar_return())
