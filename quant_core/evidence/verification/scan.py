"""Many lines of the ledger checked at once: are they, beyond doubt, what we write? ledger/chain.py settles doubts.

Every hash is computed. The form of a line is parsed only once for all lines of the same form (forms.py tells which
are), so that a ledger of a million records is checked in seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from struct import iter_unpack

import numpy as np

from quant_core.evidence.ledger.canonical import PayloadError, canonical_object
from quant_core.evidence.ledger.chain import MAX_LINE, Position, Record, checked
from quant_core.evidence.ledger.checkpoints import CHECKPOINT, SEAL
from quant_core.evidence.verification.forms import Bytes, Places, Shape, Tail, bytes_from, last_bytes, skeletons

_OPEN, _MIDDLE, _DATA = b'{"hash":"', b'","payload":', b'{"data":{'
_HASH = slice(len(_OPEN), len(_OPEN) + 64)
_PAYLOAD = slice(_HASH.stop + len(_MIDDLE), -1)
_FRAME = slice(_HASH.stop, _PAYLOAD.start + len(_DATA))
_DATA_AT = _FRAME.stop - 1
_OWN = (CHECKPOINT.encode(), SEAL.encode())
_MOST_SKELETONS, _MOST_TAILS = 10_000, 100
_sha256 = hashlib.sha256

Marked = list[tuple[int, Record]]


@dataclass(frozen=True, slots=True)
class _Lines:
    """Terminated lines that begin as records do.

    Attributes
    ----------
    raw : bytes
    text : ndarray of uint8
        The same.
    starts, ends : ndarray of int [L]
        Where each line begins, and where its newline stands.
    stated : bytes
        The hashes the lines state, 64 hex digits each.
    heads : ndarray of uint8 [L, 64]
        The hash before each line.
    """

    raw: bytes
    text: Bytes
    starts: Places
    ends: Places
    stated: bytes
    heads: Bytes

    @classmethod
    def of(cls, raw: bytes, place: Position) -> _Lines | None:
        """Return what stands after `place`; None if a line does not begin as a record, or is too long."""
        text = np.frombuffer(raw, dtype=np.uint8)
        ends = np.flatnonzero(text == ord("\n"))
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts
        if lengths.min() < _FRAME.stop or lengths.max() >= MAX_LINE:
            return None
        fronts = bytes_from(text, starts, _FRAME.stop)
        is_open = (fronts[:, : len(_OPEN)] == np.frombuffer(_OPEN, dtype=np.uint8)).all()
        if not is_open or not (fronts[:, _FRAME] == np.frombuffer(_MIDDLE + _DATA, dtype=np.uint8)).all():
            return None
        stated = fronts[:, _HASH].tobytes()
        heads = np.frombuffer(place.head.encode() + stated[:-64], dtype=np.uint8).reshape(-1, 64)
        return cls(raw, text, starts, ends, stated, heads)

    def __len__(self) -> int:
        return len(self.ends)

    def line(self, number: int) -> bytes:
        """Return one line without its newline."""
        return self.raw[self.starts[number] : self.ends[number]]

    def is_chained(self) -> bool:
        """Tell whether each line states the hash of the one before it and its own payload."""
        hashed = self.text.copy()
        at = self.starts + (_PAYLOAD.start - 64)
        # Each head is written right before its payload, so that nothing has to be put together.
        np.lib.stride_tricks.sliding_window_view(hashed, 64, writeable=True)[at] = self.heads
        view = hashed.data
        found = [_sha256(view[a:b]).hexdigest() for a, b in zip(at.tolist(), (self.ends - 1).tolist(), strict=True)]
        return "".join(found).encode() == self.stated

    def data(self, widths: Sequence[int]) -> list[bytes]:
        """Return the data of each line that has so many bytes behind it; those of no width are left out."""
        starts, ends = (self.starts + _DATA_AT).tolist(), self.ends.tolist()
        return [self.raw[a : b - width] for a, b, width in zip(starts, ends, widths, strict=True) if width]


class Scanner:
    """Remembers the forms it has seen parsed, from one call to the next."""

    def __init__(self) -> None:
        self._skeletons: set[bytes] = set()
        self._tails: dict[Shape, Tail] = {}

    def sound(self, raw: bytes, place: Position) -> tuple[list[bytes], Marked] | None:
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
        if place.ledger_id is None or not _is_utf8(raw):
            return None
        lines = _Lines.of(raw, place)
        if lines is None or not lines.is_chained():
            return None
        widths, parsed = self._cut(lines, place.seq, place.ledger_id)
        for number in parsed:
            widths[number] = 0
        at = [number for number, width in enumerate(widths) if width]
        for number in self._odd(lines.data(widths)):
            parsed.add(at[number])
        return _settled(lines, place, parsed)

    def _cut(self, lines: _Lines, seq: int, ledger_id: str) -> tuple[list[int], set[int]]:
        """Return how many bytes of each line stand behind its data, and the lines that have to be parsed for sure."""
        seqs = np.arange(seq, seq + len(lines), dtype=np.int64)
        known = np.frombuffer(ledger_id.encode(), dtype=np.uint8)
        widths = np.zeros(len(lines), dtype=np.int64)
        parsed: set[int] = set()
        left: Places = np.arange(len(lines))
        fitted: dict[Shape, int] = {}
        tried = list(reversed(self._tails.values()))  # the one that fitted most comes first
        while len(left):
            if not tried:
                number = int(left[0])
                parsed.add(number)
                left = left[1:]
                tail = Tail.of(lines.line(number))
                if tail is None or tail.shape in self._tails:
                    continue
                if len(self._tails) >= _MOST_TAILS:
                    self._tails.clear()
                self._tails[tail.shape] = tail
                tried.append(tail)
            tail = tried.pop(0)
            rows, is_whole = last_bytes(lines.text, lines.ends[left], tail.length)
            fits = tail.fits(rows) & is_whole
            here = left[fits]
            if not len(here):
                continue
            fitted[tail.shape] = len(here)
            rows = rows if len(here) == len(left) else rows[fits]
            is_right = tail.states(rows, lines.heads[here], seqs[here], known)
            for kind in _OWN:
                is_right &= ~tail.is_of_kind(rows, kind)
            widths[here] = tail.width
            parsed.update(here[~is_right].tolist())
            left = left[~fits]
        for shape in sorted(fitted, key=fitted.__getitem__):
            if shape in self._tails:
                self._tails[shape] = self._tails.pop(shape)
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


def _settled(lines: _Lines, place: Position, parsed: set[int]) -> tuple[list[bytes], Marked] | None:
    """Parse the lines that have to be; None if anything is wrong with one."""
    marked: Marked = []
    for number in sorted(parsed):
        before = Position(0, place.seq + number, lines.heads[number].tobytes().decode("ascii"), place.ledger_id)
        line = checked(lines.line(number) + b"\n", before)
        if line.record is None or line.faults:
            return None
        if line.record.kind in {CHECKPOINT, SEAL}:
            marked.append((number, line.record))
    return [digest for (digest,) in iter_unpack("64s", lines.stated)], marked


def _is_utf8(lines: bytes) -> bool:
    try:
        return lines.isascii() or bool(lines.decode())
    except UnicodeDecodeError:
        return False
