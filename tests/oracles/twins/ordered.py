"""Slow twins of the kernels in ordered.py: same names, plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np

from tests.oracles.windows import NAN, cells, known_of, over_windows

SAMPLES = {"level": lambda x: 0.2, "q": lambda x: 0.8}


def move_rank(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        known, newest = known_of(x, t, j, window), float(x[t, j])
        if math.isnan(newest) or len(known) < max(1, min_count):
            return NAN
        places = [place for place, v in enumerate(sorted(known), start=1) if v == newest]
        return statistics.fmean(places) / len(known)

    return cells(x, value)


def move_quantile(x: np.ndarray, window: int, q: float, min_count: int) -> np.ndarray:
    def interpolate(known: list[float]) -> float:
        ordered, place = sorted(known), q * (len(known) - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        return low + (place - math.floor(place)) * (high - low)

    return over_windows(x, window, min_count, interpolate)


def move_median(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, statistics.median)


def move_cvar(x: np.ndarray, window: int, level: float, min_count: int) -> np.ndarray:
    def worst(known: list[float]) -> float:
        return statistics.fmean(sorted(known)[: max(1, math.floor(level * len(known)))])

    return over_windows(x, window, min_count, worst)
