"""The ledger's line format and how one line follows another. Faults of a line: inspection.py.

A line is `{"hash":"<64 hex>","payload":<payload>}` and a newline. The payload is canonical JSON, kept
verbatim; the hash is SHA-256 over the previous hash (as hex text) and those exact bytes. `jq` and
`sha256sum` are enough to check it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quant_core.errors import EvidenceError, TamperedError, UsageError
from quant_core.evidence.files.writer import Writer
from quant_core.evidence.ledger.canonical import PayloadError, as_json_value, canonical_object, encode_json

FORMAT = 1
MAX_LINE = 64 * 1024
FIRST_PREV = "0" * 64

_OPEN, _MIDDLE, _CLOSE = b'{"hash":"', b'","payload":', b"}\n"
_HASH_END = len(_OPEN) + 64
_PAYLOAD_START = _HASH_END + len(_MIDDLE)
_HEX = frozenset(b"0123456789abcdef")


class Record(BaseModel):
    """One acknowledged line of the ledger. `seq` gives the order; `ts` is only the time on the clock."""

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


_FIELDS = Record.model_fields.keys() - {"hash"}
_WRITER_FIELDS = Writer.model_fields.keys()
_INT_OR_STR = (int, str)
_HASH_FORM = re.compile(r"[0-9a-f]{64}")


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
        """Return the beginning of the next segment, if this one ends here."""
        return Position(0, self.seq, self.head, self.ledger_id, self.segment + 1)


def hash_after(prev: str, payload: bytes) -> str:
    """Return the hash of the record with this payload after the record with hash `prev`."""
    return hashlib.sha256(prev.encode("ascii") + payload).hexdigest()


def build_line(payload: dict[str, Any]) -> tuple[bytes, Record]:
    """Return the line for a payload whose `prev` is the hash before it, and its record.

    Raises
    ------
    UsageError
        The payload has no JSON form, is not a valid record, or its line is too long.
    """
    fields = as_json_value(payload)
    raw = encode_json(fields)
    digest = hash_after(payload["prev"], raw)
    line = _OPEN + digest.encode("ascii") + _MIDDLE + raw + _CLOSE
    if len(line) > MAX_LINE:
        raise UsageError(
            f"a {payload['kind']!r} record of {len(line)} bytes is over the limit of {MAX_LINE} per line. "
            "Put it in a content-addressed file and record its SHA-256."
        )
    try:
        return line, as_record(digest, fields)
    except PayloadError as error:
        raise UsageError(f"this is not a record: {error.detail}") from error


def digests_in(lines: bytes) -> list[bytes]:
    """Return the hash stated in each of some terminated lines, as 64 hex digits."""
    return [line[len(_OPEN) : _HASH_END] for line in lines.split(b"\n")[:-1]]


def record_in(line: bytes) -> Record:
    """Return the record in one complete line, its hash checked against its own `prev`."""
    try:
        digest, payload = split_line(line)
        record = as_record(digest, read_fields(payload))
    except PayloadError as error:
        if error.kind == "unknown_format":
            raise EvidenceError(
                f"the ledger continues in another format: {error.detail}. Upgrade quant-assets to read it."
            ) from error
        raise TamperedError(f"a line of the ledger is not a record: {error}") from error
    if digest != hash_after(record.prev, payload):
        raise TamperedError(f"the hash of record {record.seq} is not that of its payload.")
    return record


def last_lines(descriptor: int, end: int, count: int) -> list[bytes]:
    """Return the last `count` lines before byte `end`, where a line must end; fewer if the file has fewer."""
    start, found = end, b""
    while start and found.count(b"\n") <= count:
        length = min(start, MAX_LINE)
        start -= length
        found = os.pread(descriptor, length, start) + found
    lines = found.splitlines(keepends=True) if start == 0 else found.splitlines(keepends=True)[1:]
    return lines[-count:] if count else []


def place_after_last(descriptor: int, size: int, segment: int = 0) -> Position:
    """Return the place behind the last complete line of a segment of `size` bytes; it reads two lines' length at most.

    An incomplete line may follow that place. A tail that an interrupted append cannot have left is a TamperedError.
    """
    window, chunk = _end_of(descriptor, size)
    end = chunk.rfind(b"\n") + 1
    start = chunk.rfind(b"\n", 0, max(end - 1, 0)) + 1
    place = Position(segment=segment)
    if end:
        last = record_in(chunk[start:end])
        place = Position(window + end, last.seq + 1, last.hash, last.ledger_id, segment)
    if end < len(chunk) and (place.offset < window or not is_torn(chunk[end:], place.head)):
        raise TamperedError(
            f"the end of the ledger, from byte {place.offset} on, cannot come from an interrupted append."
        )
    return place


def _end_of(descriptor: int, size: int) -> tuple[int, bytes]:
    """Return the last bytes before `size`, as many as two lines may have, and their offset; ignore zeros at the end.

    A file system that does not keep order may have lengthened the file for appends whose bytes were never written.
    """
    while True:
        first = max(0, size - 2 * MAX_LINE)
        chunk = os.pread(descriptor, size - first, first)
        filled = len(chunk.rstrip(b"\0"))
        if first == 0 or filled == len(chunk):
            return first, chunk
        size = first + filled


def is_torn(tail: bytes, head: str) -> bool:
    """Return whether an unterminated `tail` after a record with hash `head` can be an interrupted append.

    Such a tail is the beginning of a line, perhaps followed by zeros. A whole record whose newline was replaced by
    anything but a zero is not.
    """
    if len(tail.rstrip(b"\0")) >= MAX_LINE:
        return False
    try:
        digest, payload = split_line(tail[:-1] + b"\n")
    except PayloadError:
        return True
    return tail.endswith(b"\0") or digest != hash_after(head, payload)


def split_line(line: bytes) -> tuple[str, bytes]:
    """Return the hash and the payload of one terminated line; PayloadError if it does not consist of these two."""
    digest, payload = line[len(_OPEN) : _HASH_END], line[_PAYLOAD_START : -len(_CLOSE)]
    framed = line.startswith(_OPEN) and line[_HASH_END:_PAYLOAD_START] == _MIDDLE and line.endswith(_CLOSE)
    if not framed or len(digest) != 64 or not _HEX.issuperset(digest):
        raise PayloadError("not_json", "the line is not a hash and a payload")
    return digest.decode("ascii"), payload


def read_fields(payload: bytes) -> dict[str, Any]:
    """Return the fields of a canonical payload; PayloadError if they are not those of a record."""
    fields = canonical_object(payload)
    if fields.get("format") != FORMAT:
        raise PayloadError("unknown_format", f"format {fields.get('format')!r}; this version reads format {FORMAT}")
    if "hash" in fields:
        raise PayloadError("bad_fields", "the payload claims a hash of its own")
    if not _has_fields_of_record(fields):
        as_record(FIRST_PREV, fields)
    return fields


def as_record(digest: str, fields: dict[str, Any]) -> Record:
    """Return the record with that hash and these fields; PayloadError if they are not those of a record."""
    try:
        return Record.model_validate({"hash": digest, **fields})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise PayloadError("bad_fields", wrong) from error


def _has_fields_of_record(fields: dict[str, Any]) -> bool:
    """Return whether `Record` surely accepts these fields, without building it: that costs half of parsing them."""
    if fields.keys() != _FIELDS:
        return False
    seq, prev, ledger_id, kind, writer = map(fields.__getitem__, ("seq", "prev", "ledger_id", "kind", "writer"))
    return (
        (type(seq) is int and seq >= 0)
        and (type(prev) is str and _HASH_FORM.fullmatch(prev) is not None)
        and (type(ledger_id) is str and ledger_id != "")
        and (type(kind) is str and kind != "")
        and type(fields["run_id"]) is str
        and type(fields["ts"]) is str
        and type(fields["format"]) is int
        and type(fields["data"]) is dict
        and type(fields["mono_ns"]) in _INT_OR_STR
        and type(writer) is dict
        and writer.keys() == _WRITER_FIELDS
        and type(writer["pid"]) is int
        and type(writer["boot_id"]) is str
        and type(writer["started"]) is int
    )
