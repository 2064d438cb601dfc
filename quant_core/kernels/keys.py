"""Kernels behind the keys of long tables: numbers for equal texts, and rows whose key comes again later.

How a column of texts becomes words is in market/text_codes.py; the keys of tables are in market/contracts/.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quant_core.kernels._jit import kernel

Words = npt.NDArray[np.uint64]
Whole = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.int32]
Days = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
AnyArray = npt.NDArray[Any]

INLINE = 12  # bytes of a text that its view holds itself; a longer one is in a buffer of its chunk


@kernel
def number_views(
    views: Words,
    known: Mask,
    chunk: int,
    at: int,
    slots: Codes,
    seen: Words,
    first: Ints,
    state: Ints,
    out: Codes,
) -> None:
    """Give the distinct views of one chunk of texts numbers in order of first sight; -1 where the text is not known.

    views: [R, 2], Arrow string views as two words each; known: [R], or empty when all are; chunk: its number, for a
    long text's view names a place in a buffer of its own chunk; at: position of its first row; slots: [2^k] hash table
    of numbers, -1 where free; seen: [C, 3] the distinct views and their chunk; first: [C] the row each was first seen
    at; state: [2] how many are distinct so far, and 1 where they are more than C: `out` is then not usable; out: [R].

    Equal texts may have several views, never one view several texts.
    """
    mask = slots.size - 1
    has_null = known.size > 0
    count, number = state[0], np.int32(-1)
    low_before = high_before = np.uint64(0)
    for i in range(views.shape[0]):
        if has_null and not known[i]:
            out[i] = -1
            continue
        low, high = views[i, 0], views[i, 1]
        if low == low_before and high == high_before and number >= 0:
            out[i] = number
            continue
        low_before, high_before = low, high
        home = np.uint64(chunk) if low & np.uint64(0xFFFFFFFF) > np.uint64(INLINE) else np.uint64(0)
        mixed = (low + home) * np.uint64(0x9E3779B97F4A7C15) ^ high * np.uint64(0xC2B2AE3D27D4EB4F)
        k = np.int64((mixed ^ mixed >> np.uint64(29)) & np.uint64(mask))
        number = slots[k]
        while number >= 0 and (seen[number, 0] != low or seen[number, 1] != high or seen[number, 2] != home):
            k = (k + 1) & mask
            number = slots[k]
        if number < 0:
            if count == seen.shape[0]:
                state[1] = 1
                return
            number = np.int32(count)
            slots[k] = number
            seen[number, 0], seen[number, 1], seen[number, 2] = low, high, home
            first[number] = at + i
            count += 1
        out[i] = number
    state[0] = count


@kernel
def look_up(codes: Codes, table: AnyArray, out: AnyArray) -> None:
    """Fill `out` with the entry of each code; -1 reads the last. codes, out: [R]; table: [C + 1]."""
    for i in range(codes.size):
        out[i] = table[codes[i]]


@kernel
def mark_superseded(codes: Codes, days: Days, alive: Mask, first: int, span: int, seen: Whole, out: Mask) -> None:
    """Mark the living rows whose (code, day) comes again in a later living row.

    codes, days, alive, out: [R]; living rows have a code from 0 on and a day from `first` to `first + span - 1`; seen:
    one bit for each code and day, all clear.
    """
    for i in range(codes.size - 1, -1, -1):
        out[i] = False
        if alive[i]:
            place = np.int64(codes[i]) * span + (days[i] - first)
            bit = np.uint32(1) << np.uint32(place & 31)
            out[i] = (seen[place >> 5] & bit) != 0
            seen[place >> 5] |= bit
