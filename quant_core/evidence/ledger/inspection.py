"""The lines of a segment one by one, each with its faults. Format: chain.py; faults across lines: verification/."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from quant_core.evidence.ledger.canonical import PayloadError
from quant_core.evidence.ledger.chain import (
    MAX_LINE,
    Position,
    Record,
    as_record,
    hash_after,
    is_torn,
    read_fields,
    split_line,
)

FaultKind = Literal[
    "hash_mismatch",
    "prev_mismatch",
    "seq_gap",
    "not_json",
    "duplicate_key",
    "not_canonical",
    "bad_fields",
    "unknown_format",
    "line_too_long",
    "foreign_ledger_id",
    "truncated",
    "anchor_mismatch",
    "torn_tail",
    "root_mismatch",
    "seal_mismatch",
    "segment_missing",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the ledger: its kind, record, byte offset and segment."""

    kind: FaultKind
    seq: int
    offset: int
    detail: str
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its hash, its fields if they make a record, its faults, and the place after it."""

    digest: str
    fields: dict[str, Any] | None
    faults: tuple[Fault, ...]
    after: Position

    @property
    def record(self) -> Record | None:
        """The record of the line, built at each access; None if the line is not a record."""
        return None if self.fields is None else as_record(self.digest, self.fields)


def describe_fault(fault: Fault) -> str:
    """Return one fault as one line."""
    where = f" of segment {fault.segment}" if fault.segment else ""
    return f"{fault.kind} at seq {fault.seq}, byte {fault.offset}{where} ({fault.detail})"


def fault_at(place: Position, kind: FaultKind, detail: str) -> Fault:
    """Return a fault of the record that begins at `place`."""
    return Fault(kind, place.seq, place.offset, detail, place.segment)


def inspect_lines(stream: BinaryIO, place: Position, end: int) -> Iterator[Line]:
    """Read the lines from `place` up to byte `end`, each with its faults.

    After a fault the walk continues from what the line itself states, if its hash confirms it. So one fault is not
    reported again at every later line.
    """
    stream.seek(place.offset)
    while place.offset < end:
        raw = stream.readline(min(MAX_LINE, end - place.offset))
        if not raw:
            yield Line("", None, (fault_at(place, "truncated", f"the file ends before byte {end}"),), place)
            return
        line = check_line(raw, place) if raw.endswith(b"\n") else _check_unterminated_line(stream, raw, place, end)
        yield line
        place = line.after


def check_line(raw: bytes, place: Position) -> Line:
    """Check the terminated line `raw` at `place`: its form, its hash, and that it follows the line before it."""
    try:
        digest, payload = split_line(raw)
    except PayloadError as error:
        return Line("", None, (fault_at(place, error.kind, error.detail),), place.after(len(raw), place.head))
    faults: list[Fault] = []
    is_intact = digest == hash_after(place.head, payload)
    fields: dict[str, Any] | None = None
    try:
        fields = read_fields(payload)
    except PayloadError as error:
        faults.append(fault_at(place, error.kind, error.detail))
    if not is_intact and fields is not None:
        is_intact = digest == hash_after(fields["prev"], payload)
    if not is_intact:
        faults.append(fault_at(place, "hash_mismatch", f"hash {digest[:12]} is not that of the payload"))
    if fields is None or not is_intact:
        return Line(digest, fields, tuple(faults), place.after(len(raw), digest))
    seq, prev, ledger_id = fields["seq"], fields["prev"], fields["ledger_id"]
    if prev != place.head:
        detail = f"follows {prev[:12]}, the record before is {place.head[:12]}"
        faults.append(fault_at(place, "prev_mismatch", detail))
    if seq != place.seq:
        faults.append(fault_at(place, "seq_gap", f"numbered {seq}, expected {place.seq}"))
    if place.ledger_id not in {None, ledger_id}:
        faults.append(fault_at(place, "foreign_ledger_id", f"of ledger {ledger_id}, expected {place.ledger_id}"))
    after = place.after(len(raw), digest, seq=seq, ledger_id=place.ledger_id or ledger_id)
    return Line(digest, fields, tuple(faults), after)


def _check_unterminated_line(stream: BinaryIO, raw: bytes, place: Position, end: int) -> Line:
    """Check the line at `place` that has no newline within `MAX_LINE`: it is too long, or the last one."""
    length, filled, more = len(raw), len(raw.rstrip(b"\0")), raw
    while length < end - place.offset and not more.endswith(b"\n"):
        more = stream.readline(min(MAX_LINE, end - place.offset - length))
        if not more:
            break
        filled = length + len(stripped) if (stripped := more.rstrip(b"\0")) else filled
        length += len(more)
    if filled >= MAX_LINE or more.endswith(b"\n"):
        fault = fault_at(place, "line_too_long", f"{length} bytes, the limit is {MAX_LINE}")
    elif is_torn(raw, place.head):
        fault = fault_at(place, "torn_tail", f"the last {length} bytes are not a complete line")
    else:
        fault = fault_at(place, "not_json", "a whole record whose newline was changed")
    return Line("", None, (fault,), place.after(length, place.head))
