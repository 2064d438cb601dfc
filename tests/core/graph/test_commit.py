from collections import Counter

import polars as pl
import pytest

from quant_core.errors import IntegrityError
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.store.store import Store
from quant_core.graph import commit
from quant_core.graph.commit import TableCache

BARS = "ingest.bars"


def written(store: Store, *values: float) -> DataRef:
    return store.write(pl.DataFrame({"row": values}), stage=BARS, sleeve="s", key=["row"])


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.decoded = []
    read = store.read
    monkeypatch.setattr(store, "read", lambda ref: store.decoded.append(ref) or read(ref))
    return store


def test_a_table_is_decoded_once_and_let_go_with_its_last_reader(store):
    held, ref = TableCache(Counter({BARS: 3})), written(store, 2.0, -0.0, 1.0)
    frames = [held.frame(store, BARS, ref) for _ in range(3)]
    assert [frame["row"].to_list() for frame in frames] == [[0.0, 1.0, 2.0]] * 3
    assert store.decoded == [ref]
    held.frame(store, BARS, ref)
    assert store.decoded == [ref, ref]


def test_another_version_of_a_table_is_read(store):
    held, old, new = TableCache(Counter({BARS: 3})), written(store, 1.0), written(store, 2.0)
    assert [held.frame(store, BARS, ref)["row"].item() for ref in (old, new, new)] == [1.0, 2.0, 2.0]
    assert store.decoded == [old, new]


def test_what_a_stage_does_to_its_table_is_not_seen_by_the_next(store):
    held, ref = TableCache(Counter({BARS: 2})), written(store, 1.0)
    held.frame(store, BARS, ref).insert_column(1, pl.Series("own", [1]))
    assert held.frame(store, BARS, ref).columns == ["row"]


def test_a_held_table_whose_file_was_changed_is_refused(store):
    held, ref = TableCache(Counter({BARS: 2})), written(store, 1.0)
    held.frame(store, BARS, ref)
    (store.home / ref.path).write_bytes(b"other")
    with pytest.raises(IntegrityError, match="other bytes"):
        held.frame(store, BARS, ref)


def test_what_exceeds_the_bound_is_read_again(store, monkeypatch):
    monkeypatch.setattr(commit, "HELD_BYTES", 8)
    held, ref = TableCache(Counter({BARS: 2})), written(store, 1.0, 2.0)
    for _ in range(2):
        held.frame(store, BARS, ref)
    assert store.decoded == [ref, ref]
