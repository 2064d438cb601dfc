"""Reading the ledger of a home: records, last records, anchors. Nothing here writes: see ledger.py."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from quant_core.errors import EvidenceError, TamperedError
from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.chain import Position, Record, last_lines, place_after_last, record_in
from quant_core.evidence.ledger.checkpoints import frontier_of, grow, tree_before
from quant_core.evidence.ledger.inspection import Line, describe_fault, inspect_lines
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes
from quant_core.evidence.ledger.segments import Segment, file_identity, release, sealed_segments

FILE_NAME = "audit.jsonl"
"""The open segment, in the folder of a home."""


class LedgerReader:
    """Reads a ledger, also while others append to it. Safe to use from threads and processes of one machine.

    Parameters
    ----------
    path : Path
        The open segment.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._gate = threading.RLock()
        self._identity: tuple[int, int] | None = None
        self._tree: tuple[Position, Frontier] | None = None

    def records(self, from_seq: int = 0) -> Iterator[Record]:
        """Yield all acknowledged records from `from_seq` on; TamperedError at the first that breaks the chain."""
        for record, _ in self.since(Position()):
            if record.seq >= from_seq:
                yield record

    def since(self, place: Position) -> Iterator[tuple[Record, Position]]:
        """Yield the records after `place`, each with the place behind it, from which a later call can continue."""
        with self.snapshot() as segments:
            if not segments and place == Position():
                return
            if place.segment >= len(segments) or segments[place.segment].end < place.offset:
                raise TamperedError(f"{self.path} has shrunk; {place.seq} records were read from it before.")
            if len(segments) > 1 and not segments[-1].end:
                raise TamperedError(f"{self.path} is empty, but {len(segments) - 1} full segments precede it.")
            for segment in segments[place.segment :]:
                with segment.open_stream() as stream:
                    for line in inspect_lines(stream, place, segment.end):
                        if segment.is_open and line.faults and line.faults[0].kind == "torn_tail":
                            return
                        yield _require_sound(segment.path, line), line.after
                        place = line.after
                place = place.in_next_segment()

    def last_records(self, count: int) -> list[Record]:
        """Return the last `count` records, the newest last, without reading those before them."""
        found: list[Record] = []
        with self.snapshot() as segments:
            for segment in reversed(segments):
                with segment.open_stream() as stream:
                    end = segment.end
                    if segment.is_open:
                        end = place_after_last(stream.fileno(), end, len(segments) - 1).offset
                    lines = last_lines(stream.fileno(), end, count - len(found))
                found = [*map(record_in, lines), *found]
                if len(found) >= count:
                    break
        return found

    def anchor(self, size: int | None = None) -> Anchor:
        """Return an anchor to store elsewhere: it reveals later that the ledger was cut or rewritten.

        Parameters
        ----------
        size : int, optional
            Number of records it covers; default: all. For an older size the segment of that record is read.
        """
        with self.snapshot() as segments, ExitStack() as stack:
            if segments:
                index = len(segments) - 1
                descriptor = stack.enter_context(segments[index].open_stream()).fileno()
                place = place_after_last(descriptor, segments[index].end, index)
                if place.ledger_id is not None and size in {None, place.seq}:
                    return _anchor_at(place, self._tree_before(descriptor, place))
                if size is not None and 0 < size < place.seq:
                    return _anchor_at(*self._place_of(segments, size))
        raise EvidenceError(f"{self.path} has fewer than {size or 1} records: there is nothing to anchor.")

    def files(self) -> tuple[Path, ...]:
        """Return the files of the ledger, the oldest first."""
        with self.snapshot() as segments:
            return tuple(segment.path for segment in segments)

    def _tree_before(self, descriptor: int, place: Position) -> Frontier:
        """Return the tree of all records before `place`, grown from that of the last call where possible."""
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
            with segments[index].open_stream() as stream:
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
        raise EvidenceError(f"{self.path} has no record {size - 1}.")

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Segment, ...]]:
        """Yield the files as they are between two appends: up to their ends only a torn tail can change."""
        with self._gate:
            is_new = self._identity is None and not self.path.exists() and not sealed_segments(self.path)
            segments = () if is_new else self._open_segments()
        try:
            yield segments
        finally:
            for segment in segments[-1:]:
                segment.close()

    def _open_segments(self) -> tuple[Segment, ...]:
        """Return the segments as they are under the lock; the caller closes the stream of the open one."""
        descriptor = self._lock_current(os.O_RDONLY, fcntl.LOCK_SH)
        stream = os.fdopen(descriptor, "rb")
        segments = self._segments_before(stream, os.fstat(descriptor).st_size)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return segments

    def _segments_before(self, stream: BinaryIO, end: int) -> tuple[Segment, ...]:
        """Return the sealed segments and, up to byte `end`, the open one."""
        sealed = [Segment(path, path.stat().st_size) for path in sealed_segments(self.path)]
        return (*sealed, Segment(self.path, end, stream))

    def _lock_current(self, flags: int, how: int) -> int:
        """Open and lock the current segment, retrying if it was sealed while we waited."""
        while True:
            with ExitStack() as undone:
                descriptor = self._open_file(flags)
                undone.callback(release, descriptor)
                fcntl.flock(descriptor, how)
                if self._is_current(descriptor):
                    self._recognise(descriptor)
                    undone.pop_all()
                    return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return file_identity(descriptor) == file_identity(self.path)
        except FileNotFoundError as error:
            raise TamperedError(f"{self.path} is gone, although it existed before. Restore it.") from error

    def _open_file(self, flags: int) -> int:
        try:
            return os.open(self.path, flags, 0o644)
        except FileNotFoundError as error:
            raise TamperedError(f"{self.path} is gone, although it existed before. Restore it.") from error
        except OSError as error:
            raise EvidenceError(f"cannot open {self.path}: {error.strerror}.") from error

    def _recognise(self, descriptor: int) -> None:
        identity = file_identity(descriptor)
        known = self._identity
        if known not in {None, identity} and known not in {*map(file_identity, sealed_segments(self.path))}:
            raise TamperedError(f"{self.path} was replaced by another file while in use. Restart to accept it.")
        self._identity = identity


def _anchor_at(place: Position, tree: Frontier) -> Anchor:
    assert place.ledger_id is not None
    return Anchor(ledger_id=place.ledger_id, size=place.seq, head=place.head, root=tree.root.hex())


def _require_sound(path: Path, line: Line) -> Record:
    record = line.record
    if record is not None and not line.faults:
        return record
    message = f"{path}: " + "; ".join(map(describe_fault, line.faults))
    if all(fault.kind == "unknown_format" for fault in line.faults):
        raise EvidenceError(f"{message}. Upgrade quant-assets to read it.")
    raise TamperedError(f"{message}. Run `quant ledger verify` for all faults.")
