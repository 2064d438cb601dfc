"""Stage synthesis.selection: the winners, ranked. How they won is in decisions.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from quant_core.graph.stage import stage
from quant_core.market.contracts.synthesis import Selection
from quant_core.market.panel import Matrix


def selection_stability(table: pl.DataFrame) -> Matrix:
    """Jaccard index of each selection with the one before.

    Parameters
    ----------
    table : DataFrame
        With date, symbol, direction; one row per winner.

    Returns
    -------
    ndarray [K - 1]
        For K dates with winners, in order: winners in both over winners in either, in [0, 1].
    """
    numbered = table.select("symbol", "direction", pl.col("date").rank("dense").cast(pl.Int64).alias("number"))
    sizes = numbered["number"].value_counts(sort=False).sort("number")["count"].to_numpy().astype(np.float64)
    before = numbered.with_columns(pl.col("number") + 1)
    both = numbered.join(before, on=["symbol", "direction", "number"], how="semi")["number"].to_numpy()
    shared = np.bincount(both, minlength=sizes.size + 1)[2 : sizes.size + 1]
    return np.asarray(shared / (sizes[1:] + sizes[:-1] - shared))


def selection_metrics(table: pl.DataFrame) -> Mapping[str, float]:
    """Return the mean Jaccard index of consecutive selections, where there are two."""
    stability = selection_stability(table)
    return {"synthesis.selection_stability": float(stability.mean())} if stability.size else {}


@stage(
    "synthesis.selection",
    inputs={"decisions": "synthesis.decisions"},
    output=Selection,
    metrics=selection_metrics,
    shows="selection",
)
def selection(decisions: pl.DataFrame) -> pl.DataFrame:
    """Keep the winners of each rebalance, ranked by conviction, ties by symbol and direction."""
    winners = decisions.filter("is_selected").sort(
        "date", "conviction", "symbol", "direction", descending=[False, True, False, False]
    )
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("date").alias("rank")
    return winners.with_columns(rank).select(*Selection.dtypes)
