"""Slow twins of the kernels in technical.py: same names, plain Python, each cell from its whole history."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import numpy as np

from tests.oracles.twins.recursive import exponential, history, lives
from tests.oracles.windows import NAN, cells, over_windows

SAMPLES = {"life": lives, "is_up": lambda x: True}
Bars = list[tuple[float, ...]]


def wilder_rsi(x: np.ndarray, life: np.ndarray, window: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        changes = [b - a for (a,), (b,) in pairwise(history(life, t, j, x))]
        gain = exponential([max(0.0, change) for change in changes], 1.0 / window, window)
        loss = exponential([max(0.0, -change) for change in changes], 1.0 / window, window)
        return 100.0 * gain / (gain + loss) if gain + loss else NAN

    return cells(x, value)


def movements(bars: Bars, is_up: bool) -> list[float]:
    found = []
    for (high, low, _), (new_high, new_low, _) in pairwise(bars):
        up, down = new_high - high, low - new_low
        found.append(max(0.0, up) * (up > down) if is_up else max(0.0, down) * (down > up))
    return found


def true_ranges(bars: Bars) -> list[float]:
    return [max(high - low, abs(high - last), abs(low - last)) for (_, _, last), (high, low, _) in pairwise(bars)]


def wilder_sum(values: list[float], window: int) -> float:
    total = math.fsum(values[: window - 1])
    for v in values[window - 1 :]:
        total = total - total / window + v
    return total


def directional(bars: Bars, window: int, is_up: bool) -> float:
    total = wilder_sum(true_ranges(bars), window)
    return 100.0 * wilder_sum(movements(bars, is_up), window) / total if len(bars) > window and total else NAN


def wilder_di(
    high: np.ndarray, low: np.ndarray, close: np.ndarray, life: np.ndarray, window: int, is_up: bool
) -> np.ndarray:
    return cells(high, lambda t, j: directional(history(life, t, j, high, low, close), window, is_up))


def wilder_adx(high: np.ndarray, low: np.ndarray, close: np.ndarray, life: np.ndarray, window: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        bars = history(life, t, j, high, low, close)
        ratios = []
        for end in range(window + 1, len(bars) + 1):
            plus, minus = directional(bars[:end], window, True), directional(bars[:end], window, False)
            if plus + minus > 0.0:
                ratios.append(100.0 * abs(plus - minus) / (plus + minus))
        return exponential(ratios, 1.0 / window, window)

    return cells(high, value)


def cast_by_side(x: float, level: float, tolerance: float) -> float | None:
    if math.isnan(x) or math.isnan(level):
        return None
    return 0.0 if abs(x - level) <= tolerance * x else math.copysign(1.0, x - level)


def cast_outside(x: float, lower: float, upper: float, below: float) -> float | None:
    if math.isnan(x):
        return None
    return below if x < lower else -below if x > upper else 0.0


def move_deviation(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def deviation(known: list[float]) -> float:
        mean = statistics.fmean(known)
        return statistics.fmean(abs(v - mean) for v in known) if len(set(known)) > 1 else 0.0

    return over_windows(x, window, min_count, deviation)
