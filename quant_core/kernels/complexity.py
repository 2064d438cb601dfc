"""Moving complexity: permutation entropy, the share of patterns that ties decide, turbulence.

Serial dependence is in serial_dependence.py.

The conventions are those of moving.py. Patterns are counted in whole numbers, which may run from row to row without
drift: a value depends on its window alone, bit for bit.
"""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, kernel
from quant_core.kernels.block_windows import ring_size

_UNIT = 2.0**-40
"""The value of 1 in a fixed-point sum of c ln c, whose terms are then off by less than 4.6e-13."""

_STRIP = LANES // 2
_CHUNK = 128
"""Columns and rows at a time: patterns are numbered row by row and counted column by column, which is quick while both
find them in the first-level cache."""


@kernel
def number_patterns(x: Matrix, t: int, lo: int, hi: int, order: int, larger: Matrix, code: Matrix) -> None:
    """Add row t of columns lo .. hi - 1 to the patterns it is part of. x: [T, N]; larger: [width].

    A pattern's number is its Lehmer code: how many of the i values before its i-th are larger, times i!, summed over i.
    code: [ring, width], by row modulo ring; row t is then complete and means something from row order - 1 on.
    """
    mask, left, right = code.shape[0] - 1, np.uintp(lo), np.uintp(hi)
    row = np.uintp((t + order - 2) & mask)
    for j in range(right - left):
        larger[j] = 0.0
        code[row, j] = 0.0
    weight = 1.0
    for i in range(1, min(order, t + 1)):
        weight *= i
        row = np.uintp((t + order - 1 - i) & mask)
        for j in range(left, right):
            count = larger[j - left] + (1.0 if x[t - i, j] > x[t, j] else 0.0)
            larger[j - left] = count
            code[row, j - left] += weight * count


@kernel
def move_permutation_entropy(x: Matrix, window: int, order: int, min_count: int, out: Matrix) -> None:
    """Take the entropy of the patterns of `order` neighbouring values in each window, over ln(order!): 0 to 1.

    x, out: [T, N]. A pattern is the order of its values, equal ones in the order of their rows. It counts when all of
    its rows are known and in the window; `min_count` counts patterns. order: 2 to 7.

    One pattern enters and one leaves per row, whatever the window. sum(c ln c) over the counts c is kept in fixed
    point, where whole numbers add up exactly in any order: the entropy is off by less than 5e-13 in nats, and nothing
    overflows below a window of 500,000 rows.

    NaN: no known pattern, too.
    Source: Bandt & Pompe (2002), Physical Review Letters 88, 174102.
    """
    rows, columns = x.shape
    held, width = max(0, window - order + 1), min(_STRIP, columns)
    patterns = 1
    for i in range(2, order + 1):
        patterns *= i
    # By the number of patterns not known: sum(c ln c) of one pattern alone, and a fixed-point unit in units of `out`.
    alone, gain, rate = np.zeros(held + 1, np.int64), np.zeros(held + 1, np.int64), np.full(held + 1, np.nan)
    for c in range(1, held + 1):
        alone[c] = round(c * math.log(float(c)) / _UNIT)
        gain[c - 1] = alone[c] - alone[c - 1]
        if c >= min_count:
            rate[held - c] = _UNIT / (math.log(float(patterns)) * c)
    alone += alone[::-1].copy()
    mask, begun = ring_size(held + _CHUNK) - 1, ring_size(order) - 1
    larger, streak, code, found = (
        np.empty(width),
        np.empty(width),
        np.empty((begun + 1, width)),
        np.empty((_CHUNK, width)),
    )
    number = np.empty((mask + 1, width), np.uint32)
    counts, total = np.empty((width, patterns + 1), np.uint32), np.empty(width, np.int64)
    for left in range(0, columns, _STRIP):
        lo, hi = np.uintp(left), np.uintp(min(left + _STRIP, columns))
        # Patterns that are not known have a number of their own, and so have those before the first row.
        streak[:], code[:], number[:] = 0.0, 0.0, patterns
        counts[:], total[:] = 0, alone[0]
        counts[:, patterns] = held
        for start in range(0, rows, _CHUNK):
            stop = min(rows, start + _CHUNK)
            for t in range(start, stop):
                number_patterns(x, t, left, min(left + _STRIP, columns), order, larger, code)
                row, complete = np.uintp(t & mask), np.uintp(t & begun)
                for j in range(lo, hi):
                    streak[j - lo] = 0.0 if math.isnan(x[t, j]) else streak[j - lo] + 1.0
                    number[row, j - lo] = code[complete, j - lo] if streak[j - lo] >= order else patterns
            for j in range(hi - lo):
                count, sum_ = counts[j], total[j]
                for t in range(start, stop):
                    if held > 0:
                        old, new = number[np.uintp((t - held) & mask), j], number[np.uintp(t & mask), j]
                        count[old] -= 1
                        sum_ -= gain[count[old]]
                        sum_ += gain[count[new]]
                        count[new] += 1
                    unknown = count[patterns]
                    entropy = (alone[unknown] - sum_) * rate[unknown]
                    entropy = 0.0 if entropy < 0.0 else entropy
                    found[t - start, j] = 1.0 if entropy > 1.0 else entropy
                total[j] = sum_
            for t in range(start, stop):
                for j in range(lo, hi):
                    out[t, j] = found[t - start, j - lo]


@kernel
def move_tied_patterns(x: Matrix, window: int, order: int, min_count: int, out: Matrix) -> None:
    """Take the share of the patterns of `order` neighbouring values in each window that hold two equal ones.

    x, out: [T, N]. Patterns and `min_count` are those of `move_permutation_entropy`, which ranks equal values by their
    rows: above some share it measures that rule rather than the series.
    """
    rows, columns = x.shape
    held, width = max(0, window - order + 1), min(_STRIP, columns)
    mask = ring_size(held + order) - 1
    tie, streak, equal = np.empty((mask + 1, width)), np.empty((mask + 1, width)), np.empty(width)
    known, tied = np.empty(width), np.empty(width)
    for left in range(0, columns, _STRIP):
        lo, hi = np.uintp(left), np.uintp(min(left + _STRIP, columns))
        tie[:], streak[:], known[:], tied[:] = 0.0, 0.0, 0.0, 0.0
        for t in range(rows):
            row, before = np.uintp(t & mask), np.uintp((t - 1) & mask)
            gone, ahead = np.uintp((t - held) & mask), np.uintp((t + order - 1) & mask)
            for j in range(lo, hi):
                streak[row, j - lo] = 0.0 if math.isnan(x[t, j]) else streak[before, j - lo] + 1.0
                equal[j - lo], tie[ahead, j - lo] = 0.0, 0.0
            for i in range(1, min(order, t + 1)):
                touched = np.uintp((t + order - 1 - i) & mask)
                for j in range(lo, hi):
                    found = 1.0 if x[t - i, j] == x[t, j] else equal[j - lo]
                    equal[j - lo] = found
                    tie[touched, j - lo] = found if found > tie[touched, j - lo] else tie[touched, j - lo]
            for j in range(lo, hi):
                is_new = 1.0 if streak[row, j - lo] >= order else 0.0
                is_gone = 1.0 if streak[gone, j - lo] >= order else 0.0
                known[j - lo] += is_new - is_gone
                tied[j - lo] += is_new * tie[row, j - lo] - is_gone * tie[gone, j - lo]
                n = known[j - lo]
                out[t, j] = tied[j - lo] / n if n >= max(1, min_count) and held > 0 else np.nan


@kernel
def move_turbulence(x: Matrix, window: int, levels: int, min_count: int, out: Matrix) -> None:
    """Take the share of each window's energy sum(x^2) that the finest `levels` levels of Haar wavelets hold: 0 to 1.

    x, out: [T, N]; independent values without mean have 1 - 2^-levels, a steady drift 0. The window is cut into blocks
    of 2^levels rows that end with its newest; a block with a gap is left out, `min_count` counts rows of the others.

    The details of a block hold what its smooth, (sum x)^2 / 2^levels, leaves of its energy.

    NaN: a window without energy, too.
    Source: Percival & Walden (2000), Wavelet Methods for Time Series Analysis, section 4.6.
    """
    rows, columns = x.shape
    block, width = 1 << levels, min(_STRIP, columns)
    blocks = window // block
    ring = max(1, blocks) * block
    smooth, energy, found = np.empty((ring, width)), np.empty((ring, width)), np.empty((3, width))
    for left in range(0, columns, _STRIP):
        lo, hi = np.uintp(left), np.uintp(min(left + _STRIP, columns))
        smooth[:], energy[:] = np.nan, np.nan
        for t in range(rows):
            row = np.uintp(t % ring)
            found[:] = 0.0
            for k in range(t - block + 1, t + 1):
                for j in range(lo, hi):
                    value = x[max(0, k), j] if k >= 0 else np.nan
                    found[0, j - lo] += value
                    found[1, j - lo] += value * value
            for j in range(hi - lo):
                smooth[row, j] = found[0, j] * found[0, j] / block
                energy[row, j] = found[1, j]
            found[:] = 0.0
            for i in range(blocks):
                row = np.uintp((t - i * block) % ring)
                for j in range(hi - lo):
                    is_known = not math.isnan(energy[row, j])
                    found[0, j] += smooth[row, j] if is_known else 0.0
                    found[1, j] += energy[row, j] if is_known else 0.0
                    found[2, j] += block if is_known else 0.0
            for j in range(lo, hi):
                if found[2, j - lo] >= max(1, min_count) and found[1, j - lo] > 0.0:
                    out[t, j] = min(1.0, max(0.0, 1.0 - found[0, j - lo] / found[1, j - lo]))
                else:
                    out[t, j] = np.nan
