import os

import pytest

from quant_core.errors import EvidenceError
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.reader import LedgerReader


def test_a_reader_sees_what_a_writer_appends_and_has_no_way_to_append(tmp_path):
    writer, reader = Ledger(tmp_path / "audit.jsonl"), LedgerReader(tmp_path / "audit.jsonl")
    for number in range(3):
        record = writer.append("step", {"number": number}, run_id="r")
        assert list(reader.records())[-1] == reader.last_records(1)[0] == record
        assert reader.anchor() == writer.anchor()
    assert not {"append", "append_all", "lock"} & set(dir(reader))


def test_a_reader_of_a_home_without_a_ledger_creates_nothing(tmp_path):
    reader = LedgerReader(tmp_path / "home" / "audit.jsonl")
    assert list(reader.records()) == reader.last_records(5) == []
    assert reader.files() == ()
    with pytest.raises(EvidenceError, match="nothing to anchor"):
        reader.anchor()
    assert os.listdir(tmp_path) == []


def test_a_reader_leaves_a_torn_tail_as_it_is(tmp_path):
    path = tmp_path / "audit.jsonl"
    Ledger(path).append("step", {}, run_id="r")
    path.write_bytes(before := path.read_bytes() + b'{"hash":"')
    assert len(list(LedgerReader(path).records())) == len(LedgerReader(path).last_records(5)) == 1
    assert path.read_bytes() == before
