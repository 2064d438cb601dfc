"""Quarantines symbols whose data are too broken to trust; a verdict expires and is tested again.

Which rows are broken is decided in bars.py, the walk over them lives in kernels/health.py, and what a verdict does to a
symbol's membership is universe.py's. No row is touched here: sound bars of a quarantined symbol stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import cast

import numpy as np
import polars as pl
from pydantic import Field

from quant_core.errors import CalendarError
from quant_core.graph.stage import Params, stage
from quant_core.ingest.rules import TOXIC_BAR, innocent_rules
from quant_core.kernels.bar_defects import TRIAL_BARS
from quant_core.kernels.health import EXTENDED, QUARANTINED, READMITTED, SILENT, find_quarantines
from quant_core.market.calendar import Calendar, next_midnight
from quant_core.market.contracts.ingest import Health
from quant_core.market.sessions import sessions_of
from quant_core.market.sleeves import Sleeve

LEAST_ROWS = 20
_EVENTS = {QUARANTINED: "quarantined", EXTENDED: "extended", READMITTED: "readmitted"}
_SATURDAY = 6


class HealthParams(Params):
    """Parameters that decide when a symbol's data count as broken, and for how long."""

    defect_share: float = Field(
        default=0.20,
        gt=0.0,
        le=1.0,
        description="Share of broken or toxic rows above which a symbol is quarantined.",
    )
    health_bars: int = Field(default=120, ge=LEAST_ROWS, description="Trailing rows a symbol's health is judged by.")
    quarantine_sessions: int = Field(default=60, ge=1, description="Sessions from a verdict to its re-test.")


def health_counts(health: pl.DataFrame) -> Mapping[str, float]:
    """Return how many verdicts there are of each kind, and how many symbols are in quarantine at the end."""
    last = health.sort("symbol", "date").unique("symbol", keep="last")
    counts = {f"health.{event}": health.filter(pl.col("event") == event).height for event in _EVENTS.values()}
    return {**counts, "health.in_quarantine": last.filter(pl.col("event") != "readmitted").height}


@stage(
    "ingest.health",
    inputs={"bars": "ingest.bars", "lost": "ingest.bars#exclusions"},
    output=Health,
    metrics=health_counts,
)
def health(bars: pl.DataFrame, lost: pl.DataFrame, *, params: HealthParams, sleeve: Sleeve) -> pl.DataFrame:
    """List when each symbol was quarantined for broken data, when that was extended, and when it was readmitted.

    The rows of a symbol are its bars and the excluded rows that speak against it. Copies, rows off the calendar, absent
    prices and stalls do not (see rules.py). Above `defect_share` among its trailing `health_bars` rows, from 20 rows
    on, a symbol is quarantined for `quarantine_sessions`. Its first row from the session `until` on re-tests it by the
    rows since the verdict: it is readmitted or extended; fewer than 20 rows extend too. Nobody is out for ever.

    Each verdict is known at the close of its session and rests on what was known then. A row that breaks the contract
    is known to be broken at its own close. A toxic bar is known as such once its trial ended; the tables do not tell
    where within the three bars after it that was (two trials in a row look like one), so it counts with the third of
    them: never too early, at most two bars late, and the same whatever came later.
    """
    broken = lost.filter(~pl.col("rule").is_in(innocent_rules("ingest.bars")))
    broken = broken.select("symbol", "date", "rule").drop_nulls()
    if broken.is_empty():
        return Health.empty()
    sessions = _judging_sessions(pl.concat([bars["date"], lost["date"].drop_nulls()]), sleeve.market)
    rows = _with_blame(_rows_of_suspects(bars, broken))
    days = sessions.filter("is_session")["date"]
    session = np.searchsorted(days.to_physical(), rows["date"].to_physical(), side="right").astype(np.int64) - 1
    starts = rows.select((pl.col("symbol") != pl.col("symbol").shift(1)).fill_null(value=True).arg_true()).to_series()
    offsets = np.append(starts.to_numpy().astype(np.int64), rows.height)
    is_defect = rows["blame"].is_not_null().to_numpy()
    verdict = np.empty(rows.height, dtype=np.int8)
    first, defects = np.empty(rows.height, dtype=np.int64), np.empty(rows.height, dtype=np.int64)
    limits = (params.health_bars, LEAST_ROWS, params.defect_share, params.quarantine_sessions)
    find_quarantines(session, is_defect, offsets, *limits, verdict, first, defects)
    judged = rows.with_row_index("last").with_columns(
        pl.Series("session", session),
        pl.Series("verdict", verdict),
        pl.Series("first", first),
        pl.Series("defects", defects),
        last=pl.col("last").cast(pl.Int64),
    )
    events = judged.filter(pl.col("verdict") != SILENT).with_columns(
        event=pl.col("verdict").replace_strict(_EVENTS, return_dtype=pl.String),
        rows=pl.col("last") - pl.col("first") + 1,
    )
    dated = _with_until(events, days, params.quarantine_sessions, sleeve.market)
    known = sessions.select("date", known_at="available_at")
    told = dated.join(known, on="date", how="left", maintain_order="left").with_columns(_reasons(events, judged))
    return told.with_columns(pl.col("known_at").fill_null(next_midnight())).select(*Health.dtypes)


def _rows_of_suspects(bars: pl.DataFrame, broken: pl.DataFrame) -> pl.DataFrame:
    """Return symbol, date and rule (null for a bar) of every row of the symbols with a defect, in order."""
    suspects = broken["symbol"].unique()
    trusted = bars.filter(pl.col("symbol").is_in(suspects.implode())).select("symbol", "date", rule=pl.lit(None))
    # Rows of one session are judged together; the rule makes their order that of no file.
    return pl.concat([trusted.cast(broken.schema), broken]).sort("symbol", "date", "rule")


def _with_blame(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `blame`: the rule of the defect that became known with each row, null for none.

    A toxic bar is blamed TRIAL_BARS bars later, and not yet if they are not there. Rows that break the contract take no
    part in trials, so no row is blamed twice.
    """
    is_toxic = pl.col("rule").eq_missing(TOXIC_BAR)
    trials = rows.with_row_index("at").filter(pl.col("rule").is_null() | is_toxic)
    is_same = pl.col("symbol") == pl.col("symbol").shift(-TRIAL_BARS)
    known_toxic = trials.select(at=pl.when(is_toxic & is_same).then(pl.col("at").shift(-TRIAL_BARS))).drop_nulls()["at"]
    blame = rows.select(blame=pl.when(~is_toxic).then("rule"))["blame"]
    return rows.with_columns(blame.scatter(known_toxic, TOXIC_BAR) if len(known_toxic) else blame)


def _reasons(events: pl.DataFrame, judged: pl.DataFrame) -> pl.Series:
    """Return for each event the number of rows that each rule excluded, most frequent first."""
    verdicts = events.select("symbol", "first", upto="last", of=pl.int_range(pl.len()))
    blamed = judged.drop_nulls("blame").select("symbol", "last", "blame")
    counts = (
        verdicts.join(blamed, on="symbol", how="inner")
        .filter(pl.col("last").is_between("first", "upto"))
        .group_by("of", "blame")
        .len("count")
        .sort("of", "count", "blame", descending=[False, True, False])
    )
    said = counts.group_by("of", maintain_order=True).agg(reason=pl.format("{}: {}", "blame", "count").str.join(", "))
    return verdicts.join(said, on="of", how="left", maintain_order="left")["reason"].fill_null("no defect")


def _with_until(events: pl.DataFrame, days: pl.Series, term: int, market: Calendar) -> pl.DataFrame:
    """Add the date of the session `term` sessions after each verdict, null for a readmission."""
    due = events.select(pl.when(pl.col("event") != "readmitted").then(pl.col("session") + term))["session"]
    missing = 0 if due.null_count() == len(due) else cast("int", due.max()) + 1 - len(days)
    if missing > 0:
        days = pl.concat([days, _sessions_after(cast("date", days[-1]), missing, market)])
    return events.with_columns(days.gather(due).alias("until"))


def _judging_sessions(dates: pl.Series, market: Calendar) -> pl.DataFrame:
    """Return the sessions of the data; where the calendar knows none, weekdays: no later row may change their count."""
    first, last = cast("date", dates.min()), cast("date", dates.max())
    return sessions_of(pl.concat([pl.Series([first, last]), _weekdays(first, last)]), market)


def _sessions_after(last: date, count: int, market: Calendar) -> pl.Series:
    """Return the next `count` sessions; weekdays where the calendar knows none, as after its last known year."""
    weekdays = _weekdays(last, last + timedelta(days=2 * count + 30))
    try:
        ahead = sessions_of(pl.concat([pl.Series([last]), weekdays]), market).filter("is_session")["date"]
    except CalendarError:
        known = market.sessions(last, date(last.year, 12, 31))["date"]
        ahead = pl.concat([known, weekdays.filter(weekdays.dt.year() > last.year)])
    return ahead.filter(ahead > last).head(count)


def _weekdays(first: date, last: date) -> pl.Series:
    days = pl.date_range(first, last, interval="1d", eager=True)
    return days.filter(days.dt.weekday() < _SATURDAY)
