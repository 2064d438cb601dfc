"""Appending to the ledger of a home: many writers, nothing acknowledged is lost. Reading: reader.py.

The line format is in chain.py, the appends under one lock in transaction.py, the full check in verification/, the
meaning of records in runs/commits.py. One home belongs to one machine: flock is not trusted over network file systems.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quant_core.errors import EvidenceError, QuantError, TamperedError, UsageError
from quant_core.evidence.files.documents import make_folder
from quant_core.evidence.ledger.chain import Position, Record
from quant_core.evidence.ledger.reader import LedgerReader
from quant_core.evidence.ledger.segments import Segment, file_identity, release, sealed_segments
from quant_core.evidence.ledger.transaction import SEGMENT_BYTES, Entry, Last, Transaction

MOST_IN_A_GROUP = 100


class _Waiting:
    """An append that waits: it has neither record nor error yet, then one of the two."""

    __slots__ = ("durable", "entry", "error", "record")

    def __init__(self, entry: Entry, *, durable: bool) -> None:
        self.entry, self.durable = entry, durable
        self.record: Record | None = None
        self.error: BaseException | None = None


class Ledger(LedgerReader):
    """A hash-chained JSONL file and the sealed ones before it. Safe to use from threads and processes of one machine.

    Parameters
    ----------
    path : Path
        The open segment.
    segment_bytes : int
        Size from which on the next append begins a new segment.
    """

    def __init__(self, path: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        super().__init__(path)
        self.segment_bytes = segment_bytes
        self._waiting: deque[_Waiting] = deque()
        self._transaction: Transaction | None = None
        self._known = Position()
        self._last: Last = None

    @contextmanager
    def lock(self) -> Iterator[Transaction]:
        """Lock the ledger exclusively: what is read inside the block is still true when the block appends.

        An incomplete last line, left by a writer that died before it was acknowledged, is cut here.
        """
        # Opened again each time: a descriptor inherited over a fork would share its lock with the parent.
        with self._gate:
            if self._transaction is not None:
                raise UsageError("this thread already holds the ledger. Append through the open transaction.")
            may_begin = self._identity is None and not sealed_segments(self.path)
            if may_begin:
                make_folder(self.path.parent)
            descriptor = self._lock_current(os.O_RDWR | os.O_APPEND | (os.O_CREAT if may_begin else 0), fcntl.LOCK_EX)
            try:
                self._transaction = Transaction(
                    self.path, descriptor, segment_bytes=self.segment_bytes, last=self._last
                )
                self._remember(self._transaction.place)
                yield self._transaction
                self._remember(self._transaction.place)
            finally:
                if self._transaction is not None:
                    self._transaction.close()
                    self._last = self._transaction.last
                    descriptor = self._transaction.descriptor  # another one where the ledger was rolled
                    self._identity = file_identity(descriptor)
                    self._transaction = None
                release(descriptor)

    def append(self, kind: str, data: Mapping[str, Any], *, run_id: str, durable: bool = True) -> Record:
        """Append one record; its cost does not depend on the ledger's length.

        Threads that wait for the same ledger share one write and one flush: the thread whose turn it is also appends
        the records of the others, in the order they came.

        Parameters
        ----------
        kind : str
        data : mapping
            Any value that JSON can hold; see canonical.py.
        run_id : str
            Empty for a record that belongs to no run.
        durable : bool
            On return the record is on the device. A record that may be lost to a power cut, such as one of progress,
            need not wait for it: it outlives this process and reaches the device with the next durable one.

        Returns
        -------
        Record
            EvidenceError if it cannot be written; then nothing is recorded.
        """
        mine = _Waiting(Entry(kind, data, run_id), durable=durable)
        self._waiting.append(mine)
        with self._gate:
            if self._transaction is not None:
                self._waiting.remove(mine)
                raise UsageError("this thread already holds the ledger. Append through the open transaction.")
            while mine.record is None and mine.error is None:
                self._take_turn()
        if mine.record is None:
            assert mine.error is not None
            raise mine.error
        return mine.record

    def append_all(self, entries: Sequence[Entry], *, durable: bool = True) -> list[Record]:
        """Append several records in one write and one flush, all or none; see `append`."""
        with self.lock() as transaction:
            return transaction.append_all(entries, durable=durable)

    def _take_turn(self) -> None:
        """Append the waiting records as one group; each gets its record or its error."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_GROUP))]
        try:
            with self.lock() as transaction:
                _settle(transaction, group)
        except QuantError as error:
            _fail(group, error)
        except BaseException as error:
            _fail(group, EvidenceError(f"the writer was interrupted: {type(error).__name__}. Nothing was recorded."))
            raise

    def _open_segments(self) -> tuple[Segment, ...]:
        if self._transaction is None:
            return super()._open_segments()
        return self._segments_before(self.path.open("rb"), self._transaction.place.offset)

    def _recognise(self, descriptor: int) -> None:
        before = self._identity
        super()._recognise(descriptor)
        if before not in {None, self._identity}:
            self._last = None

    def _remember(self, place: Position) -> None:
        known = self._known
        if place.seq < known.seq or (place.seq == known.seq and place != known):
            raise TamperedError(f"{self.path} lost records: it ends at seq {place.seq - 1}, {known.seq - 1} was seen.")
        self._known = place


def _settle(transaction: Transaction, group: Sequence[_Waiting]) -> None:
    """Append a group; if one of its records is refused, append each of the others alone."""
    durable = any(waiting.durable for waiting in group)
    try:
        records = transaction.append_all([waiting.entry for waiting in group], durable=durable)
    except UsageError as error:
        if len(group) == 1:
            group[0].error = error
            return
        for waiting in group:
            _settle(transaction, [waiting])
        return
    for waiting, record in zip(group, records, strict=True):
        waiting.record = record


def _fail(group: Sequence[_Waiting], error: QuantError) -> None:
    for waiting in group:
        if waiting.record is None and waiting.error is None:
            waiting.error = error
