"""Today's portfolio: the positions of the last rebalance, each with the reason it is there. Orders: orders.py."""

from __future__ import annotations

import polars as pl

from quant_core.errors import ContractError
from quant_core.graph.stage import stage
from quant_core.market.contracts.portfolio import TodaysPortfolio


@stage(
    "report.portfolio",
    inputs={
        "weights": "allocation.weights",
        "atoms": "synthesis.atoms",
        "decisions": "synthesis.decisions",
        "schedule": "backtest.schedule",
    },
    output=TodaysPortfolio,
    shows="portfolio",
)
def portfolio(
    weights: pl.DataFrame, atoms: pl.DataFrame, decisions: pl.DataFrame, schedule: pl.DataFrame
) -> pl.DataFrame:
    """Return every method's positions at the last rebalance; a method without positions there is all cash.

    The schedule says which rebalance is the last, so one at which nobody was eligible, and that left no row anywhere,
    empties the portfolio instead of leaving the one before in force.

    Raises
    ------
    ContractError
        A position has no atom or no decision, so that its reason is not known.
    """
    last = schedule["date"].max()
    positions = (
        weights.filter((pl.col("date") == pl.lit(last, dtype=pl.Date)) & (pl.col("weight") > 0.0))
        .join(atoms.select("date", "atom", "cluster", "conviction"), on=["date", "atom"], how="left", validate="m:1")
        .join(
            decisions.select("date", "symbol", "direction", "reason"),
            on=["date", "symbol", "direction"],
            how="left",
            validate="m:1",
        )
    )
    known = positions.join(atoms.select("date", "atom"), on=["date", "atom"], how="semi")
    if known.height < positions.height or positions["reason"].null_count():
        lost = positions.filter(pl.col("reason").is_null())["atom"].to_list() or sorted(
            set(positions["atom"]) - set(known["atom"])
        )
        raise ContractError(
            f"weights of {last!s} hold {', '.join(lost[:5])} without an atom or a decision of that date; "
            "run synthesis and allocation on the same data."
        )
    return positions.select(*TodaysPortfolio.dtypes).sort(TodaysPortfolio.key)
