"""Moving means of falling weight, and moving products; equal weights live in moving.py, endless ones in recursive.py.

The conventions are those of moving.py. Each window is summed from scratch, oldest row first, a strip of columns at a
time.
"""

from __future__ import annotations

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, kernel


@kernel
def move_decay_linear(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Average each window with weights that fall linearly: `window` for the newest row, 1 for the oldest.

    x, out: [T, N], same unit. The weights of the known values are rescaled to add up to 1.

    Source: `decay_linear` of Kakushadze (2016), Wilmott 84; the weighted moving average of technical analysis.
    """
    width = min(LANES, x.shape[1])
    total, weights, known = np.empty(width), np.empty(width), np.empty(width)
    least = max(1, min_count)
    for left in range(0, x.shape[1], LANES):
        lo, hi = np.uintp(left), np.uintp(min(left + LANES, x.shape[1]))
        for t in range(x.shape[0]):
            total[:], weights[:], known[:] = 0.0, 0.0, 0.0
            for k in range(max(0, t - window + 1), t + 1):
                weight = float(k - t + window)
                for j in range(lo, hi):
                    is_known = x[k, j] - x[k, j] == 0.0
                    total[j - lo] += weight * x[k, j] if is_known else 0.0
                    weights[j - lo] += weight if is_known else 0.0
                    known[j - lo] += 1.0 if is_known else 0.0
            for j in range(lo, hi):
                out[t, j] = total[j - lo] / weights[j - lo] if known[j - lo] >= least else np.nan


@kernel
def move_product(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Multiply the known values of each window. x, out: [T, N]."""
    width = min(LANES, x.shape[1])
    product, known = np.empty(width), np.empty(width)
    least = max(1, min_count)
    for left in range(0, x.shape[1], LANES):
        lo, hi = np.uintp(left), np.uintp(min(left + LANES, x.shape[1]))
        for t in range(x.shape[0]):
            product[:], known[:] = 1.0, 0.0
            for k in range(max(0, t - window + 1), t + 1):
                for j in range(lo, hi):
                    is_known = x[k, j] - x[k, j] == 0.0
                    product[j - lo] *= x[k, j] if is_known else 1.0
                    known[j - lo] += 1.0 if is_known else 0.0
            for j in range(lo, hi):
                out[t, j] = product[j - lo] if known[j - lo] >= least else np.nan
