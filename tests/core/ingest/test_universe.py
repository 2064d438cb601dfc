from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.ingest.lives import lives
from quant_core.ingest.membership.survivorship import survivorship, universe_metrics
from quant_core.ingest.universe import UniverseParams, universe
from quant_core.market.contracts.ingest import Bars, Exclusions, Health, Universe
from quant_core.market.contracts.split import validate
from quant_core.market.sleeves import Sleeve
from quant_core.market.universe import universe_mask

DAY = date(2024, 1, 1)
STEADY = [1.0, 1.1] * 200
Bar = float | tuple[float, float | None] | None  # close, or close and volume; None: no bar
Verdict = tuple[str, int, str]  # symbol, day from whose close on it is known, event


def close_of(day: int) -> datetime:
    return datetime.combine(DAY + timedelta(days=day + 1), time(), UTC)


def bars_of(
    paths: Mapping[str, Sequence[Bar]], *, lived: Mapping[str, int] = {}, tried: Mapping[str, Sequence[int]] = {}
) -> pl.DataFrame:
    """Daily bars; `lived` says on which day the second life of a symbol began, `tried` which bars are provisional."""
    rows = []
    for symbol, path in paths.items():
        for k, bar in enumerate(path):
            if bar is not None:
                close, volume = bar if isinstance(bar, tuple) else (bar, None)
                life = int(k >= lived.get(symbol, len(path)))
                rows.append(
                    (DAY + timedelta(days=k), symbol, close, volume, close_of(k), life, k in tried.get(symbol, ()))
                )
    names = ["date", "symbol", "close", "volume", "available_at", "life", "is_provisional"]
    schema = {name: Bars.dtypes[name] for name in names}
    flat = {name: pl.col("close") for name in ("open", "high", "low")}
    return (
        pl.DataFrame(rows, schema=schema, orient="row")
        .with_columns(**flat, adjustment=pl.lit(1.0), flags=pl.lit(""))
        .select(*Bars.dtypes)
        .sort("date", "symbol")
    )


def health_of(verdicts: Sequence[Verdict]) -> pl.DataFrame:
    rows = [
        (symbol, DAY + timedelta(days=day), event, 5, 20, None, "", close_of(day)) for symbol, day, event in verdicts
    ]
    return pl.DataFrame(rows, schema=Health.dtypes, orient="row")


def told(
    paths: Mapping[str, Sequence[Bar]],
    verdicts: Sequence[Verdict] = (),
    *,
    lived: Mapping[str, int] = {},
    tried: Mapping[str, Sequence[int]] = {},
    sleeve: Mapping[str, Any] = {},
    **params: Any,
) -> pl.DataFrame:
    """The universe of bars built by hand, sorted; its lives are those the room finds in them."""
    mine = Sleeve(name="x", calendar="24/7", **sleeve)
    bars = bars_of(paths, lived=lived, tried=tried)
    events = lives(bars, Exclusions.empty(), sleeve=mine)
    table = universe(bars, events, health_of(verdicts), params=UniverseParams(**params), sleeve=mine)
    return validate(table, Universe).sort("symbol", "start")


def spans(table: pl.DataFrame, symbol: str = "A:X", start: date = DAY) -> list[tuple[str, int, int | None]]:
    """Reason, first and last day (counted from `start`) of each interval."""
    rows = table.filter(pl.col("symbol") == symbol).sort("start").select("reason", "start", "end").rows()
    return [(reason, (low - start).days, None if high is None else (high - start).days) for reason, low, high in rows]


def intervals(done: Any, symbol: str) -> list[tuple[str, int, int | None]]:
    return spans(done.universe, symbol)


def test_a_symbol_is_a_member_from_the_bar_that_completes_the_floor(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": STEADY[:6]}), floor=3)
    assert intervals(done, "A:X") == [("short_history", 0, 1), ("member", 2, None)]
    assert done.universe["is_eligible"].to_list() == [False, True]


@pytest.mark.parametrize(("calendar", "floor"), [("24/7", 90), ("24/5", 252)])
def test_the_default_floor_is_that_of_the_calendar(ingest: Any, closes_of: Any, calendar: str, floor: int) -> None:
    landed = closes_of({"A:X": STEADY[:400]})
    done = ingest(landed, calendar)
    traded = done.bars.sort("date")["date"]
    assert done.universe.filter(pl.col("is_eligible"))["start"].to_list() == [traded[floor - 1]]


def test_a_halt_suspends_from_the_first_missed_session_and_a_death_needs_a_new_history(
    ingest: Any, closes_of: Any
) -> None:
    path = [*STEADY[:5], None, None, *STEADY[:3], *[None] * 22, *STEADY[:4]]
    done = ingest(closes_of({"A:X": path, "A:Y": STEADY[: len(path)]}), floor=3)
    assert intervals(done, "A:X") == [
        ("short_history", 0, 1),
        ("member", 2, 4),
        ("halted", 5, 6),
        ("member", 7, 9),
        ("halted", 10, 28),
        ("dead", 29, 31),
        ("short_history", 32, 33),
        ("member", 34, None),
    ]


def test_a_jump_on_trial_suspends_until_it_is_decided(ingest: Any, closes_of: Any) -> None:
    real = [10.0, 11.0, 10.0, 1.0, 1.1, 1.0, 1.1, 1.0]
    still_open = [10.0, 11.0, 10.0, 11.0, 10.0, 11.0, 10.0, 1.0]
    done = ingest(closes_of({"A:REAL": real, "A:OPEN": still_open}), floor=2)
    assert intervals(done, "A:REAL") == [
        ("short_history", 0, 0), ("member", 1, 2), ("on_trial", 3, 5), ("member", 6, None)
    ]  # fmt: skip
    assert intervals(done, "A:OPEN") == [("short_history", 0, 0), ("member", 1, 6), ("on_trial", 7, None)]


def test_intervals_are_disjoint_and_cover_all_time_from_the_genesis_on(ingest_source: Any) -> None:
    done = ingest_source("simulator", defects={"toxic_spikes": 4, "stale_runs": 3, "negative_prices": 5})
    table = done.universe.sort("symbol", "start")
    after = table.with_columns(pl.col("start").shift(-1).over("symbol").alias("next"))
    assert after.filter(pl.col("next").is_not_null() & (pl.col("next") != pl.col("end").dt.offset_by("1d"))).is_empty()
    assert after.filter(pl.col("next").is_null() != pl.col("end").is_null()).is_empty()
    first = done.bars.group_by("symbol").agg(pl.col("date").min()).sort("symbol")
    assert table.group_by("symbol").agg(pl.col("start").min().alias("date")).sort("symbol").equals(first)
    assert set(table["reason"]) == {"short_history", "member", "halted", "dead"}


def test_members_have_a_bar_on_every_session_they_are_eligible(ingest_source: Any) -> None:
    done = ingest_source("simulator", bars=400, defects={"toxic_spikes": 6, "negative_prices": 5})
    dates, symbols = done.bars["date"].unique().sort(), sorted(set(done.bars["symbol"]))
    mask = universe_mask(done.universe, dates, symbols)
    has_bar = done.bars.sort("date").pivot("symbol", index="date", values="close").select(symbols).to_numpy() > 0
    assert mask.any()
    assert not (mask & ~has_bar).any()


def test_no_bars_have_no_members() -> None:
    assert told({}).is_empty()
    assert survivorship(told({})) is None
    assert universe_metrics(told({})) == {"universe.symbols": 0, "universe.members_last_date": 0}


def worth(*values: float | None) -> list[Bar]:
    """Bars at a close of 2 whose traded value is given."""
    return [(2.0, None if value is None else value / 2.0) for value in values]


def test_a_symbol_comes_in_at_the_floor_of_traded_value_and_goes_out_below_four_fifths_of_it() -> None:
    path = worth(5, 5, 5, 10, 10, 10, 9, 9, 9, 7, 7, 7, 9, 9, 9, 10, 10, 10)
    found = told({"A:X": path}, floor=1, min_traded_value=10.0, liquidity_bars=3)
    assert spans(found) == [
        ("liquidity_unknown", 0, 1),
        ("illiquid", 2, 3),
        ("member", 4, 9),
        ("illiquid", 10, 15),
        ("member", 16, None),
    ]
    assert found["is_eligible"].to_list() == [False, False, True, False, True]


def test_exactly_four_fifths_of_the_floor_is_still_enough_to_stay() -> None:
    found = told({"A:X": worth(10, 8, 7.999)}, floor=1, min_traded_value=10.0, liquidity_bars=1)
    assert spans(found) == [("member", 0, 1), ("illiquid", 2, None)]


def test_a_symbol_does_not_stay_what_the_one_before_it_was() -> None:
    found = told({"A:W": worth(10, 10), "A:X": worth(9, 9)}, floor=1, min_traded_value=10.0, liquidity_bars=1)
    assert (spans(found, "A:W"), spans(found)) == ([("member", 0, None)], [("illiquid", 0, None)])


def test_where_volume_is_a_value_the_close_does_not_count() -> None:
    path = [(1000.0, 9.0), (1000.0, 10.0)]
    options = {"floor": 1, "min_traded_value": 10.0, "liquidity_bars": 1}
    assert spans(told({"A:X": path}, **options)) == [("member", 0, None)]
    value = told({"A:X": path}, sleeve={"volume_unit": "value"}, **options)
    assert spans(value) == [("illiquid", 0, 0), ("member", 1, None)]


def test_an_unknown_volume_is_a_reason_only_where_a_floor_is_set() -> None:
    path = worth(10, 10, 10, None, None, None, 9, 9, 9, 10, 10, 10)
    assert spans(told({"A:X": path}, floor=1)) == [("member", 0, None)]
    found = told({"A:X": path}, floor=1, min_traded_value=10.0, liquidity_bars=4)
    # Half of the window must be known; a symbol that was unknown comes in anew, at the floor.
    assert spans(found) == [
        ("liquidity_unknown", 0, 2),
        ("member", 3, 4),
        ("liquidity_unknown", 5, 6),
        ("illiquid", 7, 10),
        ("member", 11, None),
    ]


def test_traded_value_of_an_earlier_life_does_not_count() -> None:
    path = worth(*[10] * 4, *[1] * 4)
    found = told(
        {"A:W": worth(*[10] * 8), "A:X": path}, lived={"A:X": 4}, floor=1, min_traded_value=10.0, liquidity_bars=3
    )
    assert spans(found) == [
        ("liquidity_unknown", 0, 1), ("member", 2, 3), ("on_trial", 4, 6), ("illiquid", 7, None)
    ]  # fmt: skip
    assert spans(found, "A:W") == [("liquidity_unknown", 0, 1), ("member", 2, None)]


def test_a_quarantine_holds_from_the_first_close_that_knows_of_it_until_the_readmission() -> None:
    verdicts = [
        ("A:X", 5, "quarantined"),
        ("A:X", 8, "extended"),
        ("A:X", 11, "readmitted"),
        ("A:X", 13, "quarantined"),
    ]
    paths = {"A:X": STEADY[:15], "A:Y": STEADY[:15]}
    found = told(paths, [*verdicts, ("A:GONE", 3, "quarantined")], floor=1)
    assert spans(found) == [("member", 0, 4), ("unhealthy", 5, 10), ("member", 11, 12), ("unhealthy", 13, None)]
    assert spans(found, "A:Y") == [("member", 0, None)]


def test_a_verdict_known_after_a_close_counts_from_the_next_one() -> None:
    mine, bars = Sleeve(name="x", calendar="24/7"), bars_of({"A:X": STEADY[:8]})
    events = lives(bars, Exclusions.empty(), sleeve=mine)
    later = health_of([("A:X", 3, "quarantined")]).with_columns(pl.col("known_at") + timedelta(microseconds=1))
    found = universe(bars, events, later, params=UniverseParams(floor=1), sleeve=mine)
    assert spans(found) == [("member", 0, 3), ("unhealthy", 4, None)]


def test_of_several_reasons_the_first_in_order_is_told() -> None:
    poor: list[Bar] = [(1.0, 1.0)] * 6 + [None] * 21 + [(1.0, 1.0)] * 4
    verdicts = [("A:X", 1, "quarantined"), ("A:X", 3, "readmitted")]
    options = {"floor": 5, "min_traded_value": 10.0, "liquidity_bars": 1}
    found = told({"A:X": poor, "A:Y": STEADY[:31]}, verdicts, tried={"A:X": [3, 4]}, **options)
    assert spans(found) == [
        ("short_history", 0, 0),
        ("unhealthy", 1, 2),
        ("short_history", 3, 3),
        ("on_trial", 4, 4),
        ("illiquid", 5, 5),
        ("halted", 6, 24),
        ("dead", 25, 26),
        ("illiquid", 27, None),
    ]


def test_each_interval_names_the_asset_and_its_sector() -> None:
    paths = dict.fromkeys(("BINANCE:BTCUSDT.P", "COINBASE:BTCUSD", "US:T"), STEADY[:4])
    found = told(paths, floor=3, sleeve={"sectors": {"US:T": "telecoms"}})
    assert found.select("symbol", "identity", "sector").unique().sort("symbol").rows() == [
        ("BINANCE:BTCUSDT.P", "BTC", None),
        ("COINBASE:BTCUSD", "BTC", None),
        ("US:T", "US:T", "telecoms"),
    ]


def test_intervals_before_1970_resume_after_a_halt() -> None:
    first = date(1969, 12, 25)
    bars = bars_of({"A:W": STEADY[:12], "A:X": [*STEADY[:4], None, *STEADY[:7]], "A:Y": STEADY[:12]})
    shift = DAY - first
    bars = bars.with_columns(pl.col("date") - shift, pl.col("available_at") - shift)
    mine = Sleeve(name="x", calendar="24/7")
    events = lives(bars, Exclusions.empty(), sleeve=mine)
    found = universe(bars, events, Health.empty(), params=UniverseParams(floor=1), sleeve=mine)
    assert spans(found, start=first) == [("member", 0, 3), ("halted", 4, 4), ("member", 5, None)]


VALUES = st.sampled_from([None, 1.0, 7.0, 9.0, 10.0, 30.0])
PATHS = st.lists(
    st.one_of(st.none(), st.tuples(st.sampled_from([1.0, 1.1, 0.1, 1.2]), VALUES)), min_size=2, max_size=40
)
VERDICTS = st.dictionaries(
    st.tuples(st.sampled_from(["A:S0", "A:S1"]), st.integers(0, 40)),
    st.sampled_from(["quarantined", "extended", "readmitted"]),
    max_size=8,
)
WORLDS = st.tuples(
    st.lists(PATHS, min_size=1, max_size=3), VERDICTS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 39)
)


def world(drawn: Any) -> tuple[dict[str, list[Bar]], list[Verdict], dict[str, Any]]:
    paths, verdicts, floor, bars, _ = drawn
    made: dict[str, list[Bar]] = {f"A:S{k}": path for k, path in enumerate(paths)}
    made["A:ALL"] = [(1.0, 9.5)] * 41
    options = {"floor": floor, "min_traded_value": 10.0, "liquidity_bars": bars}
    return made, [(symbol, day, event) for (symbol, day), event in sorted(verdicts.items())], options


@settings(max_examples=60, deadline=None)
@given(drawn=WORLDS)
def test_who_is_eligible_at_a_date_does_not_depend_on_what_came_later(drawn: Any) -> None:
    paths, verdicts, options = world(drawn)
    cut = drawn[-1]
    early = {symbol: path[: cut + 1] for symbol, path in paths.items()}
    known = [verdict for verdict in verdicts if verdict[1] <= cut]
    full, then = told(paths, verdicts, **options), told(early, known, **options)
    days = pl.Series([DAY + timedelta(days=k) for k in range(cut + 1)])
    symbols = sorted(paths)
    assert np.array_equal(universe_mask(full, days, symbols), universe_mask(then, days, symbols))


def reason_at(symbol: str, k: int, path: Sequence[Bar], verdicts: Sequence[Verdict], options: Any) -> str:
    """The reason at day `k`, by the definitions, one bar at a time."""
    last = max(j for j in range(k + 1) if path[j] is not None)
    if last < k:
        return "dead" if k - last >= 20 else "halted"
    there = [j for j in range(k + 1) if path[j] is not None]
    events = [event for name, day, event in verdicts if name == symbol and day <= k]
    if events and events[-1] != "readmitted":
        return "unhealthy"
    if len(there) < options["floor"]:
        return "short_history"
    pairs = [(j, path[j][0] / path[i][0] - 1.0) for i, j in pairwise(there)]
    if any(change < -0.8 and k - j < 3 for j, change in pairs):
        return "on_trial"
    state, size = "", options["liquidity_bars"]
    for end in range(1, len(there) + 1):
        window = [path[j] for j in there[max(0, end - size) : end]]
        known = [close * volume for close, volume in window if volume is not None]
        if end < size or 2 * len(known) < size:
            state = "liquidity_unknown"
        elif median(known) >= 10.0:
            state = "member"
        elif median(known) < 8.0 or state != "member":
            state = "illiquid"
    return state


@settings(max_examples=60, deadline=None)
@given(drawn=WORLDS)
def test_the_reason_of_every_day_is_the_one_the_definitions_give(drawn: Any) -> None:
    paths, verdicts, options = world(drawn)
    found = told(paths, verdicts, **options)
    for symbol, path in paths.items():
        whole = [*path, *[None] * (41 - len(path))]
        start = next((k for k in range(41) if whole[k] is not None), 41)
        reasons = [
            reason for reason, low, high in spans(found, symbol) for _ in range(low, 1 + (40 if high is None else high))
        ]
        assert reasons == [reason_at(symbol, k, whole, verdicts, options) for k in range(start, 41)]


def test_the_order_of_bars_events_and_verdicts_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    paths = {f"A:S{k}": worth(*rng.choice([6.0, 9.0, 11.0], 60)) for k in range(4)}
    paths["A:S1"][20:45] = [None] * 25
    bars, mine = bars_of(paths), Sleeve(name="x", calendar="24/7")
    events = lives(bars, Exclusions.empty(), sleeve=mine)
    verdicts = health_of([("A:S0", 9, "quarantined"), ("A:S0", 30, "readmitted"), ("A:S2", 3, "quarantined")])
    params = UniverseParams(floor=5, min_traded_value=10.0, liquidity_bars=4)
    expected = universe(bars, events, verdicts, params=params, sleeve=mine)
    shuffled = (table.sample(fraction=1.0, shuffle=True, seed=3) for table in (bars, events, verdicts))
    assert universe(*shuffled, params=params, sleeve=mine).equals(expected)


def interval(symbol: str, start: date, end: date | None, reason: str, until: date) -> dict[str, Any]:
    return {"symbol": symbol, "start": start, "end": end, "reason": reason, "is_eligible": reason == "member"} | {
        "seen_until": until if end is None else end
    }


def test_the_meter_of_survivorship_counts_the_days_of_those_that_are_dead_at_the_end() -> None:
    until = date(2024, 1, 100 - 90)
    table = pl.DataFrame(
        [
            interval("A:LIVES", DAY, None, "member", until),  # 10 days
            interval("A:DIES", DAY, date(2024, 1, 4), "member", until),  # 4 days
            interval("A:DIES", date(2024, 1, 5), None, "dead", until),
            interval("A:BACK", DAY, date(2024, 1, 2), "member", until),  # 2 days, and came back for 4
            interval("A:BACK", date(2024, 1, 3), date(2024, 1, 6), "dead", until),
            interval("A:BACK", date(2024, 1, 7), None, "member", until),
            interval("A:NEW", date(2024, 1, 9), None, "short_history", until),
        ]
    )
    assert universe_metrics(table) == {
        "universe.symbols": 4,
        "universe.members_last_date": 2,
        "universe.survivorship_share": pytest.approx(4 / 20),
    }


@pytest.mark.parametrize(
    ("years", "reason", "is_warned"), [(4, "short_history", True), (4, "dead", False), (2, "short_history", False)]
)
def test_a_long_universe_in_which_no_member_died_was_chosen_by_its_survivors(
    years: int, reason: str, is_warned: bool
) -> None:
    until = date(2020 + years, 1, 10)
    table = pl.DataFrame(
        [
            interval("A:X", date(2020, 1, 1), None, "member", until),
            interval("A:Y", date(2020, 1, 1), date(2020, 2, 1), "member", until),
            interval("A:Y", date(2020, 2, 2), None, reason, until),
        ]
    )
    expected = "none of 2 members has died in 4.0 years: the universe was chosen by its survivors."
    assert survivorship(table) == (expected if is_warned else None)
    (rule,) = [rule for rule in universe.rules if rule.name == "survivorship"]
    assert rule.severity == "warn"


def test_real_delistings_are_in_the_meter(shared_data: Any, ingest_source: Any) -> None:
    done = ingest_source("parquet", "XNYS", path=str(shared_data("us_raw_2015_2017_1d")))
    assert 0.03 < universe_metrics(done.universe)["universe.survivorship_share"] < 0.05
