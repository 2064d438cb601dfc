"""The ledger's line format and how one line follows another. Locks: ledger.py; verdicts: verification/verify.py.

A line is `{"hash":"<64 hex>","payload":<payload>}` and a newline. The payload is canonical JSON, kept
verbatim; the hash is SHA-256 over the previous hash (as hex text) and those exact bytes. It needs
no more than `jq` and `sha256sum` to check.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quant_core.errors import EvidenceError, TamperedError, UsageError
from quant_core.evidence.files.writer import Writer
from quant_core.evidence.ledger.canonical import PayloadError, canonical_object, encoded, plain

FORMAT = 1
MAX_LINE = 64 * 1024
FIRST_PREV = "0" * 64

_OPEN, _MIDDLE, _CLOSE = b'{"hash":"', b'","payload":', b"}\n"
_HASH_END = len(_OPEN) + 64
_PAYLOAD_START = _HASH_END + len(_MIDDLE)
_HEX = frozenset(b"0123456789abcdef")

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


class Record(BaseModel):
    """One acknowledged line of the ledger. Order is `seq`; `ts` is only what the clock said."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    seq: int = Field(ge=0)
    prev: str = Field(pattern=r"^[0-9a-f]{64}$")
    ledger_id: str = Field(min_length=1)
    run_id: str
    writer: Writer
    ts: str
    mono_ns: int | str
    format: int
    kind: str = Field(min_length=1)
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the ledger: what, at which record, from which byte of which segment on."""

    kind: FaultKind
    seq: int
    offset: int
    detail: str
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two lines, and what the next line must continue. `offset` counts within its segment."""

    offset: int = 0
    seq: int = 0
    head: str = FIRST_PREV
    ledger_id: str | None = None
    segment: int = 0

    def after(self, length: int, head: str, *, seq: int | None = None, ledger_id: str | None = None) -> Position:
        """Return the place behind a line of `length` bytes."""
        number = self.seq if seq is None else seq
        return Position(self.offset + length, number + 1, head, ledger_id or self.ledger_id, self.segment)

    def in_next_segment(self) -> Position:
        """Return the beginning of the segment that goes on from here."""
        return Position(0, self.seq, self.head, self.ledger_id, self.segment + 1)


@dataclass(frozen=True, slots=True)
class Line:
    """One line as found: the record if it can be read, what is wrong with it, and the place after it."""

    record: Record | None
    faults: tuple[Fault, ...]
    after: Position


def chained(prev: str, payload: bytes) -> str:
    """Return the hash of the record with this payload after the record with hash `prev`."""
    return hashlib.sha256(prev.encode("ascii") + payload).hexdigest()


def line_of(payload: dict[str, Any]) -> bytes:
    """Return the line, newline included, for a payload whose `prev` is the hash before it."""
    return written(payload)[0]


def written(payload: dict[str, Any]) -> tuple[bytes, Record]:
    """Return the line for a payload whose `prev` is the hash before it, and the record any reader will see in it.

    Raises
    ------
    UsageError
        It has no JSON form, no reader would take it for a record, or its line is too long.
    """
    fields = plain(payload)
    raw = encoded(fields)
    digest = chained(payload["prev"], raw)
    line = _OPEN + digest.encode("ascii") + _MIDDLE + raw + _CLOSE
    if len(line) > MAX_LINE:
        raise UsageError(
            f"a {payload['kind']!r} record of {len(line)} bytes is over the limit of {MAX_LINE} per line. "
            "Put it in a content-addressed file and record its SHA-256."
        )
    try:
        return line, _validated(digest, fields)
    except PayloadError as error:
        raise UsageError(f"this is no record: {error.detail}") from error


def digests_in(lines: bytes) -> list[bytes]:
    """Return the hash each of some terminated lines states, as its 64 hex digits."""
    return [line[len(_OPEN) : _HASH_END] for line in lines.split(b"\n")[:-1]]


def record_in(line: bytes) -> Record:
    """Return the record in one complete line, its hash checked against its own `prev`."""
    try:
        digest, payload = _parts(line)
        record = _record(digest, payload)
    except PayloadError as error:
        if error.kind == "unknown_format":
            raise EvidenceError(f"the ledger goes on in another format: {error.detail}. Upgrade.") from error
        raise TamperedError(f"a line of the ledger is no record: {error}") from error
    if digest != chained(record.prev, payload):
        raise TamperedError(f"the hash of record {record.seq} is not that of its payload.")
    return record


def last_lines(descriptor: int, end: int, count: int) -> list[bytes]:
    """Return the last `count` lines before byte `end`, where a line ends; fewer if there are fewer."""
    start, found = end, b""
    while start and found.count(b"\n") <= count:
        length = min(start, MAX_LINE)
        start -= length
        found = os.pread(descriptor, length, start) + found
    lines = found.splitlines(keepends=True) if start == 0 else found.splitlines(keepends=True)[1:]
    return lines[-count:] if count else []


def place_after_last(descriptor: int, size: int, segment: int = 0) -> Position:
    """Return the place behind the last complete line of a segment of `size` bytes; read two lines' worth at most.

    An incomplete line may follow that place; a tail no interrupted append can have left is a TamperedError.
    """
    window, chunk = _end_of(descriptor, size)
    end = chunk.rfind(b"\n") + 1
    start = chunk.rfind(b"\n", 0, max(end - 1, 0)) + 1
    place = Position(segment=segment)
    if end:
        last = record_in(chunk[start:end])
        place = Position(window + end, last.seq + 1, last.hash, last.ledger_id, segment)
    if end < len(chunk) and (place.offset < window or not is_torn(chunk[end:], place.head)):
        raise TamperedError(f"the ledger ends, from byte {place.offset} on, in what no interrupted append leaves.")
    return place


def _end_of(descriptor: int, size: int) -> tuple[int, bytes]:
    """Return the last two lines' worth of bytes before `size`, and where they begin; zeros at the end do not count.

    A file system that does not keep order may have lengthened the file for appends whose bytes never came.
    """
    while True:
        first = max(0, size - 2 * MAX_LINE)
        chunk = os.pread(descriptor, size - first, first)
        filled = len(chunk.rstrip(b"\0"))
        if first == 0 or filled == len(chunk):
            return first, chunk
        size = first + filled


def is_torn(tail: bytes, head: str) -> bool:
    """Tell whether an unterminated `tail` after a record with hash `head` can be an interrupted append.

    Such a tail is the beginning of a line, and zeros perhaps. A whole record in which only the newline was changed,
    but for a zero, is not.
    """
    if len(tail.rstrip(b"\0")) >= MAX_LINE:
        return False
    try:
        digest, payload = _parts(tail[:-1] + b"\n")
    except PayloadError:
        return True
    return tail.endswith(b"\0") or digest != chained(head, payload)


def inspected(stream: BinaryIO, place: Position, end: int) -> Iterator[Line]:
    """Read the lines from `place` up to byte `end`, each with its faults.

    After a fault the walk goes on from what the line itself states, if its hash vouches for it, so one
    fault is not reported again at every line after it.
    """
    stream.seek(place.offset)
    while place.offset < end:
        raw = stream.readline(min(MAX_LINE, end - place.offset))
        if not raw:
            fault = _fault("truncated", place, f"the file ends before byte {end}")
            yield Line(None, (fault,), place)
            return
        line = checked(raw, place) if raw.endswith(b"\n") else _unterminated(stream, raw, place, end)
        yield line
        place = line.after


def _fault(kind: FaultKind, place: Position, detail: str) -> Fault:
    return Fault(kind, place.seq, place.offset, detail, place.segment)


def _parts(line: bytes) -> tuple[str, bytes]:
    digest, payload = line[len(_OPEN) : _HASH_END], line[_PAYLOAD_START : -len(_CLOSE)]
    framed = line.startswith(_OPEN) and line[_HASH_END:_PAYLOAD_START] == _MIDDLE and line.endswith(_CLOSE)
    if not framed or len(digest) != 64 or not _HEX.issuperset(digest):
        raise PayloadError("not_json", "the line is not a hash and a payload")
    return digest.decode("ascii"), payload


def _record(digest: str, payload: bytes) -> Record:
    fields = canonical_object(payload)
    if fields.get("format") != FORMAT:
        raise PayloadError("unknown_format", f"format {fields.get('format')!r}; this version reads format {FORMAT}")
    if "hash" in fields:
        raise PayloadError("bad_fields", "the payload claims a hash of its own")
    return _validated(digest, fields)


def _validated(digest: str, fields: dict[str, Any]) -> Record:
    try:
        return Record.model_validate({"hash": digest, **fields})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise PayloadError("bad_fields", wrong) from error


def _unterminated(stream: BinaryIO, raw: bytes, place: Position, end: int) -> Line:
    """Judge the line at `place`, which has no newline within reach: too long, or the last one."""
    length, filled, more = len(raw), len(raw.rstrip(b"\0")), raw
    while length < end - place.offset and not more.endswith(b"\n"):
        more = stream.readline(min(MAX_LINE, end - place.offset - length))
        if not more:
            break
        filled = length + len(stripped) if (stripped := more.rstrip(b"\0")) else filled
        length += len(more)
    if filled >= MAX_LINE or more.endswith(b"\n"):
        fault = _fault("line_too_long", place, f"{length} bytes, the limit is {MAX_LINE}")
    elif is_torn(raw, place.head):
        fault = _fault("torn_tail", place, f"the last {length} bytes are no complete line")
    else:
        fault = _fault("not_json", place, "a whole record whose newline was changed")
    return Line(None, (fault,), place.after(length, place.head))


def checked(raw: bytes, place: Position) -> Line:
    """Hold the terminated line `raw` at `place` against the line before it."""
    faults: list[Fault] = []

    def blame(kind: FaultKind, detail: str) -> None:
        faults.append(_fault(kind, place, detail))

    try:
        digest, payload = _parts(raw)
    except PayloadError as error:
        blame(error.kind, error.detail)
        return Line(None, tuple(faults), place.after(len(raw), place.head))
    is_linked = digest == chained(place.head, payload)
    record: Record | None = None
    try:
        record = _record(digest, payload)
    except PayloadError as error:
        blame(error.kind, error.detail)
    is_intact = is_linked or (record is not None and digest == chained(record.prev, payload))
    if not is_intact:
        blame("hash_mismatch", f"hash {digest[:12]} is not that of the payload")
    if record is None or not is_intact:
        return Line(record, tuple(faults), place.after(len(raw), digest))
    if record.prev != place.head:
        blame("prev_mismatch", f"follows {record.prev[:12]}, the record before is {place.head[:12]}")
    if record.seq != place.seq:
        blame("seq_gap", f"numbered {record.seq}, expected {place.seq}")
    if place.ledger_id not in {None, record.ledger_id}:
        blame("foreign_ledger_id", f"of ledger {record.ledger_id}, expected {place.ledger_id}")
    known = place.ledger_id or record.ledger_id
    return Line(record, tuple(faults), place.after(len(raw), digest, seq=record.seq, ledger_id=known))
