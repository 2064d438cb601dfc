"""Slow twins of the kernels in complexity.py: same names, plain Python."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from tests.oracles.windows import NAN, cells, window_of

SAMPLES = {"order": lambda x: 3, "levels": lambda x: 2}


def embedded(part: list[float], order: int) -> list[list[float]]:
    vectors = [part[k : k + order] for k in range(len(part) - order + 1)]
    return [vector for vector in vectors if not any(math.isnan(v) for v in vector)]


def move_permutation_entropy(x: np.ndarray, window: int, order: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        vectors = embedded(window_of(x, t, j, window), order)
        if len(vectors) < max(1, min_count):
            return NAN
        # sorted() is stable: equal values keep the order of their rows.
        counts = Counter(tuple(sorted(range(order), key=vector.__getitem__)) for vector in vectors).values()
        shares = [count / len(vectors) for count in counts]
        return -math.fsum(p * math.log(p) for p in shares) / math.log(math.factorial(order)) + 0.0

    return cells(x, value)


def move_tied_patterns(x: np.ndarray, window: int, order: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        vectors = embedded(window_of(x, t, j, window), order)
        if len(vectors) < max(1, min_count):
            return NAN
        return sum(len(set(vector)) < order for vector in vectors) / len(vectors)

    return cells(x, value)


def haar_details(values: list[float]) -> float:
    """Return the energy of all details of 2^levels values, pyramid by pyramid."""
    energy = 0.0
    while len(values) > 1:
        energy += sum((b - a) ** 2 / 2.0 for a, b in zip(values[::2], values[1::2], strict=True))
        values = [(a + b) / math.sqrt(2.0) for a, b in zip(values[::2], values[1::2], strict=True)]
    return energy


def move_turbulence(x: np.ndarray, window: int, levels: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        block, details, energy, known = 2**levels, 0.0, 0.0, 0
        for last in range(t, t - window // block * block, -block):
            part = [float(v) for v in x[last - block + 1 : last + 1, j]] if last - block + 1 >= 0 else [NAN]
            if not any(math.isnan(v) for v in part):
                details += haar_details(part)
                energy += math.fsum(v * v for v in part)
                known += block
        return details / energy if known >= max(1, min_count) and energy > 0.0 else NAN

    return cells(x, value)
