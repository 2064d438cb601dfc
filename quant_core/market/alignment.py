"""Aligns sleeves of several calendars on one time axis: common or all dates, with a reason for each missing value.

No move is lost and no zero is filled: over days the others were closed a return is compounded, on the union calendar a
closed market has none. When one market is open is the calendar's knowledge (calendar.py); what is made of the joined
table, such as covariances or a simulation, is its reader's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.errors import CalendarError, ContractError
from quant_core.market.calendar import Calendar, next_midnight

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CLOSED, NO_BAR, NOT_KNOWN = "closed", "no_bar", "not_known"
ALIGNED_SCHEMA = {
    "date": pl.Date(),
    "sleeve": pl.String(),
    "symbol": pl.String(),
    "simple_return": pl.Float64(),
    "missing": pl.String(),
    "available_at": pl.Datetime("us", "UTC"),
}
_LOSSES_SCHEMA = {
    "sleeve": pl.String(),
    "rows": pl.Int64(),
    "kept": pl.Int64(),
    "moved": pl.Int64(),
    "lost": pl.Int64(),
}
_NO_DAY = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Aligned:
    """Returns of several sleeves on one time axis, and what joining them cost.

    Attributes
    ----------
    table : DataFrame
        date, sleeve, symbol, simple_return (null: not known, never zero), missing (why it is null: `closed`, `no_bar`,
        `not_known`; null where it is known), available_at (the latest close of the sleeves joined on the date: the
        instant of a decision across sleeves). Sorted by date, sleeve and symbol.
    losses : DataFrame
        Per sleeve: rows that came, of them `kept` (their date is on the axis), `moved` (compounded into the next
        date of the axis the symbol has a bar on) and `lost` (before the symbol's first bar on the axis or after its
        last: nothing to compound into). rows = kept + moved + lost.
    """

    table: pl.DataFrame
    losses: pl.DataFrame


def union_dates(calendars: Mapping[str, Calendar], first: date, last: date) -> pl.DataFrame:
    """Return the dates from `first` to `last` on which any of the markets is open.

    Parameters
    ----------
    calendars : mapping of sleeve to Calendar
        At least one.
    first, last : date
        Both included.

    Returns
    -------
    DataFrame
        Sorted by date: date, available_at (Datetime us UTC, the latest close of the markets open), open (List of
        sleeves that are open, sorted).

    Raises
    ------
    CalendarError
        No calendar, or a span one of them cannot answer for.
    """
    if not calendars:
        raise CalendarError("the union of no calendars has no dates; name at least one.")
    return _union({name: market.sessions(first, last).drop("opens_at") for name, market in calendars.items()})


def compounded_returns(
    returns: Mapping[str, pl.DataFrame], calendars: Mapping[str, Calendar], *, on: Literal["common", "union"]
) -> Aligned:
    """Bring the returns of several sleeves onto one time axis.

    On `common` dates every market is open, from the first to the last date on which every sleeve has data. A return is
    compounded over the symbol's bars since its bar on an earlier common date, so weekends and holidays of others are in
    it; a date on which the symbol has no bar has no row, and the next one compounds over it. Its first common date has
    no date to compound since, and a span that holds an unknown return (the first bar of a life, a provisional jump) has
    no known return: both are null, `not_known`.

    On `union` dates any market is open. Each known return stands on its own date, and each date between a symbol's
    first and last bar has a row: null where its market is closed (`closed`: a holding holds) or has no bar (`no_bar`:
    the next return covers it; `missingness` says why).

    Parameters
    ----------
    returns : mapping of sleeve to DataFrame
        date (Date), symbol, simple_return (fraction per bar of the symbol's own calendar, null: not known), no key
        twice, in any order.
    calendars : mapping of sleeve to Calendar
        One per sleeve.
    on : "common" or "union"

    Raises
    ------
    CalendarError
        A sleeve lacks a calendar, or has a row on a date its calendar knows to be closed.
    ContractError
        A table lacks a column, has no daily dates, no rows, a key twice, or a number that is none.
    """
    if not returns or set(returns) != set(calendars):
        raise CalendarError(f"returns of {sorted(returns)} need one calendar each; got {sorted(calendars)}.")
    series = {name: _series_of(name, returns[name]) for name in sorted(returns)}
    axis = _union({name: _sessions_of(name, table, calendars[name]) for name, table in series.items()})
    if on == "common":
        axis = axis.filter(pl.col("open").list.len() == len(series))
        parts = [_compound(table, axis, name) for name, table in series.items()]
    else:
        parts = [_spread(table, axis, name) for name, table in series.items()]
    table = pl.concat([part.table for part in parts]).join(
        axis.select("date", "available_at"), on="date", how="left", maintain_order="left"
    )
    losses = pl.concat([part.losses for part in parts])
    return Aligned(table.select(*ALIGNED_SCHEMA).sort("date", "sleeve", "symbol"), losses)


def missingness(gaps: pl.DataFrame, dates: pl.Series, symbols: Sequence[str], market: Calendar) -> pl.DataFrame:
    """Return the reason why each symbol has no bar on a date of a time axis.

    Parameters
    ----------
    gaps : DataFrame
        Under the contract Gaps: symbol, start, end, kind.
    dates : pl.Series of Date [T]
        Sorted, unique, within the span of the sleeve's data: beyond it nothing is known.
    symbols : sequence of str [N]
    market : Calendar
        Of the sleeve; a date before its own first one counts as a session.

    Returns
    -------
    DataFrame
        date, symbol, missing: one row per date and symbol without a bar, sorted. `closed` where the market is, whatever
        else holds; else the kind of the gap (pre_listing, gap, excluded, halted, delisted).
    """
    schema = {"date": pl.Date(), "symbol": pl.String(), "missing": pl.String()}
    if dates.is_empty() or not symbols:
        return pl.DataFrame(schema=schema)
    first, last = dates[0], dates[-1]
    is_open = dates.is_in(market.sessions(first, last)["date"].implode()) | (dates < market.known_from(first, last))
    closed = dates.filter(~is_open).alias("date").to_frame().join(pl.DataFrame({"symbol": list(symbols)}), how="cross")
    days, named = dates.filter(is_open), gaps.filter(pl.col("symbol").is_in(list(symbols)))
    start = days.search_sorted(named["start"], side="left").to_numpy().astype(np.int64)
    count = days.search_sorted(named["end"], side="right").to_numpy().astype(np.int64) - start
    row = np.repeat(np.arange(count.size), count)
    typed = pl.DataFrame(
        {
            "date": days.gather(_count_up(count) + start[row]),
            "symbol": named["symbol"].gather(row),
            "missing": named["kind"].gather(row),
        },
        schema=schema,
    )
    return pl.concat([closed.with_columns(missing=pl.lit(CLOSED)).select(*schema), typed]).sort("date", "symbol")


def _series_of(sleeve: str, table: pl.DataFrame) -> pl.DataFrame:
    """Return date, symbol and simple_return sorted by symbol and date, NaN where not known."""
    wanted = {name: kind for name, kind in ALIGNED_SCHEMA.items() if name in ("date", "symbol", "simple_return")}
    wrong = [name for name, kind in wanted.items() if table.schema.get(name) != kind]
    if wrong or table.is_empty():
        said = f"{', '.join(wrong)} missing or of another type than {wanted}" if wrong else "no rows"
        raise ContractError(f"returns of sleeve {sleeve!r}: {said}.")
    series = table.select(*wanted).sort("symbol", "date")
    if series.select("symbol", "date").null_count().sum_horizontal().item():
        raise ContractError(f"returns of sleeve {sleeve!r}: a row without date or symbol has no place; split it off.")
    if not series["simple_return"].is_finite().all():
        raise ContractError(
            f"returns of sleeve {sleeve!r}: NaN or infinity; a table holds null where nothing is known."
        )
    twin = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("date") == pl.col("date").shift(1))
    again = series.filter(twin)
    if again.height:
        raise ContractError(
            f"returns of sleeve {sleeve!r}: {again.height} keys come twice, such as {again.row(0)[:2]}."
        )
    return series.with_columns(pl.col("simple_return").fill_null(float("nan")))


def _sessions_of(sleeve: str, series: pl.DataFrame, market: Calendar) -> pl.DataFrame:
    """Return the sessions of the sleeve's data; before the calendar's own first date, the dates found."""
    found = series["date"].unique().sort()
    first, last = found[0], found[-1]
    sessions = market.sessions(first, last).drop("opens_at")
    known_from = market.known_from(first, last)
    loose = found.filter(~found.is_in(sessions["date"].implode())).alias("date").to_frame()
    off = loose.filter(pl.col("date") >= known_from)["date"]
    if len(off):
        raise CalendarError(
            f"returns of sleeve {sleeve!r}: {market.name} is closed on {len(off)} dates, such as {off[0]}."
        )
    return pl.concat([loose.with_columns(closes_at=next_midnight()), sessions])


def _union(sessions: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return each date of any of the tables with the latest close and the names of those that hold it."""
    named = pl.concat([table.with_columns(sleeve=pl.lit(name)) for name, table in sorted(sessions.items())])
    return named.group_by("date").agg(available_at=pl.col("closes_at").max(), open=pl.col("sleeve").sort()).sort("date")


def _compound(series: pl.DataFrame, axis: pl.DataFrame, sleeve: str) -> Aligned:
    """Return one row per bar on the axis with the product over the symbol's bars since the one before it."""
    code, anchor = _codes(series), np.flatnonzero(_places(series, axis) >= 0)
    has_start = np.zeros(anchor.size, dtype=np.bool_)
    has_start[1:] = code[anchor[1:]] == code[anchor[:-1]]
    start = np.append(0, anchor[:-1] + 1)[: anchor.size]
    known = series["simple_return"].to_numpy()
    # Bounds in pairs, every second result being what lies between two spans; the last span ends at the 1 put behind.
    bounds = np.column_stack([start, anchor + 1]).ravel()
    growth = np.multiply.reduceat(np.append(1.0 + known, 1.0), bounds)[::2]
    # A span of one bar has that bar's return, bit for bit.
    change = np.where(start == anchor, known[anchor], growth - 1.0)
    change[~has_start] = np.nan
    kept, there = series[anchor], np.ones(anchor.size, dtype=np.bool_)
    table = _table(kept["date"], sleeve, kept["symbol"], change, is_open=there, has_bar=there)
    return Aligned(table, _losses(sleeve, series.height, anchor.size, int((anchor - start)[has_start].sum())))


def _spread(series: pl.DataFrame, axis: pl.DataFrame, sleeve: str) -> Aligned:
    """Return one row per date of the axis from each symbol's first bar to its last."""
    code, place = _codes(series), _places(series, axis)
    first = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
    last = np.append(first[1:], code.size) - 1
    count = place[last] - place[first] + 1
    day = _count_up(count) + np.repeat(place[first], count)
    cell = (np.cumsum(count) - count)[code] + place - place[first][code]
    change, has_bar = np.full(day.size, np.nan), np.zeros(day.size, dtype=np.bool_)
    change[cell], has_bar[cell] = series["simple_return"].to_numpy(), True
    symbol = series["symbol"].gather(np.repeat(first, count))
    is_open = axis["open"].list.contains(sleeve).to_numpy()[day]
    table = _table(axis["date"].gather(day), sleeve, symbol, change, is_open=is_open, has_bar=has_bar)
    return Aligned(table, _losses(sleeve, series.height, series.height, 0))


def _codes(series: pl.DataFrame) -> Ints:
    """Return the number of each row's symbol in a sorted table."""
    is_new = pl.col("symbol") != pl.col("symbol").shift(1)
    return series.select(is_new.fill_null(value=False).cast(pl.Int64).cum_sum()).to_series().to_numpy()


def _places(series: pl.DataFrame, axis: pl.DataFrame) -> Ints:
    """Return the position of each row's date on the axis; -1: it is not on it."""
    days, stamps = axis["date"].to_physical().to_numpy(), series["date"].to_physical().to_numpy()
    place = np.searchsorted(days, stamps)
    is_on = np.append(days, _NO_DAY)[place] == stamps
    return np.where(is_on, place, -1)


def _count_up(count: Ints) -> Ints:
    """Return 0, 1, ... up to each count, one after the other."""
    counted: Ints = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return counted


def _table(
    day: pl.Series, sleeve: str, symbol: pl.Series, change: Floats, *, is_open: Mask, has_bar: Mask
) -> pl.DataFrame:
    """Return rows with the reason for each unknown return."""
    reason = pl.when(~pl.col("is_open")).then(pl.lit(CLOSED)).when(~pl.col("has_bar")).then(pl.lit(NO_BAR))
    return (
        pl.DataFrame({"date": day, "symbol": symbol, "simple_return": change, "is_open": is_open, "has_bar": has_bar})
        .with_columns(pl.col("simple_return").fill_nan(None))
        .with_columns(
            sleeve=pl.lit(sleeve),
            missing=pl.when(pl.col("simple_return").is_null()).then(reason.otherwise(pl.lit(NOT_KNOWN))),
        )
        .drop("is_open", "has_bar")
    )


def _losses(sleeve: str, rows: int, kept: int, moved: int) -> pl.DataFrame:
    return pl.DataFrame([(sleeve, rows, kept, moved, rows - kept - moved)], schema=_LOSSES_SCHEMA, orient="row")
