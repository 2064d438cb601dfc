"""Records the ledger writes about itself: checkpoints of its Merkle tree, and seals of full segments.

The leaf of a record is its hash, as the 64 hex digits in its line: `jq -r .hash` gives every entry of the tree to any
implementation of RFC 6962. When they are written: transaction.py; how they are checked: verification/verify.py.
"""

from __future__ import annotations

import os
from typing import Any

from quant_core.errors import TamperedError, UsageError
from quant_core.evidence.ledger.chain import Position, Record, digests_in, record_in
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes

CHECKPOINT, SEAL = "checkpoint", "seal"
EVERY = 4096
"""A checkpoint stands at each multiple of this number: more than so many records are never read back."""

_BLOCK = 1 << 20


def tree_facts(tree: Frontier) -> dict[str, Any]:
    """Return what a checkpoint says of the tree of all records before it."""
    return {"size": tree.size, "root": tree.root.hex(), "peaks": [peak.hex() for peak in tree.peaks]}


def frontier_of(record: Record) -> Frontier:
    """Return the tree a checkpoint or seal states; TamperedError if it states none."""
    try:
        data = record.data
        tree = Frontier(data["size"], [bytes.fromhex(peak) for peak in data["peaks"]])
        if tree.size == record.seq and tree.root.hex() == data["root"]:
            return tree
        raise UsageError("its root is not that of its peaks, or of another size.")
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise TamperedError(f"record {record.seq} is no {record.kind}: {error}") from error


def tree_before(descriptor: int, place: Position) -> Frontier:
    """Return the tree of all records before `place`, of whose segment `descriptor` is open.

    The newest checkpoint before it is believed; what came since is hashed. A ledger without checkpoints is read whole,
    once: its writer puts one in at the next multiple of `EVERY`.
    """
    start, tree = _newest(descriptor, place.offset)
    if place.segment and not tree.size:
        raise TamperedError(f"segment {place.segment} of the ledger does not begin with a seal.")
    grow(tree, descriptor, start, place.offset)
    if tree.size != place.seq:
        raise TamperedError(f"{place.seq} records were expected before byte {place.offset}; there are {tree.size}.")
    return tree


def grow(tree: Frontier, descriptor: int, start: int, end: int) -> None:
    """Append the records in the complete lines between two bytes."""
    while start < end:
        block = os.pread(descriptor, min(_BLOCK, end - start), start)
        whole = block.rfind(b"\n") + 1
        if not whole:
            raise TamperedError(f"no line ends within {len(block)} bytes after byte {start}.")
        tree.extend(leaf_hashes(digests_in(block[:whole])))
        start += whole


def _newest(descriptor: int, end: int) -> tuple[int, Frontier]:
    """Return the newest checkpoint or seal before byte `end`, by its own first byte, and the tree it states."""
    while end > 0:
        first = max(0, end - _BLOCK)
        block = os.pread(descriptor, end - first, first)
        # A line that began in an earlier block is left to that one.
        begin = 0 if first == 0 else block.find(b"\n") + 1
        for kind in (CHECKPOINT, SEAL):
            mark = b'"kind":"' + kind.encode() + b'"'
            at = len(block)
            while (at := block.rfind(mark, begin, at)) >= 0:
                start, stop = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at) + 1
                record = record_in(block[start:stop]) if stop else None
                if record is not None and record.kind == kind:
                    return first + start, frontier_of(record)
        if first == 0:
            break
        end = first + begin if begin < len(block) else first
    return 0, Frontier()
