"""Slow twins of the kernels in cross_section.py: same names, plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np

from tests.oracles.windows import NAN, cells


def rank_rows(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        members = [v for v, is_member in zip(x[t], mask[t], strict=True) if is_member and not math.isnan(v)]
        if not mask[t, j] or math.isnan(x[t, j]):
            return NAN
        below, equal = sum(v < x[t, j] for v in members), sum(v == x[t, j] for v in members)
        return (below + (equal + 1) / 2 - 0.5) / len(members)

    return cells(x, value)


def zscore_rows(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        members = [float(v) for v, is_member in zip(x[t], mask[t], strict=True) if is_member and not math.isnan(v)]
        if not mask[t, j] or math.isnan(x[t, j]) or len(set(members)) < 2:
            return NAN
        return (x[t, j] - statistics.fmean(members)) / statistics.stdev(members)

    return cells(x, value)
