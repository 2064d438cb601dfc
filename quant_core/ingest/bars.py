"""Which landed rows are trustworthy bars. Every row that is none leaves with its reason.

Rules on one row are the contract's; rules on neighbouring bars live in judgement.py; what a missing bar says about the
symbol lives in lives.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import cast

import polars as pl
from pydantic import Field

from quant_core.errors import ContractError
from quant_core.graph.stage import Params, TableRule, stage
from quant_core.ingest.judgement import DEATH_SESSIONS, VERDICT_SCHEMA, Verdicts, is_sign_of_life, judged_series
from quant_core.ingest.sessions import sessions_of
from quant_core.market.contracts.ingest import Bars
from quant_core.market.contracts.split import Split, excluded_rows, split
from quant_core.market.sleeves import Sleeve

VALUES = ("open", "high", "low", "close", "volume")
DEFECTS_FROM_ROWS = 20
# Copies are the landing's; a price that is not there is no wrong price: late listings come as nulls in wide files.
_UNCOUNTED = ("duplicate_row", "restated_row", "close:known")
SURVIVAL_YEARS = 3
ALIVE_DAYS = 28
NEIGHBOURHOOD = 20
LOWEST_BREADTH = 0.8
LOWEST_DENSITY = 0.5


class BarsParams(Params):
    """What a sleeve may set about its bars."""

    defect_share: float = Field(
        default=0.20,
        gt=0.0,
        le=1.0,
        description="Share of broken or toxic rows above which a symbol leaves as a whole.",
    )


def survivorship(bars: pl.DataFrame) -> str | None:
    """Demand that some symbol ends before the data do, if they span more than three years."""
    if bars.is_empty():
        return None
    last = bars.group_by("symbol").agg(pl.col("date").max())["date"]
    first, end = bars.select(pl.col("date").min(), pl.col("date").max().alias("end")).row(0)
    years = (end - first).days / 365.25
    if years <= SURVIVAL_YEARS or (last < end - timedelta(days=ALIVE_DAYS)).any():
        return None
    return f"all {len(last)} symbols are still alive after {years:.1f} years: the universe was chosen by its survivors."


def falls_beside_rises(bars: pl.DataFrame) -> str | None:
    """Demand that no fall below -80 % stands within 20 sessions before a rise above 500 % that began a new life."""
    ordered = bars.sort("symbol", "date").with_columns(
        change=pl.col("close") / pl.col("close").shift(1) - 1.0, session=pl.col("date").rank("dense").cast(pl.Int64)
    )
    is_same = pl.col("symbol") == pl.col("symbol").shift(1)
    is_new = pl.col("life") != pl.col("life").shift(1)
    fell_at = pl.when(is_same & ~is_new & (pl.col("change") < -0.8)).then("session").forward_fill().over("symbol")
    is_near = pl.col("session") - fell_at <= NEIGHBOURHOOD
    found = ordered.filter(is_same & is_new & (pl.col("change") > 5.0) & is_near).select("symbol", "date").rows()
    if not found:
        return None
    return f"{len(found)} falls below -80 % stand beside a rise that began a new life, such as {found[:3]}."


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


def bar_counts(bars: pl.DataFrame) -> Mapping[str, float]:
    """Return the numbers of rows, symbols, dates, provisional bars and flags."""
    return {
        "bars.rows": bars.height,
        "bars.symbols": bars["symbol"].n_unique(),
        "bars.dates": bars["date"].n_unique(),
        "bars.provisional": int(bars["is_provisional"].sum()),
        "bars.flagged": bars.filter(pl.col("flags") != "").height,
    }


@stage(
    "ingest.bars",
    inputs={"raw": "ingest.raw"},
    output=Bars,
    conserves="raw",
    # Crawled files that overlap hold every row twice; more than that lost is no data but damage.
    budgets={"*": 0.60},
    rules=(
        TableRule("survivorship", survivorship, "warn"),
        TableRule("falls_beside_rises", falls_beside_rises, "warn"),
        TableRule("last_date_breadth", last_date_breadth, "warn"),
        TableRule("far_future", far_future, "warn"),
    ),
    metrics=bar_counts,
)
def bars(raw: pl.DataFrame, *, params: BarsParams, sleeve: Sleeve) -> Split:
    """Part landed rows into bars and exclusions, each row exactly one of both.

    In order: sessions of the calendar (`off_session`); the contract; of rows with one key the last to arrive, by
    `known_at`, then `row` (`duplicate_row` when nothing differs, else `restated_row`); stalls and toxic bars; symbols
    with too many defects as a whole (`symbol_defect_budget`, judged over all rows the run may know). `available_at` is
    the close of the calendar's session, and 00:00 UTC of the next day where the calendar reaches not that far back.

    Raises
    ------
    ContractError
        The rows of the median symbol cover less than half of the calendar's sessions: it is not their calendar.
    """
    if raw.is_empty():
        return Split(Bars.empty())
    sessions = sessions_of(raw["date"], sleeve.market)
    landed = raw.join(sessions, on="date", how="left", maintain_order="left")
    off = _verdicts(landed.filter(~pl.col("is_session")), "off_session", f"{sleeve.calendar} is closed on that date")
    arrived = _in_order_of_arrival(landed.filter("is_session"))
    sound, broken = _sound(arrived)
    signs = arrived.join(broken.filter(is_sign_of_life()), on="row", how="semi")
    _judge_density(pl.concat([sound, signs]), sleeve)
    kept, judged = judged_series(sound, signs, int(sessions["session"][-1]))
    kept, given_up = _without_bad_symbols(kept, arrived, pl.concat([broken, judged]), params.defect_share)
    lost = raw.join(pl.concat([off, broken, judged, given_up]), on="row", how="inner", maintain_order="left")
    excluded = excluded_rows(lost.drop("rule", "detail"), lost["rule"], lost["detail"])
    return Split(kept.select(*Bars.dtypes), excluded)


def _judge_density(present: pl.DataFrame, sleeve: Sleeve) -> None:
    """Refuse a calendar of whose sessions the median symbol lacks most; a short series says nothing."""
    session = pl.col("session")
    series = present.group_by("symbol").agg(rows=session.n_unique(), span=session.max() - session.min() + 1)
    covered = series.filter(pl.col("span") > DEATH_SESSIONS).select(pl.col("rows") / pl.col("span")).to_series()
    share = cast("float | None", covered.median())
    if share is not None and share < LOWEST_DENSITY:
        raise ContractError(
            f"Bars: bars cover {100.0 * share:.0f} % of the sessions of {sleeve.calendar}; is the calendar right?"
        )


def _in_order_of_arrival(frame: pl.DataFrame) -> pl.DataFrame:
    if frame["known_at"].null_count() == frame.height and frame["row"].is_sorted():
        return frame
    return frame.sort("known_at", "row", nulls_last=False)


def _verdicts(frame: pl.DataFrame, rule: str, detail: str) -> Verdicts:
    return frame.select("row", rule=pl.lit(rule), detail=pl.lit(detail))


def _sound(frame: pl.DataFrame) -> tuple[pl.DataFrame, Verdicts]:
    """Return the rows that keep the contract, the last one of each key, and verdicts on the others."""
    shaped = frame.select(
        "date", "symbol", *VALUES, "available_at", life=pl.lit(0, pl.Int32), is_provisional=False, flags=pl.lit("")
    )
    excluded = split(shaped, Bars).exclusions
    if excluded.is_empty():
        return frame, pl.DataFrame(schema=VERDICT_SCHEMA)
    position = excluded["row"]
    is_lost = pl.repeat(value=False, n=frame.height, dtype=pl.Boolean, eager=True).scatter(position, values=True)
    lost = frame[position].select("row", "date", "symbol", *VALUES).with_columns(excluded["rule", "detail"])
    sound = frame.filter(~is_lost)
    is_again = pl.col("rule") == "duplicate_key"
    again = lost.filter(is_again).join(sound, on=["date", "symbol"], how="left", suffix="_kept", maintain_order="left")
    is_same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_kept")) for name in VALUES)
    duplicates = again.select(
        "row",
        rule=pl.when(is_same).then(pl.lit("duplicate_row")).otherwise(pl.lit("restated_row")),
        detail=pl.format("row {} has the same key and arrived later", "row_kept"),
    )
    return sound, pl.concat([lost.filter(~is_again).select(*VERDICT_SCHEMA), duplicates])


def _without_bad_symbols(
    kept: pl.DataFrame, arrived: pl.DataFrame, verdicts: Verdicts, share: float
) -> tuple[pl.DataFrame, Verdicts]:
    """Part off symbols of which more than `share` of the bars are broken or toxic; copies and absences do not count."""
    lost = (
        verdicts.join(arrived.select("row", "symbol"), on="row", how="inner")
        .group_by("symbol")
        .agg(
            uncounted=pl.col("rule").is_in(_UNCOUNTED).sum(),
            defects=(~pl.col("rule").is_in([*_UNCOUNTED, "stalled"])).sum(),
        )
    )
    rows = arrived.group_by("symbol").len("rows").join(lost, on="symbol")
    counted = rows.select("symbol", "defects", rows=pl.col("rows") - pl.col("uncounted"))
    bad = counted.filter((pl.col("rows") >= DEFECTS_FROM_ROWS) & (pl.col("defects") > share * pl.col("rows")))
    given_up = kept.join(bad, on="symbol", how="inner").select(
        "row",
        rule=pl.lit("symbol_defect_budget"),
        detail=pl.format("{} of the symbol's {} bars are broken or toxic", "defects", "rows"),
    )
    return kept.join(bad, on="symbol", how="anti", maintain_order="left"), given_up
