import random
from pathlib import Path

import pytest

from quant_core.errors import EvidenceError, TamperedError, TornTailError
from quant_core.evidence.ledger.canonical import canonical_bytes
from quant_core.evidence.ledger.chain import FIRST_PREV, hash_after
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.verification.report import VerifyReport
from quant_core.evidence.verification.verify import verify_ledger


def lines_of(path: Path, count: int = 8) -> list[bytes]:
    ledger = Ledger(path)
    for number in range(count):
        ledger.append("step", {"number": number, "text": 'é "quoted" \\ line'}, run_id="r")
    return path.read_bytes().splitlines(keepends=True)


def payload_of(line: bytes) -> bytes:
    return line[9 + 64 + 12 : -2]


def rehash_lines(payloads: list[bytes], prev: str = FIRST_PREV) -> list[bytes]:
    """Lines whose hashes fit the payloads, whatever these say: the work of a forger with this source at hand."""
    lines = []
    for payload in payloads:
        prev = hash_after(prev, payload)
        lines.append(b'{"hash":"' + prev.encode() + b'","payload":' + payload + b"}\n")
    return lines


def verdict_on(path: Path, lines: list[bytes], anchors=()) -> VerifyReport:
    path.write_bytes(b"".join(lines))
    return verify_ledger(Ledger(path), anchors)


def faults_in(report: VerifyReport) -> set[tuple[str, int]]:
    return {(fault.kind, fault.seq) for fault in report.faults}


def test_an_untouched_ledger_is_intact(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl")
    report = verify_ledger(Ledger(tmp_path / "a.jsonl"))
    assert (report.ok, report.verdict, report.records) == (True, "intact", 8)
    assert report.head.encode() in lines[-1]
    report.raise_for_faults()


def test_any_flipped_bit_is_found_at_its_record(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl", 4)
    whole = bytearray(b"".join(lines))
    starts = [sum(map(len, lines[:number])) for number in range(4)]
    path = tmp_path / "flipped.jsonl"
    generator = random.Random(7)
    places = sorted({*generator.sample(range(len(whole)), 500), *(start - 1 for start in starts[1:]), len(whole) - 1})
    for place in places:
        whole[place] ^= (mask := 1 << generator.randrange(8))
        path.write_bytes(whole)
        report = verify_ledger(Ledger(path))
        seq = max(number for number, start in enumerate(starts) if start <= place)
        first = report.faults[0]
        assert report.verdict == "tampered"
        assert (first.seq, first.offset) == (seq, starts[seq])
        assert first.kind in {
            "hash_mismatch",
            "not_json",
            "duplicate_key",
            "not_canonical",
            "bad_fields",
            "unknown_format",
        }
        whole[place] ^= mask


def test_a_changed_value_is_a_hash_mismatch_and_nothing_else(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl")
    lines[3] = lines[3].replace(b'"number":3', b'"number":4')
    report = verdict_on(tmp_path / "b.jsonl", lines)
    assert faults_in(report) == {("hash_mismatch", 3)}
    with pytest.raises(TamperedError, match="hash_mismatch at seq 3"):
        report.raise_for_faults()


def test_exchanged_records_break_the_links_where_they_stand(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl")
    lines[3], lines[4] = lines[4], lines[3]
    kinds = faults_in(verdict_on(tmp_path / "b.jsonl", lines))
    assert {("prev_mismatch", 3), ("seq_gap", 3)} <= kinds
    assert {kind for kind, _ in kinds} == {"prev_mismatch", "seq_gap"}


def test_a_removed_and_a_doubled_record_are_found_once(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl")
    removed = verdict_on(tmp_path / "b.jsonl", lines[:3] + lines[4:])
    assert faults_in(removed) == {("prev_mismatch", 3), ("seq_gap", 3)}
    doubled = verdict_on(tmp_path / "c.jsonl", lines[:4] + lines[3:])
    assert faults_in(doubled) == {("prev_mismatch", 4), ("seq_gap", 4)}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b'"kind":"step"', b'"kind": "step"', "not_canonical"),
        (b'"kind":"step"', b'"kind":"\\u0073tep"', "not_canonical"),
        (b'"kind":"step"', b'"kind":"other","kind":"step"', "duplicate_key"),
        (b'"kind":"step"', b'"kind":NaN', "not_json"),
        (b'"kind":"step"', b'"kind":""', "bad_fields"),
        (b'"kind":"step",', b"", "bad_fields"),
        (b'"format":1,', b'"extra":1,"format":1,', "bad_fields"),
        (b'"format":1,"kind":"step"', b'"kind":"step","format":1', "not_canonical"),
        (b'"format":1,', b'"format":1,"hash":"' + b"0" * 64 + b'",', "bad_fields"),
        (b'"format":1,', b'"format":2,', "unknown_format"),
        (b'"run_id":"r"', b'"run_id":7', "bad_fields"),
    ],
)
def test_a_rehashed_forgery_of_form_is_found_by_kind(tmp_path, old, new, kind):
    payloads = [payload_of(line) for line in lines_of(tmp_path / "a.jsonl")]
    assert old in payloads[3]
    forged = [*payloads[:3], payloads[3].replace(old, new, 1)]
    report = verdict_on(tmp_path / "b.jsonl", rehash_lines(forged))
    assert (kind, 3) in faults_in(report)
    with pytest.raises(EvidenceError):
        list(Ledger(tmp_path / "b.jsonl").records())


def test_white_space_outside_the_payload_is_found(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl")
    for harm in (lines[2].replace(b'","payload":', b'", "payload":'), b" " + lines[2], lines[2][:-1] + b" \n", b"\n"):
        assert ("not_json", 2) in faults_in(verdict_on(tmp_path / "b.jsonl", [*lines[:2], harm, *lines[3:]]))


def test_records_of_another_ledger_are_found(tmp_path):
    mine, other = lines_of(tmp_path / "a.jsonl", 3), lines_of(tmp_path / "b.jsonl", 5)
    grafted = verdict_on(tmp_path / "c.jsonl", mine + other[3:])
    assert {("foreign_ledger_id", 3), ("prev_mismatch", 3)} <= faults_in(grafted)


def test_a_tail_written_anew_is_found_by_anchors_only(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = lines_of(path)
    anchor = Ledger(path).anchor()
    payloads, head = [payload_of(line) for line in lines], verify_ledger(Ledger(path)).head
    prev, forged = FIRST_PREV, []
    for number, payload in enumerate(payloads):
        fields = payload.replace(b'"number":5', b'"number":6') if number == 5 else payload
        fields = fields.replace(fields.split(b'"prev":"')[1][:64], prev.encode())
        forged += rehash_lines([fields], prev)
        prev = hash_after(prev, fields)
    assert prev != head
    assert verdict_on(tmp_path / "b.jsonl", forged).ok
    report = verify_ledger(Ledger(tmp_path / "b.jsonl"), [anchor])
    assert faults_in(report) == {("anchor_mismatch", 7)}
    assert report.verdict == "tampered"


@pytest.mark.parametrize("dropped", [1, 2, 5, 8])
def test_a_dropped_tail_is_found_by_anchors_only(tmp_path, dropped):
    lines = lines_of(tmp_path / "a.jsonl")
    anchor = Ledger(tmp_path / "a.jsonl").anchor()
    kept = lines[: 8 - dropped]
    assert verdict_on(tmp_path / "b.jsonl", kept).ok
    assert faults_in(verify_ledger(Ledger(tmp_path / "b.jsonl"), [anchor])) == {("truncated", 8 - dropped)}


def test_a_grown_ledger_still_meets_all_its_anchors(tmp_path):
    ledger, anchors = Ledger(tmp_path / "a.jsonl"), []
    for number in range(4):
        ledger.append("step", {"number": number}, run_id="r")
        anchors.append(ledger.anchor())
    assert [anchor.size for anchor in anchors] == [1, 2, 3, 4]
    assert verify_ledger(ledger, anchors).ok


def test_an_anchor_of_another_ledger_is_told_as_such(tmp_path):
    lines_of(tmp_path / "a.jsonl", 2)
    lines_of(tmp_path / "b.jsonl", 2)
    report = verify_ledger(Ledger(tmp_path / "a.jsonl"), [Ledger(tmp_path / "b.jsonl").anchor()])
    assert faults_in(report) == {("foreign_ledger_id", 1)}


def test_a_torn_tail_is_no_tampering_but_tampering_outweighs_it(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl")
    torn = [*lines[:-1], lines[-1][:50]]
    report = verdict_on(tmp_path / "b.jsonl", torn)
    assert (report.verdict, report.records, faults_in(report)) == ("torn_tail", 7, {("torn_tail", 7)})
    with pytest.raises(TornTailError):
        report.raise_for_faults()
    torn[1] = torn[1].replace(b'"number":1', b'"number":2')
    assert verdict_on(tmp_path / "c.jsonl", torn).verdict == "tampered"


def test_a_line_over_the_limit_is_found_and_passed(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl", 3)
    report = verdict_on(tmp_path / "b.jsonl", [*lines[:2], b"x" * 300_000 + b"\n", lines[2]])
    assert ("line_too_long", 2) in faults_in(report)
    assert report.records == 4
    unending = verdict_on(tmp_path / "c.jsonl", [*lines, b"x" * 300_000])
    assert (unending.verdict, faults_in(unending)) == ("tampered", {("line_too_long", 3)})


def test_a_newer_format_is_neither_intact_nor_tampered(tmp_path):
    payloads = [payload_of(line) for line in lines_of(tmp_path / "a.jsonl", 3)]
    newer = rehash_lines([*payloads[:2], canonical_bytes({"format": 2, "future": True})])
    assert verdict_on(tmp_path / "b.jsonl", newer).verdict == "unknown_format"
    for act in (
        lambda: Ledger(tmp_path / "b.jsonl").append("step", {}, run_id="r"),
        lambda: list(Ledger(tmp_path / "b.jsonl").records()),
    ):
        with pytest.raises(EvidenceError, match="Upgrade"):
            act()
