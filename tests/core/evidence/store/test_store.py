import hashlib
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from quant_core.errors import ContractError, EvidenceError, IntegrityError, MissingVersionError, UnknownNameError
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.store.store import Store

ROOT = Path(__file__).parents[4]
KEY = ["symbol", "date"]

WRITER = """
import sys
from itertools import pairwise
from pathlib import Path
import numpy as np, polars as pl
from quant_core.evidence.store.store import Store
store = Store(Path(sys.argv[1]))
for number in range(10**9):
    frame = pl.DataFrame({"row": np.arange(300_000), "value": np.random.default_rng(number).normal(size=300_000)})
    print(store.write(frame, stage="ingest.bars", sleeve="s", key=["row"]).path, flush=True)
"""


def bars(symbols: int = 3, days: int = 4) -> pl.DataFrame:
    rows = symbols * days
    values = np.random.default_rng(1).normal(size=rows)
    return pl.DataFrame(
        {
            "symbol": np.repeat([f"X:{number:04}" for number in range(symbols)], days),
            "date": np.tile(np.arange(days), symbols),
            "close": values,
            "volume": [None if number % 7 == 0 else float(number) for number in range(rows)],
        }
    ).with_columns(date=pl.date(2020, 1, 1) + pl.duration(days="date"))


def write_table(store: Store, frame: pl.DataFrame) -> DataRef:
    return store.write(frame, stage="ingest.bars", sleeve="us", key=KEY)


def settle(path: Path) -> None:
    os.utime(path, ns=(10**18, 10**18))


def test_a_table_comes_back_sorted_under_a_name_that_is_its_hash(tmp_path):
    store, frame = Store(tmp_path), bars()
    ref = write_table(store, frame.reverse())
    assert_frame_equal(store.read(ref), frame)
    assert_frame_equal(store.read(ref, ["close"]), frame.select("close"))
    assert ref.path == f"store/ingest/bars/us/{ref.sha256}.parquet"
    assert hashlib.sha256((tmp_path / ref.path).read_bytes()).hexdigest() == ref.sha256
    assert (ref.rows, ref.part) == (12, "valid")


def test_equal_tables_are_equal_bytes_however_they_are_chunked(tmp_path):
    store, frame = Store(tmp_path), bars(250, 1_000)
    cuts = [0, 1, 70_000, 131_072, 131_073, 249_999, 250_000]
    chunked = pl.concat([frame[start:end] for start, end in pairwise(cuts)], rechunk=False)
    assert chunked.n_chunks() > 1
    sliced = pl.concat([frame[:5], frame])[5:]
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
    rebuilt = pl.DataFrame(frame.to_dict(as_series=False), schema=frame.schema)
    refs = {write_table(store, table) for table in (frame, chunked, sliced, shuffled, rebuilt)}
    assert len(refs) == 1
    assert len(os.listdir(tmp_path / "store/ingest/bars/us")) == 1


def test_another_number_of_threads_writes_the_same_bytes(tmp_path):
    script = (
        "import sys, numpy as np, polars as pl; from pathlib import Path\n"
        "from quant_core.evidence.store.store import Store\n"
        "frame = pl.DataFrame({'a': np.arange(200_000)[::-1], 'b': np.random.default_rng(0).normal(size=200_000)})\n"
        "print(Store(Path(sys.argv[1])).write(frame, stage='a.b', sleeve='s', key=['a']).sha256)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "POLARS_MAX_THREADS": threads},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for threads in ("1", "3")
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_negative_zero_is_stored_as_zero(tmp_path, dtype):
    store = Store(tmp_path)
    frames = [pl.DataFrame({"k": [1, 2, 3], "x": pl.Series([zero, None, -1.5], dtype=dtype)}) for zero in (0.0, -0.0)]
    refs = [store.write(frame, stage="a.b", sleeve="s", key=["k"]) for frame in frames]
    assert refs[0] == refs[1]
    back = store.read(refs[1])
    assert math.copysign(1.0, back["x"][0]) == 1.0
    assert_frame_equal(back, frames[0])


def test_rows_with_equal_keys_keep_their_order(tmp_path):
    store, frame = Store(tmp_path), pl.DataFrame({"k": [2, 1] * 25_000, "s": "x", "n": range(50_000)})
    back = store.read(store.write(frame, stage="a.b", sleeve="s", key=["s", "k"]))
    assert back["n"].to_list() == [*range(1, 50_000, 2), *range(0, 50_000, 2)]


def test_without_a_key_all_rows_keep_their_order_and_chunks_still_do_not_show(tmp_path):
    store, frame = Store(tmp_path), bars(250, 1_000).reverse()
    refs = {
        store.write(table, stage="a.b", sleeve="s", key=[])
        for table in (frame, pl.concat([frame[:70_000], frame[70_000:]], rechunk=False))
    }
    assert len(refs) == 1
    assert_frame_equal(store.read(refs.pop()), frame)


def test_an_empty_table_keeps_its_columns(tmp_path):
    store, frame = Store(tmp_path), bars().clear()
    ref = write_table(store, frame)
    assert ref.rows == 0
    assert_frame_equal(store.read(ref), frame)


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("x", [1.0, math.nan]),
        pl.Series("x", [None, math.inf]),
        pl.Series("x", [-math.inf, 0.0], dtype=pl.Float32),
        pl.Series("x", [[1.0], [2.0]]),
        pl.Series("x", [{"a": 1.0}, {"a": 2.0}]),
        pl.Series("x", [object(), object()], dtype=pl.Object),
    ],
)
def test_what_has_no_place_in_a_table_is_refused(tmp_path, column):
    with pytest.raises(ContractError, match="'x'"):
        Store(tmp_path).write(pl.DataFrame({"k": [1, 2]}).with_columns(column), stage="a.b", sleeve="s", key=["k"])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_missing_key_column_is_refused(tmp_path):
    with pytest.raises(ContractError, match="'date'"):
        write_table(Store(tmp_path), bars().drop("date"))


def test_any_flipped_byte_is_noticed_before_polars_sees_it(tmp_path):
    store = Store(tmp_path)
    ref = write_table(store, bars(50, 20))
    path = tmp_path / ref.path
    content = bytearray(path.read_bytes())
    settle(path)
    store.read(ref)
    for place in range(0, len(content), 97):
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="other bytes"):
            store.read(ref)
        content[place] ^= 4
    path.write_bytes(content)
    assert store.read(ref).height == 1_000


def test_a_file_is_hashed_again_only_when_it_looks_changed(tmp_path, monkeypatch):
    store = Store(tmp_path)
    ref = write_table(store, bars())
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: hashed.append(1) or digest(*given))
    monkeypatch.setattr("quant_core.evidence.store.reader._SETTLED_NS", -1)
    for _ in range(3):
        store.read(ref)
    assert len(hashed) == 1
    settle(tmp_path / ref.path)
    store.read(ref)
    assert len(hashed) == 2


def test_verifying_finds_what_reading_would_find(tmp_path):
    store = Store(tmp_path)
    first, second = write_table(store, bars()), write_table(store, bars(5))
    both = store.write_list([first, second])
    store.verify(both)
    (tmp_path / second.path).write_bytes(b"other")
    store.verify(first)
    for ref in (second, both):
        with pytest.raises(IntegrityError, match="other bytes"):
            store.verify(ref)
    (tmp_path / second.path).unlink()
    for ref in (second, both):
        with pytest.raises(MissingVersionError):
            store.verify(ref)


def test_a_file_too_young_to_look_changed_is_hashed_each_time(tmp_path, monkeypatch):
    store = Store(tmp_path)
    ref = write_table(store, bars())
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: hashed.append(1) or digest(*given))
    monkeypatch.setattr("quant_core.evidence.store.reader._SETTLED_NS", 10**15)
    for _ in range(3):
        store.read(ref)
    assert len(hashed) == 3


def test_writing_a_damaged_version_again_heals_it(tmp_path):
    store = Store(tmp_path)
    ref = write_table(store, bars())
    (tmp_path / ref.path).write_bytes(b"damaged")
    assert write_table(store, bars()) == ref
    assert store.read(ref).height == 12


def test_writing_a_version_again_keeps_its_file(tmp_path):
    store = Store(tmp_path)
    path = tmp_path / write_table(store, bars()).path
    before = path.stat()
    write_table(Store(tmp_path), bars())
    assert path.stat().st_ino == before.st_ino
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_version_and_a_missing_column_are_told_apart(tmp_path):
    store = Store(tmp_path)
    ref = write_table(store, bars())
    assert store.exists(ref)
    with pytest.raises(UnknownNameError, match="Did you mean close"):
        store.read(ref, ["symbol", "clsoe"])
    (tmp_path / ref.path).unlink()
    assert not store.exists(ref)
    with pytest.raises(MissingVersionError, match=r"ingest\.bars of us"):
        store.read(ref)


def test_bytes_that_hash_right_but_are_no_such_table_are_refused(tmp_path):
    store, content = Store(tmp_path), b"PAR1 no parquet PAR1"
    sha256 = hashlib.sha256(content).hexdigest()
    ref = DataRef(stage="a.b", sleeve="s", sha256=sha256, rows=1, path=f"store/a/b/s/{sha256}.parquet")
    (tmp_path / ref.path).parent.mkdir(parents=True)
    (tmp_path / ref.path).write_bytes(content)
    with pytest.raises(IntegrityError, match="cannot be read"):
        store.read(ref)
    right = write_table(store, bars())
    with pytest.raises(IntegrityError, match="12 rows"):
        store.read(right.model_copy(update={"rows": 13}))


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../outside.parquet"},
        {"path": "/etc/passwd"},
        {"sleeve": "other"},
        {"stage": "../x"},
        {"stage": "bars"},
        {"sha256": "../../x"},
        {"sha256": "A" * 64},
        {"part": "both"},
        {"rows": -1},
        {"frame": 1},
    ],
)
def test_a_reference_cannot_name_anything_but_its_own_version(tmp_path, change):
    ref = write_table(Store(tmp_path), bars())
    assert DataRef(**ref.model_dump()) == ref
    with pytest.raises(ValidationError):
        DataRef(**{**ref.model_dump(), **change})


@pytest.mark.parametrize("sleeve", ["../../escape", "/abs", "..", "a/b", "NUL", "x" * 500, "*", "日本"])
def test_hostile_sleeves_and_homes_stay_inside(tmp_path, sleeve):
    home = tmp_path / "home [*] %20 é"
    store = Store(home)
    ref = store.write(bars(), stage="ingest.bars", sleeve=sleeve, key=KEY)
    assert (home / ref.path).resolve().is_relative_to(home.resolve() / "store")
    assert os.listdir(tmp_path) == [home.name]
    assert store.read(ref).height == 12


@pytest.mark.parametrize("part", ["store/ingest", "store/ingest/bars", "store/ingest/bars/us"])
def test_a_folder_that_became_a_link_is_neither_read_through_nor_written_through(tmp_path, part):
    store = Store(tmp_path / "home")
    ref = write_table(store, bars())
    place = tmp_path / "home" / part
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    for act in (
        lambda: store.read(ref),
        lambda: store.verify(ref),
        lambda: store.exists(ref),
        lambda: write_table(store, bars(5)),
    ):
        with pytest.raises(IntegrityError, match="is a link or not a folder"):
            act()
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before
    assert store.sweep() == ()


def test_a_version_that_became_a_link_is_not_read_and_is_healed_by_writing_it_again(tmp_path):
    store = Store(tmp_path / "home")
    ref = write_table(store, bars())
    path, outside = tmp_path / "home" / ref.path, tmp_path / "outside.parquet"
    path.rename(outside)
    path.symlink_to(outside)
    content = outside.read_bytes()
    with pytest.raises(IntegrityError, match="is a link"):
        store.read(ref)
    assert write_table(store, bars()) == ref
    assert not path.is_symlink()
    assert store.read(ref).height == 12
    assert outside.read_bytes() == content


@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_no_harm_gets_through_whatever_the_file_looks_like(tmp_path, harm):
    store, rng = Store(tmp_path), np.random.default_rng(7)
    ref = write_table(store, bars(20, 50))
    path = tmp_path / ref.path
    sound = path.read_bytes()
    settle(path)
    store.read(ref)
    for _ in range(200):
        place = int(rng.integers(len(sound)))
        changed = bytes([sound[place] ^ int(rng.integers(1, 256))])
        path.write_bytes(sound[:place] + (changed + sound[place + 1 :] if harm == "flip" else b""))
        settle(path)
        with pytest.raises(IntegrityError, match="other bytes"):
            store.read(ref)


def test_a_panic_of_the_reader_or_the_writer_is_an_error_of_ours(tmp_path, monkeypatch):
    store = Store(tmp_path)
    ref = write_table(store, bars())

    def panics(*given, **named):
        raise pl.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr(pl, "read_parquet", panics)
    with pytest.raises(IntegrityError, match="index out of bounds"):
        store.read(ref)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", panics)
    with pytest.raises(EvidenceError, match="index out of bounds"):
        write_table(store, bars(5))
    assert os.listdir((tmp_path / ref.path).parent) == [Path(ref.path).name]


@pytest.mark.faults
def test_a_killed_writer_leaves_no_torn_version(tmp_path):
    store = Store(tmp_path)
    for kill in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
        for _ in range(kill + 1):
            process.stdout.readline()
        process.kill()
        process.communicate()
    store.sweep()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


@pytest.mark.faults
def test_a_full_disk_leaves_what_was_there_and_says_so(tmp_path):
    ref = write_table(Store(tmp_path), bars())
    script = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np, polars as pl\n"
        "from quant_core.errors import EvidenceError; from quant_core.evidence.store.store import Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "frame = pl.DataFrame({'a': np.random.default_rng(0).normal(size=300_000)})\n"
        "try: Store(Path(sys.argv[1])).write(frame, stage='ingest.bars', sleeve='us', key=['a'])\n"
        "except EvidenceError as error: print(error)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert "too large" in said
    assert os.listdir(tmp_path / "store/ingest/bars/us") == [f"{ref.sha256}.parquet"]
    assert Store(tmp_path).read(ref).height == 12


def grown(store: Store, *values: int) -> list[DataRef]:
    frames = (pl.DataFrame({"row": [value], "close": [float(value)]}) for value in values)
    return [store.write(frame, stage="ingest.raw", sleeve="us", key=["row"]) for frame in frames]


def test_a_list_of_versions_reads_as_their_rows_one_after_the_other(tmp_path):
    store = Store(tmp_path)
    versions = grown(store, 3, 1, 2)
    ref = store.write_list(versions)
    assert (ref.form, ref.rows, store.versions(ref)) == ("list", 3, tuple(versions))
    assert store.read(ref)["row"].to_list() == [3, 1, 2]
    assert store.read(ref, ["close"])["close"].to_list() == [3.0, 1.0, 2.0]
    assert DataRef.model_validate_json(ref.model_dump_json()) == ref


def test_a_list_of_one_version_is_that_version(tmp_path):
    store = Store(tmp_path)
    (only,) = grown(store, 1)
    assert store.write_list([only]) == only
    assert store.versions(only) == (only,)


def test_equal_lists_are_one_file_and_a_longer_one_is_another(tmp_path):
    store = Store(tmp_path)
    one, two, three = grown(store, 1, 2, 3)
    assert store.write_list([one, two]) == store.write_list([one, two])
    assert store.write_list([one, two]).sha256 != store.write_list([one, two, three]).sha256
    assert store.write_list([two, one]).sha256 != store.write_list([one, two]).sha256


def test_a_false_byte_in_any_version_of_a_list_or_in_the_list_is_found(tmp_path):
    versions = grown(Store(tmp_path), 1, 2)
    ref = Store(tmp_path).write_list(versions)
    for harmed in (ref, *versions):
        path = tmp_path / harmed.path
        sound = path.read_bytes()
        path.write_bytes(sound[:50] + bytes([sound[50] ^ 1]) + sound[51:])
        with pytest.raises(IntegrityError, match="other bytes"):
            Store(tmp_path).read(ref)
        path.write_bytes(sound)
    (tmp_path / versions[1].path).unlink()
    with pytest.raises(MissingVersionError):
        Store(tmp_path).read(ref)


def test_a_table_that_is_no_list_is_not_read_as_one(tmp_path):
    store = Store(tmp_path)
    (table,) = grown(store, 1)
    with pytest.raises(IntegrityError, match="is not a list of versions with 1 rows"):
        store.read(table.model_copy(update={"form": "list"}))
