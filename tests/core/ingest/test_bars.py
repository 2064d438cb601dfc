from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_core.errors import ContractError
from quant_core.ingest.bars import bar_counts, bars
from quant_core.ingest.cleaning.market_rules import falls_beside_rises, far_future, last_date_breadth
from quant_core.market.contracts.ingest import Actions, Bars, Raw
from quant_core.market.sleeves import Sleeve

DAY = date(2024, 1, 1)
SLEEVE = Sleeve(name="x", calendar="24/7")
NONE = Actions.empty()
Land = Callable[[pl.DataFrame], pl.DataFrame]
Ingest = Callable[..., Any]


def days(size: int, start: date = DAY) -> pl.Series:
    return pl.date_range(start, start + timedelta(days=size - 1), "1d", eager=True).alias("date")


def market(symbols: int = 4, size: int = 90, seed: int = 0) -> pl.DataFrame:
    """Clean bars of some symbols, one row per day."""
    rng = np.random.default_rng(seed)
    tables = []
    for k in range(symbols):
        close = 100.0 * np.cumprod(1.0 + 0.02 * rng.standard_normal(size))
        columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": close * 10}
        tables.append(pl.DataFrame({"date": days(size), **columns}).with_columns(symbol=pl.lit(f"A:S{k}")))
    return pl.concat(tables)


def test_clean_rows_become_bars_known_at_the_end_of_their_day(landing: Land, ingest: Ingest) -> None:
    done = ingest(landing(market()))
    assert (done.bars.height, done.lost.height) == (360, 0)
    assert done.bars["available_at"][0] == datetime(2024, 1, 2, tzinfo=UTC)
    assert done.bars.select("life", "is_provisional", "flags").unique().rows() == [(0, False, "")]


def test_rows_off_session_are_excluded_and_exchange_bars_are_known_at_the_close(ingest: Ingest, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [1.0] * 4}, start=date(2024, 7, 2)), "XNYS")
    assert done.lost.select("rule", "date").rows() == [("off_session", date(2024, 7, 4))]
    assert done.bars["available_at"].to_list() == [
        datetime(2024, 7, 2, 20, tzinfo=UTC),
        datetime(2024, 7, 3, 17, tzinfo=UTC),  # the exchange closes early on 3 July
        datetime(2024, 7, 5, 20, tzinfo=UTC),
    ]


def test_before_the_calendar_begins_no_date_is_off_session(ingest: Ingest, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [1.0, 2.0]}, start=date(1996, 5, 4)).vstack(
        closes_of({"A:X": [1.0, 1.0]}, start=date(1997, 1, 10)).with_columns(pl.col("row") + 2)
    ), "XTKS")  # fmt: skip
    assert done.lost.select("rule", "date").rows() == [("off_session", date(1997, 1, 11))]


def test_of_rows_with_one_key_the_last_to_arrive_is_kept(landing: Land) -> None:
    rows = {"date": [DAY] * 4, "symbol": ["A:X"] * 4, "close": [1.0, 2.0, 2.0, 2.0], "volume": [5.0, 5.0, 6.0, 6.0]}
    parted = bars(landing(pl.DataFrame(rows)), NONE, sleeve=SLEEVE)
    assert parted.valid.select("close", "volume").rows() == [(2.0, 6.0)]
    assert parted.exclusions.sort("row").select("row", "rule", "detail").rows() == [
        (0, "restated_row", "row 3 has the same key and arrived later"),
        (1, "restated_row", "row 3 has the same key and arrived later"),
        (2, "duplicate_row", "row 3 has the same key and arrived later"),
    ]


def test_what_became_known_later_arrived_later_whatever_its_place_in_the_file(landing: Land) -> None:
    stamps = [datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC), None]
    rows = {"date": [DAY] * 3, "symbol": ["A:X"] * 3, "close": [1.0, 2.0, 3.0], "known_at": stamps}
    parted = bars(landing(pl.DataFrame(rows)), NONE, sleeve=SLEEVE)
    assert parted.valid["close"].to_list() == [1.0]


def test_a_broken_row_does_not_displace_a_sound_one(landing: Land, ingest: Ingest) -> None:
    rows = {"date": [DAY] * 3, "symbol": ["A:X", "A:X", "A:Y"], "close": [1.0, -1.0, 1.0]}
    done = ingest(landing(pl.DataFrame(rows)))
    assert done.bars["close"].to_list() == [1.0, 1.0]
    assert done.excluded() == {"close_not_positive": 1}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"close": None}, "close_not_known"),
        ({"close": 0.0}, "close_not_positive"),
        ({"low": -1.0}, "low_not_positive"),
        ({"volume": -1.0}, "volume_negative"),
        ({"high": 50.0, "low": 60.0}, "high_below_low"),
        ({"open": 300.0}, "open_outside_range"),
        ({"close": 102.5}, "close_outside_range"),
    ],
)
def test_a_row_that_breaks_the_contract_is_excluded_with_its_record(
    landing: Land, ingest: Ingest, change: dict[str, float], rule: str
) -> None:
    rows = {"date": days(5), "symbol": ["A:X"] * 5, "open": 100.0, "high": 102.0, "low": 98.0, "close": 100.0}
    frame = pl.DataFrame({**rows, "volume": 5.0}).with_row_index("row")
    is_bad = pl.col("row") == 2
    broken = frame.with_columns(
        pl.when(is_bad).then(value).otherwise(name).alias(name) for name, value in change.items()
    )
    done = ingest(landing(broken))
    reason = done.lost.row(0, named=True)
    assert done.excluded() == {rule: 1}
    assert (reason["row"], reason["date"]) == (2, date(2024, 1, 3))
    assert '"volume":' in reason["record"]
    assert '"known_at":null' in reason["record"]


def test_a_toxic_bar_leaves_and_the_return_runs_from_the_last_good_close(ingest: Ingest, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [10, 11, 300, 12, 12.6]}))
    assert done.excluded() == {"toxic_bar": 1}
    assert done.return_at("A:X", DAY + timedelta(days=3)) == pytest.approx(12 / 11 - 1)


def test_a_collapse_and_the_coin_that_took_over_its_ticker(ingest: Ingest, closes_of: Any) -> None:
    fall = [17.46, 1.0769, 0.00032, 0.00005]
    landed = closes_of({"A:LUNA": [*fall, *[None] * 17, 8.87, 6.53, 7.1, 6.49], "A:Y": [1.0, 1.1] * 12})
    done = ingest(landed)
    luna = done.bars.filter(pl.col("symbol") == "A:LUNA").sort("date")
    assert done.lost.is_empty()
    assert luna["life"].to_list() == [0, 0, 0, 0, 1, 1, 1, 1]
    changes = done.returns.filter(pl.col("symbol") == "A:LUNA").sort("date")["simple_return"].to_list()
    assert changes[1] == pytest.approx(1.0769 / 17.46 - 1)
    assert changes[4] is None
    assert changes[5] == pytest.approx(6.53 / 8.87 - 1)
    assert "1 falls below -80 % are near a rise" in str(falls_beside_rises(done.bars))


@pytest.mark.parametrize(("between", "is_told"), [(3, True), (19, True), (20, False)])
def test_a_fall_within_twenty_sessions_before_a_rise_is_told(
    ingest: Ingest, closes_of: Any, between: int, is_told: bool
) -> None:
    low = [1.0 + 0.01 * (k % 3) for k in range(between)]
    done = ingest(closes_of({"A:X": [100.0, 101.0, *low, 1.0, 100.0, 101.0, 102.0, 103.0]}))
    assert done.bars["life"].max() == 1
    assert (falls_beside_rises(done.bars) is not None) == is_told


def test_a_symbol_whose_jump_came_back_half_way_loses_that_bar_only(ingest: Ingest, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [100, 1, 160, 161, 162], "A:Y": [100, 700, 300, 160, 160]}))
    assert done.excluded() == {"toxic_bar": 2}
    changes = done.returns.sort("symbol", "date")["simple_return"].to_list()
    assert changes[1:4] == pytest.approx([0.6, 1 / 160, 1 / 161])
    assert changes[5:8] == pytest.approx([2.0, 160 / 300 - 1, 0.0])
    assert done.bars["life"].max() == 0


@pytest.mark.parametrize(("beyond", "excluded"), [(1e-12, 0), (1e-7, 3)])
def test_rounding_by_adjustment_breaks_no_range(landing: Land, beyond: float, excluded: int) -> None:
    lower, upper = 9.0 * (1.0 - beyond), 9.0 * (1.0 + beyond)
    rows = {"open": [9.0, lower, 9.0], "high": [lower, 9.0, 9.0], "low": [9.0] * 3, "close": [9.0, 9.0, upper]}
    frame = landing(pl.DataFrame({"date": days(3), "symbol": ["A:X"] * 3, **rows}))
    assert sum(bars(frame, NONE, sleeve=SLEEVE).excluded.values()) == excluded


def test_twenty_missing_sessions_end_a_life_and_nineteen_do_not(ingest: Ingest, closes_of: Any) -> None:
    for missing, lives in ((19, [0, 0]), (20, [0, 1])):
        done = ingest(closes_of({"A:X": [1.0, *[None] * missing, 1.1], "A:Y": [1.0, 1.1] * 11}))
        assert done.bars.filter(pl.col("symbol") == "A:X").sort("date")["life"].to_list() == lives


def test_equal_closes_are_flagged_from_the_fifth_and_excluded_from_the_twentieth_on(
    ingest: Ingest, closes_of: Any
) -> None:
    done = ingest(closes_of({"A:X": [*[7.0] * 23, 7.1, 7.1]}))
    ordered = done.bars.sort("date")
    assert done.excluded() == {"stalled": 4}
    assert ordered["flags"].to_list() == [*[""] * 4, *["stall"] * 15, "", ""]
    assert done.return_at("A:X", DAY + timedelta(days=23)) == pytest.approx(7.1 / 7.0 - 1)


def test_a_long_stall_is_no_death(ingest: Ingest, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [*[7.0] * 60, 7.1], "A:Y": [1.0, 1.1] * 30 + [1.0]}))
    assert done.bars["life"].max() == 0
    assert [event for event, _ in done.events("A:X")] == ["genesis", "halt", "resume"]


def test_flags_name_jumps_and_volume_spikes_and_exclude_nothing(landing: Land, ingest: Ingest) -> None:
    rng = np.random.default_rng(3)
    close = 10.0 * np.cumprod(1.0 + 0.01 * rng.standard_normal(70))
    close[65:] *= 3.0
    volume = np.exp(rng.standard_normal(70) * 0.1)
    volume[[5, 65, 68]] *= 100.0
    rows = pl.DataFrame({"date": days(70), "close": close, "volume": volume}).with_columns(symbol=pl.lit("A:X"))
    done = ingest(landing(rows))
    flagged = done.bars.filter(pl.col("flags") != "").select("date", "flags").sort("date").rows()
    first, last = DAY + timedelta(days=65), DAY + timedelta(days=68)
    assert flagged == [(first, "jump,volume_spike"), (last, "volume_spike")]
    assert done.lost.is_empty()


def test_a_symbol_whose_first_prices_are_absent_begins_with_the_first_price(landing: Land, ingest: Ingest) -> None:
    is_early = (pl.col("symbol") == "A:S1") & (pl.col("date") < DAY + timedelta(days=60))
    rows = market().with_columns(
        pl.when(~is_early).then(name).alias(name) for name in ("open", "high", "low", "close", "volume")
    )
    done = ingest(landing(pl.concat([rows, rows.head(90)])))
    assert done.excluded() == {"close_not_known": 60, "duplicate_row": 90}
    assert done.events("A:S1") == [("genesis", DAY + timedelta(days=60))]


def test_a_landing_of_broken_rows_only_leaves_no_bar_and_every_reason(landing: Land) -> None:
    rows = landing(market(1, 5).with_columns(close=pl.lit(-1.0)))
    parted = bars(rows, NONE, sleeve=SLEEVE)
    assert (parted.valid.height, parted.excluded) == (0, {"close_not_positive": 5})
    weekend = landing(market(1, 2).with_columns(date=pl.Series([date(2024, 1, 6), date(2024, 1, 7)])))
    assert bars(weekend, NONE, sleeve=Sleeve(name="x", calendar="XNYS")).excluded == {"off_session": 2}
    assert bars(Raw.empty(), NONE, sleeve=SLEEVE).valid.is_empty()


RULES = {
    "copy": "duplicate_row",
    "restate": "restated_row",
    "null": "close_not_known",
    "negative": "close_not_positive",
    "swap": "high_below_low",
    "spike": "toxic_bar",
    "crash": "toxic_bar",
}


def corrupted(clean: pl.DataFrame, plan: list[str], rng: np.random.Generator) -> pl.DataFrame:
    """Plant at most one defect in each twelve bars of a symbol, rows then in random order of arrival."""
    defect = np.full(clean.height, "none", dtype=object)
    defect[6::12][: len(plan)] = plan
    marked = clean.with_columns(pl.Series("defect", defect.tolist(), dtype=pl.String))
    factor = pl.when(defect_is("spike")).then(40.0).when(defect_is("crash")).then(0.02).otherwise(1.0)
    values = marked.with_columns(pl.col(name) * factor for name in ("open", "high", "low", "close")).with_columns(
        high=pl.when(defect_is("swap")).then("low").otherwise("high"),
        low=pl.when(defect_is("swap")).then("high").otherwise("low"),
        close=pl.when(defect_is("negative")).then(-pl.col("close")).when(~defect_is("null")).then("close"),
    )
    early = values.filter(pl.col("defect").is_in(["copy", "restate"])).with_columns(
        volume=pl.when(defect_is("restate")).then(1.0).otherwise("volume")
    )
    order = rng.permutation(values.height).tolist()
    return pl.concat([early, values[order]]).drop("defect")


def defect_is(name: str) -> pl.Expr:
    return pl.col("defect") == name


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.sampled_from(["none", *RULES]), max_size=24), seed=st.integers(0, 1000))
def test_every_row_is_kept_or_excluded_once_in_any_order_and_again_nothing_is_found(
    plan: list[str], seed: int, landing: Land
) -> None:
    rng = np.random.default_rng(seed)
    landed = landing(corrupted(market(3, 96, seed), plan, rng))
    first = bars(landed, NONE, sleeve=SLEEVE)
    assert first.valid.height + first.exclusions.height == landed.height
    assert first.exclusions["row"].n_unique() == first.exclusions.height
    assert first.excluded == dict(sorted(Counter(RULES[defect] for defect in plan if defect != "none").items()))
    shuffled = bars(landed[rng.permutation(landed.height).tolist()], NONE, sleeve=SLEEVE)
    assert shuffled.valid.sort("symbol", "date").equals(first.valid.sort("symbol", "date"))
    assert shuffled.exclusions.sort("row").equals(first.exclusions.sort("row"))
    again = bars(landing(first.valid.select("date", "symbol", "open", "high", "low", "close", "volume")),
                 NONE, sleeve=SLEEVE)  # fmt: skip
    assert again.exclusions.is_empty()
    assert again.valid.drop("flags").equals(first.valid.drop("flags"))


def dated(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("date", "symbol")


def test_the_bars_of_a_market_are_counted() -> None:
    columns = {"life": pl.lit(0, pl.Int32), "is_provisional": False, "adjustment": 1.0, "flags": pl.lit("")}
    years = market(2, 1200).with_columns(available_at=pl.lit(datetime(2030, 1, 1, tzinfo=UTC)), **columns)
    frame = years.select(pl.col(name).cast(kind) for name, kind in Bars.dtypes.items())
    assert bar_counts(frame) == {
        "bars.rows": 2400,
        "bars.symbols": 2,
        "bars.dates": 1200,
        "bars.provisional": 0,
        "bars.flagged": 0,
    }


def test_a_last_date_that_most_symbols_lack_is_told() -> None:
    frame = dated(market(10, 40))
    last = pl.col("date") == DAY + timedelta(days=39)
    assert last_date_breadth(frame) is None
    assert last_date_breadth(frame.filter(~(last & pl.col("symbol").is_in(["A:S0", "A:S1"])))) is None
    assert (
        last_date_breadth(frame.filter(~(last & (pl.col("symbol") < "A:S3"))))
        == "on 2024-02-09, the last date, 7 of the 10 symbols of the 20 sessions before have a bar."
    )
    gone_for_long = (pl.col("symbol") < "A:S5") & (pl.col("date") > DAY + timedelta(days=18))
    assert last_date_breadth(frame.filter(~gone_for_long)) is None
    assert last_date_breadth(frame.head(1)) is None
    assert last_date_breadth(frame.clear()) is None


@pytest.mark.parametrize(("ahead", "is_told"), [(20, False), (21, True)])
def test_a_last_date_far_after_the_one_before_is_told(ahead: int, is_told: bool) -> None:
    frame = dated(market(2, 40))
    stray = pl.DataFrame({"date": [DAY + timedelta(days=39 + ahead)], "symbol": ["A:S0"]})
    assert (far_future(pl.concat([frame, stray])) is not None) == is_told
    assert far_future(frame) is None
    assert far_future(frame.head(1)) is None


def test_where_weekends_are_closed_twenty_sessions_are_four_weeks() -> None:
    weekdays = dated(market(2, 40)).filter(pl.col("date").dt.weekday() <= 5)  # the last one is Friday 2024-02-09
    for day, said in (
        (date(2024, 3, 8), None),
        (date(2024, 3, 9), "the last date, 2024-03-09, is 21 sessions after the one before it, 2024-02-09."),
    ):
        stray = pl.DataFrame({"date": [day], "symbol": ["A:S0"]})
        assert far_future(pl.concat([weekdays, stray])) == said


def test_bars_that_miss_most_sessions_of_the_calendar_are_refused(landing: Land, ingest: Ingest) -> None:
    weekly = market(3, 280).filter(pl.col("date").dt.weekday() == 5)
    with pytest.raises(ContractError, match=r"bars cover 15 % of the sessions of 24/7; is the calendar right\?"):
        bars(landing(weekly), NONE, sleeve=SLEEVE)
    weekdays = market(3, 280).filter(pl.col("date").dt.weekday() <= 5)
    assert ingest(landing(weekdays)).lost.is_empty()
    one_whole = pl.concat([weekly.filter(pl.col("symbol") == "A:S0"), market(3, 280).filter(pl.col("symbol") > "A:S0")])
    assert ingest(landing(one_whole)).lost.is_empty()


def test_broken_rows_count_for_the_density_of_the_calendar(landing: Land, ingest: Ingest) -> None:
    is_broken = pl.col("date").dt.weekday() > 3
    rows = market(2, 70).with_columns(close=pl.when(is_broken).then(-1.0).otherwise("close"))
    assert ingest(landing(rows)).excluded() == {"close_not_positive": 80}


def test_the_detail_of_a_toxic_bar_says_how_far_it_jumped(ingest: Ingest, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [10, 11, 330, 319, 12, 12.6], "A:Y": [10, 11, 1.1, 12, 13, 14]}))
    held = "from the last good close, a level that did not hold for three bars"
    assert done.lost.sort("symbol", "date")["detail"].to_list() == [
        f"+2900.0 % {held}", f"+2800.0 % {held}", f"-90.0 % {held}"
    ]  # fmt: skip


def acted(**columns: list[Any]) -> pl.DataFrame:
    absent = {"row": range(len(columns["date"])), "factor": None, "to": None, "known_at": None}
    frame = pl.DataFrame(columns).with_columns(
        pl.Series(name, list(value) if value is not None else [None] * len(columns["date"]))
        for name, value in absent.items()
        if name not in columns
    )
    return frame.select(pl.col(name).cast(kind) for name, kind in Actions.dtypes.items())


def test_raw_prices_are_judged_as_sent_and_then_put_on_the_terms_of_the_last_bar(landing: Land) -> None:
    close = [70.0, 72.0, 10.5, 10.0, 0.0]
    rows = pl.DataFrame(
        {"date": days(5), "symbol": ["A:X"] * 5, "close": close, "volume": [10.0, 20.0, 70.0, 80.0, 1.0]}
    )
    split = acted(date=[DAY + timedelta(days=2)], symbol=["A:X"], kind=["split"], factor=[1 / 7])
    parted = bars(landing(rows), split, sleeve=Sleeve(name="x", calendar="24/7", adjustment="raw"))
    assert parted.valid["close"].to_list() == pytest.approx([10.0, 72 / 7, 10.5, 10.0])
    assert parted.valid["volume"].to_list() == pytest.approx([70.0, 140.0, 70.0, 80.0])
    assert parted.valid["adjustment"].to_list() == [1 / 7, 1 / 7, 1.0, 1.0]
    assert parted.valid["is_provisional"].to_list() == [False] * 4
    assert parted.excluded == {"close_not_positive": 1}
    as_sent = bars(landing(rows), split, sleeve=SLEEVE).valid
    assert as_sent["adjustment"].to_list() == [1.0] * 4
    assert as_sent["is_provisional"].to_list() == [False, False, True, True]


def test_the_record_of_a_toxic_bar_shows_the_price_as_it_was_sent(landing: Land) -> None:
    close = [70.0, 2100.0, 71.0, 10.5, 10.0, 10.0]
    rows = landing(pl.DataFrame({"date": days(6), "symbol": ["A:X"] * 6, "close": close}))
    split = acted(date=[DAY + timedelta(days=3)], symbol=["A:X"], kind=["split"], factor=[1 / 7])
    lost = bars(rows, split, sleeve=Sleeve(name="x", calendar="24/7", adjustment="raw")).exclusions
    assert lost.select("rule", "row").rows() == [("toxic_bar", 1)]
    assert '"close":2100.0' in lost["record"][0]


def test_a_rename_joins_two_symbols_and_the_older_owner_of_the_ticker_leaves(landing: Land) -> None:
    rows = pl.DataFrame(
        {
            "date": [*days(6), *days(3)],
            "symbol": [*["A:OLD"] * 4, *["A:NEW"] * 2, *["A:NEW"] * 3],
            "close": [10.0, 11.0, 12.0, 13.0, 12.0, 11.0, 500.0, -1.0, 501.0],
        }
    )
    rename = acted(date=[DAY + timedelta(days=4)], symbol=["A:OLD"], kind=["rename"], to=["A:NEW"])
    parted = bars(landing(rows), rename, sleeve=SLEEVE)
    assert parted.valid.select("symbol", "close").rows() == [
        ("A:NEW", close) for close in (10.0, 11.0, 12.0, 13.0, 12.0, 11.0)
    ]
    assert parted.excluded == {"close_not_positive": 1, "precedes_rename": 2}
    assert parted.exclusions["row"].to_list() == [6, 7, 8]


def test_the_first_bar_after_a_split_that_nobody_told_of_is_flagged(landing: Land) -> None:
    rng = np.random.default_rng(5)
    close = 100.0 * np.cumprod(1.0 + 0.01 * rng.standard_normal(80))
    close[70:] /= 2.0
    columns = {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close, "volume": 10.0}
    frame = pl.DataFrame({"date": days(80), "symbol": ["A:X"] * 80, **columns})
    flags = bars(landing(frame), NONE, sleeve=SLEEVE).valid["flags"]
    assert flags[70] == "unadjusted_split"
    assert set(flags.to_list()) == {"", "unadjusted_split"}


def strays(*rows: tuple[int, int, datetime | None]) -> pl.DataFrame:
    """Forty symbols over thirty days, and further rows of the first symbols: days after the last, how many, stamp."""
    whole = market(40, 30).with_columns(known_at=pl.lit(None, pl.Datetime("us", "UTC")))
    late = [
        whole.filter(pl.col("date") == DAY + timedelta(days=29))[:size].with_columns(
            date=pl.lit(DAY + timedelta(days=29 + ahead)), known_at=pl.lit(stamp, pl.Datetime("us", "UTC"))
        )
        for ahead, size, stamp in rows
    ]
    return pl.concat([whole, *late])


@pytest.mark.parametrize(
    ("rows", "lost"),
    [
        ([(20, 1, None)], 0),
        ([(21, 1, None)], 1),
        ([(21, 2, None)], 0),  # two of forty symbols are no mistype: the table is warned of
        ([(400, 1, None), (401, 1, None), (900, 1, None)], 3),
        ([(300, 1, None), (400, 2, None), (405, 1, None)], 1),
    ],
)
def test_a_date_far_after_the_one_before_it_with_hardly_a_symbol_is_no_bar(
    landing: Land, rows: list[tuple[int, int, None]], lost: int
) -> None:
    parted = bars(landing(strays(*rows)), NONE, sleeve=SLEEVE)
    assert parted.excluded == ({"far_future": lost} if lost else {})
    assert (far_future(parted.valid) is None) == (rows[-1][1] == 1)


def test_a_mistyped_year_ends_no_life_and_begins_none(landing: Land) -> None:
    parted = bars(landing(strays((366, 1, None))), NONE, sleeve=SLEEVE)
    assert parted.valid.equals(bars(landing(strays()), NONE, sleeve=SLEEVE).valid)
    assert parted.exclusions.select("row", "detail").rows() == [
        (1200, "366 sessions after the date before it, and hardly any symbol has a row")
    ]


def test_a_row_that_came_long_before_its_date_is_no_bar_however_many_have_come_since(landing: Land) -> None:
    stamp = datetime(2024, 1, 5, tzinfo=UTC)
    at = {ahead: strays((ahead, 40, stamp)) for ahead in (-4, -5)}  # 2024-01-26 and 25: 21 and 20 sessions ahead
    found = {ahead: bars(landing(frame), NONE, sleeve=SLEEVE).excluded for ahead, frame in at.items()}
    assert found[-4] == {"far_future": 40}
    assert "far_future" not in found[-5]


def test_when_the_time_of_a_stray_date_has_come_its_rows_are_bars(landing: Land) -> None:
    stray = strays((60, 1, None))
    filled = pl.concat([stray, market(40, 90).filter(pl.col("date") > DAY + timedelta(days=29)).with_columns(
        known_at=pl.lit(None, pl.Datetime("us", "UTC")))])  # fmt: skip
    assert bars(landing(stray), NONE, sleeve=SLEEVE).excluded == {"far_future": 1}
    assert bars(landing(filled), NONE, sleeve=SLEEVE).excluded == {"restated_row": 1}


def test_the_first_symbols_of_a_long_table_are_no_strays_for_being_few(landing: Land) -> None:
    early = market(1, 10).with_columns(date=days(10, date(2020, 1, 1)))
    late = market(40, 300)
    assert bars(landing(pl.concat([early, late])), NONE, sleeve=SLEEVE).excluded == {}
