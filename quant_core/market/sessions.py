"""The sessions a table of bars is measured against: which dates count, in what order, and when each one is known.

When markets are open is the calendar's knowledge (market/calendar.py); what a missing bar means is said in lives.py.
"""

from __future__ import annotations

from datetime import date
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.market.calendar import Calendar, next_midnight

SESSIONS_SCHEMA = {
    "date": pl.Date(),
    "available_at": pl.Datetime("us", "UTC"),
    "is_session": pl.Boolean(),
    "session": pl.Int64(),
}


def sessions_of(dates: pl.Series, market: Calendar) -> pl.DataFrame:
    """Return every session from the first to the last of `dates`, and each of the dates that is not a session.

    Parameters
    ----------
    dates : pl.Series of Date
        In any order, repeated as they come.
    market : Calendar

    Returns
    -------
    DataFrame
        Sorted by date: date, available_at (the session's close; 00:00 UTC of the next day where the calendar names
        none), is_session, session (ordinal among the sessions; a date that is none has that of the session before it,
        -1 if there is none). Before the calendar's own first date nobody knows, so each date found counts as a session.
    """
    if dates.is_empty():
        return pl.DataFrame(schema=SESSIONS_SCHEMA)
    first, last = cast("date", dates.min()), cast("date", dates.max())
    known_from = market.known_from(first, last)
    calendar = market.sessions(first, last)
    found = dates.unique().alias("date").to_frame()
    return (
        calendar.with_columns(is_session=pl.lit(value=True))
        .join(found, on="date", how="full", coalesce=True)
        .sort("date")
        .with_columns(
            pl.col("closes_at").fill_null(next_midnight()).alias("available_at"),
            pl.col("is_session").fill_null(pl.col("date") < known_from),
        )
        .with_columns((pl.col("is_session").cast(pl.Int64).cum_sum() - 1).alias("session"))
        .select(*SESSIONS_SCHEMA)
    )


def places_of(dates: pl.Series, sessions: pl.DataFrame) -> npt.NDArray[np.int32]:
    """Return the row of `sessions` of each date: a table over the days, where a join would hash each row.

    Parameters
    ----------
    dates : pl.Series of Date [R]
        None null, each among those `sessions` was made of.
    sessions : DataFrame
        As `sessions_of` returns it.
    """
    days = sessions["date"].to_physical().to_numpy()
    if not days.size:
        return np.empty(0, dtype=np.int32)
    place = np.full(int(days[-1]) - int(days[0]) + 1, -1, dtype=np.int32)
    place[days - days[0]] = np.arange(days.size, dtype=np.int32)
    found: npt.NDArray[np.int32] = place[dates.to_physical().to_numpy() - days[0]]
    return found
