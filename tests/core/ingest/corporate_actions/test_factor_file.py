from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import SourceError
from quant_core.ingest.corporate_actions.factor_file import actions_of_factors, read_factors
from quant_core.market.contracts.ingest import Actions

SENT = {name: kind for name, kind in Actions.dtypes.items() if name != "row"}
CUMULATIVE = "date,symbol,price_factor,split_factor,reference_price\n2024-01-02,US:A,0.9,0.5,1\n2050-12-31,US:A,1,1,0\n"
LISTED = "date,symbol,kind,factor,to,known_at\n2024-01-03,US:A,split,0.5,,\n2024-02-01,US:A,rename,,US:B,2024-01-15\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "factors.csv"
    path.write_text(text)
    return path


def test_a_table_of_cumulative_factors_becomes_actions(tmp_path: Path) -> None:
    told = read_factors(written(tmp_path, CUMULATIVE))
    assert dict(told.schema) == SENT
    assert told.select("date", "kind", "factor", "known_at").rows() == [
        (date(2024, 1, 3), "dividend", 0.9, None),
        (date(2024, 1, 3), "split", 0.5, None),
    ]


def test_a_list_of_actions_is_taken_as_it_stands(tmp_path: Path) -> None:
    told = read_factors(written(tmp_path, LISTED))
    assert dict(told.schema) == SENT
    assert told.rows() == [
        (date(2024, 1, 3), "US:A", "split", 0.5, None, None),
        (date(2024, 2, 1), "US:A", "rename", None, "US:B", datetime(2024, 1, 15, 23, 59, 59, 999_999, UTC)),
    ]


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        ("2024-01-15T20:00:00Z", datetime(2024, 1, 15, 20, tzinfo=UTC)),
        ("2024-01-15 20:00:00", datetime(2024, 1, 15, 20, tzinfo=UTC)),
        ("2024-01-15T20:00:00.25-05:00", datetime(2024, 1, 16, 1, 0, 0, 250_000, UTC)),
    ],
)
def test_a_stamp_is_an_instant_of_utc_unless_it_says_otherwise(tmp_path: Path, stamp: str, moment: datetime) -> None:
    told = read_factors(written(tmp_path, LISTED.replace("2024-01-15", stamp)))
    assert told["known_at"].to_list() == [None, moment]


def test_a_parquet_file_reads_like_a_text(tmp_path: Path) -> None:
    for text in (CUMULATIVE, LISTED):
        told = read_factors(written(tmp_path, text))
        typed = pl.read_csv(tmp_path / "factors.csv", try_parse_dates=True)
        typed.write_parquet(tmp_path / "factors.parquet")
        assert read_factors(tmp_path / "factors.parquet").equals(told)
        told.write_parquet(tmp_path / "factors.parquet")
        assert read_factors(tmp_path / "factors.parquet").equals(told)


def test_blank_text_is_not_known(tmp_path: Path) -> None:
    told = read_factors(written(tmp_path, LISTED.replace("split,0.5,,", "split, 0.5 , , ")))
    assert told.row(0) == (date(2024, 1, 3), "US:A", "split", 0.5, None, None)


def test_symbols_without_a_venue_get_one(tmp_path: Path) -> None:
    told = read_factors(written(tmp_path, LISTED.replace("US:A", "A").replace("US:B", "LSE:B")), venue="US")
    assert told.select("symbol", "to").rows() == [("US:A", None), ("US:A", "LSE:B")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        (
            "date,symbol,factor\n2024-01-02,US:A,1\n",
            "it needs date, symbol, price_factor, split_factor or date, symbol",
        ),
        (CUMULATIVE.replace("0.9", "O.9"), "price_factor 'O.9' in row 0"),
        (CUMULATIVE.replace("2050-12-31", "2050-13-31"), "date '2050-13-31' in row 1"),
        (CUMULATIVE.replace("0.9", ""), "no positive number"),
        (CUMULATIVE.replace("0.9", "NaN"), "no positive number"),
        (CUMULATIVE.replace("2050-12-31", "2024-01-02"), "share symbol and date"),
        (LISTED.replace("2024-01-15", "soon"), "known_at 'soon' in row 1"),
        (LISTED.replace("0.5", "half"), "factor 'half' in row 0"),
    ],
)
def test_a_file_of_factors_is_believed_as_a_whole_or_not_at_all(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read_factors(written(tmp_path, text))


def test_what_is_no_file_of_factors_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_factors(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="not a file"):
        read_factors(tmp_path)
    (tmp_path / "factors.txt").write_text(LISTED)
    with pytest.raises(SourceError, match=r"\.parquet or \.csv"):
        read_factors(tmp_path / "factors.txt")
    (tmp_path / "factors.parquet").write_text(LISTED)
    with pytest.raises(SourceError, match="cannot be read"):
        read_factors(tmp_path / "factors.parquet")


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"date": [20240102], "symbol": ["US:A"], "price_factor": [1.0], "split_factor": [1.0]})
    table.write_parquet(tmp_path / "factors.parquet")
    with pytest.raises(SourceError, match="date is Int64, not Date"):
        read_factors(tmp_path / "factors.parquet")


FIRST = date(2024, 1, 1)


def day(k: int) -> date:
    return FIRST + timedelta(days=k)


def cumulative(*rows: tuple[date, float, float], symbol: str = "US:A") -> pl.DataFrame:
    schema = ["date", "price_factor", "split_factor"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(symbol=pl.lit(symbol))


def test_cumulative_factors_become_the_ratios_between_their_rows() -> None:
    table = cumulative((day(0), 0.72, 0.25), (day(9), 0.72, 0.25), (day(19), 0.9, 0.25), (date(2050, 12, 31), 0.9, 0.5))
    told = actions_of_factors(pl.concat([table, table.with_columns(symbol=pl.lit("US:B"))]).reverse())
    assert told.columns == [name for name in Actions.dtypes if name != "row"]
    assert told.filter(pl.col("symbol") == "US:A").select("date", "kind", "factor").rows() == [
        (day(10), "dividend", pytest.approx(0.8)),
        (day(20), "split", 0.5),
    ]
    assert told.filter(pl.col("symbol") == "US:B").height == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((day(9), 0.0, 1.0), "no positive number"),
        ((day(9), None, 1.0), "no positive number"),
        ((day(9), 1.0, float("nan")), "no positive number"),
        ((day(9), 1.0, -2.0), "no positive number"),
        ((None, 1.0, 1.0), "no positive number"),
        ((day(0), 1.0, 1.0), "share symbol and date"),
    ],
)
def test_a_factor_that_is_none_is_refused_because_its_neighbours_cannot_be_known(row: Any, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        actions_of_factors(pl.concat([cumulative((day(0), 1.0, 1.0)), cumulative(row)], how="vertical_relaxed"))
