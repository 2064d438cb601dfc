"""The form of many lines at once, as arrays of bytes: how records end, and the skeleton of what they hold.

Nothing here is believed before ledger/chain.py or ledger/canonical.py has parsed a line like it; what "like it" means
is the matter of this module. What is done with the answers: scan.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Shape = tuple[tuple[int, int], ...]

_QUOTE, _BACKSLASH, _COLON, _DOT, _MINUS, _PLUS, _ZERO, _E, _NEWLINE, _SPACE = b'"\\:.-+0e\n '
_TEXT, _DIGITS = rb'[^"\\]*', rb"(?:0|[1-9][0-9]{0,14})"
_TAIL = re.compile(
    rb',"format":1,"kind":"(?P<kind>' + _TEXT + rb')","ledger_id":"(?P<ledger>' + _TEXT + rb')","mono_ns":(?P<mono>'
    + _DIGITS + rb'),"prev":"(?P<prev>.{64})","run_id":"(?P<run>' + _TEXT + rb')","seq":(?P<seq>' + _DIGITS
    + rb'),"ts":"(?P<ts>' + _TEXT + rb')","writer":\{"boot_id":"(?P<boot>' + _TEXT + rb')","pid":(?P<pid>' + _DIGITS
    + rb'),"started":(?P<started>' + _DIGITS + rb")\}\}\}"
)  # fmt: skip
_STRINGS, _NUMBERS = ("kind", "run", "ts", "boot"), ("mono", "seq", "pid", "started")
_STATED = ("ledger", "prev")
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Tail:
    """How the line of a record ends, behind its data, up to the lengths of what varies in it.

    Attributes
    ----------
    width : int
        Bytes of the tail, newline left out.
    fixed : ndarray of uint64 [W / 8]
        The last W bytes of one such line; W is `width` made a multiple of 8.
    pinned : ndarray of uint64 [W / 8]
        255 in each byte that must stand as in `fixed`, 0 where a value or what is before the tail stands.
    spans : dict of str to slice
        Where in those W bytes each value stands.
    """

    width: int
    fixed: Words
    pinned: Words
    spans: dict[str, slice]

    @classmethod
    def of(cls, line: bytes) -> Tail | None:
        """Return how a line without newline ends; None for one that ends as no simple record does."""
        at = line.rfind(b',"format":')
        match = _TAIL.fullmatch(line, at) if at >= 0 else None
        first = at - (at - len(line)) % 8
        if match is None or first < 0:
            return None
        names = (*_STRINGS, *_NUMBERS, *_STATED)
        spans = {name: slice(*(place - first for place in match.span(name))) for name in names}
        pinned = np.full(len(line) - first, 255, dtype=np.uint8)
        for span in (slice(at - first), *spans.values()):
            pinned[span] = 0
        fixed = np.frombuffer(line[first:], dtype=np.uint64)
        return cls(len(line) - at, fixed, pinned.view(np.uint64), spans)

    @property
    def length(self) -> int:
        """How many bytes of a line are looked at."""
        return self.fixed.nbytes

    @property
    def shape(self) -> Shape:
        """What tells one kind of tail from another."""
        return tuple((span.start, span.stop) for span in self.spans.values())

    def fits(self, rows: Bytes) -> Mask:
        """Tell which rows end like this, whatever ledger and hash they state.

        Parameters
        ----------
        rows : ndarray of uint8 [L, length]
            The last bytes of lines, one row right behind the other in memory.
        """
        differs = rows.view(np.uint64) ^ self.fixed
        differs &= self.pinned
        fits: Mask = np.logical_not(differs.any(axis=1))
        for name in _STRINGS:
            text = np.ascontiguousarray(rows[:, self.spans[name]])
            if not _is_plain(text.reshape(-1)):
                fits &= ((text != _QUOTE) & (text != _BACKSLASH) & (text >= _SPACE)).all(axis=1)
        for name in _NUMBERS:
            digits = rows[:, self.spans[name]] - _ZERO
            if digits.max(initial=0) > 9:
                fits &= (digits < 10).all(axis=1)
            if digits.shape[1] > 1:
                fits &= digits[:, 0] != 0
        return fits

    def states(self, rows: Bytes, heads: Bytes, seqs: npt.NDArray[np.int64], ledger_id: Bytes) -> Mask:
        """Tell which rows state that hash before them, that number and that ledger. heads: [L, 64], seqs: [L]."""
        ledger, seq = self.spans["ledger"], self.spans["seq"]
        if ledger.stop - ledger.start != len(ledger_id) or self.spans["kind"].stop == self.spans["kind"].start:
            return np.zeros(len(rows), dtype=np.bool_)
        powers = 10 ** np.arange(seq.stop - seq.start - 1, -1, -1, dtype=np.int64)
        is_right: Mask = (rows[:, seq] - _ZERO).astype(np.int64) @ powers == seqs
        is_right &= (rows[:, self.spans["prev"]] == heads).all(axis=1)
        is_right &= (rows[:, ledger] == ledger_id).all(axis=1)
        return is_right

    def is_of_kind(self, rows: Bytes, kind: bytes) -> Mask:
        """Tell which rows are of a kind."""
        span = self.spans["kind"]
        if span.stop - span.start != len(kind):
            return np.zeros(len(rows), dtype=np.bool_)
        is_same: Mask = (rows[:, span] == np.frombuffer(kind, dtype=np.uint8)).all(axis=1)
        return is_same


def _is_plain(text: Bytes) -> bool:
    """Tell whether nothing in the bytes ends a JSON string or has to be escaped in one."""
    raw = text.tobytes()
    return b'"' not in raw and b"\\" not in raw and bool(text.min(initial=_SPACE) >= _SPACE)


def bytes_from(text: Bytes, starts: Places, width: int) -> Bytes:
    """Return the `width` bytes from each start on, [L, width], one row right behind the other in memory."""
    rows: Bytes = np.lib.stride_tricks.sliding_window_view(text, width)[starts]
    return rows


def last_bytes(text: Bytes, ends: Places, width: int) -> tuple[Bytes, Mask]:
    """Return the `width` bytes before each end, [L, width], and for which lines there are as many."""
    return bytes_from(text, np.maximum(ends - width, 0), width), np.diff(ends, prepend=-1) > width


def skeletons(lines: bytes, count: int) -> tuple[list[bytes], Mask] | None:
    """Return the skeleton of each JSON text: without what its value strings hold, and 0 for each number.

    Texts of one skeleton have the same structure and the same keys. Hence if one of them is canonical, so are all whose
    numbers are.

    Parameters
    ----------
    lines : bytes
        UTF-8 without backslashes, each text ended by a newline.
    count : int
        How many.

    Returns
    -------
    list of bytes
    ndarray of bool
        Which texts have a number that is not canonical, or not simple enough to tell.
    None
        Some quotes or control characters are none of JSON's.
    """
    text = np.frombuffer(lines + b"\n" * (-len(lines) % 64), dtype=np.uint8)
    if np.count_nonzero(text < _SPACE) != count + len(text) - len(lines):
        return None
    quotes = np.flatnonzero(text == _QUOTE)
    ends = np.flatnonzero(text == _NEWLINE)[:count]
    if (np.searchsorted(quotes, ends) % 2).any():
        return None
    opening, closing = quotes[0::2], quotes[1::2]
    is_value = text[closing + 1] != _COLON
    opening, closing = opening[is_value], closing[is_value]
    marks = np.zeros(len(text), dtype=np.bool_)
    marks[opening] = marks[closing] = True
    inside = _running_xor(marks)
    inside[opening] = False
    kept = text[~inside]
    is_digit = (kept - _ZERO) < 10
    is_digit &= ~_running_xor(_padded(kept == _QUOTE))[: len(kept)]
    starts = np.flatnonzero(is_digit[1:] & ~is_digit[:-1]) + 1
    stops = np.flatnonzero(is_digit[:-1] & ~is_digit[1:]) + 1
    in_doubt = np.zeros(count, dtype=np.bool_)
    if len(starts):
        wrong = _wrong_numbers(kept, starts, stops)
        in_doubt[np.searchsorted(np.flatnonzero(kept == _NEWLINE), wrong)] = True
    kept[starts] = _ZERO
    is_digit[starts] = False
    return kept[~is_digit].tobytes().split(b"\n")[:count], in_doubt


def _wrong_numbers(kept: Bytes, starts: Places, stops: Places) -> Places:
    """Return where digits begin that are no canonical number, or none that is simple enough to tell."""
    before, second, after = kept[starts - 1], kept[starts - 2], kept[stops]
    is_part = (before == _DOT) | (((before == _MINUS) | (before == _PLUS)) & (second == _E))
    is_float = (after == _DOT) | (after == _E)
    is_zero, length = kept[starts] == _ZERO, stops - starts
    is_bad_integer = ~is_float & ((length > _MOST_DIGITS) | (is_zero & (before == _MINUS)))
    wrong = ~is_part & (is_bad_integer | (is_zero & (length > 1)))
    whole = np.flatnonzero(~is_part)
    floats = np.flatnonzero(is_float[whole])
    if len(floats):
        text, last = kept.tobytes(), stops[np.append(whole[1:], len(starts)) - 1]
        first = (starts - (before == _MINUS))[whole[floats]]
        numbers = [text[start:stop] for start, stop in zip(first.tolist(), last[floats].tolist(), strict=True)]
        wrong[whole[floats]] |= ~_are_shortest(numbers)
    # Digits behind a point or an exponent belong to the number before them, unless there is none on that line.
    return np.append(starts[wrong], starts[: whole[0]] if len(whole) else starts)


def _are_shortest(numbers: Sequence[bytes]) -> Mask:
    """Tell which numbers stand as Python writes a float: the shortest digits that read back to it."""
    try:
        if ",".join(map(repr, map(float, numbers))).encode() == b",".join(numbers):
            return np.ones(len(numbers), dtype=np.bool_)
    except ValueError:
        pass
    return np.array([_is_shortest(number) for number in numbers])


def _is_shortest(number: bytes) -> bool:
    try:
        return repr(float(number)).encode() == number
    except ValueError:
        return False


def _padded(mask: Mask) -> Mask:
    return np.concatenate([mask, np.zeros(-len(mask) % 64, dtype=np.bool_)])


def _running_xor(marks: Mask) -> Mask:
    """Return, for each byte, whether an odd number of marks stand up to and including it. marks: a multiple of 64."""
    words = np.packbits(marks, bitorder="little").view("<u8").copy()
    for shift in (1, 2, 4, 8, 16, 32):
        words ^= words << np.uint64(shift)
    carry = np.logical_xor.accumulate((words >> np.uint64(63)).astype(np.bool_))
    words[1:] ^= np.uint64(0) - carry[:-1].astype(np.uint64)
    return np.unpackbits(words.view(np.uint8), bitorder="little").view(np.bool_)
