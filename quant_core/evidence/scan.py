"""Many lines of the ledger checked at once: are they, beyond doubt, what this package writes? chain.py settles doubts.

Every hash is computed. The form of a line is parsed only once for all lines of the same form (forms.py tells which
are), so that a ledger of a million records is checked in seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from quant_core.evidence.canonical import PayloadError, canonical_object
from quant_core.evidence.chain import MAX_LINE, Position, Record, checked
from quant_core.evidence.checkpoints import CHECKPOINT, SEAL
from quant_core.evidence.forms import Places, Tail, last_bytes, skeletons

_OPEN, _MIDDLE, _DATA = b'{"hash":"', b'","payload":', b'{"data":{'
_HASH = slice(len(_OPEN), len(_OPEN) + 64)
_PAYLOAD = slice(_HASH.stop + len(_MIDDLE), -1)
_FRAME = slice(_HASH.stop, _PAYLOAD.start + len(_DATA))
_OWN = (CHECKPOINT.encode(), SEAL.encode())
_MOST_SKELETONS, _MOST_TAILS = 10_000, 100
_sha256 = hashlib.sha256

Marked = list[tuple[int, Record]]


class Scanner:
    """Remembers the forms it has seen parsed, from one call to the next."""

    def __init__(self) -> None:
        self._skeletons: set[bytes] = set()
        self._tails: dict[tuple[tuple[int, int], ...], Tail] = {}

    def sound(self, lines: bytes, place: Position) -> tuple[list[bytes], Marked] | None:
        """Return what terminated lines after `place` state, if nothing is wrong with any of them.

        Returns
        -------
        list of bytes
            The hash of each line, 64 hex digits.
        list of (int, Record)
            The checkpoints and seals among them, each with the number of its line.
        None
            Something is wrong, or nothing is known yet of the ledger; a look at each line tells.
        """
        split = lines.split(b"\n")[:-1]
        digests = [line[_HASH] for line in split]
        heads = [place.head.encode(), *digests[:-1]]
        hashes = [_sha256(head + line[_PAYLOAD]).hexdigest() for head, line in zip(heads, split, strict=True)]
        is_open = lines.startswith(_OPEN) and lines.count(b"\n" + _OPEN) == len(split) - 1
        is_framed = is_open and {line[_FRAME] for line in split} == {_MIDDLE + _DATA}
        is_chained = is_framed and "".join(hashes).encode() == b"".join(digests)
        if not is_chained or place.ledger_id is None or len(max(split, key=len)) >= MAX_LINE or not _is_utf8(lines):
            return None
        widths, parsed = self._cut(lines, split, heads, place)
        at = [number for number, width in enumerate(widths) if width and number not in parsed]
        data = [split[number][_FRAME.stop - 1 : -widths[number]] for number in at]
        for number in self._odd(data):
            parsed.setdefault(at[number], None)
        return self._settled(split, heads, place, parsed, digests)

    def _cut(
        self, lines: bytes, split: Sequence[bytes], heads: Sequence[bytes], place: Position
    ) -> tuple[list[int], dict[int, Record | None]]:
        """Return how many bytes of each line stand behind its data, and the lines that have to be parsed for sure."""
        assert place.ledger_id is not None
        text = np.frombuffer(lines, dtype=np.uint8)
        ends = np.flatnonzero(text == ord("\n"))
        hashes = np.frombuffer(b"".join(heads), dtype=np.uint8).reshape(-1, 64)
        seqs = np.arange(place.seq, place.seq + len(split), dtype=np.int64)
        ledger_id = np.frombuffer(place.ledger_id.encode(), dtype=np.uint8)
        widths = np.zeros(len(split), dtype=np.int64)
        parsed: dict[int, Record | None] = {}
        left: Places = np.arange(len(split))
        tried = list(reversed(self._tails.values()))  # the one that fitted last comes first
        while len(left):
            if not tried:
                number = int(left[0])
                parsed[number] = None
                left = left[1:]
                tail = Tail.of(split[number])
                if tail is None or tail.shape in self._tails:
                    continue
                if len(self._tails) >= _MOST_TAILS:
                    self._tails.clear()
                self._tails[tail.shape] = tail
                tried.append(tail)
            tail = tried.pop(0)
            rows, is_whole = last_bytes(text, ends[left], len(tail.fixed))
            fits = tail.fits(rows) & is_whole
            here = left[fits]
            if not len(here):
                continue
            self._tails[tail.shape] = self._tails.pop(tail.shape, tail)
            rows = rows[fits]
            is_right = tail.states(rows, hashes[here], seqs[here], ledger_id)
            for kind in _OWN:
                is_right &= ~tail.is_of_kind(rows, kind)
            widths[here] = len(tail.fixed)
            parsed.update(dict.fromkeys(here[~is_right].tolist()))
            left = left[~fits]
        return widths.tolist(), parsed

    def _odd(self, data: Sequence[bytes]) -> list[int]:
        """Return which data are not canonical JSON objects beyond doubt; learn the skeletons that are new."""
        if not data:
            return []
        lines = b"\n".join(data) + b"\n"
        escaped = [number for number, text in enumerate(data) if b"\\" in text] if b"\\" in lines else []
        numbers = sorted(set(range(len(data))) - set(escaped)) if escaped else range(len(data))
        if escaped:
            lines = b"".join([data[number] + b"\n" for number in numbers])
        found = skeletons(lines, len(numbers)) if numbers else ([], np.zeros(0, dtype=np.bool_))
        if found is None:
            return list(range(len(data)))
        texts, in_doubt = found
        odd = [*escaped, *(numbers[at] for at in np.flatnonzero(in_doubt).tolist())]
        if self._skeletons.issuperset(texts):
            return odd
        for at, skeleton in enumerate(texts):
            if skeleton in self._skeletons:
                continue
            try:
                canonical_object(data[numbers[at]])
            except PayloadError:
                odd.append(numbers[at])
                continue
            if len(self._skeletons) >= _MOST_SKELETONS:
                self._skeletons.clear()
            self._skeletons.add(skeleton)
        return odd

    @staticmethod
    def _settled(
        split: Sequence[bytes],
        heads: Sequence[bytes],
        place: Position,
        parsed: dict[int, Record | None],
        digests: list[bytes],
    ) -> tuple[list[bytes], Marked] | None:
        """Parse the lines that have to be; None if anything is wrong with one."""
        marked: Marked = []
        for number in sorted(parsed):
            before = Position(0, place.seq + number, heads[number].decode("ascii"), place.ledger_id)
            line = checked(split[number] + b"\n", before)
            if line.record is None or line.faults:
                return None
            if line.record.kind in {CHECKPOINT, SEAL}:
                marked.append((number, line.record))
        return digests, marked


def _is_utf8(lines: bytes) -> bool:
    try:
        return lines.isascii() or bool(lines.decode())
    except UnicodeDecodeError:
        return False
