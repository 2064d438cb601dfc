from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import ConfigError, SourceError
from quant_core.ingest.sources.folder import FolderParams, folder, folder_files
from quant_core.ingest.sources.source import Batch, Landed, sources
from quant_core.market.sleeves import Sleeve

HEAD = "date,symbol,close\n"
NOW = datetime(2024, 2, 1, tzinfo=UTC)
DAY = date(2024, 1, 1)


class Reader:
    """A folder and what of it has landed."""

    def __init__(self, root: Path) -> None:
        self.root, self.marks, self.told = root, dict[str, str](), list[str]()

    def write(self, name: str, content: str | bytes | pl.DataFrame) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def land(self, **options: Any) -> list[Batch]:
        params = folder.options({"path": str(self.root), **options})
        assert isinstance(params, FolderParams)
        landed = Landed(dict(self.marks), NOW, self.told.append)
        batches = []
        for batch in folder.batches(params, Sleeve(name="x", calendar="24/7"), landed):
            batches.append(batch)
            self.marks |= batch.marks
        return batches


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    root = tmp_path / "data"
    root.mkdir()
    return Reader(root)


def closes(batches: list[Batch]) -> list[list[float]]:
    return [batch.rows.valid["close"].to_list() for batch in batches]


def names(batches: list[Batch]) -> list[Any]:
    return [batch.request["file"] for batch in batches]


def test_each_file_is_one_batch_in_order_of_the_names_with_its_hash(reader: Reader) -> None:
    reader.write("b.csv", HEAD + "2024-01-02,A:X,2\n")
    reader.write("a/z.csv", HEAD + "2024-01-03,A:X,3\n")
    reader.write("a.csv", HEAD + "2024-01-01,A:X,1\n")
    reader.write("c.parquet", pl.DataFrame({"date": [DAY], "symbol": ["A:Y"], "close": [4.0]}))
    batches = reader.land()
    assert names(batches) == ["a.csv", "a/z.csv", "b.csv", "c.parquet"]
    assert closes(batches) == [[1.0], [3.0], [2.0], [4.0]]
    for batch in batches:
        content = (reader.root / str(batch.request["file"])).read_bytes()
        assert batch.request["sha256"] == hashlib.sha256(content).hexdigest()
        assert batch.marks[str(batch.request["file"])] == batch.request["sha256"]
    assert str(reader.root) not in json.dumps([dict(batch.request) for batch in batches])


def test_only_what_is_new_or_changed_is_read_again_whatever_its_time_and_size(reader: Reader) -> None:
    kept = reader.write("a.csv", HEAD + "2024-01-01,A:X,1\n")
    changed = reader.write("b.csv", HEAD + "2024-01-01,A:Y,1\n")
    reader.land()
    assert reader.land() == []
    stat = changed.stat()
    reader.write("b.csv", HEAD + "2024-01-01,A:Y,2\n")
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.utime(kept, ns=(0, 0))
    reader.write("c.csv", HEAD + "2024-01-01,A:Z,3\n")
    batches = reader.land()
    assert names(batches) == ["b.csv", "c.csv"]
    assert closes(batches) == [[2.0], [3.0]]


def test_of_a_file_that_only_grew_the_rows_below_are_landed(reader: Reader) -> None:
    first = "\ufeff" + HEAD + "2024-01-01,A:X,1\n\nragged\n2024-01-02,A:X,2\n"
    reader.write("a.csv", first)
    reader.land()
    reader.write("a.csv", first + "2024-01-03,A:X,n/a\n")
    (batch,) = reader.land()
    assert batch.rows.valid.is_empty()
    assert batch.rows.exclusions.select("rule", "row").rows() == [("close_not_a_number", 4)]
    reader.write("a.csv", first + "2024-01-03,A:X,n/a\n2024-01-04,A:X,4\n")
    (batch,) = reader.land()
    assert batch.rows.valid.select("row", "close").rows() == [(5, 4.0)]
    assert batch.request["first_row"] == 5
    assert batch.rows.exclusions.is_empty()
    assert reader.land() == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2024-01-01,A:X,1\n", "2024-01-01,A:X,9\n2024-01-02,A:X,2\n"),
        ("2024-01-01,A:X,1\n2024-01-02,A:X,2", "2024-01-01,A:X,1\n2024-01-02,A:X,20\n"),
        ("2024-01-01,A:X,1\n2024-01-02,A:X,2\n", "2024-01-01,A:X,1\n"),
    ],
)
def test_a_file_that_changed_or_was_cut_inside_is_landed_as_a_whole(reader: Reader, before: str, after: str) -> None:
    reader.write("a.csv", HEAD + before)
    reader.land()
    reader.write("a.csv", HEAD + after)
    (batch,) = reader.land()
    assert batch.request["first_row"] == 0
    assert batch.rows.valid.height == after.count("\n")


def test_a_packed_file_and_bars_within_the_day_are_landed_as_a_whole_when_they_grow(reader: Reader) -> None:
    bars = "timestamp,symbol,close\n" + "".join(f"2024-01-01T{hour:02}:00Z,A:X,{hour + 1}\n" for hour in range(24))
    schema = {"interval": "1h"}
    reader.write("a.csv", bars.partition("T20:")[0].rpartition("\n")[0] + "\n")
    (batch,) = reader.land(schemas=[schema])
    assert batch.rows.excluded == {"forming_bar": 20}
    reader.write("a.csv", bars)
    (batch,) = reader.land(schemas=[schema])
    assert batch.rows.valid.select("close").rows() == [(24.0,)]


def test_factors_of_raw_prices_are_landed_once_and_when_they_change(reader: Reader) -> None:
    reader.write("a.csv", HEAD + "2024-01-01,X,1\n")
    factors = reader.root.parent / "factors.csv"
    factors.write_text("date,symbol,kind,factor\n2024-01-02,X,split,0.5\n")
    options = {"factors": str(factors), "schemas": [{"venue": "A"}]}
    first, second = reader.land(**options)
    assert first.actions is not None
    assert first.actions.select("date", "symbol", "kind", "factor").rows() == [(date(2024, 1, 2), "A:X", "split", 0.5)]
    assert first.rows.valid.is_empty()
    assert second.actions is None
    assert reader.land(**options) == []
    assert reader.told == []
    factors.write_text("date,symbol,kind,factor\n2024-01-02,X,split,0.25\n")
    (again,) = reader.land(**options)
    assert again.actions is not None
    assert again.actions["factor"].to_list() == [0.25]


def test_an_interrupted_landing_goes_on_with_the_files_it_lacks(reader: Reader) -> None:
    reader.write("a.csv", HEAD + "2024-01-01,A:X,1\n")
    reader.write("b.csv", HEAD + "2024-01-01,A:Y\n")
    reader.write("c.csv", HEAD + "2024-01-01,A:Z,3\n")
    with pytest.raises(SourceError, match=r"b\.csv"):
        reader.land()
    assert list(reader.marks) == ["a.csv", "a.csv#bytes"]
    reader.write("b.csv", HEAD + "2024-01-01,A:Y,2\n")
    assert names(reader.land()) == ["b.csv", "c.csv"]


def test_a_file_that_is_gone_is_told_and_its_rows_stay(reader: Reader) -> None:
    reader.write("a.csv", HEAD + "2024-01-01,A:X,1\n")
    gone = reader.write("b.csv", HEAD + "2024-01-01,A:Y,1\n")
    reader.land()
    assert reader.told == []
    gone.unlink()
    assert reader.land() == []
    assert reader.told == ["files=1 are gone from the folder, their rows stay landed: b.csv"]


def test_files_of_several_schemas_are_read_each_by_the_first_that_matches(reader: Reader) -> None:
    reader.write("eod/bars.csv", "Datum;Kürzel;Schluss\n2024-01-01;X;1,5\n".encode("latin-1"))
    reader.write("AAPL.csv", "Date,Close,symbol\n2024-01-01,2.5,ignored\n")
    reader.write("old.parquet", pl.DataFrame({"date": [DAY], "symbol": ["B:Y"], "close": [3.5]}))
    german = {
        "pattern": "eod/*.csv",
        "columns": {"Datum": "date", "Kürzel": "symbol", "Schluss": "close"},
        "venue": "DE",
        "encoding": "latin-1",
        "separator": ";",
        "decimal": ",",
    }
    single = {
        "pattern": "*.csv",
        "columns": {"Date": "date", "Close": "close"},
        "venue": "US",
        "symbol_from": "file stem",
    }
    batches = reader.land(schemas=[german, single, {"pattern": "*.parquet"}])
    rows = [batch.rows.valid.select("symbol", "close").row(0) for batch in batches]
    assert rows == [("US:AAPL", 2.5), ("DE:X", 1.5), ("B:Y", 3.5)]
    assert batches[0].request["ignored"] == ["symbol"]


def test_a_file_no_schema_matches_is_named_before_anything_lands(reader: Reader) -> None:
    reader.write("a.csv", HEAD + "2024-01-01,A:X,1\n")
    reader.write("b.parquet", pl.DataFrame({"date": [DAY]}))
    with pytest.raises(SourceError, match=r"b\.parquet matches no schema .* are '\*\.csv'"):
        reader.land(schemas=[{"pattern": "*.csv"}])
    assert reader.marks == {}


def test_the_day_in_a_name_is_when_its_rows_were_known(reader: Reader) -> None:
    reader.write("2024-01-05.csv", HEAD + "2024-01-01,A:X,1\n")
    reader.write("crawl_20240106.csv", HEAD + "2024-01-01,A:X,2\n")
    schema = {"known_at_from": r"(\d{4}-?\d{2}-?\d{2})\.csv$"}
    stamps = [batch.rows.valid["known_at"].item() for batch in reader.land(schemas=[schema])]
    assert stamps == [datetime(2024, 1, day, 23, 59, 59, 999999, UTC) for day in (5, 6)]


@pytest.mark.parametrize("name", ["latest.csv", "2024-13-01.csv", "24-01-01.csv"])
def test_a_name_without_the_day_it_should_have_is_an_error(reader: Reader, name: str) -> None:
    reader.write(name, HEAD + "2024-01-01,A:X,1\n")
    with pytest.raises(SourceError, match=r"its name has no date where known_at_from"):
        reader.land(schemas=[{"known_at_from": r"^(\d+-\d+-\d+)"}])


@pytest.mark.parametrize("name", ["BRK B.csv", ".csv", "A:B.csv"])
def test_a_name_that_is_no_ticker_is_an_error_or_hidden(reader: Reader, name: str) -> None:
    reader.write(name, "date,close\n2024-01-01,1\n")
    said = "no .csv" if name.startswith(".") else "its name is not a ticker"
    with pytest.raises(SourceError, match=said):
        reader.land(schemas=[{"venue": "US", "symbol_from": "file stem"}])


def test_the_ticker_of_a_packed_file_is_its_name_without_either_suffix(reader: Reader) -> None:
    reader.write("BRK.B.csv.gz", gzip.compress(b"date,close\n2024-01-01,1\n"))
    (batch,) = reader.land(schemas=[{"venue": "US", "symbol_from": "file stem"}])
    assert batch.rows.valid["symbol"].to_list() == ["US:BRK.B"]


def test_a_file_that_lost_a_column_is_named_and_one_that_gained_a_column_tells_it(reader: Reader) -> None:
    reader.write("a.csv", "date,symbol,close,volume\n2024-01-01,A:X,1,5\n")
    reader.write("b.csv", "date,symbol,close,vwap\n2024-01-02,A:X,1,5\n")
    first, second = reader.land()
    assert first.request["absent"] == ["open", "high", "low"]
    assert second.request["absent"] == ["open", "high", "low", "volume"]
    assert second.request["ignored"] == ["vwap"]
    reader.write("c.csv", "date,symbol,last\n2024-01-03,A:X,1\n")
    with pytest.raises(SourceError, match=r"c\.csv lacks close; it has date, symbol, last"):
        reader.land()


def test_a_file_whose_column_changed_its_type_is_named(reader: Reader) -> None:
    good = {"date": [DAY], "symbol": ["A:X"], "close": [1.0]}
    reader.write("a.parquet", pl.DataFrame(good))
    reader.write("b.parquet", pl.DataFrame({**good, "close": [True]}))
    with pytest.raises(SourceError, match=r"b\.parquet: close is Boolean, not numbers"):
        reader.land()
    reader.write("b.parquet", pl.DataFrame({**good, "close": ["n/a"]}))
    with pytest.raises(SourceError, match=r"b\.parquet: none of its 1 rows can be read; the first has close='n/a'"):
        reader.land()


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + b"\xff" * 80 + b"PAR1"])
def test_a_damaged_parquet_file_is_named(reader: Reader, damage: bytes) -> None:
    reader.write("a.parquet", damage)
    with pytest.raises(SourceError, match=r"a\.parquet cannot be read"):
        reader.land()


def test_hidden_temporary_and_other_files_are_skipped(reader: Reader) -> None:
    good = HEAD + "2024-01-01,A:X,1\n"
    for name in (".a.csv", ".git/a.csv", "~$a.csv", "a.csv.tmp", "a.csv.part", "a.csv~", "README.txt", "a.CSV"):
        reader.write(name, good)
    assert names(reader.land()) == ["a.CSV"]
    assert names(Reader(reader.root).land(pattern="*")) == ["a.CSV"]


def test_a_pattern_chooses_among_the_files(reader: Reader) -> None:
    for name in ("a.csv", "sub/b.csv", "sub/deep/c.csv"):
        reader.write(name, HEAD + "2024-01-01,A:X,1\n")
    found = {pattern: list(folder_files(reader.root, pattern)) for pattern in ("*.csv", "sub/*", "**/*.csv")}
    assert found == {
        "*.csv": ["a.csv"],
        "sub/*": ["sub/b.csv"],
        "**/*.csv": ["a.csv", "sub/b.csv", "sub/deep/c.csv"],
    }
    with pytest.raises(SourceError, match=r"no \.csv, \.csv\.gz or \.parquet file that matches '\*\.txt'"):
        folder_files(reader.root, "*.txt")


def _outside_file(reader: Reader) -> None:
    target = reader.root.parent / "secret.csv"
    target.write_text(HEAD + "2024-01-01,A:X,1\n")
    (reader.root / "b.csv").symlink_to(target)


def _outside_folder(reader: Reader) -> None:
    target = reader.root.parent / "elsewhere"
    target.mkdir()
    (target / "c.csv").write_text(HEAD + "2024-01-01,A:X,1\n")
    (reader.root / "sub").symlink_to(target)


def _nowhere(reader: Reader) -> None:
    (reader.root / "b.csv").symlink_to(reader.root / "missing.csv")


def _loop(reader: Reader) -> None:
    (reader.root / "b.csv").symlink_to(reader.root / "c.csv")
    (reader.root / "c.csv").symlink_to(reader.root / "b.csv")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (_outside_file, "leads out of the folder"),
        (_outside_folder, "leads out of the folder"),
        (_nowhere, "leads nowhere"),
        (_loop, "leads nowhere|cannot be searched"),
    ],
)
@pytest.mark.parametrize("pattern", ["**/*", "*"])
def test_a_link_that_leads_out_of_the_folder_or_nowhere_is_refused(
    reader: Reader, plant: Callable[[Reader], None], said: str, pattern: str
) -> None:
    reader.write("a.csv", HEAD + "2024-01-01,A:X,1\n")
    plant(reader)
    with pytest.raises(SourceError, match=said):
        reader.land(pattern=pattern)


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_fine(reader: Reader) -> None:
    reader.write("a.csv", HEAD + "2024-01-01,A:X,1\n")
    (reader.root / "b.csv").symlink_to("a.csv")
    link = reader.root.parent / "link"
    link.symlink_to(reader.root)
    assert list(folder_files(link, "**/*")) == ["a.csv", "b.csv"]


def test_no_folder_an_empty_one_and_a_file_are_errors(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"data has no \.csv"):
        reader.land()
    with pytest.raises(SourceError, match="no such folder"):
        Reader(tmp_path / "none").land()
    path = reader.write("a.csv", HEAD)
    with pytest.raises(SourceError, match="not a folder"):
        Reader(path).land()


def test_bars_within_the_day_are_put_together_file_by_file(reader: Reader) -> None:
    for day in (1, 2):
        lines = "".join(f"2024-01-0{day}T{hour:02}:00Z,{day}\n" for hour in range(24))
        reader.write(f"2024-01-0{day}/BTC.csv", "timestamp,close\n" + lines)
    schema = {"interval": "1h", "venue": "X", "symbol_from": "file stem"}
    batches = reader.land(schemas=[schema])
    rows = [batch.rows.valid.select("date", "symbol", "close").row(0) for batch in batches]
    assert rows == [(date(2024, 1, 1), "X:BTC", 1.0), (date(2024, 1, 2), "X:BTC", 2.0)]
    assert batches[0].request["bars"] == 24


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pattern": "../*"}, "must not lead out of the folder"),
        ({"pattern": "/etc/*"}, "must not lead out of the folder"),
        ({"pattern": ""}, "at least 1 character"),
        ({"schemas": []}, "at least 1 item"),
        ({"schemas": [{"symbol_from": "file stem"}]}, "needs a venue"),
        (
            {"schemas": [{"symbol_from": "file stem", "venue": "A", "columns": {"x": "symbol"}}]},
            "no column called symbol",
        ),
        ({"schemas": [{"known_at_from": "("}]}, "no regular expression"),
        ({"schemas": [{"known_at_from": r"\d+"}]}, "no group around the date"),
        ({"schemas": [{"colums": {}}]}, "colums: Extra inputs"),
        ({"schemas": [{"decimal": ","}]}, "needs another separator"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sources()["folder"].options({"path": "x", **options})
