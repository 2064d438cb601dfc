"""Appends to the ledger under its lock: records, checkpoints, and a new segment when one is full.

Taking the lock: ledger.py. The form of a line: chain.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quant_core.errors import EvidenceError, TamperedError, UsageError
from quant_core.evidence.files.documents import flush, flush_path, sweep, temp_file
from quant_core.evidence.files.writer import this_process
from quant_core.evidence.ledger.chain import (
    FORMAT,
    MAX_LINE,
    Position,
    Record,
    build_line,
    digests_in,
    place_after_last,
)
from quant_core.evidence.ledger.checkpoints import CHECKPOINT, EVERY, SEAL, grow, tree_before, tree_facts
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes
from quant_core.evidence.ledger.segments import sealed_path, sealed_segments

SEGMENT_BYTES = 64 * 2**20
MOST_AT_ONCE = MAX_LINE
"""Largest number of bytes of one write, so that a torn tail is never longer than a line may be."""


Last = tuple[Position, bytes] | None
"""The place behind the last line written by this process, and that line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to append: its kind, its data, its run."""

    kind: str
    data: Mapping[str, Any]
    run_id: str


class Transaction:
    """The exclusively locked ledger. `Ledger.lock` yields it; after that block it cannot be used."""

    def __init__(self, path: Path, descriptor: int, *, segment_bytes: int = SEGMENT_BYTES, last: Last = None) -> None:
        self.path, self.descriptor = path, descriptor
        self._segment_bytes = segment_bytes
        self._is_open = True
        self._tree: tuple[Position, Frontier] | None = None
        self.last = last
        size = os.fstat(descriptor).st_size
        if last is not None and last[0].offset == size:
            place, line = last
            if os.pread(descriptor, len(line), size - len(line)) == line:
                self.place = place  # nobody else wrote meanwhile
                return
        self.last = None
        self.place = place_after_last(descriptor, size, len(sealed_segments(path)))
        if self.place.segment and not self.place.seq:
            raise TamperedError(f"{path} is empty, but {self.place.segment} full segments precede it.")
        if self.place.offset < size:
            os.ftruncate(descriptor, self.place.offset)

    @property
    def last_seq(self) -> int:
        """Number of the last record; -1 in an empty ledger."""
        return self.place.seq - 1

    def append(self, kind: str, data: Mapping[str, Any], *, run_id: str, durable: bool = True) -> Record:
        """Append one record; see `append_all`."""
        return self.append_all([Entry(kind, data, run_id)], durable=durable)[0]

    def append_all(self, entries: Sequence[Entry], *, durable: bool = True) -> list[Record]:
        """Append records together: in as few writes as possible and one flush.

        After a failed write or flush the transaction is over: this descriptor can no longer know what the device
        holds, so the next attempt must open its own.

        Parameters
        ----------
        entries : sequence of Entry
            Records in their order.
        durable : bool
            On return they are on the device, with all records before them. Otherwise only the operating system has
            them: they outlive this process, but a power cut may lose the last of them. Readers see them at once.

        Returns
        -------
        list of Record
            One per entry. On any failure none is recorded, and the file is unchanged.
        """
        if not self._is_open:
            raise UsageError("this transaction is over. Open another with Ledger.lock().")
        for entry in entries:
            if entry.kind in {CHECKPOINT, SEAL}:
                raise UsageError(f"kind {entry.kind!r} is reserved for the ledger's own records.")
        if self.place.offset >= self._segment_bytes:
            self._roll()
        start = self.place
        lines: list[bytes] = []
        records: list[Record] = []
        place = start
        for entry in entries:
            if place.seq and place.seq % EVERY == 0:
                line, place, _ = _next(place, Entry(CHECKPOINT, tree_facts(self._tree_at(place, start, lines)), ""))
                lines.append(line)
            line, place, record = _next(place, entry)
            lines.append(line)
            records.append(record)
        self._write(lines, durable=durable)
        self.place = place
        self.last = (place, lines[-1]) if lines else self.last
        return records

    def tree(self) -> Frontier:
        """Return the Merkle tree of all records so far."""
        if self._tree is None or self._tree[0].segment != self.place.segment:
            self._tree = (self.place, tree_before(self.descriptor, self.place))
        place, tree = self._tree
        grow(tree, self.descriptor, place.offset, self.place.offset)
        self._tree = (self.place, tree)
        return tree

    def close(self) -> None:
        """End the transaction; a later append to it is an error."""
        self._is_open = False

    def _tree_at(self, place: Position, start: Position, lines: Sequence[bytes]) -> Frontier:
        """Return the tree of the records in the file and in the lines about to be written."""
        assert place.seq == start.seq + len(lines)
        tree = self.tree().copy()
        tree.extend(leaf_hashes(digests_in(b"".join(lines))))
        return tree

    def _write(self, lines: Sequence[bytes], *, durable: bool) -> None:
        self._is_open = is_acknowledged = False
        try:
            for piece in _pieces(lines):
                count = os.write(self.descriptor, piece)
                if count != len(piece):
                    raise EvidenceError(f"only {count} of {len(piece)} bytes fit into {self.path}. Free some space.")
            if durable:
                flush(self.descriptor, data_only=True)
            if self.place.seq == 0:
                flush_path(self.path.parent)
            self._is_open = is_acknowledged = True
        except OSError as error:
            raise EvidenceError(f"cannot append to {self.path}: {error.strerror}. Nothing was recorded.") from error
        finally:
            if not is_acknowledged:
                os.ftruncate(self.descriptor, self.place.offset)

    def _roll(self) -> None:
        """Seal this segment and continue in a new one. If the writer is killed in between, the old one stays in use.

        The old file first gets its final name as a second link. Then the new file, complete with its seal and already
        locked by this writer, takes the name of the open segment in one rename.
        """
        self._is_open = False
        try:
            flush(self.descriptor, data_only=True)
            sealed = sealed_path(self.path, self.place.segment)
            data = {
                **tree_facts(self.tree()),
                "segment": sealed.name,
                "bytes": self.place.offset,
                "sha256": _file_hash(self.path),
                "last_hash": self.place.head,
            }
            place = self.place.in_next_segment()
            line, after, _ = _next(place, Entry(SEAL, data, ""))
            if not sealed.exists():
                sealed.hardlink_to(self.path)
            elif not sealed.samefile(self.path):
                raise TamperedError(f"{sealed} exists already and is not {self.path}. Move it away.")
            flush_path(self.path.parent)
            sweep(self.path.parent, deep=False)
            with temp_file(self.path.parent) as file, ExitStack() as undone:
                new = os.open(file.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
                undone.callback(os.close, new)
                fcntl.flock(new, fcntl.LOCK_EX)
                if os.write(new, line) != len(line):
                    raise EvidenceError(f"the seal does not fit into {self.path.parent}. Free some space.")
                file.publish(self.path.name)
                undone.pop_all()
        except OSError as error:
            raise EvidenceError(f"cannot begin a new segment of {self.path}: {error.strerror}.") from error
        old, self.descriptor, self.place, self._is_open = self.descriptor, new, after, True
        self.last = None
        os.fchmod(old, 0o444)
        fcntl.flock(old, fcntl.LOCK_UN)
        os.close(old)


def _next(place: Position, entry: Entry) -> tuple[bytes, Position, Record]:
    """Return the line of an entry at `place`, the place behind it, and its record."""
    line, record = build_line(
        {
            "seq": place.seq,
            "prev": place.head,
            "ledger_id": place.ledger_id or str(uuid.uuid4()),
            "run_id": entry.run_id,
            "writer": this_process().model_dump(),
            "ts": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "mono_ns": time.monotonic_ns(),
            "format": FORMAT,
            "kind": entry.kind,
            "data": entry.data,
        }
    )
    return line, place.after(len(line), record.hash, ledger_id=record.ledger_id), record


def _pieces(lines: Sequence[bytes]) -> list[bytes]:
    """Join the lines into writes of at most `MOST_AT_ONCE` bytes."""
    pieces: list[bytes] = []
    for line in lines:
        if pieces and len(pieces[-1]) + len(line) <= MOST_AT_ONCE:
            pieces[-1] += line
        else:
            pieces.append(line)
    return pieces


def _file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
