"""The stage that cuts a sleeve's dates into walk-forward windows. market/calendar.py cuts them."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from quant_core.graph.stage import Params, stage
from quant_core.market.calendar import walk_forward
from quant_core.market.contracts.portfolio import Schedule


class ScheduleParams(Params):
    """Sizes of the walk-forward windows, in bars."""

    train: int = Field(default=252, ge=1, description="Bars of the train block; the last one is the rebalance.")
    test: int = Field(
        default=20,
        ge=1,
        description="Bars of the test block shown per window; weights are held until the next rebalance all the same.",
    )
    step: int = Field(default=20, ge=1, description="Bars between two rebalances.")


@stage("backtest.schedule", inputs={"returns": "ingest.returns"}, output=Schedule)
def schedule(returns: pl.DataFrame, *, params: ScheduleParams) -> pl.DataFrame:
    """Cut the sleeve's dates into walk-forward windows of train, rebalance and test."""
    dates = returns["date"].unique().sort()
    return walk_forward(dates, train=params.train, test=params.test, step=params.step)
