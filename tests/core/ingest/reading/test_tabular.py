from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import ConfigError, SourceError
from quant_core.ingest.reading.tabular import TableParams, file_rows
from quant_core.ingest.sources.parquet import ParquetParams
from quant_core.ingest.sources.source import sources
from quant_core.market.calendar import calendar
from quant_core.market.contracts.split import Split

HEAD = "date,symbol,close\n"
LINES = "2024-01-01,A:X,1.5\n2024-01-02,A:X,2.5\n"
ALWAYS = calendar("24/7")
Read = Callable[..., Split]


def rows_of(content: bytes, name: str = "bars.csv", **options: Any) -> Split:
    return file_rows(Path(name), TableParams(**options), ALWAYS, content=content)[0]


def test_text_in_the_declared_encoding_is_read() -> None:
    text = "date,symbol,close\n2024-01-01,A:ÄÖ,1.5\n2024-01-02,A:X,2.5\n"
    for encoding in ("utf-8", "utf-16", "latin-1", "cp1252"):
        assert rows_of(text.encode(encoding), encoding=encoding).valid["symbol"].to_list() == ["A:ÄÖ", "A:X"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_text_in_another_encoding_than_declared_is_an_error_that_names_the_option(encoding: str) -> None:
    with pytest.raises(SourceError, match=r"bars\.csv is not text in utf-8 .*option `encoding`"):
        rows_of((HEAD + "2024-01-01,A:Ä,1\n").encode(encoding))


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_an_error_not_columns_of_garbage(codec: str) -> None:
    content = (HEAD + LINES).encode(codec)
    with pytest.raises(SourceError, match=r"NUL bytes.*option `encoding`"):
        rows_of(content)


def test_utf_16_read_in_the_wrong_byte_order_is_an_error() -> None:
    with pytest.raises(SourceError):
        rows_of((HEAD + LINES).encode("utf-16-be"), encoding="utf-16")


def test_bytes_a_code_page_does_not_know_are_an_error() -> None:
    with pytest.raises(SourceError, match="not text in cp1252"):
        rows_of(HEAD.encode() + b"2024-01-01,A:\x81,1\n", encoding="cp1252")


def test_an_invalid_byte_far_into_a_large_file_is_an_error() -> None:
    content = (HEAD + LINES * 40_000).encode()
    assert len(content) > 1 << 20
    with pytest.raises(SourceError, match="not text in utf-8"):
        rows_of(content[:-3] + b"\xff" + content[-2:])


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + HEAD + LINES).encode(),
        (HEAD + LINES).replace("\n", "\r\n").encode(),
        ("\n\r\n" + HEAD + "\n  \n" + LINES.replace("\n", "\n\n,,\n") + "   ").encode(),
        (HEAD + LINES).replace(",", '","').replace("\n", '"\n"').removesuffix('"').join(['"', ""]).encode(),
    ],
)
def test_marks_line_ends_blank_lines_and_quotes_change_no_value(content: bytes) -> None:
    parted = rows_of(content)
    assert parted.valid.drop("row").rows() == rows_of((HEAD + LINES).encode()).valid.drop("row").rows()
    assert parted.exclusions.is_empty()


def test_blank_lines_count_in_the_numbering_but_are_no_rows() -> None:
    parted = rows_of((HEAD + LINES.replace("\n", "\n\n") + "x\n").encode())
    assert parted.valid["row"].to_list() == [0, 2]
    assert parted.exclusions["row"].to_list() == [4]


def test_decimal_commas_are_numbers_only_when_declared() -> None:
    content = b"date;symbol;close\n2024-01-01;A:X;1,5\n2024-01-02;A:X;1234,25\n2024-01-03;A:X;7\n"
    assert rows_of(content, separator=";", decimal=",").valid["close"].to_list() == [1.5, 1234.25, 7.0]
    parted = rows_of(content, separator=";")
    assert parted.valid["close"].to_list() == [7.0]
    assert parted.excluded == {"close_not_a_number": 2}


@pytest.mark.parametrize(
    ("decimal", "text"),
    [
        (".", "1,234"),
        (".", "1,234.5"),
        (".", "1 234"),
        (".", "1'234"),
        (",", "1.234"),
        (",", "1.234,5"),
        (",", "1,2,3"),
    ],
)
def test_thousands_separators_are_no_number(decimal: str, text: str) -> None:
    content = f"date;symbol;close\n2024-01-01;A:X;{text}\n2024-01-02;A:X;1\n".encode()
    parted = rows_of(content, separator=";", decimal=decimal)
    assert parted.excluded == {"close_not_a_number": 1}
    assert parted.exclusions["detail"].item() == f"close='{text}'"


@pytest.mark.parametrize("text", ["inf", "-inf", "Infinity", "1e400", "-1e400"])
def test_numbers_that_are_not_finite_are_excluded_and_shown(text: str) -> None:
    parted = rows_of(f"{HEAD}2024-01-01,A:X,{text}\n{LINES}".encode())
    assert parted.excluded == {"close_not_finite": 1}
    assert parted.exclusions["detail"].item() == f"close='{text}'"
    assert json.loads(parted.exclusions["record"].item())["close"] == text


@pytest.mark.parametrize("text", ["NaN", "nan", "", " ", '""'])
def test_nan_and_empty_text_are_not_known(text: str) -> None:
    assert rows_of(f"{HEAD}2024-01-01,A:X,{text}\n{LINES}".encode()).valid["close"].to_list() == [None, 1.5, 2.5]


def test_infinities_of_a_parquet_file_are_excluded_too(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    days = [date(2024, 1, 1)] * 3
    pl.DataFrame({"date": days, "symbol": ["A:X"] * 3, "close": [1.0, np.inf, np.nan]}).write_parquet(path)
    parted = file_rows(path, TableParams(), ALWAYS)[0]
    assert parted.valid["close"].to_list() == [1.0, None]
    assert parted.exclusions.select("rule", "row").rows() == [("close_not_finite", 1)]


@pytest.mark.parametrize(
    ("line", "fields"),
    [("2024-01-03,A:X", 2), ("2024-01-03,A:X,3,4", 4), ("Exceeded the daily hits limit", 1), ('"a,b",A:X', 2)],
)
def test_a_ragged_line_is_excluded_as_it_is_and_no_value_is_made_up(line: str, fields: int) -> None:
    parted = rows_of(f"{HEAD}2024-01-01,A:X,1.5\n{line}\r\n2024-01-02,A:X,2.5\n".encode())
    assert parted.valid.select("row", "close").rows() == [(0, 1.5), (2, 2.5)]
    lost = parted.exclusions.row(0, named=True)
    assert (lost["rule"], lost["row"]) == ("ragged_row", 1)
    assert lost["detail"] == f"{fields} fields where the header has 3"
    assert json.loads(lost["record"]) == {"line": line}


def test_only_ragged_lines_are_an_error() -> None:
    with pytest.raises(SourceError, match="none of its 2 rows can be read; the first has 1 fields where"):
        rows_of((HEAD + "a\nb\n").encode())


def test_a_separator_inside_quotes_is_part_of_the_value() -> None:
    parted = rows_of(b'date,name,symbol,close\n2024-01-01,"X, ""Y"" Inc",A:X,"1.5"\n2024-01-02,,A:X,2.5\n')
    assert parted.valid["close"].to_list() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('2024-01-03,"A:X\n",3', "runs over several lines at line 4, .*; is a quote missing"),
        ('2024-01-03,"A:X,3', "runs over several lines at line 4, .*; is a quote missing"),
        ('2024-01-03,A:"X",3', "begins or ends inside a field at line 4, .*; is a quote missing"),
        ('2024-01-03,"A:X" ,3', "begins or ends inside a field at line 4, .*; is a quote missing"),
    ],
)
def test_a_quote_out_of_place_is_an_error_that_names_the_line(line: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        rows_of((HEAD + LINES + line + "\n2024-01-04,A:X,4\n").encode())


def test_a_name_that_stands_twice_in_the_header_is_an_error() -> None:
    with pytest.raises(SourceError, match="close is in the header twice"):
        rows_of(b"date,symbol,close,close\n2024-01-01,A:X,1,2\n")
    assert rows_of(b"date,symbol,close,,\n2024-01-01,A:X,1,,\n").valid["close"].to_list() == [1.0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no rows"),
        (HEAD.encode(), "has no rows"),
        (b"Exceeded the daily hits limit", "has no rows; it begins with 'Exceeded the daily hits limit'"),
        (b"Exceeded the daily hits limit\n\n", "has no rows"),
        (b"<!DOCTYPE html>\n<html>\n<p>Sorry, busy\n", "not a table with separator ',';.*<!DOCTYPE html>"),
        (b'{"error": "quota"}\n{"x": 1}\n', """inside a field at line 1, '{"error": "quota"}'"""),
        (b"{\n}\n", "not a table with separator ','; it begins with '{'"),
        (
            b"date;symbol;close\n2024-01-01;A:X;1\n",
            "not a table with separator ','; it begins with 'date;symbol;close'",
        ),
        (b"<html><a,b>\n<p>1,2\n", "lacks date, symbol, close"),
    ],
)
def test_what_is_no_table_is_an_error_that_shows_its_beginning(content: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        rows_of(content)


def test_an_empty_gzip_file_is_an_error() -> None:
    with pytest.raises(SourceError, match="is empty"):
        rows_of(gzip.compress(b""), "bars.csv.gz")
    with pytest.raises(SourceError, match="cannot be read"):
        rows_of(b"\x1f\x8b\x08", "bars.csv.gz")


def test_a_cut_file_does_not_turn_a_number_into_another() -> None:
    parted = rows_of((HEAD + "2024-01-01,A:X,99.5\n2024-01-02,A:X,12").encode())
    assert parted.valid["close"].to_list() == [99.5]
    assert parted.exclusions.select("rule", "row").rows() == [("truncated_line", 1)]
    assert json.loads(parted.exclusions["record"].item()) == {"line": "2024-01-02,A:X,12"}
    assert rows_of((HEAD + "2024-01-01,A:X,99.5\r").encode()).valid["close"].to_list() == [99.5]


def test_columns_that_are_not_read_or_not_there_are_told() -> None:
    content = b"date,symbol,close,adj,volume\n2024-01-01,A:X,1,1,1\n"
    facts = file_rows(Path("bars.csv"), TableParams(), ALWAYS, content=content)[1]
    assert facts == {"ignored": ["adj"], "absent": ["open", "high", "low"]}


def test_the_time_a_file_was_known_fills_what_its_rows_do_not_say() -> None:
    known = datetime(2024, 1, 5, tzinfo=UTC)
    content = b"date,symbol,close,known_at\n2024-01-01,A:X,1,2024-01-02T00:00Z\n2024-01-01,A:Y,1,\n"
    rows = file_rows(Path("bars.csv"), TableParams(), ALWAYS, content=content, known_at=known)[0]
    assert rows.valid["known_at"].to_list() == [datetime(2024, 1, 2, tzinfo=UTC), known]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decimal": ","}, "decimal ',' needs another separator"),
        ({"encoding": "ebcdic"}, "encoding: Input should be 'utf-8'"),
        ({"separator": "::"}, "separator: Input should be"),
        ({"interval": "2d"}, "interval: .*expected minutes or hours below a day"),
        ({"interval": "24h"}, "interval: .*expected minutes or hours below a day"),
        ({"interval": "1h", "columns": {"Date": "date"}}, "dated by timestamp, not by date"),
        ({"columns": {"Time": "timestamp"}}, "dated by date, not by timestamp"),
        ({"stamped": "middle"}, "stamped: Input should be 'open' or 'close'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sources()["parquet"].options({"path": "x.csv", **options})


def test_stamps_are_instants_and_a_bare_day_is_none() -> None:
    text = "timestamp,symbol,close\n2024-01-01T00:00Z,A:X,1\n2024-01-01 13:00:00+02:00,A:X,2\n2024-01-01,A:X,3\n"
    text += "2024-01-01 23:00,A:X,4\n"
    parted = rows_of(text.encode(), interval="1h")
    assert parted.valid.select("row", "date", "close").rows() == [(0, date(2024, 1, 1), 4.0)]
    assert parted.exclusions.select("rule", "row").rows() == [("timestamp_not_a_time", 2)]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("timestamp", [date(2024, 1, 1)] * 2, "timestamp is Date, not a time"),
        ("timestamp", [1, 2], "timestamp is Int64, not a time"),
    ],
)
def test_stamps_of_an_unfit_type_are_an_error(tmp_path: Path, column: str, values: list[Any], said: str) -> None:
    path = tmp_path / "bars.parquet"
    pl.DataFrame({column: values, "symbol": ["A:X"] * 2, "close": [1.0] * 2}).write_parquet(path)
    with pytest.raises(SourceError, match=said):
        file_rows(path, TableParams(interval="1h"), ALWAYS)


def test_stamps_under_another_name_are_asked_for() -> None:
    with pytest.raises(SourceError, match=r"lacks timestamp; .* Near: date; map them under \[source.columns\]"):
        rows_of((HEAD + LINES).encode(), interval="1h")


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TABLES = st.lists(st.tuples(st.integers(0, 20_000), st.none() | NUMBERS, NUMBERS), min_size=1, max_size=12)
DIALECTS = st.tuples(
    st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", ","), ("|", ".")]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)


def _written(table: Any, dialect: Any) -> tuple[bytes, dict[str, Any]]:
    (separator, decimal), encoding, end, is_quoted = dialect
    quote = '"' if is_quoted else ""
    lines = [["date", "symbol", "Größe", "close"]]
    for k, (day, size, close) in enumerate(table):
        cells = ["" if number is None else repr(number).replace(".", decimal) for number in (size, close)]
        lines.append([str(date(1970, 1, 1) + timedelta(days=day)), f"V:S{k}", *cells])
    text = "".join(separator.join(f"{quote}{cell}{quote}" for cell in line) + end for line in lines)
    options = {"separator": separator, "decimal": decimal, "encoding": encoding.removesuffix("-sig")}
    return text.encode(encoding), {**options, "columns": {"Größe": "volume"}}


def _values(rows: Split) -> list[tuple[Any, ...]]:
    return rows.valid.select("row", "symbol", "volume", "close").rows()


@given(TABLES, DIALECTS)
@settings(max_examples=60, deadline=None)
def test_numbers_written_in_any_dialect_are_read_back_exactly(table: Any, dialect: Any) -> None:
    content, options = _written(table, dialect)
    rows = rows_of(content, **options)
    assert rows.exclusions.is_empty()
    assert _values(rows) == [(k, f"V:S{k}", size, close) for k, (_, size, close) in enumerate(table)]


@given(TABLES, DIALECTS, st.data())
@settings(max_examples=120, deadline=None)
def test_a_file_cut_at_any_byte_keeps_only_true_rows_from_its_beginning(table: Any, dialect: Any, data: Any) -> None:
    content, options = _written(table, dialect)
    cut = content[: data.draw(st.integers(0, len(content)))]
    try:
        rows = rows_of(cut, **options)
    except SourceError:
        return
    kept = _values(rows)
    assert kept == [(k, f"V:S{k}", size, close) for k, (_, size, close) in enumerate(table)][: len(kept)]
    assert rows.exclusions.height <= 1
    assert set(rows.excluded) <= {"truncated_line"}


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_rows_exclusions_or_an_error(noise: bytes) -> None:
    try:
        rows = rows_of(HEAD.encode() + noise)
    except SourceError:
        return
    lines = [line for line in noise.decode(errors="replace").split("\n") if line.replace(",", "").strip()]
    assert rows.valid.height + rows.exclusions.height == len(lines)


def test_every_key_of_a_table_is_a_key_of_the_source() -> None:
    assert set(TableParams.model_fields) < set(ParquetParams.model_fields)
