"""Whether a ledger is what was written: intact, torn at the end, tampered with. Reading its content: ledger/ledger.py.

The chain alone shows edits inside the files. A cut tail and a history written anew show only against anchors kept
somewhere else at an earlier time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from quant_core.errors import EvidenceError, TamperedError, TornTailError
from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.chain import Fault, FaultKind, Line, Position, Record, inspected
from quant_core.evidence.ledger.checkpoints import CHECKPOINT, SEAL, frontier_of
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes
from quant_core.evidence.ledger.segments import Segment
from quant_core.evidence.verification.scan import Scanner

CHUNK = 1 << 20
"""Bytes looked at at once."""


_BEGINNING = Position()


class VerifyReport(BaseModel):
    """What `verify` found. `records` counts complete lines, good or not; `head` is the hash of the last."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    records: int
    head: str
    faults: tuple[Fault, ...]
    root: str = ""
    segments: int = 1
    checkpoints: int = 0
    anchors: int = 0

    @property
    def ok(self) -> bool:
        """No fault at all."""
        return not self.faults

    @property
    def verdict(self) -> Literal["intact", "torn_tail", "unknown_format", "tampered"]:
        """The gravest of the faults. A torn tail was never acknowledged and the next append cuts it."""
        kinds = {fault.kind for fault in self.faults}
        if kinds - {"torn_tail", "unknown_format"}:
            return "tampered"
        if "unknown_format" in kinds:
            return "unknown_format"
        return "torn_tail" if kinds else "intact"

    def raise_for_faults(self) -> None:
        """Raise the error the verdict stands for; nothing if the ledger is intact."""
        if self.ok:
            return
        errors = {"torn_tail": TornTailError, "unknown_format": EvidenceError, "tampered": TamperedError}
        raise errors[self.verdict](f"the ledger is {self.verdict}: " + "; ".join(map(told, self.faults[:5])))


def told(fault: Fault) -> str:
    """Return one fault as one line."""
    where = f" of segment {fault.segment}" if fault.segment else ""
    return f"{fault.kind} at seq {fault.seq}, byte {fault.offset}{where} ({fault.detail})"


def verified(segments: Sequence[Segment], anchors: Iterable[Anchor] = ()) -> VerifyReport:
    """Check every line of a ledger, its checkpoints and seals, and that it extends every anchor.

    Parameters
    ----------
    segments : sequence of Segment
        Its files in order, each up to where it is looked at.
    anchors : iterable of Anchor
        Each is found by its size: the record with that number must have that hash, the tree up to it that root.
    """
    walk = Walk(anchors)
    for number, segment in enumerate(segments):
        walk.take(segment, is_next=number > 0)
    return walk.report(segments=len(segments))


class Walk:
    """One pass over a ledger, or from a place in it on: where it stands, and what it found.

    Parameters
    ----------
    anchors : iterable of Anchor
        Those of sizes behind `place`.
    place : Position
        Where it begins.
    tree : Frontier, optional
        Of the records before `place`.
    """

    def __init__(self, anchors: Iterable[Anchor], place: Position = _BEGINNING, tree: Frontier | None = None) -> None:
        self._expected: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self._expected.setdefault(anchor.size, []).append(anchor)
        self._anchors = sum(map(len, self._expected.values()))
        self._scanner = Scanner()
        self._place, self._count = place, place.seq
        self._tree, self._checkpoints = tree or Frontier(), 0
        self._faults: list[Fault] = []
        self._sealed: dict[str, Any] | None = None

    @property
    def state(self) -> tuple[Position, tuple[bytes, ...]]:
        """Where it stands, and the peaks of the tree up to there."""
        return self._place, self._tree.peaks

    def take(self, segment: Segment, *, is_next: bool = False) -> dict[str, Any]:
        """Check one file; return what its seal has to say of it."""
        if is_next:
            self._place = self._place.in_next_segment()
        with segment.opened() as stream:
            digest = self._walked(stream, segment)
        self._sealed = {
            "segment": segment.path.name,
            "bytes": segment.end,
            "sha256": digest,
            "last_hash": self._place.head,
        }
        return self._sealed

    def report(self, *, segments: int) -> VerifyReport:
        """Say what was found; what anchors know beyond the end is missing."""
        place = replace(self._place, seq=self._count)
        self._faults.extend(
            _fault("truncated", place, f"an anchor knows {size} records, the ledger has {self._count}")
            for size in sorted(self._expected)
        )
        return VerifyReport(
            records=self._count,
            head=self._place.head,
            faults=tuple(self._faults),
            root=self._tree.root.hex(),
            segments=max(1, segments),
            checkpoints=self._checkpoints,
            anchors=self._anchors,
        )

    def _walked(self, stream: BinaryIO, segment: Segment) -> str:
        """Check one file; return the SHA-256 of a sealed one."""
        whole = hashlib.sha256()
        while self._place.offset < segment.end:
            start = self._place.offset
            stream.seek(start)
            chunk = stream.read(min(CHUNK, segment.end - start))
            cut = chunk.rfind(b"\n") + 1
            if not segment.is_open:
                whole.update(chunk[:cut])
            if cut and self._take_many(chunk[:cut]):
                continue
            for line in inspected(stream, self._place, start + cut if cut else segment.end):
                if not self._take_one(line, segment):
                    return ""
                if not cut:
                    break
        if self._place.segment and not self._place.offset:
            self._faults.append(_fault("segment_missing", self._place, "the open segment is empty"))
        return whole.hexdigest()

    def _take_many(self, lines: bytes) -> bool:
        """Take lines with nothing wrong in any of them; False if they have to be looked at one by one."""
        before = self._place
        found = self._scanner.sound(lines, before)
        if found is None:
            return False
        digests, marked = found
        if before.segment and not before.offset and not marked:
            return False
        if marked and not before.offset:
            self._check_order(marked[0][1], before)
        leaves, at = leaf_hashes(digests), 0
        reached = [size for size in self._expected if self._count < size <= self._count + len(digests)]
        stops: list[tuple[int, int, Record | None]] = [(index, 0, record) for index, record in marked]
        stops += [(size - self._count, 1, None) for size in reached]
        for index, _, record in sorted(stops, key=lambda stop: stop[:2]):
            self._tree.extend(leaves[at:index])
            at = index
            if record is not None:
                self._check_stated(record, _place_at(before, lines, index, digests))
            else:
                here = _place_at(before, lines, index - 1, digests)
                self._check_anchors(self._count + index, here, digests[index - 1].decode())
        self._tree.extend(leaves[at:])
        self._count += len(digests)
        self._place = replace(
            before, offset=before.offset + len(lines), seq=before.seq + len(digests), head=digests[-1].decode()
        )
        return True

    def _take_one(self, line: Line, segment: Segment) -> bool:
        """Take a line as found; False if it is the last and no complete one."""
        before, ends = self._place, line.faults[-1:]
        if ends and ends[0].kind in {"torn_tail", "truncated"}:
            is_open_tail = segment.is_open or ends[0].kind == "truncated"
            self._faults.append(ends[0] if is_open_tail else replace(ends[0], kind="truncated"))
            return False
        if line.record is not None and not before.offset:
            self._check_order(line.record, before)
        self._faults.extend(line.faults)
        begins = before.segment > 0 and not before.offset
        if line.record is not None and (begins or line.record.kind in {CHECKPOINT, SEAL}):
            self._check_stated(line.record, before)
        self._tree.extend(leaf_hashes([line.after.head.encode()]))
        self._count, self._place = self._count + 1, line.after
        self._check_anchors(self._count, replace(before, ledger_id=line.after.ledger_id), line.after.head)
        return True

    def _check_order(self, seal: Record, place: Position) -> None:
        """Hold the file that the first record of a segment says it follows against the one that lies before it."""
        if seal.kind != SEAL or (self._sealed is None and place.segment):
            return  # a walk that began in the middle takes the seal at its word; parallel_verify.py does not
        follows, before = seal.data.get("segment"), self._sealed["segment"] if self._sealed else "nothing"
        if follows != before:
            self._faults.append(_fault("segment_missing", place, f"it follows {follows}; before it lies {before}"))

    def _check_stated(self, record: Record, place: Position) -> None:
        """Hold a checkpoint or seal against what was found before it; after a fault no root can be right."""
        if self._faults:
            return
        begins = place.segment > 0 and not place.offset
        if begins != (record.kind == SEAL):
            detail = "a segment begins without a seal" if begins else "a seal that nothing sealed precedes"
            self._faults.append(_fault("seal_mismatch", place, detail))
            return
        self._checkpoints += 1
        try:
            tree = frontier_of(record)
        except TamperedError as error:
            self._faults.append(_fault("root_mismatch", place, str(error)))
            return
        if tree.peaks != self._tree.peaks:
            detail = (
                f"root {tree.root.hex()[:12]} is stated, that of the records before is {self._tree.root.hex()[:12]}"
            )
            self._faults.append(_fault("root_mismatch", place, detail))
        facts = self._sealed if record.kind == SEAL and self._sealed else {}
        if wrong := [name for name, value in facts.items() if record.data.get(name) != value]:
            detail = f"{', '.join(wrong)} of {facts['segment']} differ from what was sealed"
            self._faults.append(_fault("seal_mismatch", place, detail))

    def _check_anchors(self, size: int, place: Position, head: str) -> None:
        """Hold the anchors of that size against the record at `place`, the last one they vouch for."""
        for anchor in self._expected.pop(size, ()):
            here = replace(place, seq=size - 1)
            if anchor.ledger_id != place.ledger_id:
                detail = f"of ledger {place.ledger_id}, the anchor is of {anchor.ledger_id}"
                self._faults.append(_fault("foreign_ledger_id", here, detail))
            elif anchor.head != head:
                detail = f"hash {head[:12]}, the anchor has {anchor.head[:12]}: history was written anew"
                self._faults.append(_fault("anchor_mismatch", here, detail))
            elif anchor.root is not None and not self._faults and anchor.root != self._tree.root.hex():
                detail = f"root {self._tree.root.hex()[:12]}, the anchor has {anchor.root[:12]}"
                self._faults.append(_fault("root_mismatch", here, detail))


def _fault(kind: FaultKind, place: Position, detail: str) -> Fault:
    return Fault(kind, place.seq, place.offset, detail, place.segment)


def _place_at(before: Position, lines: bytes, index: int, digests: Sequence[bytes]) -> Position:
    """Return the place before line `index` of those after `before`."""
    ends = np.flatnonzero(np.frombuffer(lines, dtype=np.uint8) == ord("\n"))
    offset = int(ends[index - 1]) + 1 if index else 0
    head = digests[index - 1].decode() if index else before.head
    return replace(before, offset=before.offset + offset, seq=before.seq + index, head=head)
