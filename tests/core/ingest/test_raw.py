from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import ConfigError, SourceError
from quant_core.graph.judge import judge
from quant_core.ingest.raw import RawParams, raw
from quant_core.market.contracts.ingest import Raw
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve

Land = Callable[..., Split]


@pytest.fixture
def land(tmp_path: Path, new_landing: Any) -> Land:
    """Land a CSV."""

    def done(text: str, *, calendar: str = "24/7", as_of: str | None = None) -> Split:
        path = tmp_path / "bars.csv"
        path.write_text(text)
        params = RawParams(kind="parquet", options={"path": str(path)})
        return raw(params=params, sleeve=Sleeve(name="x", calendar=calendar), as_of=as_of, landing=new_landing())

    return done


def test_rows_are_numbered_as_they_arrive_and_absent_columns_are_not_known(land: Land) -> None:
    parted = land("date,symbol,close\n2024-01-02,A:X,2\n2024-01-01,A:X,1\n")
    assert list(parted.valid.columns) == list(Raw.dtypes)
    assert parted.valid.select("row", "close").rows() == [(0, 2.0), (1, 1.0)]
    assert parted.valid["open"].null_count() == parted.valid["known_at"].null_count() == 2


def test_rows_that_break_the_contract_keep_their_number(land: Land) -> None:
    text = "date,symbol,open,close\n,A:X,1,1\n2024-01-01,nameless,1,1\n2024-01-01,A:X,z,1\n0001-01-01,A:X,1,1\n"
    parted = land(text + "2024-01-02,A:X,inf,2\n2024-01-03,A:X,3,3\n")
    assert parted.valid["row"].to_list() == [5]
    assert parted.exclusions.select("row", "rule").rows() == [
        (0, "date_not_known"),
        (1, "symbol_malformed"),
        (2, "open_not_a_number"),
        (3, "date_too_low"),
        (4, "open_not_finite"),
    ]


def test_the_runner_refuses_a_landing_that_lost_most_of_its_rows(land: Land) -> None:
    parted = land("date,symbol,close\n" + "2024-01-01,nameless,1\n" * 9 + "2024-01-01,A:X,1\n")
    assert judge(raw, parted, rows_in={}).broken == ("budget: * excluded 9 of 10 rows, more than its share of 0.6.",)


def test_a_landing_without_a_usable_row_says_why(land: Land) -> None:
    with pytest.raises(SourceError, match=r"no usable row \(symbol_malformed: 1\)"):
        land("date,symbol,close\n2024-01-01,nameless,1\n")


@pytest.mark.parametrize(
    ("calendar", "as_of", "days"),
    [
        ("24/7", "2024-01-03", 2),  # the day of a market that never closes ends with the day
        ("24/7", "2024-01-04T00:00", 3),
        ("XNYS", "2024-01-03", 2),  # 1 January is a holiday, known at midnight
        ("XNYS", "2024-01-03T20:59:59", 1),
        ("XNYS", "2024-01-03T21:00:00Z", 2),
        ("XNYS", "2024-01-03T16:00:00-05:00", 2),
    ],
)
def test_a_bar_is_landed_from_its_close_on(land: Land, calendar: str, as_of: str, days: int) -> None:
    rows = "".join(f"2024-01-0{day},A:X,1\n" for day in range(2 if calendar == "XNYS" else 1, 6))
    assert land("date,symbol,close\n" + rows, calendar=calendar, as_of=as_of).valid.height == days


def test_a_row_is_not_landed_before_its_source_knew_it(land: Land) -> None:
    text = "date,symbol,close,known_at\n2024-01-01,A:X,1,2024-01-02\n2024-01-01,A:X,2,2024-01-09\n2024-01-02,A:X,1,\n"
    assert land(text, as_of="2024-01-05").valid["row"].to_list() == [0, 2]
    stamp = land(text).valid["known_at"][0]
    assert stamp == datetime(2024, 1, 2, 23, 59, 59, 999999, UTC)


def test_exclusions_of_later_dates_do_not_exist_yet(land: Land) -> None:
    text = "date,symbol,close\n2024-01-01,A:X,1\n2024-01-02,A:X,bad\n2024-01-05,A:X,bad\nnever,A:X,1\n"
    assert land(text, as_of="2024-01-03").exclusions["row"].to_list() == [1, 3]


def test_an_as_of_before_all_data_or_none_at_all_is_an_error(land: Land) -> None:
    text = "date,symbol,close\n2024-01-01,A:X,1\n"
    with pytest.raises(SourceError, match="before the first bar known, that of 2024-01-01"):
        land(text, as_of="2020-01-01")
    with pytest.raises(ConfigError, match="as-of 'yesterday' is not an ISO date"):
        land(text, as_of="yesterday")


def test_every_landed_row_keeps_the_contract(land: Land) -> None:
    parted = land("date,symbol,close,volume\n2024-01-01,A:X,1,5\n2024-01-02,A:X,-1,nan\n")
    done = judge(raw, parted, rows_in={})
    assert not done.broken
    assert done.valid.equals(parted.valid)
    assert done.valid.select(pl.col("date").max()).item() == date(2024, 1, 2)
