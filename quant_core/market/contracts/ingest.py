"""Contracts of ingest: raw, actions, bars, exclusions, health, lives, gaps, universe, returns."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import polars as pl

from quant_core.market.contracts.columns import TableRow, column
from quant_core.market.contracts.split import RowRule, contract
from quant_core.market.identity import SYMBOL

UtcInstant = Annotated[pl.Datetime, "us", "UTC"]
EARLIEST, LATEST = date(1900, 1, 1), date(2100, 12, 31)


class _Prices(TableRow):
    date: pl.Date = column(ge=EARLIEST, le=LATEST, description="Session or UTC day the bar belongs to.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    open: pl.Float64 = column(nullable=True, description="First price, in quote currency.")
    high: pl.Float64 = column(nullable=True, description="Highest price.")
    low: pl.Float64 = column(nullable=True, description="Lowest price.")
    close: pl.Float64 = column(nullable=True, description="Last price.")
    volume: pl.Float64 = column(nullable=True, description="Traded volume, in the unit the sleeve declares.")


class _Raw(_Prices):
    """One row as its source sent it."""

    row: pl.Int64 = column(ge=0, description="Position in the landing, in order of arrival.")
    known_at: UtcInstant = column(nullable=True, description="When the source says it was known; null: always.")


class _Actions(TableRow):
    """One corporate action, as its source sent it."""

    row: pl.Int64 = column(ge=0, description="Position among the actions landed, in order of arrival.")
    date: pl.Date = column(ge=EARLIEST, le=LATEST, description="Ex-date: the first session priced on the new terms.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    kind: pl.String = column(isin=["split", "dividend", "rename"], description="What happened.")
    factor: pl.Float64 = column(
        gt=0, nullable=True, description="What every earlier price is multiplied by; null for a rename."
    )
    to: pl.String = column(str_matches=SYMBOL, nullable=True, description="A rename's new symbol.")
    known_at: UtcInstant = column(nullable=True, description="When the source says it was known; null: its ex-date.")


class _Bars(TableRow):
    """One trustworthy bar."""

    date: pl.Date = column(description="Session or UTC day the bar belongs to.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    open: pl.Float64 = column(gt=0, nullable=True, description="First price, in quote currency.")
    high: pl.Float64 = column(gt=0, nullable=True, description="Highest price.")
    low: pl.Float64 = column(gt=0, nullable=True, description="Lowest price.")
    close: pl.Float64 = column(gt=0, description="Last price.")
    volume: pl.Float64 = column(ge=0, nullable=True, description="Traded volume, in the unit the sleeve declares.")
    available_at: UtcInstant = column(description="Instant of the bar's close: known from then on.")
    life: pl.Int32 = column(ge=0, description="Which life of the ticker this is; no return crosses lives.")
    is_provisional: pl.Boolean = column(description="A jump not yet confirmed by later bars; its return is null.")
    adjustment: pl.Float64 = column(
        gt=0, description="What the source's prices were multiplied by here, its volume divided; 1: as sent."
    )
    flags: pl.String = column(
        description="Warnings that exclude nothing, comma-separated: jump, volume_spike, stall, unadjusted_split."
    )


class _Exclusions(TableRow):
    """One row that was kept out, and why."""

    stage: pl.String = column(description="Stage that excluded it.")
    rule: pl.String = column(description="First rule broken.")
    row: pl.Int64 = column(ge=0, description="Position in the table that was judged.")
    date: pl.Date = column(nullable=True, description="Date of the row, where it has one.")
    symbol: pl.String = column(nullable=True, description="Symbol of the row, where it has one.")
    detail: pl.String = column(description="Every rule broken, or what was seen.")
    record: pl.String = column(description="The row itself, as JSON.")


class _Lives(TableRow):
    """One event in the life of a symbol."""

    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    life: pl.Int32 = column(ge=0, description="Which life of the ticker the event belongs to.")
    event: pl.String = column(isin=["genesis", "halt", "resume", "death"], description="What happened.")
    date: pl.Date = column(description="First bar (genesis, resume), 1st missed session (halt), 20th (death).")
    known_at: UtcInstant = column(description="Instant from which a decision may use the event.")


class _Health(TableRow):
    """One verdict on the health of a symbol, with the day on which it expires."""

    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    date: pl.Date = column(description="Session of the verdict.")
    event: pl.String = column(isin=["quarantined", "extended", "readmitted"], description="What was decided.")
    defects: pl.Int64 = column(ge=0, description="Broken or toxic rows among the rows judged.")
    rows: pl.Int64 = column(ge=1, description="Rows judged.")
    until: pl.Date = column(nullable=True, description="Session of the re-test; null: readmitted.")
    reason: pl.String = column(description="The rules broken, each with its count.")
    known_at: UtcInstant = column(description="Instant from which a decision may use the verdict.")


class _Gaps(TableRow):
    """One stretch of sessions on which a symbol has no bar, and why."""

    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    start: pl.Date = column(description="First session without a bar.")
    end: pl.Date = column(description="Last session without a bar, within the data.")
    sessions: pl.Int64 = column(ge=1, description="Sessions without a bar, both ends included.")
    kind: pl.String = column(
        isin=["pre_listing", "gap", "excluded", "halted", "delisted"],
        description="Why: not listed yet, bars missing, rows came and were excluded, no bars from any source, dead.",
    )
    request: pl.String = column(nullable=True, description="What to ask the source for, as JSON; null: nothing.")


class _Universe(TableRow):
    """One interval in which a symbol was, or was not, an eligible member."""

    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    start: pl.Date = column(description="First date of the interval.")
    end: pl.Date = column(nullable=True, description="Last date of the interval; null while it lasts.")
    seen_until: pl.Date = column(description="Last date of the interval within the data.")
    is_eligible: pl.Boolean = column(description="Whether the symbol could be held.")
    reason: pl.String = column(
        description="Why: member, short_history, on_trial, halted, dead, unhealthy, illiquid, ..."
    )
    identity: pl.String = column(description="The economic identity: one per asset, whatever venue and quote.")
    sector: pl.String = column(nullable=True, description="Sector, where the sleeve knows it.")


class _Returns(TableRow):
    """One simple return on the symbol's own calendar."""

    date: pl.Date = column(description="Date at whose close the return is complete.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    simple_return: pl.Float64 = column(
        within=(-1.0, 5.0),
        nullable=True,
        description="close / previous close - 1, as a fraction; null at a first bar and while a jump is provisional.",
    )


# Adjusting prices for splits and dividends rounds each of them on its own.
_ROUNDING = 1e-9
_LOWEST, _HIGHEST = pl.col("low") * (1.0 - _ROUNDING), pl.col("high") * (1.0 + _ROUNDING)
_ORDERED = (
    RowRule("high_below_low", pl.col("low") <= _HIGHEST, "The high is not below the low, but for rounding."),
    RowRule(
        "open_outside_range",
        pl.col("open").is_between(_LOWEST, _HIGHEST),
        "The open lies between low and high, but for rounding.",
    ),
    RowRule(
        "close_outside_range",
        pl.col("close").is_between(_LOWEST, _HIGHEST),
        "The close lies between low and high, but for rounding.",
    ),
)

Raw = contract(_Raw, key=("row",))
Actions = contract(_Actions, key=("row",))
Bars = contract(_Bars, key=("date", "symbol"), rules=_ORDERED)
Exclusions = contract(_Exclusions, key=("stage", "rule", "row"))
Lives = contract(_Lives, key=("symbol", "date", "event"))
Health = contract(_Health, key=("symbol", "date"))
Gaps = contract(_Gaps, key=("symbol", "start"))
Universe = contract(_Universe, key=("symbol", "start"))
ReturnsSchema = contract(_Returns, key=("date", "symbol"))
