from datetime import date
from typing import Any

import polars as pl
import pytest

from quant_core.ingest.universe import UniverseParams, universe
from quant_core.market.contracts.ingest import Bars, Lives
from quant_core.market.sleeves import Sleeve
from quant_core.market.universe import universe_mask

DAY = date(2024, 1, 1)
STEADY = [1.0, 1.1] * 200


def intervals(done: Any, symbol: str) -> list[tuple[str, int, int | None]]:
    """Reason, first and last day (counted from DAY) of each interval."""
    rows = done.universe.filter(pl.col("symbol") == symbol).sort("start").select("reason", "start", "end").rows()
    return [(reason, (start - DAY).days, None if end is None else (end - DAY).days) for reason, start, end in rows]


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
    sleeve = Sleeve(name="x", calendar="24/7")
    assert universe(Bars.empty(), Lives.empty(), params=UniverseParams(), sleeve=sleeve).is_empty()
