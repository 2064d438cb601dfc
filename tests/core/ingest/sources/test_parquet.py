import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import SourceError
from quant_core.ingest.sources.parquet import ParquetParams, parquet
from quant_core.ingest.sources.source import Batch, Landed
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve

HEAD = "date,symbol,close\n"
DAYS = [date(2024, 1, 1), date(2024, 1, 2)]
GOOD = {"date": DAYS, "symbol": ["A:X", "A:X"], "close": [1.0, 2.0]}


SLEEVE = Sleeve(name="x", calendar="24/7")


def batch_of(path: Path, **options: Any) -> Batch:
    (batch,) = parquet.batches(ParquetParams(path=str(path), **options), SLEEVE, Landed({}, datetime.now(UTC)))
    return batch


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Split]:
    """Write text, bytes or columns to a file and read it as a source."""

    def done(content: str | bytes | dict[str, Any], name: str = "", **options: Any) -> Split:
        path = tmp_path / (name or ("bars.parquet" if isinstance(content, dict) else "bars.csv"))
        if isinstance(content, dict):
            pl.DataFrame(content).write_parquet(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return batch_of(path, **options).rows

    return done


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.parquet"
    with pytest.raises(SourceError, match=r"nowhere\.parquet: no such file"):
        batch_of(path)
    with pytest.raises(SourceError, match="not a file"):
        batch_of(tmp_path)


@pytest.mark.parametrize("content", ["", HEAD, HEAD.strip(), {name: [] for name in GOOD}])
def test_a_file_without_rows_is_an_error(read: Callable[..., Split], content: Any) -> None:
    with pytest.raises(SourceError, match=r"has no rows|is empty"):
        read(content)


@pytest.mark.parametrize("content", [b"PAR1" + b"x" * 100 + b"PAR1", b"", b"PAR1", b"not parquet at all"])
def test_a_corrupt_parquet_file_is_an_error(read: Callable[..., Split], content: bytes) -> None:
    with pytest.raises(SourceError, match=r"bars\.parquet cannot be read"):
        read(content, "bars.parquet")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_parquet_file_is_an_error(read: Callable[..., Split], tmp_path: Path, keep: float) -> None:
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"date": DAYS * 500, "symbol": ["A:X"] * 1000, "close": range(1000)}).write_parquet(whole)
    content = whole.read_bytes()
    with pytest.raises(SourceError, match="cannot be read"):
        read(content[: int(keep * len(content))], "cut.parquet")


@pytest.mark.parametrize("damage", range(8))
def test_a_damaged_body_is_an_error_or_rows_never_another_exception(
    read: Callable[..., Split], tmp_path: Path, damage: int
) -> None:
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"date": DAYS * 500, "symbol": ["A:X"] * 1000, "close": range(1000)}).write_parquet(whole)
    content = bytearray(whole.read_bytes())
    at = 4 + damage * (len(content) - 12) // 8
    content[at : at + 8] = b"\xff" * 8
    with suppress(SourceError):
        assert read(bytes(content), "damaged.parquet").valid.height


def test_a_truncated_gzip_file_is_an_error(read: Callable[..., Split]) -> None:
    packed = gzip.compress((HEAD + "2024-01-01,A:X,1\n" * 50).encode())
    with pytest.raises(SourceError, match="cannot be read"):
        read(packed[:-12], "bars.csv.gz")


def test_another_ending_is_refused(read: Callable[..., Split]) -> None:
    with pytest.raises(SourceError, match=r"expected a name that ends in \.parquet, \.csv or \.csv\.gz"):
        read("x", "bars.xlsx")


def test_missing_columns_are_listed_with_what_is_there_and_what_is_near(read: Callable[..., Split]) -> None:
    with pytest.raises(SourceError, match=r"lacks symbol, close; it has date, Close, ticker.* Near: Close"):
        read("date,Close,ticker\n2024-01-01,1,A\n")
    with pytest.raises(SourceError, match=r"lacks Adj; it has date, symbol, close"):
        read(HEAD + "2024-01-01,A:X,1\n", columns={"Adj": "close"})


def test_columns_are_renamed_and_the_renamed_one_wins(read: Callable[..., Split]) -> None:
    text = "Date,ticker,close,Adj Close,extra\n2024-01-01,X,10,5,?\n2024-01-02,X,11,6,?\n"
    names = {"Date": "date", "ticker": "symbol", "Adj Close": "close"}
    valid = read(text, columns=names, venue="US").valid
    assert sorted(valid.columns) == ["close", "date", "row", "symbol"]
    assert valid["symbol"].to_list() == ["US:X", "US:X"]
    assert valid["close"].to_list() == [5.0, 6.0]


def test_only_symbols_without_a_venue_get_one(read: Callable[..., Split]) -> None:
    assert read(HEAD + "2024-01-01, X ,1\n2024-01-01,B:Y,1\n", venue="A").valid["symbol"].to_list() == ["A:X", "B:Y"]
    assert read(HEAD + "2024-01-01,X,1\n").valid["symbol"].to_list() == ["X"]


@pytest.mark.parametrize("text", ["abc", "1,5", "1_000", "0x10", "1.5.2", "12 USD", "--"])
def test_text_that_is_no_number_excludes_its_row_and_is_shown(read: Callable[..., Split], text: str) -> None:
    parted = read(f'{HEAD}2024-01-01,A:X,1\n2024-01-02,A:X,"{text}"\n2024-01-03,A:X,3\n')
    assert parted.valid["row"].to_list() == [0, 2]
    reason = parted.exclusions.row(0, named=True)
    assert (reason["rule"], reason["row"], reason["symbol"]) == ("close_not_a_number", 1, "A:X")
    assert reason["date"] == DAYS[1]
    assert reason["detail"] == f"close='{text}'"
    assert json.loads(reason["record"])["close"] == text


def test_a_row_with_several_faults_is_excluded_once_and_says_all(read: Callable[..., Split]) -> None:
    parted = read("date,symbol,open,close\n2024-02-30,A:X,?,x\n2024-01-02,A:X,1,1\n")
    assert parted.excluded == {"date_not_a_date": 1}
    assert parted.exclusions["detail"].item() == "date='2024-02-30', open='?', close='x'"
    assert parted.exclusions["date"].item() is None


def test_only_bad_rows_are_an_error_that_shows_the_first(read: Callable[..., Split]) -> None:
    with pytest.raises(SourceError, match=r"none of its 2 rows can be read; the first has close='a'"):
        read(HEAD + "2024-01-01,A:X,a\n2024-01-02,A:X,b\n")


def test_numbers_are_read_from_any_numeric_type_and_nan_is_not_known(read: Callable[..., Split]) -> None:
    valid = read({**GOOD, "open": [float("nan"), 1.0], "volume": [3, 4], "high": [None, None]}).valid
    assert valid.schema["volume"] == valid.schema["open"] == valid.schema["high"] == pl.Float64
    assert valid["open"].to_list() == [None, 1.0]
    assert read(HEAD + "2024-01-01,A:X,NaN\n2024-01-02,A:X,\n2024-01-03,A:X, 1e2 \n").valid["close"].to_list() == [
        None,
        None,
        100.0,
    ]


def test_text_columns_of_a_parquet_file_are_parsed_as_text_of_a_csv_is(read: Callable[..., Split]) -> None:
    parted = read({"date": ["2024-01-01", "x"], "symbol": ["A:X"] * 2, "close": ["1.5", "2"]})
    assert parted.valid.drop("row").row(0) == (DAYS[0], "A:X", 1.5)
    assert parted.excluded == {"date_not_a_date": 1}


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("close", [True, False], "close is Boolean, not numbers"),
        ("date", [20240101, 20240102], "date is Int64, not a date"),
        ("symbol", [["A"], ["B"]], "symbol is List"),
        ("known_at", [1, 2], "known_at is Int64, not a time"),
    ],
)
def test_a_column_of_an_unfit_type_is_an_error(
    read: Callable[..., Split], column: str, values: list[Any], said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        read({**GOOD, column: values})


def test_midnight_is_a_day_on_the_clock_of_its_own_stamp(read: Callable[..., Split]) -> None:
    stamps = ["2024-01-01", "2024-01-01 00:00", "2024-01-01T00:00:00.000Z", "2024-01-01 00:00:00-05:00"]
    assert read(HEAD + "".join(f"{stamp},A:X,1\n" for stamp in stamps)).valid["date"].to_list() == [DAYS[0]] * 4
    local = pl.Series([datetime(2024, 1, 1)]).dt.replace_time_zone("America/New_York")
    assert read({"date": local, "symbol": ["A:X"], "close": [1]}).valid["date"].to_list() == [DAYS[0]]


@pytest.mark.parametrize("stamp", ["2024-01-01 16:00", "2024-01-01T00:00:01Z", datetime(2024, 1, 1, 9, 30)])
def test_bars_within_the_day_are_refused(read: Callable[..., Split], stamp: Any) -> None:
    with pytest.raises(SourceError, match=r"times within the day, such as 2024-01-01.*need the option interval"):
        read({"date": [stamp], "symbol": ["A:X"], "close": [1.0]})


def test_a_known_at_without_a_clock_is_the_end_of_its_day(read: Callable[..., Split]) -> None:
    end = datetime(2024, 1, 3, 23, 59, 59, 999999, UTC)
    text = "date,symbol,close,known_at\n2024-01-01,A:X,1,2024-01-03\n2024-01-01,A:X,1,2024-01-03 10:00+02:00\n"
    assert read(text).valid["known_at"].to_list() == [end, datetime(2024, 1, 3, 8, 0, tzinfo=UTC)]
    assert read({**GOOD, "known_at": [date(2024, 1, 3)] * 2}).valid["known_at"].to_list() == [end] * 2
    naive = read({**GOOD, "known_at": [datetime(2024, 1, 3, 8), None]}).valid["known_at"].to_list()
    assert naive == [datetime(2024, 1, 3, 8, tzinfo=UTC), None]
    assert read(text + "2024-01-02,A:X,1,soon\n").excluded == {"known_at_not_a_time": 1}


def test_a_last_line_without_its_end_is_excluded_and_told(read: Callable[..., Split]) -> None:
    parted = read(HEAD + "2024-01-01,A:X,101.25\n2024-01-02,A:X,10")
    assert parted.valid["close"].to_list() == [101.25]
    assert parted.exclusions.select("rule", "row").row(0) == ("truncated_line", 1)
    assert "the source ends inside this line" in parted.exclusions["detail"].item()
    assert read(HEAD + "2024-01-01,A:X,1\r\n2024-01-02,A:X,10\r\n").exclusions.is_empty()


@pytest.mark.parametrize("quote", ['2024-01-01,"A:X,1\n', '2024-01-01,"A:X\n",1\n'])
def test_a_quote_that_swallows_lines_is_an_error(read: Callable[..., Split], quote: str) -> None:
    with pytest.raises(SourceError, match="a quote missing"):
        read(HEAD + quote + "2024-01-02,A:X,2\n2024-01-03,A:X,3\n")


def test_text_in_another_encoding_is_an_error(read: Callable[..., Split]) -> None:
    with pytest.raises(SourceError, match=r"bars\.csv is not text in utf-8 .* option `encoding`"):
        read((HEAD + "2024-01-01,A:\xc4X,1\n").encode("latin-1"))


def test_byte_order_mark_blank_lines_and_gzip_change_nothing(read: Callable[..., Split]) -> None:
    plain = "2024-01-01,A:X,1\n2024-01-02,A:X,2\n"
    expected = read(HEAD + plain).valid.drop("row")
    assert read("\ufeff" + HEAD + plain.replace("\n", "\n\n")).valid.drop("row").equals(expected)
    assert read(gzip.compress((HEAD + plain).encode()), "bars.csv.gz").valid.drop("row").equals(expected)


def test_the_record_says_what_was_not_read_and_no_path(read: Callable[..., Split], tmp_path: Path) -> None:
    read("date,symbol,close,volume,notes\n2024-01-01,A:X,1,2,x\n")
    batch = batch_of(tmp_path / "bars.csv")
    assert batch.request == {"file": "bars.csv", "ignored": ["notes"], "absent": ["open", "high", "low"]}
    assert batch.actions is None


def test_bars_within_the_day_are_made_daily(read: Callable[..., Split], tmp_path: Path) -> None:
    stamps = [f"2024-01-0{day} {hour:02}:00" for day in (1, 2) for hour in range(24)]
    text = "Open time,symbol,close\n" + "".join(f"{stamp},A:X,{k + 1}\n" for k, stamp in enumerate(stamps))
    valid = read(text, columns={"Open time": "timestamp"}, interval="1h").valid
    assert valid.select("row", "date", "symbol", "close").rows() == [
        (0, DAYS[0], "A:X", 24.0),
        (24, DAYS[1], "A:X", 48.0),
    ]
    batch = batch_of(tmp_path / "bars.csv", columns={"Open time": "timestamp"}, interval="1h")
    assert batch.request["interval"] == "1h"
    assert (batch.request["bars"], batch.request["days"], batch.request["thin_days"]) == (48, 2, 0)


def test_a_file_of_factors_comes_with_the_prices_as_actions(read: Callable[..., Split], tmp_path: Path) -> None:
    factors = tmp_path / "factors.csv"
    factors.write_text("date,symbol,kind,factor\n2024-01-02,X,split,0.5\n")
    read(HEAD + "2024-01-01,X,1\n")
    actions = batch_of(tmp_path / "bars.csv", venue="A", factors=str(factors)).actions
    assert actions is not None
    assert actions.select("date", "symbol", "kind", "factor").rows() == [(DAYS[1], "A:X", "split", 0.5)]
