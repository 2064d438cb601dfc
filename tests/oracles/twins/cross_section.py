"""Slow twins of the kernels in cross_section.py: same names, plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np

from tests.kernels import Sample
from tests.oracles.windows import NAN, cells

SAMPLES: dict[str, Sample] = {
    "groups": lambda x: np.arange(x.size).reshape(x.shape) * 7 % 11 % 4 - 1,
}


def members_of(x: np.ndarray, mask: np.ndarray, t: int) -> list[float]:
    return [float(v) for v, is_member in zip(x[t], mask[t], strict=True) if is_member and not math.isnan(v)]


def is_out(x: np.ndarray, mask: np.ndarray, t: int, j: int) -> bool:
    return not mask[t, j] or math.isnan(x[t, j])


def mean_rank(x: np.ndarray, mask: np.ndarray, t: int, j: int) -> float:
    members = members_of(x, mask, t)
    below, equal = sum(v < x[t, j] for v in members), sum(v == x[t, j] for v in members)
    return below + (equal + 1) / 2


def rank_rows(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        if is_out(x, mask, t, j):
            return NAN
        return (mean_rank(x, mask, t, j) - 0.5) / len(members_of(x, mask, t))

    return cells(x, value)


def rank_share_rows(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        return NAN if is_out(x, mask, t, j) else mean_rank(x, mask, t, j) / len(members_of(x, mask, t))

    return cells(x, value)


def zscore_rows(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        members = members_of(x, mask, t)
        if is_out(x, mask, t, j) or len(set(members)) < 2:
            return NAN
        return (x[t, j] - statistics.fmean(members)) / statistics.stdev(members)

    return cells(x, value)


def scale_rows(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        total = math.fsum(abs(v) for v in members_of(x, mask, t))
        return NAN if is_out(x, mask, t, j) or total == 0.0 else x[t, j] / total

    return cells(x, value)


def neutralise_rows(x: np.ndarray, mask: np.ndarray, groups: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        if is_out(x, mask, t, j) or groups[t, j] < 0:
            return NAN
        return x[t, j] - statistics.fmean(members_of(x, mask & (groups == groups[t, j]), t))

    return cells(x, value)
