"""Merkle trees after RFC 6962, section 2.1: roots and growth. The leaves of a ledger are defined in checkpoints.py.

A leaf is hashed after a zero byte and a node after a one, so that a leaf cannot pass for a node. A tree of n leaves is
split at the largest power of two below n; so its right edge is enough to grow it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from quant_core.errors import UsageError

EMPTY = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""

_sha256 = hashlib.sha256


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hash of each entry, 32 bytes each."""
    return [_sha256(b"\0" + entry).digest() for entry in entries]


class Frontier:
    """The right edge of a growing tree: its size and one hash per perfect subtree, at most log2(size) + 1.

    Parameters
    ----------
    size : int
        Leaves so far.
    peaks : sequence of bytes
        Roots of the perfect subtrees, from left to right: one per one-bit of `size`.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        heights = [height for height in range(size.bit_length()) if size >> height & 1]
        if size < 0 or len(heights) != len(peaks) or any(len(peak) != 32 for peak in peaks):
            raise UsageError(f"a tree of {size} leaves cannot have these {len(peaks)} peaks of 32 bytes.")
        self.size = size
        self._pending: dict[int, bytes] = dict(zip(heights, reversed(peaks), strict=True))

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The perfect subtrees from left to right, the largest first."""
        return tuple(self._pending[height] for height in sorted(self._pending, reverse=True))

    @property
    def root(self) -> bytes:
        """Root of all leaves so far, 32 bytes."""
        peaks = self.peaks
        if not peaks:
            return EMPTY
        root = peaks[-1]
        for peak in reversed(peaks[:-1]):
            root = _sha256(b"\1" + peak + root).digest()
        return root

    def copy(self) -> Frontier:
        """Return an independent copy."""
        return Frontier(self.size, self.peaks)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaf hashes; about one hash each, no matter how large the tree is."""
        level, height, before = list(leaves), 0, self.size
        while level:
            if before >> height & 1:
                level.insert(0, self._pending.pop(height))
            if len(level) & 1:
                self._pending[height] = level.pop()
            pairs = iter(level)
            level = [_sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            height += 1
        self.size += len(leaves)
