import polars as pl
import pytest

from quant_core.errors import MissingVersionError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.evidence.store.reader import StoreReader
from quant_core.evidence.store.store import Store


def files_of(home):
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def test_a_reader_sees_what_another_process_would_commit_and_changes_no_file(tmp_path):
    evidence, reader = Evidence(tmp_path), EvidenceReader(tmp_path)
    frame, place = pl.DataFrame({"row": [1, 2]}), {"stage": "alpha.factors", "sleeve": "us"}
    evidence.open_run("r", {})
    valid = evidence.store.write(frame, key=["row"], **place)
    lost = evidence.store.write(frame.clear(), key=["row"], part="exclusions", **place)
    evidence.commit(run_id="r", valid=valid, exclusions=lost, facts={}, **place)
    before = files_of(tmp_path)
    assert reader.resolve("alpha.factors", "us") == valid
    assert reader.store.read(valid).equals(frame)
    assert (reader.heads(), reader.runs()) == (evidence.heads(), evidence.runs())
    assert files_of(tmp_path) == before


def test_a_reader_of_a_home_that_is_not_there_creates_nothing(tmp_path):
    reader = EvidenceReader(tmp_path / "home")
    assert reader.runs() == ()
    with pytest.raises(MissingVersionError):
        reader.resolve("alpha.factors", "us")
    assert files_of(tmp_path) == []


def test_what_writes_is_on_the_writers_alone():
    writes = {"open_run", "commit", "land", "refuse", "close_run", "note", "abandon_dead", "lock_ledger", "sweep"}
    assert writes <= set(dir(Evidence))
    assert not writes & set(dir(EvidenceReader))
    assert {"write", "write_list", "sweep"} <= set(dir(Store))
    assert not {"write", "write_list", "sweep"} & set(dir(StoreReader))
