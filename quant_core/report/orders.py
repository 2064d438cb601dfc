"""The orders that turn given holdings into the headline portfolio, and the targets that cannot be bought.

holdings.py reads holdings.
"""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
from pydantic import Field

from quant_core.errors import SourceError
from quant_core.graph.stage import stage
from quant_core.market.contracts.portfolio import Orders
from quant_core.market.contracts.split import Split, excluded_rows
from quant_core.report.headline import HeadlineParams, headline_of
from quant_core.report.holdings import Holdings, all_cash, read_holdings

NOT_ELIGIBLE = "not_eligible"
_ROUNDING = 1e-9


class OrdersParams(HeadlineParams):
    """The holdings now, and the smallest amounts that can be traded."""

    holdings: str | None = Field(
        default=None, description="CSV of what is held: symbol, quantity; a row CASH states the cash. Null: all cash."
    )
    cash: float = Field(default=1_000_000.0, gt=0.0, description="Cash when no holdings are given, in quote currency.")
    min_notional: float = Field(default=1.0, ge=0.0, description="Smaller orders are left out, in quote currency.")
    lot: float = Field(default=0.0, ge=0.0, description="Targets are rounded towards zero to this many units; 0: none.")


@stage(
    "report.orders",
    inputs={"portfolio": "report.portfolio", "bars": "ingest.bars", "universe": "ingest.universe"},
    output=Orders,
)
def orders(portfolio: pl.DataFrame, bars: pl.DataFrame, universe: pl.DataFrame, *, params: OrdersParams) -> Split:
    """Return the orders from the holdings given to the headline portfolio, at each symbol's last confirmed close.

    What is held and not in the portfolio is sold. Wealth is cash plus holdings at those closes; costs are not set
    aside. A provisional close (a jump later bars have not confirmed) sizes no order: the close before it does.

    A symbol that is not eligible at the last date of the bars (halted, dead, on trial, ...) is closed or reduced, never
    opened or added to: its target is what is held, and the rest of the target is an exclusion with its reason.

    Raises
    ------
    SourceError
        The holdings cannot be read or priced, or are worth nothing.
    """
    closes, last = last_closes(bars), pl.lit(bars["date"].max(), dtype=pl.Date)
    held = _current_holdings(params, closes)
    targets = _signed_weights(portfolio, headline_of(params, portfolio["method"].unique()))
    book = (
        held.units.join(targets, on="symbol", how="full", coalesce=True)
        .with_columns(pl.col("held", "weight").fill_null(0.0))
        .join(closes, on="symbol", how="left")
        .join(_states_at(universe, last), on="symbol", how="left")
        .with_columns(last.alias("date"))
        .sort("symbol")
    )
    if book["price"].null_count():
        lost = book.filter(pl.col("price").is_null())["symbol"][0]
        raise SourceError(
            f"{lost!r} is in the portfolio and has no confirmed close; ingest and report must run on one data set."
        )
    wealth = held.cash + math.fsum(book["held"] * book["price"])
    if wealth <= 0.0:
        raise SourceError(f"holdings and cash are worth {wealth:,.2f}; there is nothing to invest.")
    sized = book.with_columns(_wanted_units(wealth, params.lot)).with_columns(_target())
    return Split(_orders_of(sized, params.min_notional), _exclude_unfilled_targets(sized, params.min_notional))


def last_closes(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the last confirmed close per symbol: symbol, price, priced_on."""
    return (
        bars.filter(~pl.col("is_provisional"))
        .select("symbol", "date", "close")
        .sort("symbol", "date")
        .unique("symbol", keep="last", maintain_order=True)
        .select("symbol", pl.col("close").alias("price"), pl.col("date").alias("priced_on"))
    )


def _current_holdings(params: OrdersParams, closes: pl.DataFrame) -> Holdings:
    if params.holdings is None:
        return all_cash(params.cash)
    return read_holdings(Path(params.holdings), closes["symbol"].to_list())


def _signed_weights(portfolio: pl.DataFrame, method: str) -> pl.DataFrame:
    """Net the atoms of a symbol into one signed weight."""
    sign = pl.when(pl.col("direction") == "SHORT").then(-1.0).otherwise(1.0)
    rows = portfolio.filter(pl.col("method") == method).sort("symbol", "atom")
    return rows.group_by("symbol", maintain_order=True).agg((sign * pl.col("weight")).sum().alias("weight"))


def _states_at(universe: pl.DataFrame, last: pl.Expr) -> pl.DataFrame:
    """Return the state of each symbol at the last date: symbol, is_eligible, why."""
    is_open = pl.col("end").is_null() | (pl.col("end") >= last)
    why = pl.format("{} since {}", "reason", "start")
    return universe.filter((pl.col("start") <= last) & is_open).select("symbol", "is_eligible", why.alias("why"))


def _wanted_units(wealth: float, lot: float) -> pl.Expr:
    units = wealth * pl.col("weight") / pl.col("price")
    if lot > 0.0:
        units = units.sign() * ((units.abs() / lot + _ROUNDING).floor() * lot)
    return units.alias("wanted")


def _target() -> pl.Expr:
    """Return the wanted units; for a symbol that is not eligible, clipped to between zero and the units held."""
    held, nothing = pl.col("held"), pl.lit(0.0)
    reduced = pl.col("wanted").clip(pl.min_horizontal(held, nothing), pl.max_horizontal(held, nothing))
    return pl.when(pl.col("is_eligible").fill_null(value=False)).then("wanted").otherwise(reduced).alias("target")


def _is_different(one: str, other: str) -> pl.Expr:
    noise = 1e-12 * pl.max_horizontal(pl.col(one).abs(), pl.col(other).abs())
    return (pl.col(one) - pl.col(other)).abs() > noise


def _exclude_unfilled_targets(book: pl.DataFrame, min_notional: float) -> pl.DataFrame:
    missing = (pl.col("wanted") - pl.col("target")).abs() * pl.col("price")
    rows = book.filter(_is_different("wanted", "target") & (missing >= min_notional))
    facts = rows.select("date", "symbol", "weight", "wanted", "held", "target", "price", "priced_on")
    return excluded_rows(facts, NOT_ELIGIBLE, rows["why"].fill_null("not in the universe"))


def _orders_of(book: pl.DataFrame, min_notional: float) -> pl.DataFrame:
    change = pl.col("target") - pl.col("held")
    sized = book.filter(_is_different("target", "held")).with_columns(
        pl.when(change > 0.0).then(pl.lit("BUY")).otherwise(pl.lit("SELL")).alias("side"),
        change.abs().alias("quantity"),
        (change.abs() * pl.col("price")).alias("notional"),
    )
    return sized.filter(pl.col("notional") >= min_notional).select(*Orders.dtypes)
