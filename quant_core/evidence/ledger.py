"""The append-only ledger of a home: one file, many writers, nothing acknowledged is lost.

The line format lives in chain.py, the full check in verify.py, what records mean in commits.py.
One home belongs to one machine: flock is not trusted over network file systems.
"""

from __future__ import annotations

import fcntl
import io
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quant_core.errors import EvidenceError, TamperedError, UsageError
from quant_core.evidence.chain import FORMAT, Line, Position, Record, inspected, line_of, place_after_last, record_in
from quant_core.evidence.documents import flush, flush_path, make_folder
from quant_core.evidence.verify import Anchor, VerifyReport, told, verified
from quant_core.evidence.writer import this_process


class Transaction:
    """The ledger, held exclusively. Made by `Ledger.locked`; of no use after its block."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._is_open = True
        size = os.fstat(descriptor).st_size
        self.place = place_after_last(descriptor, size)
        if self.place.offset < size:
            os.ftruncate(descriptor, self.place.offset)

    @property
    def last_seq(self) -> int:
        """Number of the last record; -1 in an empty ledger."""
        return self.place.seq - 1

    def append(self, kind: str, data: Mapping[str, Any], *, run_id: str) -> Record:
        """Append one record; on return it is on the device. On any failure the file is as it was.

        After a failed write or flush the transaction is over: what the device holds of it is not known
        to this descriptor any more, so the next attempt has to open its own.
        """
        if not self._is_open:
            raise UsageError("this transaction is over. Open another with Ledger.locked().")
        line = line_of(
            {
                "seq": self.place.seq,
                "prev": self.place.head,
                "ledger_id": self.place.ledger_id or str(uuid.uuid4()),
                "run_id": run_id,
                "writer": this_process().model_dump(),
                "ts": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "mono_ns": time.monotonic_ns(),
                "format": FORMAT,
                "kind": kind,
                "data": data,
            }
        )
        record = _read_back(line)
        self._write(line)
        self.place = Position(self.place.offset + len(line), record.seq + 1, record.hash, record.ledger_id)
        return record

    def close(self) -> None:
        """End the transaction; appending to it is an error from here on."""
        self._is_open = False

    def _write(self, line: bytes) -> None:
        self._is_open = is_acknowledged = False
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise EvidenceError(f"only {written} of {len(line)} bytes fit into {self._path}. Free some space.")
            flush(self._descriptor, data_only=True)
            if self.place.seq == 0:
                flush_path(self._path.parent)
            self._is_open = is_acknowledged = True
        except OSError as error:
            raise EvidenceError(f"cannot append to {self._path}: {error.strerror}. Nothing was recorded.") from error
        finally:
            if not is_acknowledged:
                os.ftruncate(self._descriptor, self.place.offset)


class Ledger:
    """A hash-chained JSONL file. Safe among threads and processes of one machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._gate = threading.RLock()
        self._transaction: Transaction | None = None
        self._identity: tuple[int, int] | None = None
        self._known = Position()

    @contextmanager
    def locked(self) -> Iterator[Transaction]:
        """Hold the ledger exclusively: what is read inside stays true until what is appended inside.

        An incomplete last line, left by a writer that died before it was acknowledged, is cut here.
        """
        # Opened anew each time: a descriptor inherited over a fork would share its lock with the parent.
        with self._gate:
            if self._transaction is not None:
                raise UsageError("this thread already holds the ledger. Append through the open transaction.")
            make_folder(self.path.parent)
            descriptor = self._opened(os.O_RDWR | os.O_APPEND | (0 if self._identity else os.O_CREAT))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                self._recognise(descriptor)
                self._transaction = Transaction(self.path, descriptor)
                self._remember(self._transaction.place)
                yield self._transaction
                self._remember(self._transaction.place)
            finally:
                if self._transaction is not None:
                    self._transaction.close()
                    self._transaction = None
                # Said aloud, for a child forked meanwhile still holds this descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def append(self, kind: str, data: Mapping[str, Any], *, run_id: str) -> Record:
        """Append one record in a transaction of its own; its cost does not depend on the ledger's length."""
        with self.locked() as transaction:
            return transaction.append(kind, data, run_id=run_id)

    def records(self, from_seq: int = 0) -> Iterator[Record]:
        """Yield all acknowledged records from `from_seq` on; TamperedError at the first that breaks the chain."""
        for record, _ in self.since(Position()):
            if record.seq >= from_seq:
                yield record

    def since(self, place: Position) -> Iterator[tuple[Record, Position]]:
        """Yield the records after `place`, each with the place behind it to go on from later."""
        end = self._acknowledged_end()
        if end < place.offset:
            raise TamperedError(f"{self.path} has shrunk to {end} bytes; {place.seq} records were read from it before.")
        if end > place.offset:
            with self.path.open("rb") as stream:
                for line in inspected(stream, place, end):
                    if line.faults and line.faults[0].kind == "torn_tail":
                        return
                    yield _sound(self.path, line), line.after

    def anchor(self) -> Anchor:
        """Return what to keep elsewhere, so that a cut or rewritten ledger can be told later."""
        place = Position()
        if end := self._acknowledged_end():
            with self.path.open("rb") as stream:
                place = place_after_last(stream.fileno(), end)
        if place.ledger_id is None:
            raise EvidenceError(f"{self.path} holds no record yet: there is nothing to anchor.")
        return Anchor(ledger_id=place.ledger_id, size=place.seq, head=place.head)

    def verify(self, anchors: Sequence[Anchor] = ()) -> VerifyReport:
        """Check every byte there is by now, and that the ledger extends every anchor."""
        end = self._acknowledged_end()
        with self.path.open("rb") if end else io.BytesIO() as stream:
            return verified(stream, end, anchors)

    def _acknowledged_end(self) -> int:
        """Size of the file while nobody appends: all bytes before it are final, but for a torn tail."""
        with self._gate:
            if self._transaction is not None:
                return self._transaction.place.offset
            if self._identity is None and not self.path.exists():
                return 0
            descriptor = self._opened(os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                self._recognise(descriptor)
                return os.fstat(descriptor).st_size
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def _opened(self, flags: int) -> int:
        try:
            return os.open(self.path, flags, 0o644)
        except FileNotFoundError as error:
            raise TamperedError(f"{self.path} is gone; it was there before.") from error
        except OSError as error:
            raise EvidenceError(f"cannot open {self.path}: {error.strerror}.") from error

    def _recognise(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        if self._identity not in {None, identity}:
            raise TamperedError(f"{self.path} was replaced by another file while in use. Start again to accept it.")
        self._identity = identity

    def _remember(self, place: Position) -> None:
        if place.offset < self._known.offset or (place.offset == self._known.offset and place != self._known):
            raise TamperedError(
                f"{self.path} lost records: it ends at seq {place.seq - 1}, {self._known.seq - 1} was seen."
            )
        self._known = place


def _read_back(line: bytes) -> Record:
    """Return the record as any reader will see it; refuse what could be written but not read."""
    try:
        return record_in(line)
    except TamperedError as error:
        raise UsageError(f"this is no record: {error}") from error


def _sound(path: Path, line: Line) -> Record:
    if line.record is not None and not line.faults:
        return line.record
    message = f"{path}: " + "; ".join(map(told, line.faults))
    if all(fault.kind == "unknown_format" for fault in line.faults):
        raise EvidenceError(f"{message}. Upgrade to read it.")
    raise TamperedError(f"{message}. Run `quant ledger verify` for all faults.")
