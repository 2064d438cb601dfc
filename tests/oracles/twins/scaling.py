"""Slow twins of the kernels in scaling.py: same names, plain Python, one block at a time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from itertools import accumulate

import numpy as np

from tests.oracles.windows import NAN, cells, known_of

SAMPLES = {"smallest": lambda x: 4, "fewest": lambda x: 1}


def rescaled_range(values: list[float]) -> float:
    mean = statistics.fmean(values)
    path = list(accumulate(v - mean for v in values))
    return (max(path) - min(path)) / statistics.pstdev(values)


def expected_range(n: int) -> float:
    ratio = math.gamma((n - 1) / 2) / (math.sqrt(math.pi) * math.gamma(n / 2))
    return ratio * math.fsum(math.sqrt((n - i) / i) for i in range(1, n))


def fluctuation(values: list[float]) -> float:
    path = np.cumsum(values)
    times = np.arange(len(values)) - (len(values) - 1) / 2
    left = path - path.mean() - times * (times @ path) / (times @ times)
    return float(np.mean(left**2)) if left @ left > 1e-12 * (path @ path) else 0.0


def expected_fluctuation(n: int) -> float:
    return (n * n - 4) / (15 * n)


def exponents(
    x: np.ndarray,
    window: int,
    smallest: int,
    fewest: int,
    min_count: int,
    reach: Callable[[list[float]], float],
    expected: Callable[[int], float],
) -> np.ndarray:
    def size_mean(t: int, j: int, n: int) -> float:
        blocks = [range(first, first + n) for first in range(t - window + 1, t - n + 2, n)]
        found = []
        for block in blocks:
            known = [float(x[k, j]) for k in block if k >= 0 and not math.isnan(x[k, j])]
            if 4 * len(known) >= 3 * n and len(set(known)) > 1 and reach(known) > 0.0:
                found.append(reach(known) / expected(len(known)))
        return statistics.fmean(found) if 2 * len(found) >= len(blocks) else NAN

    def value(t: int, j: int) -> float:
        if len(known_of(x, t, j, window)) < max(1, min_count):
            return NAN
        sizes = [smallest * 2**k for k in range(20) if smallest * 2**k * fewest <= window]
        means = [size_mean(t, j, n) for n in sizes]
        if len(sizes) < 2 or any(math.isnan(mean) for mean in means):
            return NAN
        return 0.5 + float(np.polyfit(np.log(sizes), np.log(means), 1)[0])

    return cells(x, value)


def move_hurst(x: np.ndarray, window: int, smallest: int, fewest: int, min_count: int) -> np.ndarray:
    return exponents(x, window, smallest, fewest, min_count, rescaled_range, expected_range)


def move_dfa(x: np.ndarray, window: int, smallest: int, fewest: int, min_count: int) -> np.ndarray:
    squared = exponents(x, window, smallest, fewest, min_count, fluctuation, expected_fluctuation)
    return 0.5 + 0.5 * (squared - 0.5)
