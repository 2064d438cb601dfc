"""Rules on all bars together: falls beside rises, and the dates of the table.

Rules on one row or one symbol are applied where bars are made (../bars.py); how far numbers drift is judged in
drift.py.
"""

from __future__ import annotations

import polars as pl

NEIGHBOURHOOD = 20
LOWEST_BREADTH = 0.8


def falls_beside_rises(bars: pl.DataFrame) -> str | None:
    """Demand that no fall below -80 % is within 20 sessions before a rise above 500 % that began a new life."""
    # A rise began a life that is not the symbol's first: few symbols have one.
    reborn = bars.filter(pl.col("life") > 0)["symbol"].unique()
    ordered = bars.filter(pl.col("symbol").is_in(reborn.implode())).sort("symbol", "date")
    dates = bars["date"].unique().sort()
    place = pl.Series("session", dates.search_sorted(ordered["date"]), dtype=pl.Int64)
    ordered = ordered.with_columns(place, change=pl.col("close") / pl.col("close").shift(1) - 1.0)
    is_same = pl.col("symbol") == pl.col("symbol").shift(1)
    is_new = pl.col("life") != pl.col("life").shift(1)
    fell_at = pl.when(is_same & ~is_new & (pl.col("change") < -0.8)).then("session").forward_fill().over("symbol")
    is_near = pl.col("session") - fell_at <= NEIGHBOURHOOD
    found = ordered.filter(is_same & is_new & (pl.col("change") > 5.0) & is_near).select("symbol", "date").rows()
    if not found:
        return None
    return f"{len(found)} falls below -80 % are near a rise that began a new life, such as {found[:3]}."


def last_date_breadth(bars: pl.DataFrame) -> str | None:
    """Demand a bar on the last date from 80 % of the symbols that had one on the 20 dates before."""
    dates = bars["date"].unique().sort()
    if len(dates) < 2:
        return None
    recent = bars.filter(pl.col("date").is_in(dates[-1 - NEIGHBOURHOOD : -1].implode()))["symbol"].unique()
    there = bars.filter((pl.col("date") == dates[-1]) & pl.col("symbol").is_in(recent.implode()))["symbol"].n_unique()
    if there >= LOWEST_BREADTH * len(recent):
        return None
    return f"on {dates[-1]}, the last date, {there} of the {len(recent)} symbols of the 20 sessions before have a bar."


def far_future(bars: pl.DataFrame) -> str | None:
    """Demand that the last date is not more than 20 sessions after the date before it.

    Which days are sessions is judged by the dates before the last: weekdays, and weekends if one of them is there.
    """
    dates = bars["date"].unique().sort()
    if len(dates) < 2:
        return None
    is_open = (True,) * 5 + ((dates[:-1].dt.weekday() > 5).any(),) * 2
    before, last = dates[-2], dates[-1]
    sessions = pl.select(pl.business_day_count(before, last, week_mask=is_open)).item()
    if sessions <= NEIGHBOURHOOD:
        return None
    return f"the last date, {last}, is {sessions} sessions after the one before it, {before}."
