"""The slow twin of every kernel that fills an `out`: same name, plain Python, one window at a time."""

from __future__ import annotations

import inspect
import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from quant_core.kernels import cross_section, moving, ordered, paths, trading
from quant_core.kernels._jit import Kernel

KERNELS = {
    name: entry
    for module in (cross_section, moving, ordered, paths, trading)
    for name, entry in vars(module).items()
    if isinstance(entry, Kernel)
    and entry.__module__ == module.__name__
    and "out" in inspect.signature(entry).parameters
}
NAN = math.nan


def cells(x: np.ndarray, value: Callable[[int, int], float]) -> np.ndarray:
    return np.array([[value(t, j) for j in range(x.shape[1])] for t in range(x.shape[0])], dtype=float).reshape(x.shape)


def window_of(x: np.ndarray, t: int, j: int, window: int) -> list[float]:
    return [float(v) for v in x[max(0, t - window + 1) : t + 1, j]]


def known_of(x: np.ndarray, t: int, j: int, window: int) -> list[float]:
    return [v for v in window_of(x, t, j, window) if not math.isnan(v)]


def over_windows(
    x: np.ndarray, window: int, min_count: int, statistic: Callable[[list[float]], float], least: int = 1
) -> np.ndarray:
    def value(t: int, j: int) -> float:
        known = known_of(x, t, j, window)
        return statistic(known) if len(known) >= max(least, min_count) else NAN

    return cells(x, value)


def central(known: list[float], power: int) -> float:
    mean = math.fsum(known) / len(known)
    return math.fsum((v - mean) ** power for v in known) / len(known)


def move_mean(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, statistics.fmean)


def move_std(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, statistics.stdev, least=2)


def move_skewness(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def skewness(known: list[float]) -> float:
        return NAN if len(set(known)) == 1 else central(known, 3) / central(known, 2) ** 1.5

    return over_windows(x, window, min_count, skewness)


def move_kurtosis(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def kurtosis(known: list[float]) -> float:
        return NAN if len(set(known)) == 1 else central(known, 4) / central(known, 2) ** 2 - 3.0

    return over_windows(x, window, min_count, kurtosis)


def move_median(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, statistics.median)


def move_cvar(x: np.ndarray, window: int, level: float, min_count: int) -> np.ndarray:
    def worst(known: list[float]) -> float:
        return statistics.fmean(sorted(known)[: max(1, math.floor(level * len(known)))])

    return over_windows(x, window, min_count, worst)


def move_zero_share(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    return over_windows(x, window, min_count, lambda known: known.count(0.0) / len(known))


def move_efficiency(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def efficiency(known: list[float]) -> float:
        squares = math.fsum(v * v for v in known)
        return abs(math.fsum(known)) / math.sqrt(squares) if squares else NAN

    return over_windows(x, window, min_count, efficiency)


def prices(returns: list[float]) -> list[float]:
    path = [1.0]
    for change in returns:
        path.append(path[-1] * (1.0 + change))
    return path


def move_compound(returns: np.ndarray, window: int, skip: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        part = window_of(returns, t, j, window)
        known = [v for v in part[: max(0, len(part) - skip)] if not math.isnan(v)]
        return prices(known)[-1] - 1.0 if len(known) >= min_count else NAN

    return cells(returns, value)


def move_distance(returns: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def distance(known: list[float]) -> float:
        path = prices(known)
        return path[-1] / statistics.fmean(path) - 1.0

    return over_windows(returns, window - 1, min_count, distance)


def move_drawdown(returns: np.ndarray, window: int, min_count: int, is_worst: bool) -> np.ndarray:
    def fall(known: list[float]) -> float:
        path = prices(known)
        falls = [price / max(path[: k + 1]) - 1.0 for k, price in enumerate(path)]
        return min(falls) if is_worst else falls[-1]

    return over_windows(returns, window - 1, min_count, fall)


def move_autocorrelation(x: np.ndarray, window: int, min_count: int) -> np.ndarray:
    def value(t: int, j: int) -> float:
        part, known = window_of(x, t, j, window), known_of(x, t, j, window)
        if len(set(known)) < 2:
            return NAN
        mean = statistics.fmean(known)
        pairs = [(a - mean) * (b - mean) for a, b in pairwise(part) if not math.isnan(a + b)]
        return math.fsum(pairs) / math.fsum((v - mean) ** 2 for v in known) if len(pairs) >= min_count else NAN

    return cells(x, value)


def move_amihud(returns: np.ndarray, value: np.ndarray, window: int, min_count: int) -> np.ndarray:
    impact = np.array([abs(r) / v if v > 0.0 else NAN for r, v in zip(returns.flat, value.flat, strict=True)]).reshape(
        returns.shape
    )
    return move_mean(impact, window, min_count)


def step_returns(close: np.ndarray, life: np.ndarray, is_provisional: np.ndarray) -> np.ndarray:
    def value(t: int, j: int) -> float:
        earlier = [k for k in range(t) if not math.isnan(close[k, j])]
        if math.isnan(close[t, j]) or not earlier or life[earlier[-1], j] != life[t, j] or is_provisional[t, j]:
            return NAN
        return close[t, j] / close[earlier[-1], j] - 1.0

    return cells(close, value)


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


def matrix() -> np.ndarray:
    rng = np.random.default_rng(17)
    x = rng.standard_t(4, (70, 5)) * 0.02
    x[rng.random(x.shape) < 0.12] = np.nan
    x[20:50, 1] = 0.013
    x[30:50, 2] = 0.0
    x[:, 3] = np.nan
    x[:, 4] = np.round(x[:, 4], 2)
    return x


def arguments(name: str, window: int, min_count: int) -> list[Any]:
    rng, x = np.random.default_rng(18), matrix()
    price = np.where(np.isnan(x), np.nan, np.exp(x))
    given = {
        "x": x,
        "returns": x,
        "close": price,
        "value": np.where(rng.random(x.shape) < 0.1, 0.0, price * 1e5),
        "life": np.repeat([[0.0], [1.0]], 35, axis=0) * np.ones((1, 5)),
        "is_provisional": (rng.random(x.shape) < 0.1).astype(float),
        "mask": rng.random(x.shape) < 0.8,
        "window": window,
        "min_count": min_count,
        "skip": 3,
        "level": 0.2,
        "is_worst": True,
    }
    return [given[parameter] for parameter in inspect.signature(KERNELS[name]).parameters if parameter != "out"]


@pytest.mark.parametrize(("window", "min_count"), [(12, 9), (12, 5), (25, 1), (8, 5)])
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_the_kernel_equals_its_slow_twin(name: str, window: int, min_count: int) -> None:
    given = arguments(name, window, min_count)
    expected = globals()[name](*given)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(KERNELS[name].filled(*given), expected, rtol=1e-11, atol=1e-13)


def test_todays_drawdown_equals_its_slow_twin() -> None:
    x = matrix()
    np.testing.assert_allclose(
        paths.move_drawdown.filled(x, 15, 5, False), move_drawdown(x, 15, 5, is_worst=False), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1, 0.29])
def test_the_number_of_worst_returns_is_exact_for_every_sample_size(level: float) -> None:
    hundredths = round(level * 100)
    for n in range(1, 260):
        x = np.arange(n, dtype=float)[:, None]
        k = max(1, n * hundredths // 100)
        assert ordered.move_cvar.filled(x, n, level, 1)[-1, 0] == (k - 1) / 2


def test_machine_code_rounds_like_python() -> None:
    x = matrix()[:, :3]
    for plain, args in (
        (moving.move_std, (12, 7)),
        (paths.move_autocorrelation, (12, 7)),
        (ordered.move_median, (9, 2)),
    ):
        out = np.empty(x.shape)
        with np.errstate(invalid="ignore"):
            plain.python(x, *args, out)
        assert np.array_equal(out, plain.filled(x, *args), equal_nan=True)
