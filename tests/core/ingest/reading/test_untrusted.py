import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from quant_core.errors import SourceError
from quant_core.ingest.reading import parquet_child, untrusted
from quant_core.ingest.reading.untrusted import Limits, close_decoder, limits_for, untrusted_parquet

MOMENT = datetime(2024, 1, 1, 12, 30, 15, 123456)
TYPES = {
    "date": pl.Series([date(2024, 1, 1), None]),
    "stamp_us": pl.Series([MOMENT, None], dtype=pl.Datetime("us", "UTC")),
    "stamp_ns": pl.Series([MOMENT, None], dtype=pl.Datetime("ns")),
    "stamp_zone": pl.Series([MOMENT, None], dtype=pl.Datetime("ms", "America/New_York")),
    "time": pl.Series([time(9, 30), None]),
    "span": pl.Series([timedelta(seconds=1), None], dtype=pl.Duration("us")),
    "text": pl.Series(["é日本🙂", None]),
    "category": pl.Series(["a", None], dtype=pl.Categorical),
    "bytes": pl.Series([b"\0\xff", None]),
    "double": pl.Series([float("nan"), None]),
    "single": pl.Series([1.5, None], dtype=pl.Float32),
    "small": pl.Series([-1, None], dtype=pl.Int8),
    "large": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
    "flag": pl.Series([True, None]),
    "exact": pl.Series([Decimal("1.10"), None], dtype=pl.Decimal(10, 2)),
    "list": pl.Series([[1, 2], None]),
    "nothing": pl.Series([None, None], dtype=pl.Null),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bars.parquet"
    pl.DataFrame({"symbol": ["A", "B"], "close": [1.0, 2.0]}).write_parquet(path)
    return path


@pytest.fixture
def no_decoder() -> Iterator[None]:
    close_decoder()
    yield
    close_decoder()


def read(path: Path, content: bytes | None = None, limits: Limits | None = None) -> pl.DataFrame:
    with untrusted_parquet(path, content, limits=limits) as file:
        return file.columns(file.names())


def process_id() -> int:
    process = untrusted._decoder._process
    assert process is not None
    return process.process.pid


def test_columns_of_every_type_come_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "types.parquet"
    pl.DataFrame(TYPES).write_parquet(path)
    assert_frame_equal(read(path), pl.read_parquet(path))
    assert_frame_equal(read(path, path.read_bytes()), pl.read_parquet(path))


def test_columns_come_in_the_order_they_are_asked_for(path: Path) -> None:
    with untrusted_parquet(path) as file:
        assert file.names() == ("symbol", "close")
        assert file.columns(["close", "symbol"]).columns == ["close", "symbol"]
        assert file.columns(["close"])["close"].to_list() == [1.0, 2.0]
        with pytest.raises(SourceError, match=r"bars\.parquet cannot be read: .*volume"):
            file.columns(["volume"])


def test_a_table_without_rows_is_one(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    pl.DataFrame(schema={"close": pl.Float64}).write_parquet(path)
    assert read(path).schema == {"close": pl.Float64}


def test_one_process_decodes_all_files_without_the_secrets_of_this_one(
    path: Path, no_decoder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_SECRET", "hunter2")
    read(path)
    first = process_id()
    read(path)
    assert process_id() == first
    assert "API_SECRET" not in psutil.Process(first).environ()
    close_decoder()
    assert not psutil.pid_exists(first)


def test_a_process_that_ended_between_two_files_is_replaced(path: Path) -> None:
    read(path)
    first = psutil.Process(process_id())
    first.kill()
    first.wait(10)
    assert read(path).height == 2


def test_a_process_left_alone_is_replaced_before_it_ends_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(path)
    first = process_id()
    monkeypatch.setattr(untrusted, "_IDLE_SECONDS", 0.0)
    read(path)
    assert process_id() != first


def test_a_forked_process_leaves_the_decoder_to_its_parent(path: Path) -> None:
    read(path)
    first = psutil.Process(process_id())
    untrusted._decoder.forget()
    assert read(path).height == 2
    assert process_id() != first.pid
    parents = untrusted._decoder._foreign.pop()
    parents.end(wait=10.0)
    assert parents.last_words() == ""


def test_a_small_file_that_unpacks_to_a_large_table_is_refused(tmp_path: Path, no_decoder: None) -> None:
    path = tmp_path / "bomb.parquet"
    # In lists, of which one is one row: long columns are refused before they are decoded.
    values = pa.nulls(1 << 20, pa.float64())
    empty = pa.table({"close": pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)})
    with pq.ParquetWriter(path, empty.schema, compression="zstd") as file:
        for _ in range(100):
            file.write_table(empty)
    assert path.stat().st_size < 100 * empty.nbytes // 1_000
    with pytest.raises(SourceError, match=r"bomb\.parquet cannot be read: .*(memory|asks for more)"):
        read(path, limits=Limits(memory=1_400_000_000, seconds=20.0))


def test_a_file_that_takes_too_long_is_refused(path: Path, no_decoder: None) -> None:
    with pytest.raises(SourceError, match=r"bars\.parquet cannot be read: decoding it took longer than"):
        read(path, limits=Limits(memory=8 << 30, seconds=0.001))
    assert read(path).height == 2


def test_larger_files_may_use_more(path: Path) -> None:
    assert limits_for(0) == Limits(untrusted.MEMORY_BYTES, untrusted.SECONDS)
    assert limits_for(1 << 30).memory > limits_for(0).memory
    assert limits_for(1 << 30).seconds > limits_for(0).seconds


ANSWER = "import os, socket, sys, time; channel = socket.socket(fileno=int(sys.argv[1])); channel.recv(4);"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import os; os.abort()", "was ended by a signal .Aborted"),
        (f"{ANSWER} os.kill(os.getpid(), 11)", "was ended by a signal .Segmentation"),
        (f"{ANSWER} sys.exit('out of luck')", "ended with 1 .out of luck."),
        (f"{ANSWER} channel.sendall(b'\\xff' * 64)", "ended with 0"),
        (f"{ANSWER} channel.sendall(b'\\0\\0\\0\\2[]')", "ended with 0"),
        (f"{ANSWER} channel.sendall(b'\\0\\0\\0\\2{{}}'); time.sleep(1)", "not what was asked for"),
        (f"{ANSWER} time.sleep(60)", "took longer"),
    ],
)
def test_whatever_becomes_of_the_process_is_an_error_that_names_the_file(
    path: Path, tmp_path: Path, no_decoder: None, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    (tmp_path / "child.py").write_text(script)
    monkeypatch.setattr(parquet_child, "__file__", str(tmp_path / "child.py"))
    with pytest.raises(SourceError, match=rf"bars\.parquet cannot be read: .*{said}"):
        read(path, limits=Limits(memory=8 << 30, seconds=0.2 if "sleep(60)" in script else 10.0))
    assert untrusted._decoder._process is None


@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_a_damaged_file_is_a_table_or_an_error_that_names_it(path: Path, harm: str) -> None:
    rng, content = random.Random(harm), path.read_bytes()
    refused = 0
    for _ in range(100):
        at = rng.randrange(len(content))
        harmed = content[:at] if harm == "cut" else content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]
        with suppress(SourceError):
            assert isinstance(read(path, harmed), pl.DataFrame)
            refused -= 1
        refused += 1
    assert refused == 100 if harm == "cut" else refused > 30
