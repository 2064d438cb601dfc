"""When markets are open, when a bar is known, and the one walk-forward schedule.

The only importer of exchange_calendars. What a missing bar means (halt, death) is decided in ingest/lives.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

import polars as pl

from quant_core.errors import CalendarError, ConfigError, UnknownNameError, WindowError

ALWAYS_OPEN = "24/7"
WEEKDAYS = "24/5"
_DAYS_PER_YEAR = {ALWAYS_OPEN: 365, WEEKDAYS: 252}
_WEEKDAY_CLOSE = time(20, 0)


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
            date (Date) and closes_at (Datetime us UTC), the instant the session's bar is known. Before an exchange
            calendar's own first date nothing is known and nothing is returned: see `known_from`.
        """
        if last < first:
            raise CalendarError(f"sessions from {first} to {last}: the end is before the start.")
        if self.name in _DAYS_PER_YEAR:
            return _plain_sessions(self.name, first, last)
        return _exchange_sessions(self.name, first, last).filter(pl.col("date").is_between(first, last))

    def known_from(self, first: date, last: date) -> date:
        """Return the first date this calendar can judge; dates before it are unknown, not defects."""
        if self.name in _DAYS_PER_YEAR:
            return first
        known: date = _exchange_sessions(self.name, first, last)["date"][0]
        return first if known <= first + timedelta(days=7) else known


def calendar(name: str) -> Calendar:
    """Return the calendar of that name.

    Raises
    ------
    UnknownNameError
        Neither "24/7", "24/5" nor a name exchange_calendars knows; lists the near matches.
    """
    if name not in _DAYS_PER_YEAR:
        from exchange_calendars import get_calendar_names

        known = get_calendar_names(include_aliases=False)
        if name not in known:
            raise UnknownNameError("calendar", name, [*_DAYS_PER_YEAR, *known])
    return Calendar(name)


def _plain_sessions(name: str, first: date, last: date) -> pl.DataFrame:
    days = pl.date_range(first, last, interval="1d", eager=True).alias("date")
    if name == WEEKDAYS:
        days = days.filter(days.dt.weekday() <= 5)
        closes = pl.col("date").dt.combine(_WEEKDAY_CLOSE).dt.replace_time_zone("UTC")
    else:
        closes = next_midnight()
    return days.to_frame().with_columns(closes.dt.cast_time_unit("us").alias("closes_at"))


def next_midnight() -> pl.Expr:
    """Return 00:00 UTC of the day after `date`: when its bar is known where the calendar names no close."""
    return pl.col("date").dt.offset_by("1d").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


@cache
def _exchange_sessions(name: str, first: date, last: date) -> pl.DataFrame:
    """Open the calendar from the first bar to a year past the last: its default start depends on the clock."""
    import exchange_calendars
    import pandas as pd

    factory = exchange_calendars.get_calendar(name)
    earliest, latest = factory.bound_min(), factory.bound_max()
    start, end = pd.Timestamp(first), pd.Timestamp(last) + pd.DateOffset(years=1)
    if latest is not None and pd.Timestamp(last) > latest:
        raise CalendarError(f"{name} is known until {latest.date()} only; the bars go to {last}.")
    opened = exchange_calendars.get_calendar(
        name,
        start=start if earliest is None else max(start, earliest),
        end=end if latest is None else min(end, latest),
    )
    closes = opened.closes
    return pl.DataFrame(
        {
            "date": pl.Series(closes.index.to_pydatetime().tolist(), dtype=pl.Datetime("us")).cast(pl.Date),
            "closes_at": pl.Series([stamp.to_pydatetime() for stamp in closes], dtype=pl.Datetime("us", "UTC")),
        }
    )


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
        It is no ISO date or time between the years 1900 and 2199.
    """
    try:
        stamp = datetime.fromisoformat(moment)
        if not 1900 <= stamp.year < 2200:
            raise ValueError(f"year {stamp.year} is out of range")
        is_bare = re.fullmatch(r"\d{4}-?(\d{2}-?\d{2}|W\d{2}-?\d?)", moment) is not None
    except ValueError as error:
        raise ConfigError(f"as-of {moment!r} is no ISO date (its end) or time: {error}.") from error
    if is_bare:
        return stamp.replace(tzinfo=UTC) + timedelta(days=1) - timedelta(microseconds=1)
    return stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)
