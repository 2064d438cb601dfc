"""Splits landed rows into trustworthy bars and exclusions with their reasons.

Rules on one row are the contract's; cleaning/arrivals.py decides which rows count at all,
cleaning/jumps_and_stalls.py compares neighbouring bars, cleaning/market_rules.py checks all bars together; missing
bars are the business of lives.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from quant_core.errors import ContractError
from quant_core.graph.stage import TableRule, stage
from quant_core.ingest.cleaning.arrivals import VALUES, arrivals_of, sightings_of
from quant_core.ingest.cleaning.drift import (
    bar_numbers,
    history_alignment,
    missingness_drift,
    size_drift,
    staleness,
    volume_drift,
    volume_drift_numbers,
)
from quant_core.ingest.cleaning.jumps_and_stalls import (
    DEATH_SESSIONS,
    STALL_EXCLUDED,
    SeriesVerdicts,
    Sightings,
    flags_of,
    judge_series,
)
from quant_core.ingest.cleaning.market_rules import falls_beside_rises, far_future, last_date_breadth
from quant_core.ingest.cleaning.split_suspects import suspected_splits
from quant_core.ingest.corporate_actions.effects import adjust_prices
from quant_core.ingest.corporate_actions.known_actions import known_actions
from quant_core.ingest.rules import budgets_of, carried_rules
from quant_core.market.arrays import run_starts
from quant_core.market.contracts.ingest import Bars
from quant_core.market.contracts.split import Split, excluded_rows
from quant_core.market.sessions import sessions_of
from quant_core.market.sleeves import Sleeve
from quant_core.market.text_codes import codes_of

LOWEST_DENSITY = 0.5


def bar_counts(bars: pl.DataFrame) -> Mapping[str, float]:
    """Return the numbers of rows, symbols, dates, provisional bars and flags."""
    return {
        "bars.rows": bars.height,
        "bars.symbols": len(codes_of(bars["symbol"], is_sorted=False).texts),
        "bars.dates": bars["date"].n_unique(),
        "bars.provisional": int(bars["is_provisional"].sum()),
        "bars.flagged": int((bars["flags"] != "").sum()),
    }


def bar_metrics(bars: pl.DataFrame) -> Mapping[str, float]:
    """Return the counts, and the numbers that the rules on all bars check."""
    return {**bar_counts(bars), **bar_numbers(bars), **volume_drift_numbers(bars)}


@stage(
    "ingest.bars",
    inputs={"raw": "ingest.raw", "actions": "ingest.raw#actions"},
    output=Bars,
    conserves="raw",
    budgets=budgets_of("ingest.bars"),
    carried=carried_rules("ingest.bars"),
    rules=(
        TableRule("falls_beside_rises", falls_beside_rises, "warn"),
        TableRule("last_date_breadth", last_date_breadth, "warn"),
        TableRule("far_future", far_future, "warn"),
        TableRule("history_alignment", history_alignment, "warn"),
        TableRule("size_drift", size_drift, "warn"),
        TableRule("missingness_drift", missingness_drift, "warn"),
        TableRule("volume_drift", volume_drift, "warn"),
        TableRule("staleness", staleness, "warn"),
    ),
    metrics=bar_metrics,
)
def bars(raw: pl.DataFrame, actions: pl.DataFrame, *, sleeve: Sleeve, as_of: str | None = None) -> Split:
    """Split landed rows into bars and exclusions; each row goes to exactly one.

    In order: sessions of the calendar (`off_session`); strays of a later time (`far_future`); the contract; rows under
    a ticker that an asset with a history of its own took over (`precedes_rename`); of rows with one key the last to
    arrive, by `known_at`, then `row` (`duplicate_row` when nothing differs, else `restated_row`); stalls and toxic
    bars. The values are checked one by one as they were sent; where the sleeve's prices are raw, stalls and jumps are
    checked on the terms of the last bar. An exclusion shows the row as it was sent. `available_at` is the close of the
    calendar's session, and 00:00 UTC of the next day where the calendar does not reach back that far.

    Raises
    ------
    ContractError
        The rows of the median symbol cover less than half of the calendar's sessions: it is not their calendar.
    """
    if raw.is_empty():
        return Split(Bars.empty())
    sessions = sessions_of(raw["date"], sleeve.market)
    actions = known_actions(actions, sleeve=sleeve, as_of=as_of).valid
    arrived = arrivals_of(raw, actions, sessions, sleeve.calendar)
    seen = sightings_of(arrived)
    _check_density(seen, sleeve)
    is_sound = arrived["rule"].is_null()
    sound = arrived if is_sound.all() else arrived.filter(is_sound)
    table = _adjust_raw_prices(_candidate_bars(raw, sound, sessions), actions, sleeve)
    judged = judge_series(np.ascontiguousarray(table["close"].to_numpy()), seen)
    kept = _keep_bars(table, sound["code"], judged, sleeve)
    lost = arrived.filter(pl.col("rule").is_not_null()).select("row", "rule", "detail")
    lost = pl.concat([lost, *_verdicts(sound["row"], judged)]).sort("row")
    return Split(kept, excluded_rows(raw[lost["row"]], lost["rule"], lost["detail"]))


def _check_density(seen: Sightings, sleeve: Sleeve) -> None:
    """Refuse a calendar if the median symbol lacks over half its sessions; short series are ignored."""
    starts = np.flatnonzero(run_starts(seen.code))
    is_other = run_starts(seen.code, seen.session)
    rows = np.add.reduceat(is_other.astype(np.int64), starts) if starts.size else starts
    ends = np.append(starts[1:], seen.code.size)[: starts.size] - 1
    span = seen.session[ends] - seen.session[starts] + 1
    covered = (rows / span)[span > DEATH_SESSIONS]
    if covered.size and (share := float(np.median(covered))) < LOWEST_DENSITY:
        raise ContractError(
            f"Bars: bars cover {100.0 * share:.0f} % of the sessions of {sleeve.calendar}; is the calendar right?"
        )


def _candidate_bars(raw: pl.DataFrame, sound: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that may be bars, as sent, sorted by symbol and date."""
    given, rows = raw.select("date", *VALUES), sound["row"]
    is_whole = rows.len() == raw.height and rows.is_sorted()
    table = given if is_whole else given[rows]
    return table.with_columns(sound["symbol"], sessions["available_at"].gather(sound["place"]))


def _adjust_raw_prices(table: pl.DataFrame, actions: pl.DataFrame, sleeve: Sleeve) -> pl.DataFrame:
    """Adjust raw prices to the terms of the last one; return other prices unchanged."""
    if sleeve.adjustment == "raw":
        return adjust_prices(table, actions, volume_unit=sleeve.volume_unit)
    return table.with_columns(adjustment=pl.lit(1.0))


def _keep_bars(table: pl.DataFrame, code: pl.Series, judged: SeriesVerdicts, sleeve: Sleeve) -> pl.DataFrame:
    """Return the bars that are kept, with their lives and flags."""
    is_kept = judged.is_kept
    told = table.with_columns(
        pl.Series("life", judged.life, dtype=pl.Int32), pl.Series("is_provisional", judged.is_provisional)
    )
    kept = told if is_kept.all() else told.filter(is_kept)
    is_split = suspected_splits(kept, volume_unit=sleeve.volume_unit).to_numpy()
    flags = flags_of(kept, code.to_numpy()[is_kept], judged.is_stall[is_kept], is_split)
    return kept.with_columns(flags).select(*Bars.dtypes)


def _verdicts(rows: pl.Series, judged: SeriesVerdicts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the verdicts on bars that leave because of their neighbours."""
    change = pl.Series("change", judged.change)
    toxic = pl.DataFrame([rows, change]).filter(judged.is_toxic)
    percent = (100.0 * pl.col("change")).round(1)
    return (
        rows.filter(judged.is_stalled)
        .to_frame()
        .with_columns(rule=pl.lit("stalled"), detail=pl.lit(f"{STALL_EXCLUDED} or more equal closes in a row")),
        toxic.select(
            "row",
            rule=pl.lit("toxic_bar"),
            detail=pl.format(
                "{}{} % from the last good close, a level that did not hold for three bars",
                pl.when(percent > 0.0).then(pl.lit("+")).otherwise(pl.lit("")),
                percent,
            ),
        ),
    )
