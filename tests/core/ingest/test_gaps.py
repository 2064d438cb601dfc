import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_core.graph.judge import judge
from quant_core.ingest.gaps import gap_counts, gaps, repair_requests
from quant_core.ingest.lives import lives
from quant_core.market.contracts.ingest import Bars, Lives
from quant_core.market.contracts.split import EXCLUSION_SCHEMA
from quant_core.market.sleeves import Sleeve

Find = Callable[[str], Path]
DAY = date(2024, 1, 1)
STEADY = [1.0, 1.1] * 60
NO_LOSS = pl.DataFrame(schema=EXCLUSION_SCHEMA)


def after(days: int) -> date:
    return DAY + timedelta(days=days)


def gaps_of(done: Any, calendar: str = "24/7") -> pl.DataFrame:
    found = gaps(done.bars, done.lost, done.lives, sleeve=Sleeve(name="test", calendar=calendar))
    judged = judge(gaps, found, rows_in={})
    assert judged.exclusions.is_empty()
    return judged.valid


def stretches(found: pl.DataFrame, symbol: str) -> list[tuple[str, int, int]]:
    """Kind, first and last day (counted from DAY) of each stretch."""
    rows = found.filter(pl.col("symbol") == symbol).sort("start").select("kind", "start", "end").rows()
    return [(kind, (start - DAY).days, (end - DAY).days) for kind, start, end in rows]


def company(days: int) -> dict[str, list[float]]:
    """Three symbols that miss nothing."""
    return {f"A:W{k}": STEADY[:days] for k in range(3)}


def test_before_its_first_bar_a_symbol_is_not_listed(ingest: Any, closes_of: Any) -> None:
    found = gaps_of(ingest(closes_of({"A:X": [*[None] * 7, 1.0, 1.1], **company(9)})))
    assert found.rows() == [("A:X", DAY, after(6), 7, "pre_listing", None)]


@pytest.mark.parametrize(
    ("missing", "kind"), [(1, "gap"), (4, "gap"), (5, "halted"), (19, "halted"), (20, "delisted"), (30, "delisted")]
)
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_symbol_missing_alone_is_a_gap_a_halt_or_dead_by_how_long(
    ingest: Any, closes_of: Any, missing: int, kind: str, comes_back: bool
) -> None:
    path = [*STEADY[:10], *[None] * missing, *(STEADY[:5] if comes_back else [])]
    found = gaps_of(ingest(closes_of({"A:X": path, **company(10 + missing + 5 * comes_back)})))
    assert stretches(found, "A:X") == [(kind, 10, 9 + missing)]
    assert found["sessions"].to_list() == [missing]
    assert found["request"].is_not_null().to_list() == [kind == "gap"]


def test_a_session_on_which_half_of_the_listed_symbols_have_no_row_is_a_hole_of_the_source(
    ingest: Any, closes_of: Any
) -> None:
    holey = [*STEADY[:10], *[None] * 7, *STEADY[:5]]
    half = {"A:X": holey, "A:Y": holey, "A:W1": STEADY[:22], "A:W2": STEADY[:22]}
    assert stretches(gaps_of(ingest(closes_of(half))), "A:X") == [("gap", 10, 16)]
    less = half | {"A:W3": STEADY[:22]}
    assert stretches(gaps_of(ingest(closes_of(less))), "A:X") == [("halted", 10, 16)]
    # One that comes later is not listed yet and does not count.
    later = half | {"A:W3": [*[None] * 18, *STEADY[:4]]}
    assert stretches(gaps_of(ingest(closes_of(later))), "A:X") == [("gap", 10, 16)]


def test_a_stretch_splits_where_the_kind_changes(ingest: Any, closes_of: Any) -> None:
    path = [*STEADY[:10], *[None] * 8, *STEADY[:5]]
    beside = [*STEADY[:12], *[None], *STEADY[:10]]
    both = {"A:X": path, "A:Y": beside, "A:W1": STEADY[:23], "A:W2": STEADY[:23]}
    # Alone for 2 sessions, a hole of the source for 1, alone for 5.
    assert stretches(gaps_of(ingest(closes_of(both))), "A:X") == [("gap", 10, 12), ("halted", 13, 17)]


def test_a_long_hole_of_the_whole_source_is_no_death(ingest: Any, closes_of: Any) -> None:
    path = [*STEADY[:40], *[None] * 25, *STEADY[:5]]
    done = ingest(closes_of({"A:X": path, "A:Y": path, "A:Z": path[:40]}))
    assert ("death", after(59)) in done.events("A:X")
    found = gaps_of(done)
    assert stretches(found, "A:X") == stretches(found, "A:Y") == [("gap", 40, 64)]
    # One that never comes back is missing alone after the hole, for 5 sessions so far.
    assert stretches(found, "A:Z") == [("gap", 40, 64), ("halted", 65, 69)]


def test_only_one_symbol_cannot_be_told_from_its_source(ingest: Any, closes_of: Any) -> None:
    found = gaps_of(ingest(closes_of({"A:X": [*STEADY[:40], *[None] * 30, *STEADY[:5]]})))
    assert stretches(found, "A:X") == [("gap", 40, 69)]


def test_rows_that_came_and_made_no_bar_are_to_be_asked_for_again(ingest: Any, closes_of: Any) -> None:
    path = [*STEADY[:10], -1.0, -1.0, None, -1.0, *STEADY[:10]]
    found = gaps_of(ingest(closes_of({"A:X": path, **company(24)})))
    assert stretches(found, "A:X") == [("excluded", 10, 11), ("gap", 12, 12), ("excluded", 13, 13)]
    asked = [json.loads(request) for request in found["request"]]
    assert asked[0] == {"symbol": "A:X", "start": "2024-01-11", "end": "2024-01-12"}


def test_toxic_and_stalled_bars_are_excluded_sessions(ingest: Any, closes_of: Any) -> None:
    path = [*STEADY[:10], 90.0, *STEADY[:10], *[7.0] * 25, *STEADY[:5]]
    done = ingest(closes_of({"A:X": path, **company(51)}))
    assert set(done.excluded()) == {"toxic_bar", "stalled"}
    assert stretches(gaps_of(done), "A:X") == [("excluded", 10, 10), ("excluded", 40, 45)]


def test_a_copy_that_was_excluded_leaves_no_session_without_a_bar(ingest: Any, closes_of: Any, landing: Any) -> None:
    rows = closes_of({"A:X": STEADY[:10]}).drop("row")
    done = ingest(landing(pl.concat([rows, rows])))
    assert done.excluded() == {"duplicate_row": 10}
    assert gaps_of(done).is_empty()


def test_rows_without_a_price_are_no_rows(ingest: Any, landing: Any) -> None:
    days = pl.date_range(DAY, after(29), "1d", eager=True)
    held = pl.DataFrame({"date": days}).with_columns(close=1.0 + 0.1 * (pl.int_range(pl.len()) % 2))
    number = pl.int_range(pl.len())
    wide = held.with_columns(symbol=pl.lit("A:X"), close=pl.when((number >= 5) & (number != 9)).then("close"))
    rest = [held.with_columns(symbol=pl.lit(f"A:W{k}")) for k in range(3)]
    done = ingest(landing(pl.concat([wide, *(table.select(*wide.columns) for table in rest)])))
    assert done.excluded() == {"close_not_known": 6}
    assert stretches(gaps_of(done), "A:X") == [("pre_listing", 0, 4), ("gap", 9, 9)]


def test_broken_rows_before_a_genesis_and_after_a_death_are_told_and_revive_nobody(ingest: Any, closes_of: Any) -> None:
    path = [*[None] * 2, -1.0, *STEADY[:10], *[None] * 25, -1.0, *[None] * 3, *STEADY[:5]]
    found = gaps_of(ingest(closes_of({"A:X": path, **company(47)})))
    assert stretches(found, "A:X") == [
        ("pre_listing", 0, 1), ("excluded", 2, 2), ("delisted", 13, 37), ("excluded", 38, 38), ("delisted", 39, 41)
    ]  # fmt: skip


def test_a_symbol_without_any_bar_is_asked_for(ingest: Any, closes_of: Any) -> None:
    found = gaps_of(ingest(closes_of({"A:X": [None, -1.0, -1.0, None], **company(4)})))
    assert stretches(found, "A:X") == [("pre_listing", 0, 0), ("excluded", 1, 2), ("pre_listing", 3, 3)]


def test_days_the_market_is_closed_are_no_gaps(ingest: Any, closes_of: Any) -> None:
    week = [1.0, 1.1, 1.2, 1.1, 1.0, None, None]
    start = date(2024, 1, 8)
    done = ingest(closes_of({"A:X": [*week, *week[:4]], "A:Y": [*week, *week[:5]]}, start=start), "24/5")
    assert gaps_of(done, "24/5").rows()[0][:5] == ("A:X", date(2024, 1, 19), date(2024, 1, 19), 1, "gap")
    spanning = [*week[:4], None, None, None, None, *week[1:5]]
    done = ingest(closes_of({"A:X": spanning, "A:Y": [*week, *week[:5]]}, start=start), "24/5")
    assert gaps_of(done, "24/5").rows()[0][:4] == ("A:X", date(2024, 1, 12), date(2024, 1, 15), 2)


def test_requests_come_newest_first(ingest: Any, closes_of: Any) -> None:
    path = [1.0, None, 1.1, 1.0, None, None, 1.1, -1.0, 1.0]
    found = gaps_of(ingest(closes_of({"A:X": path, "A:B": [*STEADY[:5], None, *STEADY[:3]], **company(9)})))
    asked = repair_requests(found)
    assert asked.select("symbol", "start", "end", "kind").rows() == [
        ("A:X", after(7), after(7), "excluded"),
        ("A:B", after(5), after(5), "gap"),
        ("A:X", after(4), after(5), "gap"),
        ("A:X", after(1), after(1), "gap"),
    ]
    assert json.loads(asked["request"][2]) == {"symbol": "A:X", "start": str(after(4)), "end": str(after(5))}


def test_counts_are_those_of_listed_symbols(ingest: Any, closes_of: Any) -> None:
    late = [*[None] * 3, *STEADY[:10], *[None] * 6, 1.0, None, *STEADY[:5], *[None] * 20]
    found = gaps_of(ingest(closes_of({"A:X": late, **company(46)})))
    assert [kind for kind, _, _ in stretches(found, "A:X")] == ["pre_listing", "halted", "gap", "delisted"]
    assert gap_counts(found) == {"gaps.stretches": 2, "gaps.sessions": 7, "gaps.repairable": 1}


def test_no_data_have_no_gaps() -> None:
    sleeve = Sleeve(name="test", calendar="XNYS")
    found = gaps(Bars.empty(), NO_LOSS, Lives.empty(), sleeve=sleeve)
    assert judge(gaps, found, rows_in={}).valid.is_empty()
    assert gap_counts(found) == {"gaps.stretches": 0, "gaps.sessions": 0, "gaps.repairable": 0}


EVENTS = st.sampled_from(["bars"] * 4 + ["gap", "halt", "death", "broken", "spike"])
SIZES = {"gap": (1, 4), "halt": (5, 19), "death": (20, 26), "broken": (1, 4), "spike": (1, 3), "bars": (2, 12)}
PATHS = st.lists(EVENTS.flatmap(lambda event: st.tuples(st.just(event), st.integers(*SIZES[event]))), max_size=9)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, min_size=1, max_size=4), seed=st.integers(0, 99))
def test_every_session_of_every_symbol_is_a_bar_or_in_one_stretch(
    paths: list[Any], seed: int, ingest: Any, closes_of: Any
) -> None:
    value = {"bars": 1.0, "broken": -1.0, "spike": 50.0}
    made: dict[str, list[float | None]] = {
        f"A:S{k}": [
            None if event not in value else value[event] * (1.0 + 0.1 * (j % 2))
            for event, size in path
            for j in range(size)
        ]
        for k, path in enumerate(paths)
    }
    days = max(10, *(len(path) for path in made.values()))
    done = ingest(closes_of(made | {f"A:ALL{k}": (STEADY * 4)[:days] for k in range(len(made) + 1)}))
    found = gaps_of(done)
    symbols = set(done.bars["symbol"]) | set(found["symbol"])
    cells = found.select(
        "symbol", date=pl.date_ranges("start", "end", "1d")
    ).explode("date").vstack(done.bars.select("symbol", "date"))  # fmt: skip
    assert cells.height == cells.n_unique() == len(symbols) * days
    runs = found.sort("symbol", "start").filter(
        (pl.col("symbol") == pl.col("symbol").shift(-1))
        & (pl.col("kind") == pl.col("kind").shift(-1))
        & (pl.col("end").dt.offset_by("1d") == pl.col("start").shift(-1))
    )
    assert runs.is_empty()
    again = gaps(
        done.bars.sample(fraction=1.0, shuffle=True, seed=seed), done.lost.reverse(), done.lives.reverse(),
        sleeve=Sleeve(name="test", calendar="24/7"),
    )  # fmt: skip
    assert again.equals(found)


# Runs and sessions between a symbol's first and last row as counted in the files' notes, where a session is a date on
# which half of the symbols have a row; by the exchange's calendar some more are missing, never fewer.
@pytest.mark.parametrize(
    ("name", "calendar", "runs", "sessions", "is_exact"),
    [
        ("eq_lean_1d", "XNYS", 425, 12_229, True),
        ("crypto_binance_2021_2022_1d", "24/7", 5, 29, True),
        ("crypto_coinbase_1d", "24/7", 8, 34, True),
        ("us_sp500_5yr_1d", "XNYS", 2, 2, True),
        ("us_raw_2015_2017_1d", "XNYS", 334, 700, True),
        ("fx_cfd_lean_1d", "24/5", 146, 402, False),  # 24/5 has no holidays: Christmas and New Year are missing
        ("uk_ftse100_close_1d", "XLON", 29, 29, False),  # two sessions missing for all 64 symbols
        pytest.param("us_eod_2017_1d", "XNYS", 39_767, 74_678, False, marks=pytest.mark.slow),
        ("crypto_coingecko_2021_1d", "24/7", 1_934, 8_647, True),
    ],
)
def test_real_files_have_the_gaps_that_were_counted_in_them(
    name: str, calendar: str, runs: int, sessions: int, is_exact: bool, shared_data: Find
) -> None:
    sleeve = Sleeve(name="test", calendar=calendar)
    rows = pl.read_parquet(shared_data(name), columns=["date", "symbol"]).unique().sort("date", "symbol")
    first, last = rows["date"].min(), rows["date"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    open_days = sleeve.market.sessions(first, last)["date"]
    bars = rows.filter(pl.col("date").is_in(open_days.implode())).with_columns(life=pl.lit(0, pl.Int32))
    found = gaps(bars, NO_LOSS, lives(bars, NO_LOSS, sleeve=sleeve), sleeve=sleeve)
    assert bars.height + int(found["sessions"].sum()) == bars["symbol"].n_unique() * len(open_days)
    ends = bars.group_by("symbol").agg(first=pl.col("date").min(), last=pl.col("date").max())
    between = found.join(ends, on="symbol").filter(pl.col("start").is_between("first", "last"))
    between = between.filter(pl.col("end") < pl.col("last")).sort("symbol", "start")
    session = between.select(
        first=open_days.search_sorted(between["start"]), last=open_days.search_sorted(between["end"]), symbol="symbol"
    )
    follows = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("first") == pl.col("last").shift(1) + 1)
    counted = (session.filter(~follows.fill_null(value=False)).height, int(between["sessions"].sum()))
    assert counted[0] >= runs
    assert counted[1] >= sessions
    if is_exact:
        assert counted == (runs, sessions)


def test_a_session_the_whole_source_lacks_is_asked_for_each_symbol(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", "XLON", path=str(shared_data("uk_ftse100_close_1d")))
    found = gaps_of(done, "XLON").filter(pl.col("kind") == "gap")
    # The May holiday of 2012 was moved to June for the jubilee; the file was made without that session.
    for day in (date(2012, 5, 28), date(2022, 6, 14)):
        assert found.filter(pl.col("start") == day).height == 64


def test_a_ticker_that_fell_silent_for_thirteen_years_is_not_asked_for(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", "XNYS", path=str(shared_data("eq_lean_1d")))
    aaa = gaps_of(done, "XNYS").filter((pl.col("symbol") == "US:AAA") & (pl.col("kind") == "delisted"))
    assert aaa.select("start", "end", "request").rows()[0] == (date(2007, 5, 21), date(2020, 9, 8), None)
