"""Verifies the segments of a ledger in parallel. The checks in each segment: walk.py.

Every segment after the first begins with a seal, which states the ledger before it: number, hash, tree. Each segment
is checked as if its seal were true; then the seal is compared with how the check of the segment before ended. If all
agree, the result is that of one walk. If anything is wrong anywhere, one walk finds out what.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from quant_core.errors import EvidenceError
from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.chain import MAX_LINE, Position, record_in
from quant_core.evidence.ledger.checkpoints import SEAL, frontier_of
from quant_core.evidence.ledger.merkle import Frontier
from quant_core.evidence.ledger.segments import Segment
from quant_core.evidence.verification.report import VerifyReport
from quant_core.evidence.verification.walk import Walk, verify_segments


@dataclass(frozen=True)
class _Start:
    """The state of the ledger before a segment, as its seal states it."""

    place: Position
    size: int
    peaks: tuple[bytes, ...]
    seal: dict[str, Any]


@dataclass(frozen=True)
class _End:
    """The state in which the check of a segment ended."""

    place: Position
    peaks: tuple[bytes, ...]
    facts: dict[str, Any]
    report: VerifyReport


def verify_in_processes(processes: int, segments: Sequence[Segment], anchors: Sequence[Anchor] = ()) -> VerifyReport:
    """Check a ledger as `verify_segments` does: its sealed segments in other processes, the open one in this.

    Parameters
    ----------
    processes : int
        Processes besides this one; each needs about 50 MB.
    segments, anchors
        See `verify_segments`.
    """
    if processes < 1 or len(segments) < 3:
        return verify_segments(segments, anchors)
    try:
        starts = [_start(segment, number) for number, segment in enumerate(segments)]
    except EvidenceError:
        return verify_segments(segments, anchors)
    shares = [_within(anchors, starts, number) for number in range(len(starts))]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        work = [pool.submit(_check_segment, *job) for job in zip(segments[:-1], starts[:-1], shares[:-1], strict=True)]
        last = _check_segment(segments[-1], starts[-1], shares[-1])
        ends = [*(job.result() for job in work), last]
    if not all(end.report.ok for end in ends) or not _fit(starts, ends):
        return verify_segments(segments, anchors)
    return last.report.model_copy(
        update={
            "segments": len(segments),
            "checkpoints": sum(end.report.checkpoints for end in ends),
            "anchors": len(anchors),
        }
    )


def _start(segment: Segment, number: int) -> _Start:
    if number == 0:
        return _Start(Position(), 0, (), {})
    with segment.open_stream() as stream:
        stream.seek(0)
        seal = record_in(stream.readline(MAX_LINE))
    tree = frontier_of(seal)
    if seal.kind != SEAL:
        raise EvidenceError(f"{segment.path} begins without a seal.")
    place = Position(0, seal.seq, seal.prev, seal.ledger_id, number)
    return _Start(place, tree.size, tree.peaks, seal.data)


def _within(anchors: Sequence[Anchor], starts: Sequence[_Start], number: int) -> list[Anchor]:
    """Return the anchors whose last record is in that segment; in the last, those beyond the end as well."""
    after = starts[number].size
    until = starts[number + 1].size if number + 1 < len(starts) else None
    return [anchor for anchor in anchors if after < anchor.size and (until is None or anchor.size <= until)]


def _check_segment(segment: Segment, start: _Start, anchors: Sequence[Anchor]) -> _End:
    walk = Walk(anchors, start.place, Frontier(start.size, start.peaks))
    facts = walk.take(segment)
    return _End(*walk.state, facts, walk.report(segments=1))


def _fit(starts: Sequence[_Start], ends: Sequence[_End]) -> bool:
    return all(
        (end.place.in_next_segment(), end.peaks) == (start.place, start.peaks)
        and all(start.seal.get(name) == value for name, value in end.facts.items())
        for start, end in zip(starts[1:], ends[:-1], strict=True)
    )
