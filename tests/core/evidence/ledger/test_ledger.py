import errno
import json
import math
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from quant_core.errors import EvidenceError, TamperedError, UsageError
from quant_core.evidence.files.writer import this_process
from quant_core.evidence.ledger import transaction as module
from quant_core.evidence.ledger.chain import Position
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.verification.verify import verify_ledger

ROOT = Path(__file__).parents[4]

APPENDER = """
import sys
from pathlib import Path
from quant_core.evidence.ledger.ledger import Ledger
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ledger = Ledger(path)
for number in range(count):
    print(ledger.append("step", {"number": number}, run_id=name).hash, flush=True)
"""


def fill_ledger(path: Path, count: int) -> Ledger:
    ledger = Ledger(path)
    for number in range(count):
        ledger.append("step", {"number": number, "name": "é"}, run_id="r")
    return ledger


def appender(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPENDER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_line_can_be_checked_without_this_package(tmp_path):
    ledger = fill_ledger(tmp_path / "a.jsonl", 5)
    prev = "0" * 64
    for number, line in enumerate(ledger.path.read_bytes().splitlines()):
        raw = line[len('{"hash":"') + 64 + len('","payload":') : -1]
        outer, payload = json.loads(line), json.loads(raw)
        assert outer == {"hash": sha256(prev.encode() + raw).hexdigest(), "payload": payload}
        assert (payload["seq"], payload["prev"], payload["format"], payload["kind"]) == (number, prev, 1, "step")
        prev = outer["hash"]


def test_records_are_read_as_they_were_returned(tmp_path):
    ledger = Ledger(tmp_path / "a.jsonl")
    written = [ledger.append("step", {"n": (1, float("nan"), 2**60)}, run_id="r") for _ in range(3)]
    assert list(Ledger(ledger.path).records()) == written
    assert list(ledger.records(from_seq=2)) == written[2:]
    assert written[0].data == {"n": [1, "float:nan", str(2**60)]}
    assert written[0].writer == this_process()
    assert len({record.ledger_id for record in written}) == 1


def test_a_ledger_nobody_wrote_to_is_empty_and_stays_absent(tmp_path):
    ledger = Ledger(tmp_path / "home" / "a.jsonl")
    assert list(ledger.records()) == []
    assert verify_ledger(ledger).ok
    with pytest.raises(EvidenceError, match="nothing to anchor"):
        ledger.anchor()
    assert not ledger.path.parent.exists()


def test_four_processes_lose_and_fork_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    writers = [appender(path, str(number), 50) for number in range(4)]
    acknowledged = [hash for writer in writers for hash in writer.communicate(timeout=60)[0].split()]
    records = list(Ledger(path).records())
    assert [record.seq for record in records] == list(range(200))
    assert {record.hash for record in records} == set(acknowledged)
    for name in "0123":
        assert [record.data["number"] for record in records if record.run_id == name] == list(range(50))
    assert verify_ledger(Ledger(path)).ok


def test_threads_sharing_a_ledger_lose_nothing(tmp_path):
    ledger = Ledger(tmp_path / "a.jsonl")

    def work() -> None:
        for _ in range(20):
            ledger.append("step", {}, run_id="r")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.seq for record in ledger.records()] == list(range(80))


def test_every_cut_in_the_last_three_records_recovers_to_the_complete_ones(tmp_path):
    whole = fill_ledger(tmp_path / "a.jsonl", 5).path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    path = tmp_path / "cut.jsonl"
    for cut in range(ends[1], len(whole)):
        path.write_bytes(whole[:cut])
        complete = sum(end <= cut for end in ends)
        report = verify_ledger(Ledger(path))
        assert report.records == complete
        assert report.verdict == ("intact" if cut in ends else "torn_tail")
        assert len(list(Ledger(path).records())) == complete
        with Ledger(path).lock() as transaction:
            assert transaction.place.seq == complete
        assert path.read_bytes() == whole[: ends[complete - 1]]
    path.write_bytes(whole[:-7])
    assert Ledger(path).append("step", {}, run_id="r").seq == 4
    assert verify_ledger(Ledger(path)).ok


def test_a_tail_of_zeros_is_torn_and_cut(tmp_path):
    ledger = fill_ledger(tmp_path / "a.jsonl", 2)
    with ledger.path.open("ab") as stream:
        stream.write(b"\0" * 4096)
    assert verify_ledger(Ledger(ledger.path)).verdict == "torn_tail"
    assert Ledger(ledger.path).append("step", {}, run_id="r").seq == 2
    assert verify_ledger(ledger).ok


def test_an_acknowledged_record_without_its_newline_is_not_cut(tmp_path):
    ledger = fill_ledger(tmp_path / "a.jsonl", 3)
    changed = ledger.path.read_bytes()[:-1] + b"\x0b"
    ledger.path.write_bytes(changed)
    with pytest.raises(TamperedError):
        Ledger(ledger.path).append("step", {}, run_id="r")
    assert ledger.path.read_bytes() == changed


def test_a_record_over_the_line_limit_is_refused_and_one_at_the_limit_is_kept(tmp_path):
    ledger = fill_ledger(tmp_path / "a.jsonl", 1)
    before = ledger.path.read_bytes()
    with pytest.raises(UsageError, match="content-addressed"):
        ledger.append("step", {"text": "x" * 65_536}, run_id="r")
    assert ledger.path.read_bytes() == before
    for size in (64_000, 64_900):
        ledger.append("step", {"text": "x" * size}, run_id="r")
        Ledger(ledger.path).append("step", {}, run_id="r")
    assert verify_ledger(ledger).ok


@pytest.mark.parametrize(("kind", "data"), [("", {}), ("step", {"a": object()}), ("step", {1: 2})])
def test_what_could_not_be_read_back_is_not_written(tmp_path, kind, data):
    ledger = fill_ledger(tmp_path / "a.jsonl", 1)
    with pytest.raises(UsageError):
        ledger.append(kind, data, run_id="r")
    assert [record.seq for record in ledger.records()] == [0]


@pytest.mark.parametrize("fault", ["short", "full", "flush"])
def test_a_failed_write_leaves_the_file_as_it_was(tmp_path, monkeypatch, fault):
    ledger = fill_ledger(tmp_path / "a.jsonl", 2)
    before = ledger.path.read_bytes()
    write = os.write

    def partial(descriptor, line):
        written = write(descriptor, line[:40])
        if fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def refuse(descriptor, *, data_only=False):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        if fault == "flush":
            patch.setattr(module, "flush", refuse)
        else:
            patch.setattr(os, "write", partial)
        with ledger.lock() as transaction:
            with pytest.raises(EvidenceError):
                transaction.append("step", {}, run_id="r")
            with pytest.raises(UsageError, match="over"):
                transaction.append("step", {}, run_id="r")
    assert ledger.path.read_bytes() == before
    assert ledger.append("step", {}, run_id="r").seq == 2


def test_an_interrupt_between_write_and_flush_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    ledger = fill_ledger(tmp_path / "a.jsonl", 1)
    before = ledger.path.read_bytes()

    def interrupt(descriptor, *, data_only=False):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "flush", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ledger.append("step", {}, run_id="r")
    assert ledger.path.read_bytes() == before


def test_what_is_read_in_a_transaction_holds_until_its_append(tmp_path):
    path = tmp_path / "a.jsonl"
    ledger = fill_ledger(path, 1)
    with ledger.lock() as transaction:
        other = appender(path, "other", 1)
        assert len(list(ledger.records())) == 1
        assert transaction.append("step", {}, run_id="r").seq == 1
        assert len(list(ledger.records())) == 2
        with pytest.raises(UsageError, match="already holds"):
            ledger.append("step", {}, run_id="r")
    other.communicate(timeout=60)
    assert [record.run_id for record in ledger.records()] == ["r", "r", "other"]
    with pytest.raises(UsageError, match="over"):
        transaction.append("step", {}, run_id="r")


def test_reading_goes_on_from_a_place(tmp_path):
    ledger = fill_ledger(tmp_path / "a.jsonl", 3)
    *_, (_, place) = ledger.since(Position())
    assert list(ledger.since(place)) == []
    fill_ledger(ledger.path, 2)
    assert [record.seq for record, _ in ledger.since(place)] == [3, 4]


def test_an_append_reads_no_more_of_a_long_ledger_than_of_a_short_one(tmp_path, monkeypatch):
    ledger = fill_ledger(tmp_path / "a.jsonl", 400)
    reads = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: reads.append(count) or pread(fd, count, at))
    monkeypatch.setattr(Path, "open", None)
    Ledger(ledger.path).append("step", {}, run_id="r")
    assert len(reads) == 1, "the end, and nothing else"
    assert reads[0] <= 131_072


@pytest.mark.parametrize("harm", ["shrink", "rewrite", "replace", "remove"])
def test_a_ledger_that_loses_history_while_in_use_is_noticed(tmp_path, harm):
    ledger = fill_ledger(tmp_path / "a.jsonl", 3)
    path, content = ledger.path, ledger.path.read_bytes()
    match harm:
        case "shrink":
            os.truncate(path, content.index(b"\n") + 1)
        case "rewrite":
            other = fill_ledger(tmp_path / "b.jsonl", 3).path.read_bytes()
            path.write_bytes(other)
        case "replace":
            fill_ledger(tmp_path / "b.jsonl", 5).path.replace(path)
        case "remove":
            path.unlink()
    with pytest.raises(TamperedError):
        ledger.append("step", {}, run_id="r")
    assert path.exists() != (harm == "remove")


@pytest.mark.parametrize("forged", [b'{"hash":1}\n', b"\n", b"\xff\n", b"x" * 200_000, b"x" * 200_000 + b"\n"])
def test_nothing_is_appended_to_a_ledger_that_ends_in_a_forgery(tmp_path, forged):
    ledger = fill_ledger(tmp_path / "a.jsonl", 2)
    with ledger.path.open("ab") as stream:
        stream.write(forged)
    before = ledger.path.read_bytes()
    for act in (
        lambda: Ledger(ledger.path).append("step", {}, run_id="r"),
        lambda: list(Ledger(ledger.path).records()),
    ):
        with pytest.raises(TamperedError):
            act()
    assert ledger.path.read_bytes() == before


def test_a_torn_line_never_begins_the_chain_anew(tmp_path):
    ledger = fill_ledger(tmp_path / "a.jsonl", 3)
    head = ledger.anchor().head
    with ledger.path.open("ab") as stream:
        stream.write(b'{"hash":"0')
    record = Ledger(ledger.path).append("genesis", {}, run_id="next")
    assert (record.seq, record.prev) == (3, head)


def test_times_are_utc_numbers_that_are_none_are_named_and_the_file_is_json(tmp_path):
    ledger = Ledger(tmp_path / "a.jsonl")
    record = ledger.append("step", {"sharpe": math.nan, "loss": -math.inf}, run_id="r")
    assert datetime.fromisoformat(record.ts).utcoffset() == timedelta(0)

    def refuse(constant):
        raise AssertionError(constant)

    line = json.loads(ledger.path.read_text(), parse_constant=refuse)
    assert line["payload"]["data"] == {"sharpe": "float:nan", "loss": "float:-inf"}


def test_runs_of_one_instant_stay_apart(tmp_path):
    ledger = Ledger(tmp_path / "a.jsonl")
    one, other = (ledger.append("genesis", {}, run_id=run) for run in ("20240101-120000", "20240101-120000 "))
    assert one.run_id != other.run_id
    assert one.hash != other.hash


@pytest.mark.faults
def test_killed_writers_lose_no_acknowledged_record(tmp_path):
    path = tmp_path / "a.jsonl"
    acknowledged = set()
    for kill in range(5):
        writers = [appender(path, f"{kill}.{number}", 100_000) for number in range(2)]
        heads = [writer.stdout.readline() for writer in writers for _ in range(20)]
        for writer in writers:
            writer.kill()
        rest = [line for writer in writers for line in writer.communicate()[0].splitlines(keepends=True)]
        acknowledged |= {line.strip() for line in heads + rest if line.endswith("\n")}
    ledger = Ledger(path)
    ledger.append("step", {}, run_id="last")
    assert verify_ledger(ledger).ok
    assert acknowledged <= {record.hash for record in ledger.records()}
