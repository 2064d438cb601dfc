"""One pass over the lines of a ledger: chain, checkpoints, seals, anchors. One line alone: ledger/inspection.py.

The chain alone reveals edits inside the files. Only anchors, stored elsewhere at an earlier time, reveal a cut tail or
a rewritten history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from quant_core.errors import TamperedError
from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.chain import Position, Record, as_record
from quant_core.evidence.ledger.checkpoints import CHECKPOINT, SEAL, frontier_of
from quant_core.evidence.ledger.inspection import Fault, Line, fault_at, inspect_lines
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes
from quant_core.evidence.ledger.segments import Segment
from quant_core.evidence.verification.report import VerifyReport

_BEGINNING = Position()
_OWN_KINDS = {CHECKPOINT, SEAL}
_MOST_HEADS = 4096
"""Number of records after which the tree grows: appending many leaves at once costs half as much as one by one."""


def verify_segments(segments: Sequence[Segment], anchors: Iterable[Anchor] = ()) -> VerifyReport:
    """Check every line of a ledger, its checkpoints and seals, and that it extends every anchor.

    Parameters
    ----------
    segments : sequence of Segment
        Its files in order, each with the byte up to which it is checked.
    anchors : iterable of Anchor
        The record at the size of each must have its hash, and the tree up to there its root.
    """
    walk = Walk(anchors)
    for number, segment in enumerate(segments):
        walk.take(segment, is_next=number > 0)
    return walk.report(segments=len(segments))


class Walk:
    """One pass over a ledger from a place on: its position so far and the faults it found.

    Parameters
    ----------
    anchors : iterable of Anchor
        Anchors of sizes behind `place`.
    place : Position
        The place where it begins.
    tree : Frontier, optional
        The tree of the records before `place`.
    """

    def __init__(self, anchors: Iterable[Anchor], place: Position = _BEGINNING, tree: Frontier | None = None) -> None:
        self._expected: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self._expected.setdefault(anchor.size, []).append(anchor)
        self._anchors = sum(map(len, self._expected.values()))
        self._place, self._count = place, place.seq
        self._tree, self._checkpoints = tree or Frontier(), 0
        self._heads: list[str] = []
        self._faults: list[Fault] = []
        self._sealed: dict[str, Any] | None = None

    @property
    def state(self) -> tuple[Position, tuple[bytes, ...]]:
        """The place it reached, and the peaks of the tree up to there."""
        return self._place, self._grow().peaks

    def take(self, segment: Segment, *, is_next: bool = False) -> dict[str, Any]:
        """Check one file; return the facts its seal must state."""
        if is_next:
            self._place = self._place.in_next_segment()
        with segment.open_stream() as stream:
            self._check_lines(stream, segment)
            digest = _file_hash(stream) if not segment.is_open else ""
        self._sealed = {
            "segment": segment.path.name,
            "bytes": segment.end,
            "sha256": digest,
            "last_hash": self._place.head,
        }
        return self._sealed

    def report(self, *, segments: int) -> VerifyReport:
        """Return the report; records that an anchor covers beyond the end are reported as truncated."""
        place = replace(self._place, seq=self._count)
        self._faults.extend(
            fault_at(place, "truncated", f"an anchor knows {size} records, the ledger has {self._count}")
            for size in sorted(self._expected)
        )
        return VerifyReport(
            records=self._count,
            head=self._place.head,
            faults=tuple(self._faults),
            root=self._grow().root.hex(),
            segments=max(1, segments),
            checkpoints=self._checkpoints,
            anchors=self._anchors,
        )

    def _check_lines(self, stream: BinaryIO, segment: Segment) -> None:
        for line in inspect_lines(stream, self._place, segment.end):
            if not self._check_line(line, segment):
                return
        if self._place.segment and not self._place.offset:
            self._faults.append(fault_at(self._place, "segment_missing", "the open segment is empty"))

    def _check_line(self, line: Line, segment: Segment) -> bool:
        """Check a line and what it states about those before it; return False at an incomplete last line."""
        before, fields = self._place, line.fields
        if line.faults:
            last = line.faults[-1]
            if last.kind in {"torn_tail", "truncated"}:
                is_open_tail = segment.is_open or last.kind == "truncated"
                self._faults.append(last if is_open_tail else replace(last, kind="truncated"))
                return False
        if fields is not None and not before.offset:
            self._check_order(fields, before)
        self._faults.extend(line.faults)
        begins = before.segment > 0 and not before.offset
        if fields is not None and (begins or fields["kind"] in _OWN_KINDS):
            self._check_checkpoint(as_record(line.digest, fields), before)
        self._heads.append(line.after.head)
        if len(self._heads) >= _MOST_HEADS:
            self._grow()
        self._count, self._place = self._count + 1, line.after
        if self._count in self._expected:
            self._check_anchors(self._count, replace(before, ledger_id=line.after.ledger_id), line.after.head)
        return True

    def _grow(self) -> Frontier:
        """Return the tree of all records so far, after adding those since the last call."""
        self._tree.extend(leaf_hashes(head.encode() for head in self._heads))
        self._heads.clear()
        return self._tree

    def _check_order(self, fields: Mapping[str, Any], place: Position) -> None:
        """Check that the file before this one is the one named by the seal, the first record of a segment."""
        if fields["kind"] != SEAL or (self._sealed is None and place.segment):
            return  # a walk that began in the middle trusts the seal; parallel_verify.py checks it
        follows, before = fields["data"].get("segment"), self._sealed["segment"] if self._sealed else "nothing"
        if follows != before:
            self._faults.append(
                fault_at(place, "segment_missing", f"it follows {follows}; the file before it is {before}")
            )

    def _check_checkpoint(self, record: Record, place: Position) -> None:
        """Check what a checkpoint or seal states about the records before it; after a fault its root is useless."""
        if self._faults:
            return
        begins = place.segment > 0 and not place.offset
        if begins != (record.kind == SEAL):
            detail = "a segment begins without a seal" if begins else "a seal without a sealed segment before it"
            self._faults.append(fault_at(place, "seal_mismatch", detail))
            return
        self._checkpoints += 1
        try:
            tree = frontier_of(record)
        except TamperedError as error:
            self._faults.append(fault_at(place, "root_mismatch", str(error)))
            return
        before = self._grow()
        if tree.peaks != before.peaks:
            detail = f"root {tree.root.hex()[:12]} is stated, that of the records before is {before.root.hex()[:12]}"
            self._faults.append(fault_at(place, "root_mismatch", detail))
        facts = self._sealed if record.kind == SEAL and self._sealed else {}
        if wrong := [name for name, value in facts.items() if record.data.get(name) != value]:
            detail = f"{', '.join(wrong)} of {facts['segment']} differ from what was sealed"
            self._faults.append(fault_at(place, "seal_mismatch", detail))

    def _check_anchors(self, size: int, place: Position, head: str) -> None:
        """Check the anchors of that size; the record at `place` is the last one they cover."""
        for anchor in self._expected.pop(size, ()):
            here = replace(place, seq=size - 1)
            if anchor.ledger_id != place.ledger_id:
                detail = f"of ledger {place.ledger_id}, the anchor is of {anchor.ledger_id}"
                self._faults.append(fault_at(here, "foreign_ledger_id", detail))
            elif anchor.head != head:
                detail = f"hash {head[:12]}, the anchor has {anchor.head[:12]}: history was rewritten"
                self._faults.append(fault_at(here, "anchor_mismatch", detail))
            elif anchor.root is not None and not self._faults and anchor.root != self._grow().root.hex():
                detail = f"root {self._tree.root.hex()[:12]}, the anchor has {anchor.root[:12]}"
                self._faults.append(fault_at(here, "root_mismatch", detail))


def _file_hash(stream: BinaryIO) -> str:
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
