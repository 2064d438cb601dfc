"""Records the ledger writes about itself: checkpoints of its Merkle tree, and seals of full segments.

The leaf of a record is its hash, as the 64 hex digits in its line: `jq -r .hash` gives every entry of the tree to any
implementation of RFC 6962. Writing them: transaction.py; checking them: verification/verify.py.
"""

from __future__ import annotations

import os
from typing import Any

from quant_core.errors import TamperedError, UsageError
from quant_core.evidence.ledger.chain import Position, Record, digests_in, record_in
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes

CHECKPOINT, SEAL = "checkpoint", "seal"
EVERY = 4096
"""Each multiple of this number is a checkpoint, so at most this many records are read back."""

_BLOCK = 1 << 20


def tree_facts(tree: Frontier) -> dict[str, Any]:
    """Return the size, root and peaks of a tree, as a checkpoint states them."""
    return {"size": tree.size, "root": tree.root.hex(), "peaks": [peak.hex() for peak in tree.peaks]}


def frontier_of(record: Record) -> Frontier:
    """Return the tree stated by a checkpoint or seal; TamperedError if the record has none."""
    try:
        data = record.data
        tree = Frontier(data["size"], [bytes.fromhex(peak) for peak in data["peaks"]])
        if tree.size == record.seq and tree.root.hex() == data["root"]:
            return tree
        raise UsageError("its root is not that of its peaks, or of another size.")
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise TamperedError(f"record {record.seq} is not a valid {record.kind}: {error}") from error


def tree_before(descriptor: int, place: Position) -> Frontier:
    """Return the tree of all records before `place`; `descriptor` is its segment, open.

    It starts from the newest checkpoint before `place`, which is trusted, and hashes the records after it. A ledger
    without checkpoints is read whole, once: its writer adds one at the next multiple of `EVERY`.
    """
    start, tree = _newest(descriptor, place.offset)
    if place.segment and not tree.size:
        raise TamperedError(f"segment {place.segment} of the ledger does not begin with a seal.")
    grow(tree, descriptor, start, place.offset)
    if tree.size != place.seq:
        raise TamperedError(f"{place.seq} records were expected before byte {place.offset}; there are {tree.size}.")
    return tree


def grow(tree: Frontier, descriptor: int, start: int, end: int) -> None:
    """Add the records in the complete lines between two offsets to the tree."""
    while start < end:
        block = os.pread(descriptor, min(_BLOCK, end - start), start)
        whole = block.rfind(b"\n") + 1
        if not whole:
            raise TamperedError(f"no line ends within {len(block)} bytes after byte {start}.")
        tree.extend(leaf_hashes(digests_in(block[:whole])))
        start += whole


def _newest(descriptor: int, end: int) -> tuple[int, Frontier]:
    """Return the offset of the newest checkpoint or seal before byte `end`, and the tree it states."""
    while end > 0:
        first = max(0, end - _BLOCK)
        block = os.pread(descriptor, end - first, first)
        # A line that began in an earlier block is read with that block.
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
