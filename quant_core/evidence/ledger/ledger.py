"""The append-only ledger of a home: many writers, nothing acknowledged is lost.

The line format lives in chain.py, one writer's turn in transaction.py, the full check in verification/,
what records mean in runs/commits.py. One home belongs to one machine: flock is not trusted over network file systems.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from quant_core.errors import EvidenceError, QuantError, TamperedError, UsageError
from quant_core.evidence.files.documents import make_folder
from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.chain import Position, Record, last_lines, place_after_last, record_in
from quant_core.evidence.ledger.checkpoints import frontier_of, grow, tree_before
from quant_core.evidence.ledger.inspection import Line, describe_fault, inspect_lines
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes
from quant_core.evidence.ledger.segments import Segment, sealed_segments
from quant_core.evidence.ledger.transaction import SEGMENT_BYTES, Entry, Last, Transaction

FILE_NAME = "audit.jsonl"
"""The open segment, in the folder of a home."""

MOST_IN_A_GROUP = 100


class _Waiting:
    """An append on its way: nothing, then its record or its error."""

    __slots__ = ("durable", "entry", "error", "record")

    def __init__(self, entry: Entry, *, durable: bool) -> None:
        self.entry, self.durable = entry, durable
        self.record: Record | None = None
        self.error: BaseException | None = None


class Ledger:
    """A hash-chained JSONL file and the full ones before it. Safe among threads and processes of one machine.

    Parameters
    ----------
    path : Path
        The open segment.
    segment_bytes : int
        From which size on the next append begins a new segment.
    """

    def __init__(self, path: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.path, self.segment_bytes = path, segment_bytes
        self._gate = threading.RLock()
        self._waiting: deque[_Waiting] = deque()
        self._transaction: Transaction | None = None
        self._identity: tuple[int, int] | None = None
        self._known = Position()
        self._last: Last = None
        self._tree: tuple[Position, Frontier] | None = None

    @contextmanager
    def locked(self) -> Iterator[Transaction]:
        """Hold the ledger exclusively: what is read inside stays true until what is appended inside.

        An incomplete last line, left by a writer that died before it was acknowledged, is cut here.
        """
        # Opened anew each time: a descriptor inherited over a fork would share its lock with the parent.
        with self._gate:
            if self._transaction is not None:
                raise UsageError("this thread already holds the ledger. Append through the open transaction.")
            may_begin = self._identity is None and not sealed_segments(self.path)
            if may_begin:
                make_folder(self.path.parent)
            descriptor = self._held(os.O_RDWR | os.O_APPEND | (os.O_CREAT if may_begin else 0), fcntl.LOCK_EX)
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
                    self._identity = _identity(descriptor)
                    self._transaction = None
                _let_go(descriptor)

    def append(self, kind: str, data: Mapping[str, Any], *, run_id: str, durable: bool = True) -> Record:
        """Append one record; its cost does not depend on the ledger's length.

        Threads that wait for the same ledger share one write and one flush: whoever gets its turn takes the records
        of the others along, in the order they came.

        Parameters
        ----------
        kind : str
        data : mapping
            What JSON can hold; see canonical.py.
        run_id : str
            Empty for what belongs to no run.
        durable : bool
            On return the record is on the device. A record that may be lost to a power cut, such as one of progress,
            need not wait for it: it outlives this process and reaches the device with the next durable one.

        Returns
        -------
        Record
            EvidenceError, and nothing recorded, where it cannot be written.
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
        with self.locked() as transaction:
            return transaction.append_all(entries, durable=durable)

    def records(self, from_seq: int = 0) -> Iterator[Record]:
        """Yield all acknowledged records from `from_seq` on; TamperedError at the first that breaks the chain."""
        for record, _ in self.since(Position()):
            if record.seq >= from_seq:
                yield record

    def since(self, place: Position) -> Iterator[tuple[Record, Position]]:
        """Yield the records after `place`, each with the place behind it to go on from later."""
        with self.snapshot() as segments:
            if not segments and place == Position():
                return
            if place.segment >= len(segments) or segments[place.segment].end < place.offset:
                raise TamperedError(f"{self.path} has shrunk; {place.seq} records were read from it before.")
            if len(segments) > 1 and not segments[-1].end:
                raise TamperedError(f"{self.path} is empty, and {len(segments) - 1} full segments lie beside it.")
            for segment in segments[place.segment :]:
                with segment.opened() as stream:
                    for line in inspect_lines(stream, place, segment.end):
                        if segment.is_open and line.faults and line.faults[0].kind == "torn_tail":
                            return
                        yield _sound(segment.path, line), line.after
                        place = line.after
                place = place.in_next_segment()

    def last_records(self, count: int) -> list[Record]:
        """Return the last `count` records, the newest last, without reading those before them."""
        found: list[Record] = []
        with self.snapshot() as segments:
            for segment in reversed(segments):
                with segment.opened() as stream:
                    end = segment.end
                    if segment.is_open:
                        end = place_after_last(stream.fileno(), end, len(segments) - 1).offset
                    lines = last_lines(stream.fileno(), end, count - len(found))
                found = [*map(record_in, lines), *found]
                if len(found) >= count:
                    break
        return found

    def anchor(self, size: int | None = None) -> Anchor:
        """Return what to keep elsewhere, so that a cut or rewritten ledger can be told later.

        Parameters
        ----------
        size : int, optional
            Number of records to vouch for; by default all there are. Of an older size, its segment is read.
        """
        with self.snapshot() as segments, ExitStack() as stack:
            if segments:
                index = len(segments) - 1
                descriptor = stack.enter_context(segments[index].opened()).fileno()
                place = place_after_last(descriptor, segments[index].end, index)
                if place.ledger_id is not None and size in {None, place.seq}:
                    return _anchor(place, self._tree_before(descriptor, place))
                if size is not None and 0 < size < place.seq:
                    return _anchor(*self._place_of(segments, size))
        raise EvidenceError(f"{self.path} holds no {size or 'record yet'}: there is nothing to anchor.")

    def files(self) -> tuple[Path, ...]:
        """Return the files of the ledger, the oldest first."""
        with self.snapshot() as segments:
            return tuple(segment.path for segment in segments)

    def _take_turn(self) -> None:
        """Append what waits, as one group; each of it gets its record or its error."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_GROUP))]
        try:
            with self.locked() as transaction:
                _settle(transaction, group)
        except QuantError as error:
            _fail(group, error)
        except BaseException as error:
            _fail(group, EvidenceError(f"the writer was interrupted: {type(error).__name__}. Nothing was recorded."))
            raise

    def _tree_before(self, descriptor: int, place: Position) -> Frontier:
        """Return the tree of all records before `place`, grown from the one asked for before where possible."""
        known = self._tree
        if known is None or known[0].segment != place.segment or known[0].offset > place.offset:
            tree = tree_before(descriptor, place)
        else:
            tree = known[1].copy()
            grow(tree, descriptor, known[0].offset, place.offset)
        self._tree = (place, tree)
        return tree

    def _place_of(self, segments: Sequence[Segment], size: int) -> tuple[Position, Frontier]:
        """Return the place behind record `size - 1`, and the tree up to there."""
        for index in range(len(segments) - 1, -1, -1):
            with segments[index].opened() as stream:
                lines = inspect_lines(stream, Position(segment=index), segments[index].end)
                first = next(lines)
                record = first.record
                if record is None or record.seq >= size:
                    continue
                tree = frontier_of(record) if index else Frontier()
                for line in chain([first], lines):
                    tree.extend(leaf_hashes([line.after.head.encode()]))
                    if tree.size == size:
                        return line.after, tree
        raise EvidenceError(f"{self.path} holds no record {size - 1}.")

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Segment, ...]]:
        """Yield the files as they are while nobody appends: up to their ends all is final, but for a torn tail."""
        with self._gate:
            if self._identity is None and not self.path.exists() and not sealed_segments(self.path):
                segments: tuple[Segment, ...] = ()
                stream = None
            else:
                segments, stream = self._opened_segments()
        try:
            yield segments
        finally:
            if stream is not None:
                stream.close()

    def _opened_segments(self) -> tuple[tuple[Segment, ...], BinaryIO | None]:
        if self._transaction is not None:
            stream: BinaryIO = self.path.open("rb")
            end = self._transaction.place.offset
            sealed = sealed_segments(self.path)
        else:
            descriptor = self._held(os.O_RDONLY, fcntl.LOCK_SH)
            stream = os.fdopen(descriptor, "rb")
            end = os.fstat(descriptor).st_size
            sealed = sealed_segments(self.path)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        files = [Segment(path, path.stat().st_size) for path in sealed]
        return (*files, Segment(self.path, end, stream)), stream

    def _held(self, flags: int, how: int) -> int:
        """Open and lock the open segment: the one that has its name once the lock is had."""
        while True:
            with ExitStack() as undone:
                descriptor = self._opened(flags)
                undone.callback(_let_go, descriptor)
                fcntl.flock(descriptor, how)
                if self._is_current(descriptor):  # else it was sealed while this writer waited for it
                    self._recognise(descriptor)
                    undone.pop_all()
                    return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return _identity(descriptor) == _identity(self.path)
        except FileNotFoundError as error:
            raise TamperedError(f"{self.path} is gone; it was there before.") from error

    def _opened(self, flags: int) -> int:
        try:
            return os.open(self.path, flags, 0o644)
        except FileNotFoundError as error:
            raise TamperedError(f"{self.path} is gone; it was there before.") from error
        except OSError as error:
            raise EvidenceError(f"cannot open {self.path}: {error.strerror}.") from error

    def _recognise(self, descriptor: int) -> None:
        identity = _identity(descriptor)
        if self._identity not in {None, identity}:
            if self._identity not in map(_identity, sealed_segments(self.path)):
                raise TamperedError(f"{self.path} was replaced by another file while in use. Start again to accept it.")
            self._last = None
        self._identity = identity

    def _remember(self, place: Position) -> None:
        known = self._known
        if place.seq < known.seq or (place.seq == known.seq and place != known):
            raise TamperedError(f"{self.path} lost records: it ends at seq {place.seq - 1}, {known.seq - 1} was seen.")
        self._known = place


def _anchor(place: Position, tree: Frontier) -> Anchor:
    assert place.ledger_id is not None
    return Anchor(ledger_id=place.ledger_id, size=place.seq, head=place.head, root=tree.root.hex())


def _settle(transaction: Transaction, group: Sequence[_Waiting]) -> None:
    """Append a group; if one of its records cannot be, the others stand for themselves."""
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


def _identity(file: int | Path) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino


def _let_go(descriptor: int) -> None:
    # Said aloud, for a child forked meanwhile still holds this descriptor.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _sound(path: Path, line: Line) -> Record:
    record = line.record
    if record is not None and not line.faults:
        return record
    message = f"{path}: " + "; ".join(map(describe_fault, line.faults))
    if all(fault.kind == "unknown_format" for fault in line.faults):
        raise EvidenceError(f"{message}. Upgrade to read it.")
    raise TamperedError(f"{message}. Run `quant ledger verify` for all faults.")
