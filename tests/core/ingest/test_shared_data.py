from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Find = Callable[[str], Path]


def test_luna_falls_for_real_and_the_coin_after_it_is_another_life(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", path=str(shared_data("crypto_binance_2021_2022_1d")))
    assert done.excluded() == {"duplicate_row": 93}
    luna = pl.col("symbol") == "BINANCE:LUNAUSDT"
    assert done.return_at("BINANCE:LUNAUSDT", date(2022, 5, 12)) == pytest.approx(-0.9997, abs=1e-4)
    assert done.return_at("BINANCE:LUNAUSDT", date(2022, 5, 31)) is None
    assert done.bars.filter(luna & (pl.col("date") >= date(2022, 5, 31)))["life"].unique().to_list() == [1]
    assert ("halt", date(2022, 5, 14)) in done.events("BINANCE:LUNAUSDT")


def test_a_genuine_fall_of_half_is_kept(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", "XNYS", path=str(shared_data("us_wiki_1d")))
    assert done.lost.is_empty()
    assert done.return_at("US:AAPL", date(2000, 9, 29)) == pytest.approx(-0.519, abs=1e-3)


def test_late_listings_lose_nothing(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", path=str(shared_data("crypto_binance_perp_1d")))
    assert done.lost.select("rule", "symbol", "date").rows() == [
        ("toxic_bar", "BINANCE:BLESSUSDT.P", date(2025, 10, day)) for day in (15, 16)
    ]
    assert done.lives.filter((pl.col("event") == "genesis") & (pl.col("life") == 0)).height == 538


def test_a_crash_whose_next_bar_regains_a_part_is_real(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", path=str(shared_data("crypto_binance_perp_1d")))
    assert done.return_at("BINANCE:ZKJUSDT.P", date(2025, 6, 15)) == pytest.approx(-0.838, abs=1e-3)


def test_a_crawl_that_sends_every_row_twice_is_counted(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", "XNYS", path=str(shared_data("us_raw_vintages_1d")))
    assert done.excluded()["duplicate_row"] + done.excluded()["restated_row"] == 82_476
    assert done.raw.height == done.bars.height + done.lost.height


def test_sundays_of_currencies_are_off_session(shared_data: Find, ingest_source: Any) -> None:
    done = ingest_source("parquet", "24/5", path=str(shared_data("fx_cfd_lean_1d")))
    assert done.excluded() == {"off_session": 5421}


@pytest.mark.parametrize(
    ("name", "calendar", "toxic"),
    [
        ("us_raw_2015_2017_1d", "XNYS", 86),
        pytest.param("crypto_coingecko_2021_1d", "24/7", 515, marks=pytest.mark.slow),
        ("crypto_binance_2021_2022_1d", "24/7", 0),
    ],
)
def test_no_fall_only_takes_back_a_rise_that_was_not_told(
    shared_data: Find, ingest_source: Any, name: str, calendar: str, toxic: int
) -> None:
    done = ingest_source("parquet", calendar, path=str(shared_data(name)))
    assert done.excluded().get("toxic_bar", 0) == toxic
    before = pl.col("close").shift(1).over("symbol")
    is_new = (pl.col("life") != pl.col("life").shift(1)).over("symbol")
    # An excluded rise leaves no hole: the next return runs from the close before it. A new life does.
    table = (
        done.bars.sort("symbol", "date")
        .join(done.returns, on=["date", "symbol"], maintain_order="left")
        .with_columns(session=pl.col("date").rank("dense").cast(pl.Int64), before=before, is_new=is_new)
        .with_columns(change=pl.col("close") / pl.col("before") - 1.0)
    )
    told = table.filter(~pl.col("is_new") & ~pl.col("is_provisional"))
    assert (told["change"] - told["simple_return"]).abs().max() == 0.0
    rises = table.filter(pl.col("is_new") & (pl.col("change") > 5.0)).select("symbol", "session", level="before")
    falls = table.filter(pl.col("simple_return") < -0.8).select("symbol", "close", at="session")
    beside = falls.join(rises, on="symbol").filter((pl.col("at") - pl.col("session")).is_between(0, 20))
    assert rises.height
    assert falls.height
    assert beside.filter((pl.col("close") / pl.col("level")).is_between(0.5, 2.0)).is_empty()


def test_a_stable_coin_quoted_at_ten_dollars_for_a_week_loses_nothing_on_its_way_back(
    shared_data: Find, ingest_source: Any
) -> None:
    done = ingest_source("parquet", path=str(shared_data("crypto_coingecko_2021_1d")))
    chai = done.bars.filter(pl.col("symbol") == "COINGECKO:chai").sort("date")
    week = chai.filter(pl.col("date").is_between(date(2021, 1, 8), date(2021, 1, 15)))
    assert week["close"].round(2).to_list()[0] == pytest.approx(0.97)
    assert week["life"].to_list() == [0, *[1] * 6, 2]
    assert done.return_at("COINGECKO:chai", date(2021, 1, 15)) is None
