import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quant_core.errors import EvidenceError, TamperedError, UsageError
from quant_core.evidence.files.documents import TempFile
from quant_core.evidence.ledger import checkpoints, transaction
from quant_core.evidence.ledger.chain import Position
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes
from quant_core.evidence.ledger.segments import sealed_segments
from quant_core.evidence.ledger.transaction import Entry
from quant_core.evidence.verification import parallel_verify
from quant_core.evidence.verification.verify import verify_ledger
from tests.forgeries import edit_payload, faults_in, payload_of, rehash_lines

ROOT = Path(__file__).parents[4]
SMALL = 3_000

APPENDER = """
import sys
from pathlib import Path
from quant_core.evidence.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), segment_bytes=3_000)
for number in range(int(sys.argv[3])):
    print(ledger.append("step", {"number": number}, run_id=sys.argv[2], durable=number % 3 == 0).hash, flush=True)
"""


def long(folder: Path, count: int = 30, **settings: int) -> Ledger:
    """A ledger of several segments."""
    ledger = Ledger(folder / "audit.jsonl", **{"segment_bytes": SMALL, **settings})
    for number in range(count):
        ledger.append("step", {"number": number}, run_id="r", durable=False)
    return ledger


def hashes_of(ledger: Ledger) -> list[str]:
    return [record.hash for record in ledger.records()]


def root_of(hashes: list[str]) -> str:
    tree = Frontier()
    tree.extend(leaf_hashes([digest.encode() for digest in hashes]))
    return tree.root.hex()


def test_a_full_segment_is_sealed_and_the_chain_goes_on(tmp_path):
    ledger = long(tmp_path)
    sealed = sealed_segments(ledger.path)
    assert [path.name for path in sealed] == [f"audit.{number:04d}.jsonl" for number in range(len(sealed))]
    assert len(sealed) >= 4
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in sealed)
    records = list(ledger.records())
    assert [record.seq for record in records] == list(range(len(records)))
    assert [record.data["number"] for record in records if record.kind == "step"] == list(range(30))
    seals = [record for record in records if record.kind == "seal"]
    assert [seal.data["segment"] for seal in seals] == [path.name for path in sealed]
    for seal, path in zip(seals, sealed, strict=True):
        assert (seal.data["size"], seal.data["last_hash"]) == (seal.seq, seal.prev)
        assert seal.data["bytes"] == path.stat().st_size >= SMALL
        assert seal.data["root"] == root_of([record.hash for record in records[: seal.seq]])
    report = verify_ledger(Ledger(ledger.path), [ledger.anchor()])
    assert (report.ok, report.segments, report.records, report.checkpoints) == (
        True,
        len(sealed) + 1,
        len(records),
        len(sealed),
    )
    assert list(ledger.files()) == [*sealed, ledger.path]


def test_reading_goes_on_over_a_new_segment(tmp_path):
    ledger = long(tmp_path, 3)
    reader = Ledger(ledger.path)
    *_, (_, place) = reader.since(Position())
    assert place.segment == 0
    long(tmp_path, 20)
    later = list(reader.since(place))
    assert [record.seq for record, _ in later] == list(range(3, 3 + len(later)))
    assert later[-1][1].segment >= 2
    assert list(reader.since(later[-1][1])) == []
    assert reader.append("step", {}, run_id="r").seq == 3 + len(later)


def test_what_is_being_read_while_the_ledger_is_rolled_is_read_to_its_end(tmp_path):
    ledger = long(tmp_path, 5)
    reading = Ledger(ledger.path).records()
    first = next(reading)
    long(tmp_path, 20)
    assert [first.seq, *(record.seq for record in reading)] == list(range(5))


def test_a_writer_that_waited_for_a_segment_writes_into_the_next(tmp_path):
    ledger = long(tmp_path, 6)
    with ledger.lock() as turn:
        others = [
            subprocess.Popen([sys.executable, "-c", APPENDER, str(ledger.path), str(number), "5"], cwd=ROOT)
            for number in range(2)
        ]
        while turn.place.segment < 3:
            turn.append("step", {"number": 0}, run_id="r")
    assert [other.wait(timeout=60) for other in others] == [0, 0]
    records = list(Ledger(ledger.path).records())
    assert [record.seq for record in records] == list(range(len(records)))
    assert sum(record.run_id in {"0", "1"} for record in records) == 10
    assert verify_ledger(ledger).ok


def test_four_processes_that_roll_the_ledger_lose_and_fork_nothing(tmp_path):
    path = tmp_path / "audit.jsonl"
    command = [sys.executable, "-c", APPENDER, str(path)]
    writers = [
        subprocess.Popen([*command, str(number), "40"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for number in range(4)
    ]
    acknowledged = [digest for writer in writers for digest in writer.communicate(timeout=60)[0].split()]
    ledger = Ledger(path)
    assert len(acknowledged) == 160
    assert set(acknowledged) <= set(hashes_of(ledger))
    report = verify_ledger(ledger)
    assert report.ok
    assert report.segments > 10


@pytest.mark.parametrize("step", ["link", "stage", "publish"])
def test_a_writer_that_dies_while_it_rolls_leaves_a_ledger_in_order(tmp_path, monkeypatch, step):
    ledger = long(tmp_path, 6)
    hashes = hashes_of(ledger)
    while ledger.path.stat().st_size < SMALL:
        hashes.append(ledger.append("step", {}, run_id="r").hash)

    class Died(BaseException):
        pass

    def die(*_, **__):
        raise Died

    with monkeypatch.context() as patch:
        match step:
            case "link":
                patch.setattr(transaction, "flush_path", die)
            case "stage":
                patch.setattr(transaction, "temp_file", die)
            case "publish":
                patch.setattr(TempFile, "publish", die)
        with pytest.raises(Died):
            Ledger(ledger.path, segment_bytes=SMALL).append("step", {}, run_id="r")
    fresh = Ledger(ledger.path, segment_bytes=SMALL)
    assert hashes_of(fresh) == hashes
    assert verify_ledger(fresh).ok
    before = len(sealed_segments(ledger.path))
    fresh.append("step", {}, run_id="r")
    assert len(sealed_segments(ledger.path)) == before + 1
    assert hashes_of(ledger)[: len(hashes)] == hashes
    assert verify_ledger(Ledger(ledger.path)).ok


def test_a_ledger_that_cannot_be_rolled_says_so_and_stays(tmp_path, monkeypatch):
    ledger = long(tmp_path, 6)
    while ledger.path.stat().st_size < SMALL:
        ledger.append("step", {}, run_id="r")
    before = ledger.path.read_bytes()

    def refuse(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", refuse)
        with pytest.raises(EvidenceError, match="No space"):
            ledger.append("step", {}, run_id="r")
    assert ledger.path.read_bytes() == before
    assert ledger.append("step", {}, run_id="r").seq == len(list(ledger.records())) - 1


def harm_ledger(ledger: Ledger, harm: str) -> tuple[str, int]:
    """Do harm to a long ledger; return the kind and the record it is to be found at."""
    sealed = sealed_segments(ledger.path)
    for path in sealed:
        path.chmod(0o644)
    firsts = [next(iter_segment(path)) for path in (*sealed, ledger.path)]
    match harm:
        case "flip":
            content = bytearray(sealed[1].read_bytes())
            flipped = content.index(b'"kind"', len(content) // 2) + 1
            content[flipped] ^= 1
            sealed[1].write_bytes(content)
            middle = content[:flipped].count(b"\n")
            return "hash_mismatch", firsts[1] + middle
        case "cut line":
            lines = sealed[1].read_bytes().splitlines(keepends=True)
            sealed[1].write_bytes(b"".join(lines[:-1]))
            return "prev_mismatch", firsts[2] - 1
        case "cut byte":
            sealed[1].write_bytes(sealed[1].read_bytes()[:-1])
            return "truncated", firsts[2] - 1
        case "remove first":
            sealed[0].unlink()
            return "segment_missing", 0
        case "remove middle":
            sealed[1].unlink()
            return "prev_mismatch", firsts[1]
        case "exchange":
            spare = ledger.path.with_name("spare")
            sealed[1].rename(spare)
            sealed[2].rename(sealed[1])
            spare.rename(sealed[2])
            return "prev_mismatch", firsts[1]
        case "empty":
            ledger.path.write_bytes(b"")
            return "segment_missing", firsts[-1]
    raise AssertionError(harm)


def iter_segment(path: Path):
    import json

    return (json.loads(line)["payload"]["seq"] for line in path.read_bytes().splitlines())


HARMS = ["flip", "cut line", "cut byte", "remove first", "remove middle", "exchange", "empty"]


@pytest.mark.parametrize("harm", HARMS)
def test_harm_to_a_sealed_segment_is_found_where_it_was_done(tmp_path, harm):
    ledger = long(tmp_path)
    expected = harm_ledger(ledger, harm)
    fresh = Ledger(ledger.path)
    report = verify_ledger(fresh)
    assert report.verdict == "tampered"
    assert expected in faults_in(report), report.faults
    assert min(fault.seq for fault in report.faults) == expected[1]
    with pytest.raises(TamperedError):
        list(fresh.records())


@pytest.mark.parametrize("field", ["bytes", "sha256", "last_hash", "segment", "root", "peaks", "size"])
def test_a_seal_that_states_something_else_is_found_even_hashed_anew(tmp_path, field):
    ledger = long(tmp_path)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    seal = payload_of(lines[0])
    seq = next(iter_segment(ledger.path))
    wrong = {"bytes": 1, "peaks": ["0" * 64], "size": seq - 1}.get(field, "0" * 64)
    forged = [edit_payload(seal, lambda fields: fields["data"].update({field: wrong})), *map(payload_of, lines[1:])]
    prev = sealed_segments(ledger.path)[-1].read_bytes().splitlines()[-1][9:73].decode()
    ledger.path.write_bytes(b"".join(rehash_lines(forged, prev)))
    kind = "root_mismatch" if field in {"root", "peaks", "size"} else "seal_mismatch"
    kind = "segment_missing" if field == "segment" else kind
    assert faults_in(verify_ledger(Ledger(ledger.path))) == {(kind, seq)}
    assert faults_in(verify_ledger(Ledger(ledger.path), processes=1)) == {(kind, seq)}


def test_segments_checked_side_by_side_give_the_same_answer(tmp_path, monkeypatch):
    ledger = long(tmp_path)
    size = len(list(ledger.records()))
    anchors = [ledger.anchor(each) for each in range(1, size + 1)]
    serial = verify_ledger(ledger, anchors)
    with monkeypatch.context() as patch:
        patch.setattr(parallel_verify, "verify_segments", None)  # nothing is done twice
        assert verify_ledger(ledger, anchors, processes=2) == serial
    shutil.copytree(tmp_path, tmp_path / "cut")
    short = Ledger(tmp_path / "cut" / "audit.jsonl")
    lines = short.path.read_bytes().splitlines(keepends=True)
    short.path.write_bytes(b"".join(lines[:-1]))
    assert verify_ledger(short, anchors, processes=2) == verify_ledger(short, anchors)
    assert faults_in(verify_ledger(short, anchors)) == {("truncated", size - 1)}
    harm_ledger(ledger, "flip")
    fresh = Ledger(ledger.path)
    assert verify_ledger(fresh, anchors, processes=2) == verify_ledger(fresh, anchors)


def test_a_lost_open_segment_is_told_and_nothing_begins_anew(tmp_path):
    ledger = long(tmp_path)
    ledger.path.unlink()
    for act in (lambda led: led.append("step", {}, run_id="r"), lambda led: list(led.records()), verify_ledger):
        with pytest.raises(TamperedError, match="gone"):
            act(Ledger(ledger.path))
    assert not ledger.path.exists()
    ledger.path.touch()
    with pytest.raises(TamperedError, match="empty"):
        Ledger(ledger.path).append("step", {}, run_id="r")


def test_a_checkpoint_stands_at_every_so_many_records_with_the_root_of_those_before(tmp_path, monkeypatch):
    monkeypatch.setattr(transaction, "EVERY", 8)
    ledger = long(tmp_path, 20, segment_bytes=10**6)
    ledger.append_all([Entry("step", {"number": number}, "r") for number in range(20)])
    records = list(ledger.records())
    stated = [record for record in records if record.kind == "checkpoint"]
    assert [record.seq for record in stated] == [8, 16, 24, 32, 40]
    for record in stated:
        assert record.data["root"] == root_of([each.hash for each in records[: record.seq]])
        assert len(record.data["peaks"]) == record.seq.bit_count()
    report = verify_ledger(ledger)
    assert (report.ok, report.checkpoints, report.root) == (True, 5, root_of([each.hash for each in records]))


@pytest.mark.parametrize("field", ["root", "peaks", "size"])
def test_a_checkpoint_with_another_root_is_found_even_hashed_anew(tmp_path, monkeypatch, field):
    monkeypatch.setattr(transaction, "EVERY", 8)
    ledger = long(tmp_path, 30, segment_bytes=10**6)
    payloads = [payload_of(line) for line in ledger.path.read_bytes().splitlines(keepends=True)]
    wrong = {"root": "0" * 64, "peaks": ["0" * 64, "1" * 64], "size": 15}[field]
    payloads[16] = edit_payload(payloads[16], lambda fields: fields["data"].update({field: wrong}))
    ledger.path.write_bytes(b"".join(rehash_lines(payloads)))
    assert faults_in(verify_ledger(Ledger(ledger.path))) == {("root_mismatch", 16)}


def test_the_ledgers_own_kinds_are_written_by_nobody_else(tmp_path):
    ledger = long(tmp_path, 1)
    for kind in ("checkpoint", "seal"):
        with pytest.raises(UsageError, match="own"):
            ledger.append(kind, {}, run_id="r")
    payloads = [payload_of(line) for line in ledger.path.read_bytes().splitlines(keepends=True)]
    forged = edit_payload(payloads[0], lambda fields: fields.update(kind="seal", seq=1))
    ledger.path.write_bytes(b"".join(rehash_lines([payloads[0], forged])))
    assert faults_in(verify_ledger(Ledger(ledger.path))) == {("seal_mismatch", 1)}


def test_an_anchor_of_any_size_is_the_one_of_that_time(tmp_path, monkeypatch):
    monkeypatch.setattr(transaction, "EVERY", 7)
    ledger, anchors = Ledger(tmp_path / "audit.jsonl", segment_bytes=SMALL), []
    for number in range(40):
        # What only looks like a checkpoint is none.
        ledger.append("step", {"number": number, "kind": "checkpoint", "of": {"kind": "seal"}}, run_id="r")
        anchors.append(ledger.anchor())
    hashes = hashes_of(ledger)
    for anchor in anchors:
        assert anchor.head == hashes[anchor.size - 1]
        assert anchor.root == root_of(hashes[: anchor.size])
        assert Ledger(ledger.path).anchor(anchor.size) == anchor
    assert ledger.anchor(1).size == 1
    for size in (0, len(hashes) + 1):
        with pytest.raises(EvidenceError):
            ledger.anchor(size)
    assert verify_ledger(ledger, anchors).ok


def test_the_tree_of_a_long_ledger_is_found_without_reading_it_all(tmp_path, monkeypatch):
    monkeypatch.setattr(transaction, "EVERY", 64)
    monkeypatch.setattr(checkpoints, "_BLOCK", 1 << 15)
    ledger = long(tmp_path, 1_000, segment_bytes=10**8)
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: read.append(count) or pread(file, count, at))
    fresh = Ledger(ledger.path).anchor()
    assert sum(read) < 131_072 + 4 * (1 << 15)
    assert fresh.root == root_of(hashes_of(ledger))


def test_the_last_records_are_read_from_the_end(tmp_path):
    ledger = long(tmp_path)
    records = list(ledger.records())
    for count in (1, 5, len(records), len(records) + 5):
        assert Ledger(ledger.path).last_records(count) == records[-count:]
    with ledger.path.open("ab") as stream:
        stream.write(b'{"hash":"torn')
    assert Ledger(ledger.path).last_records(2) == records[-2:]
    assert Ledger(tmp_path / "absent.jsonl").last_records(3) == []


def test_threads_that_wait_share_one_write_and_one_flush(tmp_path, monkeypatch):
    ledger = long(tmp_path, 1)
    flushes, writes = [], []
    flush, write = transaction.flush, os.write
    monkeypatch.setattr(transaction, "flush", lambda *args, **more: flushes.append(1) or flush(*args, **more))
    monkeypatch.setattr(os, "write", lambda file, line: writes.append(1) or write(file, line))
    results: dict[int, object] = {}

    def work(number: int) -> None:
        try:
            data = {"number": object() if number == 5 else number}
            results[number] = ledger.append("step", data, run_id="r").data["number"]
        except UsageError as error:
            results[number] = error

    with ledger.lock():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while len(ledger._waiting) < 4:
            pass
    for thread in threads:
        thread.join()
    assert results == {number: number for number in range(4)}
    assert (len(flushes), len(writes)) == (1, 1)
    # One that cannot be recorded does not take the others with it.
    with ledger.lock():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4, 8)]
        for thread in threads:
            thread.start()
        while len(ledger._waiting) < 4:
            pass
    for thread in threads:
        thread.join()
    assert isinstance(results.pop(5), UsageError)
    assert results == {number: number for number in range(8) if number != 5}
    assert verify_ledger(ledger).ok


def test_progress_waits_for_no_device_and_reaches_it_with_the_next_durable_record(tmp_path, monkeypatch):
    ledger = long(tmp_path, 1)
    flushed = []
    monkeypatch.setattr(transaction, "flush", lambda file, **_: flushed.append(os.fstat(file).st_size))
    for number in range(5):
        ledger.append("progress", {"number": number}, run_id="r", durable=False)
    assert flushed == []
    assert [record.kind for record in ledger.records()][1:] == ["progress"] * 5
    ledger.append("step", {}, run_id="r")
    assert flushed == [ledger.path.stat().st_size]


def test_many_records_in_one_go_are_all_recorded_or_none(tmp_path, monkeypatch):
    ledger = long(tmp_path, 1, segment_bytes=10**8)
    before = ledger.path.read_bytes()
    entries = [Entry("step", {"text": "x" * 5_000}, "r") for _ in range(100)]
    with pytest.raises(UsageError):
        ledger.append_all([*entries, Entry("step", {"a": object()}, "r")])
    write, done = os.write, []

    def full(file: int, line: bytes) -> int:
        done.append(len(line))
        if len(done) == 3:
            raise OSError(28, os.strerror(28))
        return write(file, line)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(EvidenceError, match="No space"):
            ledger.append_all(entries)
    assert max(done) <= transaction.MOST_AT_ONCE
    assert ledger.path.read_bytes() == before
    assert [record.seq for record in ledger.append_all(entries)] == list(range(1, 101))
    assert verify_ledger(ledger).ok
