"""Joins bars within the day into daily bars, and counts the missing ones.

Which columns a file has is tabular.py's business; whether the daily bar is trustworthy, that of bars.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl
from pydantic import JsonValue

from quant_core.errors import ConfigError, SourceError
from quant_core.ingest.reading.parsing import PRICES
from quant_core.market.calendar import ALWAYS_OPEN, WEEKDAYS, Calendar, market_day
from quant_core.market.contracts.columns import Declaration
from quant_core.market.contracts.ingest import Bars
from quant_core.market.contracts.split import Contract, Split, excluded_rows, split

Stamped = Literal["open", "close"]
DAILY = "1d"
_INTERVAL = re.compile(r"([1-9]\d{0,3})([mh])")
_AROUND_THE_CLOCK = (ALWAYS_OPEN, WEEKDAYS)
_DAY, _DAYS_TO_MONDAY = timedelta(days=1), timedelta(days=3)
_INSTANT = pl.Datetime("us", "UTC")
# What a bar within the day must keep to is what a daily bar must keep to: no bound is written twice.
_TICKS = Contract(
    "IntradayBars",
    Declaration(
        "IntradayBars",
        Bars.doc,
        (
            replace(Bars.columns["available_at"], name="timestamp"),
            *(Bars.columns[name] for name in ("symbol", *PRICES)),
        ),
    ),
    key=("symbol", "timestamp"),
    rules=Bars.rules,
)


def bar_length(interval: str) -> timedelta:
    """Return the length of a bar within the day: "1m", "15m", "1h", ... below a day.

    Raises
    ------
    ConfigError
        It is not such a length.
    """
    found = _INTERVAL.fullmatch(interval)
    length = timedelta(**{{"m": "minutes", "h": "hours"}[found[2]]: int(found[1])}) if found else _DAY
    if length >= _DAY:
        raise ConfigError(f'interval {interval!r}: expected minutes or hours below a day, such as "15m" or "1h".')
    return length


def daily_bars(frame: pl.DataFrame, *, interval: str, stamped: Stamped, market: Calendar) -> Split:
    """Join bars within the day into one bar per day and symbol.

    A day is a session of the calendar: for "24/7" the UTC day, for "24/5" the day up to 20:00 UTC, else from the open
    to the close of the exchange. A bar belongs to the session that is open at some time between its own open and close;
    where two are, to the one at its open. The last bar of a session is taken to end with it.

    Parameters
    ----------
    frame : DataFrame
        row, timestamp (Datetime us UTC), symbol, close and any of open, high, low, volume, known_at; in any order.
    interval : str
        Length of a bar, see `bar_length`.
    stamped : "open" or "close"
        Which end of a bar its timestamp marks.
    market : Calendar

    Returns
    -------
    Split
        Valid: row (of the day's first bar), date, symbol, those of open, high, low, close, volume, known_at that
        `frame` has, bars (how many were put together) and missing (how many fewer than fill the session), sorted by
        symbol and date. Open and close are those of the first and last bar; high, low and volume are null if they are
        in any bar of the day; known_at is the latest. Volume is summed in order of time.
        Exclusions, in this order: the rules of Bars on a single bar; `duplicate_row` and `restated_row`, where a bar
        with the same stamp arrived later by `known_at`, then `row`; `off_hours`; `forming_bar`, on the newest day if
        no symbol's bar reaches the end of the session. Rows in = sum of `bars` + exclusions.

    Raises
    ------
    SourceError
        Most bars follow each other faster than `interval`.
    ConfigError
        `interval` is not a length below a day.
    """
    length = bar_length(interval)
    early = length if stamped == "close" else timedelta(0)
    found = [name for name in (*PRICES, "known_at") if name in frame.columns]
    kinds = {**dict.fromkeys(PRICES, pl.Float64()), "known_at": _INSTANT}
    absent = {name: pl.lit(None, dtype=kind) for name, kind in kinds.items() if name not in found}
    arrived = frame.with_columns(**absent).sort("known_at", "row", nulls_last=False)
    sound, broken = _split_sound(arrived)
    _check_spacing(sound, interval, length)
    dated = _add_sessions(sound.with_columns(opened=pl.col("timestamp") - early), length, market)
    is_inside = pl.col("session").is_not_null()
    inside, outside = dated.filter(is_inside), dated.filter(~is_inside)
    is_forming = _is_forming(inside, length)
    off = _exclude_bars(outside, "off_hours", f"{market.name} is closed then", pl.col("opened").dt.date())
    forming = _exclude_bars(inside.filter(is_forming), "forming_bar", "the newest day has not ended", pl.col("session"))
    days = _aggregate_days(inside.filter(~is_forming))
    return Split(
        days.select("row", "date", "symbol", *found, "bars", "missing"),
        pl.concat([broken, off, forming]).sort("row"),
    )


def day_facts(days: pl.DataFrame) -> dict[str, JsonValue]:
    """Count the parts of daily bars: bars joined, days, thin days (bars missing) and bars missing."""
    return {
        "bars": int(days["bars"].sum()),
        "days": days.height,
        "thin_days": int((days["missing"] > 0).sum()),
        "bars_missing": int(days["missing"].sum()),
    }


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _split_sound(arrived: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the bars that keep the rules, the last to arrive of each stamp, and exclusions of the others."""
    parted = split(arrived.select(*_TICKS.dtypes), _TICKS)
    excluded = parted.exclusions
    if excluded.is_empty():
        return arrived, excluded
    is_kept = pl.repeat(value=True, n=arrived.height, dtype=pl.Boolean, eager=True)
    sound = arrived.filter(is_kept.scatter(excluded["row"], values=False))
    lost = arrived[excluded["row"]].with_columns(excluded["rule", "detail"])
    kept = sound.select("timestamp", "symbol", *(pl.col(name).alias(f"{name}_kept") for name in (*PRICES, "row")))
    lost = lost.join(kept, on=["timestamp", "symbol"], how="left", maintain_order="left")
    is_same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_kept")) for name in PRICES)
    copy = pl.when(is_same).then(pl.lit("duplicate_row")).otherwise(pl.lit("restated_row"))
    is_again = pl.col("rule") == "duplicate_key"
    later = pl.format("row {} has the same stamp and arrived later", "row_kept")
    why = lost.select(
        pl.when(is_again).then(copy).otherwise("rule").alias("rule"),
        pl.when(is_again).then(later).otherwise("detail").alias("detail"),
    )
    rows = lost.select(arrived.columns)
    return sound, _exclude_bars(rows, why["rule"], why["detail"], pl.col("timestamp").dt.date())


def _exclude_bars(rows: pl.DataFrame, rule: str | pl.Series, detail: str | pl.Series, day: pl.Expr) -> pl.DataFrame:
    """Turn bars into exclusions; each shows the row as it was sent, without the columns added here."""
    told = rows.drop("opened", "session", "closes_at", "opens_at", "until", "after", "fills", strict=False)
    return excluded_rows(told, rule, detail).with_columns(rows.select(day.alias("date"))["date"])


def _check_spacing(sound: pl.DataFrame, interval: str, length: timedelta) -> None:
    """Refuse an interval longer than that of the bars: their days would seem to end where they do not."""
    stamps = sound.select("symbol", "timestamp").sort("symbol", "timestamp")
    step = pl.col("timestamp") - pl.col("timestamp").shift(1)
    steps = stamps.select(step.filter(pl.col("symbol") == pl.col("symbol").shift(1)).alias("step"))["step"]
    if 2 * int((steps < length).sum()) > len(steps):
        raise SourceError(f"interval {interval!r}: most bars follow each other in {steps.median()!s}; is it shorter?")


def _add_sessions(frame: pl.DataFrame, length: timedelta, market: Calendar) -> pl.DataFrame:
    """Add each bar's session (null: closed then), the session's end, and how many bars fill it."""
    if frame.is_empty():
        return frame.with_columns(session=pl.lit(None, pl.Date), closes_at=pl.lit(None, _INSTANT), fills=pl.lit(0))
    first, last = frame.select(pl.col("opened").min().dt.date(), pl.col("opened").max().dt.date().alias("last")).row(0)
    sessions = market.sessions(first - _DAY, last + (_DAYS_TO_MONDAY if market.name in _AROUND_THE_CLOCK else _DAY))
    if market.name in _AROUND_THE_CLOCK:
        day = pl.col("opened").dt.date() if market.is_always_open else market_day(pl.col("opened"))
        dated = frame.with_columns(session=day).join(sessions, left_on="session", right_on="date", how="left")
    else:
        # The first session to close after the bar opened is the only one they can share.
        hours = sessions.rename({"date": "session"}).with_columns(until=pl.col("closes_at")).sort("until")
        after = pl.col("opened") + timedelta(microseconds=1)
        nearest = frame.with_columns(after=after).sort("after", maintain_order=True)
        dated = nearest.join_asof(hours, left_on="after", right_on="until", strategy="forward")
        is_shared = pl.col("opened") + length > pl.col("opens_at")
        dated = dated.with_columns(session=pl.when(is_shared).then("session"))
    whole = (pl.col("closes_at") - pl.col("opens_at")).dt.total_microseconds()
    size = _microseconds(length)
    return dated.with_columns(fills=(whole + size - 1) // size)


def _is_forming(inside: pl.DataFrame, length: timedelta) -> pl.Series:
    """Return which bars are of a session that ends after the last bar does: that can only be the newest."""
    reached = pl.col("opened").max() + length
    return inside.select((pl.col("closes_at") > reached).alias("is_forming")).to_series()


def _aggregate_days(inside: pl.DataFrame) -> pl.DataFrame:
    ordered = inside.sort("symbol", "opened")
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ("symbol", "session"))
    starts = ordered.select(is_first.alias("is_first")).to_series().arg_true()
    days = (
        ordered.with_columns(day=is_first.cum_sum())
        .group_by("day", maintain_order=True)
        .agg(
            pl.col("row", "session", "symbol", "open").first(),
            _null_if_unknown("high", pl.col("high").max()),
            _null_if_unknown("low", pl.col("low").min()),
            pl.col("close").last(),
            pl.col("known_at").max(),
            pl.len().cast(pl.Int64).alias("bars"),
            (pl.col("fills").first() - pl.len()).clip(0).cast(pl.Int64).alias("missing"),
        )
    )
    # One thread, one order: the same bits wherever it is summed. NaN means null within this line only.
    volume = ordered["volume"].fill_null(float("nan")).to_numpy()
    summed = np.add.reduceat(volume, starts.to_numpy()) if len(starts) else volume
    days = days.with_columns(pl.Series("volume", summed, dtype=pl.Float64).fill_nan(None))
    return days.select("row", pl.col("session").alias("date"), "symbol", *PRICES, "known_at", "bars", "missing")


def _null_if_unknown(name: str, value: pl.Expr) -> pl.Expr:
    """Return `value` of a day, null if the column is null in any of its bars."""
    return pl.when(pl.col(name).null_count() == 0).then(value).alias(name)
