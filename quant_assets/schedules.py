"""One schedule per sleeve: half an hour after each close of its calendar. Off until switched on.

Closes are UTC instants from the calendar, so summer time and half days move the run with the market.
"""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition  # a type only

from quant_core.market.calendar import Calendar
from quant_core.market.sleeves import SleeveFile

AFTER_CLOSE = timedelta(minutes=30)
# Long enough to have seen every hour at which a market closes early, in summer and in winter.
_SEEN = timedelta(days=5 * 366)


def close_schedule(file: SleeveFile, job: UnresolvedAssetJobDefinition, *, today: date) -> dg.ScheduleDefinition:
    """Return the schedule of one sleeve.

    Parameters
    ----------
    file : SleeveFile
    job : UnresolvedAssetJobDefinition
    today : date
        The times of day at which the market closed in the five years before are the ticks.
    """
    sleeve, market = file.sleeve.name, file.sleeve.market

    @dg.schedule(
        name=f"{sleeve}_close".replace("-", "_"),
        job=job,
        cron_schedule=crons_after(market.sessions(today - _SEEN, today)["closes_at"]),
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Runs {sleeve} half an hour after each close of {market.name}.",
    )
    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        moment = context.scheduled_execution_time.astimezone(UTC)
        session = session_closed_at(market, moment - AFTER_CLOSE)
        if session is None:
            return dg.SkipReason(f"no session of {market.name} closed at {moment - AFTER_CLOSE:%Y-%m-%d %H:%M} UTC.")
        return dg.RunRequest(run_key=f"{sleeve}:{session}", partition_key=sleeve, tags={"quant/session": str(session)})

    return evaluate


def crons_after(closes: pl.Series) -> list[str]:
    """Return cron strings (UTC) that tick half an hour after every close, each time of day once."""
    ticks = closes.dt.offset_by(f"{AFTER_CLOSE.seconds // 60}m")
    times = sorted(set(zip(ticks.dt.hour().to_list(), ticks.dt.minute().to_list(), strict=True)))
    days = sorted({day % 7 for day in ticks.dt.weekday().to_list()})  # cron: 0 is Sunday
    on = "*" if len(days) == 7 else ",".join(map(str, days))
    return [f"{minute} {hour} * * {on}" for hour, minute in times]


def session_closed_at(market: Calendar, moment: datetime) -> date | None:
    """Return the session that closed at that very minute, None if none did."""
    near = market.sessions(moment.date() - timedelta(days=1), moment.date())
    closed: list[date] = near.filter(pl.col("closes_at") == moment.replace(second=0, microsecond=0))["date"].to_list()
    return closed[0] if closed else None
