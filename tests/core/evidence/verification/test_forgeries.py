import json
import random
import re

import pytest

from quant_core.errors import UsageError
from quant_core.evidence.ledger.canonical import canonical_bytes
from quant_core.evidence.ledger.chain import FIRST_PREV, Position, Record
from quant_core.evidence.ledger.inspection import check_line
from quant_core.evidence.ledger.ledger import Ledger
from tests.forgeries import edit_payload, faults_in, line_with, lines_of, payload_of, rehash_lines, verify_files

OF_FORM = {"hash_mismatch", "not_json", "duplicate_key", "not_canonical", "bad_fields", "unknown_format"}


def test_every_byte_flipped_in_three_bits_is_found_at_its_record(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl", 4)
    whole, starts = bytearray(b"".join(lines)), [sum(map(len, lines[:number])) for number in range(4)]
    flips = 0
    for place in range(len(whole)):
        seq = max(number for number, start in enumerate(starts) if start <= place)
        for bit in (0, 3, 6):
            whole[place] ^= 1 << bit
            report = verify_files(bytes(whole))
            assert report.verdict == "tampered", (place, bit)
            assert (report.faults[0].seq, report.faults[0].offset) == (seq, starts[seq]), (place, bit)
            assert report.faults[0].kind in OF_FORM, (place, bit)
            whole[place] ^= 1 << bit
            flips += 1
    assert flips == 3 * len(whole) > 5_000
    assert verify_files(bytes(whole)).ok


def test_every_dropped_tail_from_1_to_50_is_found_by_its_anchor(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl", 60)
    anchor = Ledger(tmp_path / "a.jsonl").anchor()
    for dropped in range(1, 51):
        kept = lines[: 60 - dropped]
        assert verify_files(kept).ok, "a chain alone cannot know"
        assert faults_in(verify_files(kept, anchors=[anchor])) == {("truncated", 60 - dropped)}
    assert verify_files(lines, anchors=[anchor]).ok


def test_history_written_anew_from_any_record_on_is_found_by_anchors(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl", 12)
    ledger = Ledger(tmp_path / "a.jsonl")
    anchors = [ledger.anchor(size) for size in range(1, 13)]
    for first in range(12):
        payloads = [payload_of(line) for line in lines]
        payloads[first] = edit_payload(payloads[first], lambda fields: fields["data"].update(number=99))
        forged = rehash_lines(payloads)
        assert forged[:first] == lines[:first]
        assert verify_files(forged).ok, "a chain alone cannot know"
        assert faults_in(verify_files(forged, anchors=[anchors[-1]])) == {("anchor_mismatch", 11)}
        every = verify_files(forged, anchors=anchors)
        assert faults_in(every) == {("anchor_mismatch", seq) for seq in range(first, 12)}


def test_every_exchange_removal_and_repetition_is_found_where_it_is(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl", 10)
    for at in range(9):
        exchanged = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
        first = verify_files(exchanged).faults[0]
        assert (first.kind, first.seq) == ("prev_mismatch", at)
        assert faults_in(verify_files(lines[:at] + lines[at + 1 :])) == {("prev_mismatch", at), ("seq_gap", at)}
    for at in range(10):
        doubled = verify_files(lines[: at + 1] + lines[at:])
        assert faults_in(doubled) == {("prev_mismatch", at + 1), ("seq_gap", at + 1)}


def test_white_space_anywhere_is_found_hashed_anew_or_not(tmp_path):
    lines = lines_of(tmp_path / "a.jsonl", 4)
    payload = payload_of(lines[2])
    places = [match.end() for match in re.finditer(rb"[{}:,]", payload)]
    is_text = [payload[:at].count(b'"') % 2 for at in places]
    assert sum(1 - inside for inside in is_text) > 25
    for at, inside in zip(places, is_text, strict=True):
        for space in (b" ", b"\t", b"\r"):
            spaced = payload[:at] + space + payload[at:]
            plain = lines[2].replace(payload, spaced)
            assert faults_in(verify_files([*lines[:2], plain, lines[3]])) >= {("hash_mismatch", 2)}
            if not inside:
                forged = verify_files([*lines[:2], line_with(lines[1][9:73].decode(), spaced)])
                assert faults_in(forged) == {("not_canonical", 2)}, (at, space)


VALUES = [
    (b"1.0", "not_canonical", b"1.00"),
    (b"1.5", "not_canonical", b"15e-1"),
    (b"0.1", "not_canonical", b"0.10"),
    (b"0.1", "not_canonical", b"0.1000000000000000055"),
    (b"0.1", "not_json", b".1"),
    (b"1e+16", "not_canonical", b"1e16"),
    (b"1e+16", "not_canonical", b"1E+16"),
    (b"1e-07", "not_canonical", b"1e-7"),
    (b"1e-07", "not_canonical", b"0.0000001"),
    (b"1e+300", "not_canonical", b"1e+400"),
    (b"7", "not_json", b"07"),
    (b"7", "not_json", b"+7"),
    (b"7", "not_json", b"0x7"),
    (b"0", "not_canonical", b"-0"),
    (b"10", "not_canonical", b"1e1"),
    (b"9007199254740992", "not_canonical", b"9007199254740993"),
    (b"null", "not_json", b"NaN"),
    (b"null", "not_json", b"Infinity"),
    (b"null", "not_json", b"-Infinity"),
    (b"true", "not_json", b"True"),
    (b'"A"', "not_canonical", rb'"\u0041"'),
    (b'"A"', "not_json", b'"\x01"'),
    (b'"A"', "not_json", b'"\xff"'),
    (b'"A"', "not_json", b"'A'"),
    (b'"A"', "not_json", b"A"),
    (b'{"a":1,"b":2}', "not_canonical", b'{"b":1,"a":2}'),
    (b'{"a":1,"b":2}', "duplicate_key", b'{"a":1,"a":2}'),
    (b'{"a1":1,"a2":2}', "not_canonical", b'{"a2":1,"a1":2}'),
    (b'{"a1":1,"a2":2}', "duplicate_key", b'{"a1":1,"a1":2}'),
    (b'{"a":1,"b":2}', "not_json", b'{"a":1,"b":}'),
    (b"[1,2]", "not_json", b"[1,,2]"),
    (b"[1,2]", "not_json", b"[1,2,]"),
    (b"[1,2]", "not_json", b"[1 2]"),
    (b"[[1],[2]]", "not_json", b"[[1],[2]"),
    (b'["a","b"]', "not_json", b'["a""b"]'),
    (b'["x","y:z"]', "not_json", b'["x":"y:z"]'),
]


@pytest.mark.parametrize(("good", "kind", "bad"), VALUES)
def test_a_value_in_another_form_is_found_even_after_many_in_the_right_one(tmp_path, good, kind, bad):
    payloads = [payload_of(line) for line in lines_of(tmp_path / "a.jsonl", 12)]
    right = [payload.replace(b'"text":"plain"', b'"text":' + good) for payload in payloads]
    assert verify_files(rehash_lines(right)).ok
    wrong = [*right[:9], payloads[9].replace(b'"text":"plain"', b'"text":' + bad), *right[10:]]
    lines = rehash_lines(wrong)
    assert faults_in(verify_files(lines)) == {(kind, 9)}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b'"kind":"step"', b'"kind":""', "bad_fields"),
        (b'"format":1', b'"format":2', "unknown_format"),
        (b'"format":1', b'"format":1.0', "bad_fields"),
        (b'"run_id":"r"', b'"run_id":7', "bad_fields"),
        (b'"seq":9', b'"seq":8', "seq_gap"),
        (b'"seq":9', b'"seq":09', "not_json"),
        (b'"seq":9', b'"seq":9.0', "bad_fields"),
        (b'"seq":9', b'"seq":-9', "bad_fields"),
        (b'"pid":', b'"pid":0', "not_json"),
        (b'"writer":{', b'"writer":{"a":1,', "bad_fields"),
        (b'"data":{', b'"aaaa":{', "bad_fields"),
        (b'"data":{"number":9', b'"data":7,"date":{"number":9', "bad_fields"),
        (b'"ledger_id":"', b'"ledger_id":"x', "foreign_ledger_id"),
    ],
)
def test_another_envelope_is_found_after_many_right_ones(tmp_path, old, new, kind):
    payloads = [payload_of(line) for line in lines_of(tmp_path / "a.jsonl", 12)]
    assert old in payloads[9]
    lines = rehash_lines([*payloads[:9], payloads[9].replace(old, new, 1), *payloads[10:]])
    assert (kind, 9) in faults_in(verify_files(lines))


def test_a_previous_hash_that_is_not_the_one_before_is_found(tmp_path):
    payloads = [payload_of(line) for line in lines_of(tmp_path / "a.jsonl", 6)]
    lines = rehash_lines(payloads)
    head = lines[3][9:73].decode()
    stated = payloads[4].replace(head.encode(), FIRST_PREV.encode())
    forged = [*lines[:4], line_with(head, stated)]
    assert faults_in(verify_files(forged)) == {("prev_mismatch", 4)}


TOKENS = [bytes([byte]) for byte in b' 01-.e+",:{}[]\\\x00\xff\t'] + [
    b"\xc3\xa9",
    b"true",
    b"NaN",
    b'"a":1,',
    b'"kind":"x",',
]
HELD = [1, 0, -5, 1.5, 0.1, 1e-7, 1e16, -0.0, True, None, "x", "a:b,{}[]", "é", "", "012", {"a": 1, "b2": [1, 2.5]}, []]
HELD += [{}, [[1], ["q"]], 123456789012345, 1234567890123456]


@pytest.mark.parametrize("forgeries", [400, pytest.param(20_000, marks=[pytest.mark.faults, pytest.mark.timeout(600)])])
def test_a_line_passes_where_its_record_can_be_built_whatever_a_forger_writes(tmp_path, forgeries):
    generator, ledger = random.Random(11), Ledger(tmp_path / "a.jsonl")
    for _ in range(40):
        data = {key: generator.choice(HELD) for key in generator.sample(["a", "b1", "b2", "data", "format", "kind"], 3)}
        kind, run = generator.choice(["step", "commit"]), generator.choice(["r", "run-2"])
        ledger.append(kind, data, run_id=run, durable=False)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger_id = ledger.anchor().ledger_id
    wrong = 0
    for _ in range(forgeries):
        number = generator.randrange(1, 40)
        text = bytearray(payload_of(lines[number]))
        for _ in range(generator.choice([1, 1, 2])):
            at = generator.randrange(len(text))
            match generator.randrange(4):
                case 0:
                    text[at:at] = generator.choice(TOKENS)
                case 1:
                    del text[at : at + generator.randrange(1, 4)]
                case 2:
                    text[at : at + 1] = generator.choice(TOKENS)
                case _:
                    other = generator.randrange(len(text))
                    text[at], text[other] = text[other], text[at]
        head = lines[number - 1][9:73].decode()
        forged, place = line_with(head, bytes(text)), Position(0, number, head, ledger_id)
        is_sound = not check_line(forged, place).faults
        assert is_sound == is_record_of(bytes(text), place), forged
        wrong += not is_sound
    assert wrong > forgeries / 2


def is_record_of(payload, place):
    """Whether the payload is a canonical record that goes on from `place`, by the model of a record alone."""
    try:
        fields = json.loads(payload)
        record = Record.model_validate({**fields, "hash": place.head})
        is_canonical = canonical_bytes(fields) == payload
    except (ValueError, TypeError, UsageError):
        return False
    follows = (record.prev, record.seq, record.ledger_id) == (place.head, place.seq, place.ledger_id)
    return is_canonical and follows and record.format == 1 and "hash" not in fields


ENVELOPE = {
    "seq": [True, 1.0, "1", None, -1],
    "prev": [1, "0" * 63, "0" * 63 + "G", "A" * 64, "0" * 64 + "\n", None],
    "ledger_id": ["", 1, None],
    "run_id": [None, 1, []],
    "ts": [None, 1, {}],
    "mono_ns": [None, 1.5, True, []],
    "format": [True, 1.0, "1", None, 2],
    "kind": ["", 1, None],
    "data": [None, [], "x", 1],
    "writer": [
        None,
        [],
        {},
        {"pid": True, "boot_id": "b", "started": 1},
        {"pid": 1, "boot_id": 2, "started": 1},
        {"pid": 1, "boot_id": "b", "started": 1.0},
        {"pid": 1, "boot_id": "b"},
        {"pid": 1, "boot_id": "b", "started": 1, "more": 1},
    ],
    "more": [1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ENVELOPE.items() for value in values])
def test_a_field_of_another_type_is_found_though_its_hash_fits(tmp_path, name, value):
    lines = lines_of(tmp_path / "a.jsonl", 2)
    head = lines[0][9:73].decode()
    forged = line_with(head, edit_payload(payload_of(lines[1]), lambda fields: fields.update({name: value})))
    faults = check_line(forged, Position(0, 1, head, Ledger(tmp_path / "a.jsonl").anchor().ledger_id)).faults
    assert {fault.kind for fault in faults} <= {"bad_fields", "unknown_format"}
    assert faults


@pytest.mark.parametrize("name", [name for name in ENVELOPE if name != "more"])
def test_a_field_that_is_missing_is_found(tmp_path, name):
    lines = lines_of(tmp_path / "a.jsonl", 2)
    forged = line_with(lines[0][9:73].decode(), edit_payload(payload_of(lines[1]), lambda fields: fields.pop(name)))
    assert faults_in(verify_files([lines[0], forged])) <= {("bad_fields", 1), ("unknown_format", 1)}
    assert faults_in(verify_files([lines[0], forged]))
