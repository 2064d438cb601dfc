"""Whether a ledger is what was written: intact, torn at the end, tampered with. Reading its content: ledger.py.

The chain alone shows edits inside the file. A cut tail and a history written anew show only against
anchors: `(ledger_id, size, head)` kept somewhere else at an earlier time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field

from quant_core.errors import EvidenceError, TamperedError, TornTailError
from quant_core.evidence.chain import FIRST_PREV, Fault, Position, inspected


class Anchor(BaseModel):
    """What the ledger was at some time: its id, its number of records, the hash of the last one."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    ledger_id: str
    size: int = Field(ge=1)
    head: str = Field(pattern=r"^[0-9a-f]{64}$")


class VerifyReport(BaseModel):
    """What `verify` found. `records` counts complete lines, good or not; `head` is the hash of the last."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    records: int
    head: str
    faults: tuple[Fault, ...]

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
    return f"{fault.kind} at seq {fault.seq}, byte {fault.offset} ({fault.detail})"


def verified(stream: BinaryIO, end: int, anchors: Iterable[Anchor] = ()) -> VerifyReport:
    """Check every line of `stream` up to byte `end`, and that the ledger extends every anchor.

    Parameters
    ----------
    stream : BinaryIO
        A ledger, seekable.
    end : int
        Bytes to look at; what another process appends meanwhile is not looked at.
    anchors : iterable of Anchor
        Each is found by its size: the record with that number must have that hash.
    """
    expected: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        expected.setdefault(anchor.size, []).append(anchor)
    faults: list[Fault] = []
    place, count, head = Position(), 0, FIRST_PREV
    for line in inspected(stream, place, end):
        faults.extend(line.faults)
        if line.faults and line.faults[-1].kind in {"torn_tail", "truncated"}:
            break
        start, place = place, line.after
        count, head = count + 1, place.head
        for anchor in expected.pop(count, ()):
            faults.extend(_differences(anchor, place, count - 1, start.offset))
    faults.extend(
        Fault("truncated", count, place.offset, f"an anchor knows {size} records, the file has {count}")
        for size in sorted(expected)
    )
    return VerifyReport(records=count, head=head, faults=tuple(faults))


def _differences(anchor: Anchor, place: Position, seq: int, offset: int) -> Iterator[Fault]:
    """Yield what sets the ledger before `place` apart from the anchor of the same size, if anything."""
    if anchor.ledger_id != place.ledger_id:
        detail = f"of ledger {place.ledger_id}, the anchor is of {anchor.ledger_id}"
        yield Fault("foreign_ledger_id", seq, offset, detail)
    elif anchor.head != place.head:
        detail = f"hash {place.head[:12]}, the anchor has {anchor.head[:12]}: history was written anew"
        yield Fault("anchor_mismatch", seq, offset, detail)
