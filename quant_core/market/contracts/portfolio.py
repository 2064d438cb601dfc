"""Contracts from weights to report: schedule, weights, equity, metrics, today's portfolio, orders, documents."""

from __future__ import annotations

import polars as pl

from quant_core.market.contracts.columns import TableRow, column
from quant_core.market.contracts.split import RowRule, contract
from quant_core.market.contracts.synthesis import DIRECTIONS
from quant_core.market.identity import SYMBOL

# A symbol that matches is a perpetual future: holding it costs funding, shorting it no borrow fee.
PERPETUAL = r"\.P$"


class _Schedule(TableRow):
    """One walk-forward window: train, rebalance at its last train bar, test block shown.

    Weights are held until the next rebalance, wherever the test block ends.
    """

    window: pl.Int32 = column(ge=0, description="Number of the window.")
    date: pl.Date = column(description="Rebalance date: last train bar, traded at its close.")
    row: pl.Int64 = column(ge=0, description="Position of that date among the sleeve's dates.")
    train_start: pl.Date = column(description="First train bar.")
    train_end: pl.Date = column(description="Last train bar.")
    test_start: pl.Date = column(nullable=True, description="First test bar shown; null when none is there yet.")
    test_end: pl.Date = column(nullable=True, description="Last test bar shown; ends no position.")


class _Weights(TableRow):
    """The weight of one atom under one allocation method at one rebalance; what is missing to one is cash."""

    date: pl.Date = column(description="Rebalance date.")
    method: pl.String = column(description="Allocation method.")
    atom: pl.String = column(description="{symbol}_{logic}_{direction}.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    direction: pl.String = column(isin=DIRECTIONS, description="Side; the weight of a short atom is positive too.")
    weight: pl.Float64 = column(within=(0.0, 1.0), description="Share of wealth.")


class _Equity(TableRow):
    """The wealth of one portfolio at one close; every portfolio starts from 1, before the cost of entering."""

    date: pl.Date = column(description="Date of the close.")
    portfolio: pl.String = column(description="Allocation method, `benchmark`, `filtered_pool` or `raw_pool`.")
    equity: pl.Float64 = column(description="Wealth after costs; below zero is debt left by a short.")
    net_return: pl.Float64 = column(description="Change of wealth over the bar, as a fraction; never capped.")
    cost: pl.Float64 = column(ge=0.0, description="Costs paid at this close, as a fraction of wealth.")
    turnover: pl.Float64 = column(ge=0.0, description="Traded notional over wealth at this close, both sides.")
    exposure: pl.Float64 = column(ge=0.0, description="Gross exposure after the close.")
    held: pl.Int32 = column(ge=0, description="Positions after the close.")


class _Metrics(TableRow):
    """One figure of one portfolio, with its interval where it has one."""

    portfolio: pl.String = column(description="As in equity.")
    metric: pl.String = column(description="Name of the figure.")
    value: pl.Float64 = column(nullable=True, description="The figure; null where it is not defined.")
    lower: pl.Float64 = column(nullable=True, description="Lower end of the 95 % interval.")
    upper: pl.Float64 = column(nullable=True, description="Upper end of the 95 % interval.")


class _TodaysPortfolio(TableRow):
    """One position of the last rebalance, with the reason it is there."""

    method: pl.String = column(description="Allocation method.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    atom: pl.String = column(description="{symbol}_{logic}_{direction}.")
    direction: pl.String = column(isin=DIRECTIONS, description="Side.")
    date: pl.Date = column(description="Rebalance date.")
    weight: pl.Float64 = column(within=(0.0, 1.0), description="Target share of wealth.")
    conviction: pl.Float64 = column(nullable=True, description="Conviction.")
    cluster: pl.Int32 = column(nullable=True, description="Cluster.")
    reason: pl.String = column(description="Why it was selected.")


class _Orders(TableRow):
    """One order that turns the holdings given into the portfolio of the last rebalance."""

    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    side: pl.String = column(isin=["BUY", "SELL"], description="Side of the order.")
    quantity: pl.Float64 = column(gt=0.0, description="Units to trade.")
    price: pl.Float64 = column(gt=0.0, description="Last close the order was sized at.")
    notional: pl.Float64 = column(gt=0.0, description="quantity x price.")
    held: pl.Float64 = column(description="Units held before; negative is short.")
    target: pl.Float64 = column(description="Units held after; of what is not eligible never more than held.")
    priced_on: pl.Date = column(description="Date of that close.")


class _Documents(TableRow):
    """One document of the report."""

    name: pl.String = column(str_matches=r"^[a-z0-9_]+\.(html|csv|json|svg)$", description="File name.")
    media_type: pl.String = column(description="Media type.")
    content: pl.String = column(description="The document itself.")


_ORDER = (
    RowRule(
        "notional_mismatch",
        (pl.col("notional") - pl.col("quantity") * pl.col("price")).abs() <= 1e-6 * pl.col("notional").abs() + 1e-9,
        "The notional is quantity times price.",
    ),
)

Schedule = contract(_Schedule, key=("window",))
Weights = contract(_Weights, key=("date", "method", "atom"))
Equity = contract(_Equity, key=("portfolio", "date"))
Metrics = contract(_Metrics, key=("portfolio", "metric"))
TodaysPortfolio = contract(_TodaysPortfolio, key=("method", "atom"))
Orders = contract(_Orders, key=("symbol",), rules=_ORDER)
Documents = contract(_Documents, key=("name",))
