"""Cross-sectional kernels, row by row. Time-wise windows live in moving.py and its neighbours, score maps in alpha/."""

from __future__ import annotations

import math

import numpy as np

from quant_core.kernels._jit import Mask, Matrix, kernel


@kernel
def rank_rows(x: Matrix, mask: Mask, out: Matrix) -> None:
    """Rank each row's known members as p = (rank - 0.5) / n, equal values sharing their average rank.

    x, out : [T, N]; mask : bool [T, N], who belongs to the row's cross-section; a lone member has 0.5.

    NaN: outside the mask and where x is not known; n counts neither.
    """
    columns = x.shape[1]
    values = np.empty(columns)
    place = np.empty(columns, np.int64)
    for t in range(x.shape[0]):
        n = 0
        for j in range(columns):
            out[t, j] = np.nan
            if mask[t, j] and not math.isnan(x[t, j]):
                values[n] = x[t, j]
                place[n] = j
                n += 1
        order = np.argsort(values[:n])
        first = 0
        while first < n:
            last = first
            while last + 1 < n and values[order[last + 1]] == values[order[first]]:
                last += 1
            # Ranks first + 1 .. last + 1 average to (first + last) / 2 + 1.
            p = (0.5 * (first + last) + 0.5) / n
            for i in range(first, last + 1):
                out[t, place[order[i]]] = p
            first = last + 1


@kernel
def zscore_rows(x: Matrix, mask: Mask, out: Matrix) -> None:
    """Subtract each row's mean and divide by its standard deviation (ddof 1), over known members.

    x, out : [T, N]; mask : bool [T, N], who belongs to the row's cross-section.

    NaN: outside the mask, where x is not known, and in rows of fewer than two members or without spread.
    """
    columns = x.shape[1]
    for t in range(x.shape[0]):
        total, n = 0.0, 0
        for j in range(columns):
            if mask[t, j] and not math.isnan(x[t, j]):
                total += x[t, j]
                n += 1
        mean = total / n if n > 0 else np.nan
        squares = 0.0
        for j in range(columns):
            if mask[t, j] and not math.isnan(x[t, j]):
                squares += (x[t, j] - mean) ** 2
        # A spread below the rounding of the mean is no spread.
        noise = n * np.finfo(np.float64).eps * mean
        spread = math.sqrt(squares / (n - 1)) if n > 1 and squares > n * noise * noise else np.nan
        for j in range(columns):
            is_member = mask[t, j] and not math.isnan(x[t, j])
            out[t, j] = (x[t, j] - mean) / spread if is_member else np.nan
