from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_core.graph.judge import judge
from quant_core.ingest.bars import bars
from quant_core.ingest.health import HealthParams, health, health_counts
from quant_core.ingest.rules import budgets_of
from quant_core.market.contracts.ingest import Actions, Bars, Health
from quant_core.market.contracts.split import EXCLUSION_SCHEMA, Split
from quant_core.market.sleeves import Sleeve

DAY = date(2024, 1, 1)
SOUND, ABSENT = ".", " "
BROKEN, TOXIC = "close_not_positive", "toxic_bar"
ALWAYS = Sleeve(name="test", calendar="24/7")
NEW_YORK = Sleeve(name="test", calendar="XNYS")
Rows = Mapping[str, Sequence[str]]
# Sound prices, a row that breaks the contract, jumps either way, no row.
PRICES = [*[10.0] * 6, 10.5, 900.0, 900.0, 0.1, -1.0, None]
KINDS = [SOUND, SOUND, SOUND, BROKEN, TOXIC, ABSENT, "stalled", "duplicate_row"]


def marks(text: str) -> list[str]:
    """One row a day: '.' a bar, 'x' a row that breaks the contract, 't' a toxic bar, ' ' no row."""
    return [{"x": BROKEN, "t": TOXIC}.get(mark, mark) for mark in text]


def tables(rows: Rows, days: Sequence[date] | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars and exclusions as ingest.bars leaves them."""
    sent = [
        (days[k] if days else DAY + timedelta(days=k), symbol, mark)
        for symbol, path in rows.items()
        for k, mark in enumerate(path)
        if mark != ABSENT
    ]
    frame = pl.DataFrame(sent, schema={"date": pl.Date, "symbol": pl.String, "rule": pl.String}, orient="row")
    is_bar = pl.col("rule") == SOUND
    kept = frame.filter(is_bar).select(
        pl.col(name) if name in ("date", "symbol") else pl.lit(None, kind).alias(name)
        for name, kind in Bars.dtypes.items()
    )
    lost = frame.filter(~is_bar).with_row_index("row")
    return kept, lost.select(
        pl.col(name).cast(kind) if name in lost.columns else pl.lit("{}").alias(name)
        for name, kind in EXCLUSION_SCHEMA.items()
    )


def events_of(rows: Rows, sleeve: Sleeve = ALWAYS, days: Sequence[date] | None = None, **params: float) -> pl.DataFrame:
    events = health(*tables(rows, days), params=HealthParams.model_validate(params), sleeve=sleeve)
    done = judge(health, events, rows_in={})
    assert done.exclusions.is_empty()
    return done.valid


def story(events: pl.DataFrame) -> list[tuple[str, int, int, int]]:
    """Event, day number, defects, rows."""
    told = events.select("event", (pl.col("date") - DAY).dt.total_days().alias("day"), "defects", "rows")
    return told.rows()


def test_a_toxic_last_fetch_destroys_nothing_and_is_tested_again_after_its_quarantine() -> None:
    path = marks("." * 40 + "x" * 11 + "." * 70)
    kept, lost = tables({"A:X": path})
    events = health(kept, lost, params=HealthParams(), sleeve=ALWAYS)
    # 11 of 51 rows are more than a fifth; 60 sessions later 60 clean rows acquit.
    assert story(events) == [("quarantined", 50, 11, 51), ("readmitted", 110, 0, 60)]
    assert kept.height == 110
    assert events["until"].to_list() == [DAY + timedelta(days=110), None]


def test_a_symbol_is_judged_from_twenty_rows_on_and_only_above_the_share() -> None:
    assert story(events_of({"A:X": marks("x" * 19)})) == []
    assert story(events_of({"A:X": marks("xxxx" + "." * 16)})) == []
    assert story(events_of({"A:X": marks("xxxxx" + "." * 15)})) == [("quarantined", 19, 5, 20)]


def test_only_the_trailing_rows_count() -> None:
    clean = marks("." * 200)
    # 25 of the trailing 120 rows, 25 of 225 in all.
    assert story(events_of({"A:X": clean + marks("x" * 25)})) == [("quarantined", 224, 25, 120)]
    assert story(events_of({"A:X": clean + marks("x" * 25)}, health_bars=225)) == []


@pytest.mark.parametrize("rule", ["duplicate_row", "restated_row", "off_session", "close_not_known", "stalled"])
def test_copies_absent_prices_stalls_and_closed_days_are_no_defects_and_no_rows(rule: str) -> None:
    assert events_of({"A:X": [rule] * 60 + marks("." * 30)}).is_empty()
    with_defects = [rule] * 60 + marks("." * 14 + "x" * 5)
    assert events_of({"A:X": with_defects}).is_empty()  # 19 rows


def test_a_rule_nobody_has_heard_of_counts_as_a_defect() -> None:
    events = events_of({"A:X": marks("." * 15) + ["tampered"] * 5})
    assert events["reason"].to_list() == ["tampered: 5"]


def test_bad_rows_in_quarantine_extend_it_and_each_row_is_judged_once() -> None:
    path = marks("." * 15 + "x" * 5 + "." * 8 + "xx" + "." * 20)
    assert story(events_of({"A:X": path}, quarantine_sessions=20)) == [
        ("quarantined", 19, 5, 20),
        ("readmitted", 39, 2, 20),
    ]
    path = marks("." * 15 + "x" * 5 + "." * 15 + "x" * 5 + "." * 20)
    assert story(events_of({"A:X": path}, quarantine_sessions=20)) == [
        ("quarantined", 19, 5, 20),
        ("extended", 39, 5, 20),
        ("readmitted", 59, 0, 20),
    ]


def test_too_few_rows_extend_and_keep_what_they_showed() -> None:
    path = marks("." * 15 + "x" * 5 + ("." + " " * 9) * 30)
    events = events_of({"A:X": path}, quarantine_sessions=100)
    assert story(events) == [("quarantined", 19, 5, 20), ("extended", 120, 0, 11), ("readmitted", 220, 0, 21)]
    assert events["until"].to_list() == [DAY + timedelta(days=119), DAY + timedelta(days=220), None]


def test_a_symbol_without_rows_is_tested_again_with_its_first_row_after_the_expiry() -> None:
    path = marks("." * 15 + "x" * 5 + " " * 100 + "." * 3)
    assert story(events_of({"A:X": path, "A:Y": marks("." * 200)})) == [
        ("quarantined", 19, 5, 20),
        ("extended", 120, 0, 1),
    ]


def test_a_readmitted_symbol_is_quarantined_again_only_for_new_defects() -> None:
    path = marks("." * 15 + "x" * 5 + "." * 25 + "x" * 6 + "." * 30)
    # At the re-test 0 of 25 rows; 6 of 31 are no fifth more: 19.4 %. A seventh is.
    assert story(events_of({"A:X": path}, quarantine_sessions=25)) == [
        ("quarantined", 19, 5, 20),
        ("readmitted", 44, 0, 25),
    ]
    path[51] = BROKEN
    assert story(events_of({"A:X": path}, quarantine_sessions=25))[2] == ("quarantined", 51, 7, 32)


def test_a_toxic_bar_counts_once_its_trial_is_over_for_sure() -> None:
    path = marks("." * 20 + "ttttt" + ".." + ".")
    # The third bars after the first four are rows 23 to 26, 4 of 27 rows; after the fifth, row 27, 5 of 28.
    assert events_of({"A:X": path[:27]}, defect_share=0.15).is_empty()
    assert story(events_of({"A:X": path}, defect_share=0.15)) == [("quarantined", 27, 5, 28)]


def test_a_toxic_bar_waits_for_three_bars_not_for_rows_that_take_no_part_in_trials() -> None:
    path = marks("." * 20 + "t" + "xx")
    assert events_of({"A:X": path}, defect_share=0.1).is_empty()  # 2 of 23
    known = events_of({"A:X": path + marks("...")}, defect_share=0.11)
    assert story(known) == [("quarantined", 25, 3, 26)]
    assert known["reason"].to_list() == ["close_not_positive: 2, toxic_bar: 1"]


def test_the_reason_counts_by_rule_the_commonest_first() -> None:
    path = [
        *marks("." * 12),
        "high_below_low",
        "open_not_positive",
        BROKEN,
        BROKEN,
        "high_below_low",
        BROKEN,
        *marks(".."),
    ]
    events = events_of({"A:X": path})
    assert events["reason"].to_list() == ["close_not_positive: 3, high_below_low: 2, open_not_positive: 1"]
    assert events_of({"A:X": path + marks("." * 70)})["reason"].to_list()[1] == "no defect"


def test_two_rows_of_one_session_are_judged_together_at_its_close() -> None:
    kept, lost = tables({"A:X": marks("." * 21)})
    _, again = tables({"A:X": marks(" " * 15 + "xxxxxx")})
    events = health(kept, again, params=HealthParams(), sleeve=ALWAYS)
    assert story(events) == [("quarantined", 20, 6, 27)]
    assert lost.is_empty()


def test_the_order_of_rows_does_not_matter() -> None:
    rows = {name: marks("." * 15 + "xtxxtx" + "." * 80) for name in ("B:X", "A:X", "C:X")}
    kept, lost = tables(rows)
    expected = health(kept, lost, params=HealthParams(), sleeve=ALWAYS)
    assert expected.height == 6
    shuffled = health(kept[::-1], lost.sample(fraction=1.0, shuffle=True, seed=2), params=HealthParams(), sleeve=ALWAYS)
    assert shuffled.equals(expected)


def test_sessions_are_those_of_the_calendar_and_verdicts_are_known_at_their_close() -> None:
    sessions = NEW_YORK.market.sessions(DAY, DAY + timedelta(days=200))
    days = sessions["date"].to_list()
    events = events_of({"US:X": marks("." * 15 + "x" * 5 + "." * 60)}, NEW_YORK, days)
    assert events["date"].to_list() == [days[19], days[79]]
    assert events["until"].to_list() == [days[79], None]
    assert events["known_at"].to_list() == [sessions["closes_at"][19], sessions["closes_at"][79]]


@pytest.mark.parametrize(("calendar", "year"), [("XSHG", 2026), ("XNYS", 2024), ("24/5", 2024)])
def test_an_expiry_beyond_the_data_is_a_session_of_the_calendar_or_a_weekday_where_it_ends(
    calendar: str, year: int
) -> None:
    sleeve = Sleeve(name="test", calendar=calendar)
    last = date(year, 12, 30)
    days = sleeve.market.sessions(date(year, 9, 1), last)["date"].to_list()
    path = [SOUND] * (len(days) - 20) + marks("x" * 20)
    events = events_of({"A:X": path}, sleeve, days, quarantine_sessions=30)
    verdict, until = events["date"][0], events["until"][0]
    assert until > last
    assert until.weekday() < 5
    assert 30 <= (until - verdict).days <= 60


def test_dates_before_the_calendar_begins_need_no_sessions() -> None:
    days = [day for k in range(120) if (day := date(1996, 10, 1) + timedelta(days=k)).weekday() < 5]
    tokyo = Sleeve(name="test", calendar="XTKS")  # known from 1997 on
    events = events_of({"JP:X": marks("." * 15 + "x" * 5 + "." * 30)}, tokyo, days, quarantine_sessions=10)
    assert events["date"].to_list() == [days[19], days[29], days[39]]
    assert events["event"].to_list() == ["quarantined", "extended", "readmitted"]
    assert events["known_at"][0] == datetime.combine(days[19] + timedelta(days=1), time(0), UTC)


def test_no_defects_no_events() -> None:
    assert events_of({"A:X": marks("." * 50)}).equals(Health.empty())
    assert health_counts(Health.empty())["health.in_quarantine"] == 0


def test_numbers_tell_verdicts_by_kind_and_who_is_still_out() -> None:
    back, out = marks("." * 15 + "x" * 5 + "." * 60), marks("." * 15 + "x" * 5 + "." * 5)
    counts = health_counts(events_of({"A:BACK": back, "A:OUT": out}))
    assert counts == {
        "health.quarantined": 2,
        "health.extended": 0,
        "health.readmitted": 1,
        "health.in_quarantine": 1,
    }


@settings(max_examples=60, deadline=None)
@given(
    paths=st.lists(st.lists(st.sampled_from(KINDS), min_size=30, max_size=90), min_size=1, max_size=2),
    trials=st.lists(st.integers(1, 3), min_size=90, max_size=90),
    cut=st.integers(20, 90),
)
def test_data_cut_at_any_day_give_the_verdicts_known_by_then(
    paths: list[list[str]], trials: list[int], cut: int
) -> None:
    rows = {f"A:S{k}": path for k, path in enumerate(paths)}
    params = {"health_bars": 30, "quarantine_sessions": 10}
    full = events_of(rows, **params)
    then = events_of({name: _as_seen(path, trials, cut) for name, path in rows.items()}, **params)
    closed = datetime.combine(DAY + timedelta(days=cut), time(0), UTC)
    assert then.equals(full.filter(pl.col("known_at") <= closed))


def _as_seen(path: Sequence[str], trials: Sequence[int], cut: int) -> list[str]:
    """Return what ingest.bars makes of the first rows: a toxic bar stands among the bars until its trial ends."""
    trading = [k for k, mark in enumerate(path) if mark in (SOUND, TOXIC)]
    seen = list(path[:cut])
    for place, k in enumerate(trading):
        if k < cut and path[k] == TOXIC:
            end = place + trials[k]
            if end >= len(trading) or trading[end] >= cut:
                seen[k] = SOUND
    return seen


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paths=st.lists(st.lists(st.sampled_from(PRICES), min_size=40, max_size=90), min_size=1, max_size=2),
    cut=st.integers(20, 90),
)
def test_verdicts_on_real_bars_do_not_depend_on_later_rows(
    paths: list[list[float | None]], cut: int, closes_of: Callable[..., pl.DataFrame]
) -> None:
    # Whole series keep the calendar right and the closes apart.
    whole = {f"A:W{k}": [10.0 + 0.1 * (j % 3) for j in range(90)] for k in range(3)}
    noisy = {f"A:S{k}": [_apart(price, j) for j, price in enumerate(path)] for k, path in enumerate(paths)}
    landed = closes_of(whole | noisy)
    params = HealthParams(defect_share=0.08, health_bars=30, quarantine_sessions=10)
    full, then = (
        health(*_parts(rows), params=params, sleeve=ALWAYS)
        for rows in (landed, landed.filter(pl.col("date") < DAY + timedelta(days=cut)))
    )
    closed = datetime.combine(DAY + timedelta(days=cut), time(0), UTC)
    assert then.equals(full.filter(pl.col("known_at") <= closed))


def test_a_verdict_on_toxic_bars_is_not_dated_before_their_trial_ended(closes_of: Callable[..., pl.DataFrame]) -> None:
    calm = [10.0 + 0.1 * (k % 3) for k in range(40)]
    landed = closes_of({"A:X": [*calm[:22], 900.0, 901.0, *calm[24:]], "A:W": calm})
    params = HealthParams(defect_share=0.04)
    full = health(*_parts(landed), params=params, sleeve=ALWAYS)
    # 1 of 26 rows is no 4 %, 2 of 27 are; the trial of both ended at day 24.
    assert story(full) == [("quarantined", 26, 2, 27)]
    for cut in range(20, 41):
        then = health(*_parts(landed.filter(pl.col("date") < DAY + timedelta(days=cut))), params=params, sleeve=ALWAYS)
        assert then.equals(full.filter(pl.col("date") < DAY + timedelta(days=cut)))


def _parts(landed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    parted = _bars(landed)
    return parted.valid, parted.exclusions


def _apart(price: float | None, day: int) -> float | None:
    return None if price is None else price * (1.0 + 0.01 * (day % 3))


def _bars(landed: pl.DataFrame) -> Split:
    parted = bars(landed, Actions.empty(), sleeve=ALWAYS)
    assert isinstance(parted, Split)
    return parted


@pytest.mark.parametrize("name", ["us_raw_2015_2017_1d", "crypto_coingecko_2021_1d"])
def test_of_real_prices_only_the_few_that_never_hold_their_level_are_quarantined(
    name: str, shared_data: Callable[[str], Path], landing: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    sleeve = Sleeve(name="test", calendar="XNYS" if name.startswith("us") else "24/7")
    parted = bars(landing(pl.read_parquet(shared_data(name))), Actions.empty(), sleeve=sleeve)
    assert isinstance(parted, Split)
    events = health(parted.valid, parted.exclusions, params=HealthParams(), sleeve=sleeve)
    quarantined = events.filter(pl.col("event") == "quarantined")["symbol"].unique().sort()
    expected = {
        "us_raw_2015_2017_1d": ["US:CJ", "US:PMV"],
        "crypto_coingecko_2021_1d": ["COINGECKO:arcticcoin", "COINGECKO:bitcoin-scrypt"],
    }
    assert set(expected[name]) <= set(quarantined)
    assert len(quarantined) <= 5
    done = judge(replace(bars, budgets=budgets_of("ingest.bars")), parted, rows_in={"raw": _rows(parted)})
    assert not done.broken


def _rows(parted: Split) -> int:
    return parted.valid.height + parted.exclusions.height
