"""When markets are open, when a bar is known, which day a stamp belongs to, and the one walk-forward schedule.

The only importer of exchange_calendars. What a missing bar means (halt, death) is decided in ingest/lives.py; how
sleeves of several calendars meet, in alignment.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeVar

import polars as pl

from quant_core.errors import CalendarError, ConfigError, UnknownNameError, WindowError
from quant_core.meter import loading

ALWAYS_OPEN = "24/7"
WEEKDAYS = "24/5"
_DAYS_PER_YEAR = {ALWAYS_OPEN: 365, WEEKDAYS: 252}
_WEEKDAY_CLOSE = time(20, 0)
_TO_MIDNIGHT = timedelta(hours=24 - _WEEKDAY_CLOSE.hour)
_INSTANT = pl.Datetime("us", "UTC")
_SESSIONS_SCHEMA = {"date": pl.Date(), "opens_at": _INSTANT, "closes_at": _INSTANT}
_Stamps = TypeVar("_Stamps", pl.Expr, pl.Series)


@dataclass(frozen=True)
class Calendar:
    """A trading calendar by name: "24/7", "24/5" or an exchange_calendars name (XNYS, XLON, ...)."""

    name: str

    @property
    def periods_per_year(self) -> int:
        """Bars in a year: 365 when always open, 252 for sessions."""
        return _DAYS_PER_YEAR.get(self.name, 252)

    @property
    def is_always_open(self) -> bool:
        """Whether every day is a session."""
        return self.name == ALWAYS_OPEN

    def sessions(self, first: date, last: date) -> pl.DataFrame:
        """Return the sessions from `first` to `last`, both included.

        Returns
        -------
        DataFrame
            date (Date), opens_at and closes_at (Datetime us UTC), the instant the session's bar is known: half days and
            summer time are in them. A session of a market without hours is the day before its close. Before an exchange
            calendar's own first date nothing is known and nothing is returned: see `known_from`.

        Raises
        ------
        CalendarError
            `last` is before `first` or past what the calendar knows.
        """
        if last < first:
            raise CalendarError(f"sessions from {first} to {last}: the end is before the start.")
        if self.name in _DAYS_PER_YEAR:
            return _plain_sessions(self.name, first, last)
        return _exchange_sessions(self.name, first, last).filter(pl.col("date").is_between(first, last))

    def known_from(self, first: date, last: date) -> date:
        """Return the first date from `first` on this calendar can judge; `last` bounds what is asked of it.

        Dates before it are unknown, not defects. It is after `last` where the calendar begins later still.
        """
        if last < first:
            raise CalendarError(f"sessions from {first} to {last}: the end is before the start.")
        if self.name in _DAYS_PER_YEAR:
            return first
        earliest, _ = _bounds(self.name)
        return first if earliest is None else max(first, earliest)


class _OpenSpan(NamedTuple):
    """The widest span of an exchange calendar this process has opened."""

    first: date
    last: date
    sessions: pl.DataFrame


_opened: dict[str, _OpenSpan] = {}


def calendar(name: str) -> Calendar:
    """Return the calendar of that name.

    Raises
    ------
    UnknownNameError
        Neither "24/7", "24/5" nor a name exchange_calendars knows; lists the near matches.
    """
    if name not in _DAYS_PER_YEAR and not _has_module(name):
        from exchange_calendars import get_calendar_names

        known = get_calendar_names(include_aliases=False)
        if name not in known:
            raise UnknownNameError("calendar", name, [*_DAYS_PER_YEAR, *known])
    return Calendar(name)


def _has_module(name: str) -> bool:
    """Return whether the library has a module for an exchange; importing the library costs half a second."""
    library = find_spec("exchange_calendars")
    folders = (library and library.submodule_search_locations) or ()
    is_code = name.isascii() and name.isalnum() and name == name.upper()
    return is_code and any(Path(folder, f"exchange_calendar_{name.lower()}.py").is_file() for folder in folders)


def _plain_sessions(name: str, first: date, last: date) -> pl.DataFrame:
    days = pl.date_range(first, last, interval="1d", eager=True).alias("date")
    if name == WEEKDAYS:
        days = days.filter(days.dt.weekday() <= 5)
        closes = pl.col("date").dt.combine(_WEEKDAY_CLOSE).dt.replace_time_zone("UTC")
    else:
        closes = next_midnight()
    closed = days.to_frame().with_columns(closes.dt.cast_time_unit("us").alias("closes_at"))
    return closed.with_columns(opens_at=pl.col("closes_at") - pl.duration(days=1)).select(*_SESSIONS_SCHEMA)


def next_midnight() -> pl.Expr:
    """Return 00:00 UTC of the day after `date`: when its bar is known where the calendar names no close."""
    return pl.col("date").dt.offset_by("1d").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def market_day(stamps: _Stamps) -> _Stamps:
    """Return the session a stamp of a 24/5 venue (currencies, futures) belongs to: days are cut at 20:00 UTC.

    A session runs from 20:00 UTC, that instant included, to 20:00 of the next weekday, so stamps are those of a bar's
    beginning or of a trade: a bar that ends at 20:00 sharp is stamped an hour or a minute before. What comes between
    Friday 20:00 and Monday 20:00 is Monday's. Exchanges take their sessions from the calendar, 24/7 venues their UTC
    days; neither is cut here.

    Parameters
    ----------
    stamps : pl.Expr or pl.Series [T]
        Datetime with a time zone, of any unit. A Date is a session already and comes back as it is.

    Returns
    -------
    pl.Expr or pl.Series [T]
        Date; null where the stamp is null.

    Raises
    ------
    CalendarError
        The stamps have no time zone or are not instants.
    """
    if isinstance(stamps, pl.Expr):
        return stamps.map_batches(market_day, return_dtype=pl.Date, is_elementwise=True)
    if stamps.dtype == pl.Date:
        return stamps
    if not isinstance(stamps.dtype, pl.Datetime) or stamps.dtype.time_zone is None:
        raise CalendarError(f"market days are cut from instants with a time zone; got {stamps.dtype}.")
    day = (stamps.dt.convert_time_zone("UTC") + _TO_MIDNIGHT).dt.date().alias(stamps.name)
    weekday = pl.col(stamps.name).dt.weekday().cast(pl.Int32)
    to_monday = pl.when(weekday > 5).then(8 - weekday).otherwise(0)
    return day.to_frame().select(pl.col(stamps.name) + pl.duration(days=to_monday)).to_series()


@cache
def _bounds(name: str) -> tuple[date | None, date | None]:
    """Return the first and last date an exchange calendar can judge; None: no bound.

    Any opened calendar knows them. It is opened over a fixed month, so that no clock is asked.
    """
    with loading():
        from exchange_calendars import get_calendar

    known = get_calendar(name, start="2024-01-02", end="2024-01-31")
    earliest, latest = known.bound_min(), known.bound_max()
    return (None if earliest is None else earliest.date()), (None if latest is None else latest.date())


def _exchange_sessions(name: str, first: date, last: date) -> pl.DataFrame:
    """Return the sessions of a span that holds `first` to `last`.

    The calendar is opened from the first date asked for to a year past the last, because its own default span depends
    on the clock. Opening decades takes a third of a second, so the widest span of a process is kept and answers for
    every span within it: which span was opened changes no session and no close.
    """
    earliest, latest = _bounds(name)
    if latest is not None and last > latest:
        raise CalendarError(f"{name} is known until {latest} only; the bars go to {last}.")
    if earliest is not None and last < earliest:
        return pl.DataFrame(schema=_SESSIONS_SCHEMA)
    first = first if earliest is None else max(first, earliest)
    held = _opened.get(name)
    if held is None or first < held.first or last > held.last:
        if held is not None:
            first, last = min(first, held.first), max(last, held.last)
        held = _opened[name] = _OpenSpan(first, last, _opened_sessions(name, first, last, latest))
    return held.sessions


def _opened_sessions(name: str, first: date, last: date, latest: date | None) -> pl.DataFrame:
    with loading():
        from exchange_calendars import get_calendar
        from pandas import DateOffset, Timestamp

    end = Timestamp(last) + DateOffset(years=1)
    opened = get_calendar(name, start=Timestamp(first), end=end if latest is None else min(end, Timestamp(latest)))
    days = {"date": opened.closes.index.to_numpy().astype("datetime64[D]")}
    for column, stamps in {"opens_at": opened.opens, "closes_at": opened.closes}.items():
        instants = stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        days[column] = pl.Series(instants).dt.replace_time_zone("UTC")
    return pl.DataFrame(days, schema=_SESSIONS_SCHEMA)


def walk_forward(dates: pl.Series, *, train: int, test: int, step: int) -> pl.DataFrame:
    """Cut the sleeve's dates into walk-forward windows, anchored at the first date so later bars move nothing.

    Parameters
    ----------
    dates : pl.Series [T]
        Sorted sessions of the sleeve.
    train, test, step : int
        Bars in the train block, in the test block, and between two rebalances.

    Returns
    -------
    DataFrame
        One row per rebalance: window (Int32), date, row (the rebalance row: last train row), train_start, train_end
        (dates, inclusive), test_start, test_end (dates, inclusive; null when no bar is there yet). Weights of `date`
        are traded at its close and earn from the next bar.

    Raises
    ------
    WindowError
        Fewer bars than one train block.
    """
    if min(train, test, step) < 1:
        raise WindowError(f"train={train}, test={test}, step={step}: each must be at least one bar.")
    size = len(dates)
    if size < train:
        raise WindowError(f"train={train} needs at least {train} bars; got {size}. Lower train or extend ingest.")
    rows = range(train - 1, size, step)
    day = dates.to_list()
    table = [
        (
            k,
            day[r],
            r,
            day[r - train + 1],
            day[r],
            day[r + 1] if r + 1 < size else None,
            day[min(r + test, size - 1)] if r + 1 < size else None,
        )
        for k, r in enumerate(rows)
    ]
    kind = dates.dtype
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "window": pl.Int32,
        "date": kind,
        "row": pl.Int64,
        "train_start": kind,
        "train_end": kind,
        "test_start": kind,
        "test_end": kind,
    }
    return pl.DataFrame(table, schema=schema, orient="row")


def instant_of(moment: str) -> datetime:
    """Parse an ISO date or time into an aware UTC instant; a bare date means its end.

    Raises
    ------
    ConfigError
        It is not an ISO date or time between the years 1900 and 2199.
    """
    try:
        stamp = datetime.fromisoformat(moment)
        if not 1900 <= stamp.year < 2200:
            raise ValueError(f"year {stamp.year} is out of range")
        is_bare = re.fullmatch(r"\d{4}-?(\d{2}-?\d{2}|W\d{2}-?\d?)", moment) is not None
    except ValueError as error:
        raise ConfigError(f"as-of {moment!r} is not an ISO date (its end) or time: {error}.") from error
    if is_bare:
        return stamp.replace(tzinfo=UTC) + timedelta(days=1) - timedelta(microseconds=1)
    return stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)
