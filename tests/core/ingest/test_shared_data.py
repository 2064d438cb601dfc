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
