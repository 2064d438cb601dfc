from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_core.errors import ContractError
from quant_core.ingest.lives import lives
from quant_core.market.contracts.ingest import Bars
from quant_core.market.contracts.split import EXCLUSION_SCHEMA
from quant_core.market.sleeves import Sleeve

DAY = date(2024, 1, 1)
STEADY = [1.0, 1.1] * 30


def after(days: int) -> date:
    return DAY + timedelta(days=days)


def test_a_symbol_begins_with_its_first_bar_known_at_its_close(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": STEADY[:5], "A:Y": [None, None, 1.0, 1.1, 1.0]}))
    assert done.events("A:Y") == [("genesis", after(2))]
    assert done.lives.filter(pl.col("symbol") == "A:Y")["known_at"].item() == datetime(2024, 1, 4, tzinfo=UTC)


def test_one_missed_session_is_a_halt_known_at_its_close_and_ends_with_the_next_bar(
    ingest: Any, closes_of: Any
) -> None:
    done = ingest(closes_of({"A:X": [1.0, 1.1, None, None, 1.2], "A:Y": STEADY[:5]}))
    assert done.events("A:X") == [("genesis", DAY), ("halt", after(2)), ("resume", after(4))]
    halt = done.lives.row(by_predicate=pl.col("event") == "halt", named=True)
    assert halt["known_at"] == datetime(2024, 1, 4, tzinfo=UTC)


def test_closed_days_are_not_missed(ingest: Any, closes_of: Any) -> None:
    weeks = [1.0, 1.1, 1.2, 1.1, 1.0, None, None] * 2
    assert ingest(closes_of({"A:X": weeks}, start=date(2024, 1, 8)), "24/5").lives["event"].to_list() == ["genesis"]


@pytest.mark.parametrize(("missing", "events"), [(19, ["genesis", "halt"]), (20, ["genesis", "death", "halt"])])
def test_twenty_missed_sessions_are_a_death(ingest: Any, closes_of: Any, missing: int, events: list[str]) -> None:
    done = ingest(closes_of({"A:X": STEADY[:10], "A:Y": STEADY[: 10 + missing]}))
    assert sorted(event for event, _ in done.events("A:X")) == sorted(events)
    if "death" in events:
        death = done.lives.row(by_predicate=pl.col("event") == "death", named=True)
        assert (death["date"], death["known_at"]) == (after(29), datetime(2024, 1, 31, tzinfo=UTC))


def test_the_end_of_the_data_kills_nobody(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": STEADY, "A:Y": STEADY}))
    assert done.lives["event"].to_list() == ["genesis", "genesis"]


def test_a_ticker_that_comes_back_from_death_begins_a_new_life(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [1.0, 1.1, *[None] * 25, 5.0, 5.1], "A:Y": STEADY[:29]}))
    events = done.lives.filter(pl.col("symbol") == "A:X").sort("date", "event").select("event", "life", "date").rows()
    assert events == [("genesis", 0, DAY), ("halt", 0, after(2)), ("death", 0, after(21)), ("genesis", 1, after(27))]


def test_a_life_that_a_rise_began_is_known_once_the_rise_held(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [1.0, 1.1, 11.0, 11.5, 12.0, 11.0, 11.4]}))
    reborn = done.lives.row(by_predicate=pl.col("life") == 1, named=True)
    assert (reborn["event"], reborn["date"]) == ("genesis", after(2))
    assert reborn["known_at"] == datetime(2024, 1, 7, tzinfo=UTC)  # close of the third bar after the rise


def test_a_toxic_bar_is_a_halt_in_hindsight(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [1.0, 1.1, 30.0, 1.2, 1.1]}))
    assert done.events("A:X") == [("genesis", DAY), ("halt", after(2)), ("resume", after(3))]


@pytest.mark.parametrize(
    ("path", "toxic", "found"),
    [
        pytest.param([1.0, 1.1, 30.0, 1.2, 1.1], 2, 3, id="the next bar is back"),
        pytest.param([1.0, 1.1, 30.0, 31.0, 1.2, 1.1], 2, 4, id="the second bar is back"),
        pytest.param([1.0, 1.1, 30.0, 31.0, 32.0, 1.2, 1.1], 2, 5, id="the third bar is back"),
        pytest.param([1.0, 1.1, 30.0, None, None, None, 1.2, 1.1], 2, 6, id="the next bar is back after a halt"),
        pytest.param([1.0, 1.1, 0.01, 1.2, 1.1], 2, 3, id="a fall that is back"),
        pytest.param([9.0, 1.0, 0.01, 1.2, 1.1, 1.0], 2, 4, id="a fall within the trial of a fall that held"),
        pytest.param([1.0, 9.0, 90.0, 9.1, 9.2, 9.3], 2, 4, id="a rise within the trial of a rise that held"),
        pytest.param([1.0, 1.1, 30.0, 0.01, 1.2, 1.1], 2, 4, id="two trials in a row, known a bar late"),
    ],
)
def test_a_halt_that_a_toxic_bar_makes_was_known_once_the_bar_was_found_toxic(
    ingest: Any, closes_of: Any, path: list[float | None], toxic: int, found: int
) -> None:
    done = ingest(closes_of({"A:X": path, "A:Y": STEADY[: len(path)]}))
    assert "toxic_bar" in done.excluded()
    halt = done.lives.row(by_predicate=(pl.col("event") == "halt") & (pl.col("date") == after(toxic)), named=True)
    assert halt["known_at"].date() == after(found + 1)


LEVELS = st.sampled_from([1.0] * 5 + [30.0, 300.0, 0.01, 0.1, 3.0])
JUMPY = st.lists(
    st.tuples(LEVELS, st.integers(1, 3), st.integers(0, 5).map(lambda k: max(0, k - 3))), min_size=3, max_size=8
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(legs=JUMPY, share=st.floats(0.3, 1.0))
def test_a_halt_known_at_a_date_stands_in_the_run_of_that_date(
    legs: list[tuple[float, int, int]], share: float, ingest: Any, closes_of: Any
) -> None:
    path: list[float | None] = [1.0]
    for level, bars, missing in legs:
        path += [level * (1.0 + 0.01 * k) for k in range(bars)] + [None] * missing
    path += [1.0 + 0.01 * k for k in range(4)]
    landed = closes_of({"A:X": path, "A:Y": (STEADY * 2)[: len(path)], "A:Z": (STEADY * 2)[: len(path)]})
    cut = after(int(share * (len(path) - 1)))
    halts = [
        run.lives.filter((pl.col("event") == "halt") & (pl.col("known_at").dt.date() <= cut + timedelta(days=1)))
        for run in (ingest(landed), ingest(landed.filter(pl.col("date") <= cut)))
    ]
    assert set(halts[0]["symbol", "date"].rows()) <= set(halts[1]["symbol", "date"].rows())


def test_rows_that_show_a_price_stood_still_show_that_the_ticker_lived(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [7.0] * 50, "A:Y": STEADY[:50]}))
    assert done.events("A:X") == [("genesis", DAY), ("halt", after(19))]


def test_rows_that_are_no_bars_show_that_the_ticker_lived(ingest: Any, closes_of: Any) -> None:
    broken = [1.0, 1.1, *[-1.0] * 25, 1.2, 1.3]
    landed = closes_of({"A:X": [*STEADY, *broken], "A:Y": STEADY, "A:Z": [*STEADY, *STEADY[:29]]})
    done = ingest(landed, defect_share=0.9)
    assert done.events("A:X") == [("genesis", DAY), ("halt", after(62)), ("resume", after(87))]
    assert done.bars.filter(pl.col("symbol") == "A:X")["life"].unique().to_list() == [0]
    assert [event for event, _ in done.events("A:Y")] == ["genesis", "halt", "death"]


def test_rows_without_a_price_or_a_session_keep_no_ticker_alive(ingest: Any, landing: Any) -> None:
    days = pl.date_range(date(2024, 1, 1), date(2024, 2, 29), "1d", eager=True)
    lasting = pl.DataFrame({"date": days.filter(days.dt.weekday() <= 5)}).with_columns(symbol=pl.lit("A:Y"))
    gone = lasting.with_columns(symbol=pl.lit("A:X"), close=pl.when(pl.col("date") < date(2024, 1, 15)).then(1.5))
    closed = pl.DataFrame({"date": days.filter(days.dt.weekday() > 5)}).with_columns(symbol=pl.lit("A:X"), close=1.5)
    rows = pl.concat([gone, closed, lasting.with_columns(close=1.0 + 0.1 * (pl.int_range(pl.len()) % 2))])
    done = ingest(landing(rows), "24/5")
    assert set(done.excluded()) == {"close_not_known", "off_session"}
    assert done.events("A:X") == [("genesis", DAY), ("halt", date(2024, 1, 15)), ("death", date(2024, 2, 9))]


def test_broken_rows_before_the_first_bar_and_after_a_death_tell_nothing_of_a_life(ingest: Any, closes_of: Any) -> None:
    gap, broken = [None] * 25, [-1.0] * 3
    path = [*broken, 1.0, 1.1, 1.0, *gap, *broken, *gap, *broken, 5.0, 5.1, 5.2]
    whole = (STEADY * 2)[: len(path)]
    done = ingest(closes_of({"A:W": whole, "A:X": path, "A:Y": whole, "A:Z": whole}), defect_share=0.9)
    events = done.lives.filter(pl.col("symbol") == "A:X").sort("date", "event").select("event", "life", "date").rows()
    assert events == [
        ("genesis", 0, after(3)), ("halt", 0, after(6)), ("death", 0, after(25)), ("genesis", 1, after(62))
    ]  # fmt: skip
    births = done.lives.filter((pl.col("symbol") == "A:X") & (pl.col("event") == "genesis"))
    assert births.sort("life")["known_at"].dt.date().to_list() == [after(4), after(63)]


def test_broken_rows_do_not_shorten_the_trial_of_a_rise(ingest: Any, closes_of: Any) -> None:
    rise = [*STEADY[:20], 11.0, -1.0, -1.0, 11.5, 12.0, 11.0, 11.4]
    done = ingest(closes_of({"A:X": rise, "A:Y": STEADY[:27]}))
    reborn = done.lives.row(by_predicate=(pl.col("life") == 1) & (pl.col("event") == "genesis"), named=True)
    assert (reborn["date"], reborn["known_at"].date()) == (after(20), after(26))


def test_no_bars_have_no_lives() -> None:
    lost = pl.DataFrame(schema=EXCLUSION_SCHEMA)
    assert lives(Bars.empty(), lost, sleeve=Sleeve(name="x", calendar="24/7")).is_empty()


def test_the_order_of_rows_does_not_matter(ingest: Any, closes_of: Any) -> None:
    path = [1.0, 1.1, 30.0, 1.2, None, None, -1.0, 1.1, *[None] * 25, 5.0, 5.1]
    done = ingest(closes_of({"A:X": path, "A:Y": STEADY[: len(path)], "A:Z": [None] * 4 + STEADY[: len(path) - 4]}))
    sleeve = Sleeve(name="test", calendar="24/7")
    orders = [
        (done.bars.sort("date", "symbol"), done.lost),
        (done.bars.sort("symbol", "date"), done.lost.reverse()),
        (done.bars.sample(fraction=1.0, shuffle=True, seed=5), done.lost.sample(fraction=1.0, shuffle=True, seed=5)),
    ]
    first, *others = (lives(kept, lost, sleeve=sleeve).sort("symbol", "date", "event") for kept, lost in orders)
    assert all(first.equals(other) for other in others)
    assert first.height == done.lives.height


def test_a_stray_of_a_later_time_kills_nobody(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": STEADY[:30], "A:Y": STEADY[:30], "A:BAD": [*STEADY[:9], -1.0, *STEADY[:9]]}))
    lost = done.lost.filter(pl.col("symbol") == "A:BAD")
    stray = lost.with_columns(rule=pl.lit("far_future"), date=pl.lit(date(2099, 1, 1)))
    told = lives(done.bars, pl.concat([lost, stray]), sleeve=Sleeve(name="test", calendar="24/7"))
    assert lost.height == stray.height == 1
    assert told.equals(done.lives.select(told.columns))


def test_bars_off_session_are_refused(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": STEADY[:10]}))
    with pytest.raises(ContractError, match="no session on 2024-01-06"):
        lives(done.bars, done.lost, sleeve=Sleeve(name="test", calendar="24/5"))


def test_a_ticker_another_security_held_before_has_two_lives(shared_data: Any, ingest_source: Any) -> None:
    done = ingest_source("parquet", "XNYS", path=str(shared_data("eq_lean_1d")))
    ends = pl.col("event").is_in(["genesis", "death"])
    births = {
        symbol: done.lives.filter((pl.col("symbol") == symbol) & ends)
        .sort("date")
        .select("event", "life", "date")
        .rows()
        for symbol in ("US:EEM", "US:AAA")
    }
    assert births["US:EEM"] == [
        ("genesis", 0, date(1998, 1, 6)), ("death", 0, date(2003, 1, 6)), ("genesis", 1, date(2003, 4, 11))
    ]  # fmt: skip
    assert births["US:AAA"] == [
        ("genesis", 0, date(2002, 5, 22)), ("death", 0, date(2007, 6, 18)), ("genesis", 1, date(2020, 9, 9))
    ]  # fmt: skip


def test_the_coin_that_took_over_a_dead_ones_ticker_is_known_once_its_price_held(
    shared_data: Any, ingest_source: Any
) -> None:
    done = ingest_source("parquet", path=str(shared_data("crypto_binance_2021_2022_1d")))
    luna = done.lives.filter(pl.col("symbol") == "BINANCE:LUNAUSDT").sort("date").select("event", "date", "known_at")
    assert [(event, day, known.date()) for event, day, known in luna.iter_rows()] == [
        ("genesis", date(2021, 1, 1), date(2021, 1, 2)),
        ("halt", date(2022, 5, 14), date(2022, 5, 15)),
        ("genesis", date(2022, 5, 31), date(2022, 6, 4)),
    ]
