"""Moving kernels against pandas, bottleneck and scipy. Tolerance 1e-9 relative, 1e-11 absolute, exact for extremes."""

from __future__ import annotations

from collections.abc import Callable

import bottleneck  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from quant_core.kernels.extremes import move_argmax, move_argmin, move_max, move_min
from quant_core.kernels.moving import move_kurtosis, move_mean, move_skewness, move_std, move_sum
from quant_core.kernels.ordered import move_median, move_quantile, move_rank
from quant_core.kernels.pairs import move_correlation, move_covariance
from quant_core.kernels.trend_lines import move_slope

WINDOWS = [(5, 5), (20, 20), (60, 30)]
LEVELS = {"returns": 0.0, "prices": 50.0, "prices of a million": 1e6}


def matrix(level: float) -> np.ndarray:
    """Return 300 rows of 70 series, more than a strip: listed late, ended early, with holes, equal, tied."""
    rng = np.random.default_rng(31)
    x = rng.standard_t(4, (300, 70)) * 0.02
    if level:
        x = level * np.exp(np.cumsum(x, axis=0))
    x[rng.random(x.shape) < 0.03] = np.nan
    x[:90, 1], x[200:, 2], x[100:180, 3] = np.nan, np.nan, x[100, 4]
    x[:, 5] = np.round(x[:, 5], 2)
    return x


def biased(name: str, window: int, least: int, x: np.ndarray) -> np.ndarray:
    """Return pandas' unbiased skewness or excess kurtosis made biased, as scipy's default is."""
    rolling = pd.DataFrame(x).rolling(window, min_periods=least)
    n, found = rolling.count().to_numpy(), getattr(rolling, name)().to_numpy()
    if name == "skew":
        return found * (n - 2.0) / np.sqrt(n * (n - 1.0))
    return (found * (n - 2.0) * (n - 3.0) / (n - 1.0) - 6.0) / (n + 1.0)


def rolled(name: str, **given: object) -> Callable[[np.ndarray, int, int], np.ndarray]:
    def answer(x: np.ndarray, window: int, least: int) -> np.ndarray:
        found = getattr(pd.DataFrame(x).rolling(window, min_periods=least), name)(**given)
        return np.asarray(found.to_numpy(), dtype=float)

    return answer


ORACLES: dict[str, tuple[object, tuple[object, ...], Callable[[np.ndarray, int, int], np.ndarray]]] = {
    "sum": (move_sum, (), rolled("sum")),
    "mean": (move_mean, (), rolled("mean")),
    "std": (move_std, (), rolled("std")),
    "max": (move_max, (), rolled("max")),
    "min": (move_min, (), rolled("min")),
    "median": (move_median, (), rolled("median")),
    "quantile": (move_quantile, (0.8,), rolled("quantile", q=0.8)),
    "rank": (move_rank, (), rolled("rank", pct=True)),
    "std of bottleneck": (move_std, (), lambda x, w, n: bottleneck.move_std(x, w, min_count=n, axis=0, ddof=1)),
}


@pytest.mark.parametrize("level", list(LEVELS))
@pytest.mark.parametrize(("window", "least"), WINDOWS)
@pytest.mark.parametrize("name", list(ORACLES))
def test_the_kernel_equals_another_library(name: str, window: int, least: int, level: str) -> None:
    kernel, given, oracle = ORACLES[name]
    x = matrix(LEVELS[level])
    found = kernel.apply(x, window, *given, least)  # type: ignore[attr-defined]
    expected = oracle(x, window, least)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    # Running sums of others keep a trace of earlier rows in a window of equal values; ours is exactly zero there.
    is_spread = "std" in name
    moves = found != 0.0 if is_spread else np.ones(x.shape, dtype=bool)
    np.testing.assert_allclose(found[moves], expected[moves], rtol=1e-6 if is_spread else 1e-9, atol=1e-11)


def test_a_window_of_equal_values_has_exactly_no_spread() -> None:
    for level in LEVELS.values():
        x = matrix(level)
        assert (move_std.apply(x, 20, 20)[120:180, 3] == 0.0).all()
        assert np.isnan(move_skewness.apply(x, 20, 20)[120:180, 3]).all()


@pytest.mark.parametrize("name", ["skew", "kurt"])
def test_the_shape_of_returns_equals_pandas(name: str) -> None:
    x = matrix(0.0)
    found = (move_skewness if name == "skew" else move_kurtosis).apply(x, 60, 30)
    expected = biased(name, 60, 30, x)
    speaks = ~np.isnan(found)
    assert speaks.mean() > 0.7
    np.testing.assert_allclose(found[speaks], expected[speaks], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ["corr", "cov"])
def test_pairs_equal_pandas(name: str) -> None:
    x, y = matrix(50.0), np.roll(matrix(0.0), 1, axis=1)
    y[100:180, 4] += 1.0
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    found = (move_correlation if name == "corr" else move_covariance).apply(x, y, 60, 30)
    frames = pd.DataFrame(x), pd.DataFrame(y)
    expected = getattr(frames[0].rolling(60, min_periods=30), name)(frames[1]).to_numpy()
    speaks = ~np.isnan(found) & ~np.isnan(expected)
    assert speaks.mean() > 0.7
    np.testing.assert_allclose(found[speaks], expected[speaks], rtol=1e-7, atol=1e-9)


def test_slopes_equal_scipy() -> None:
    x = matrix(50.0)
    slope = move_slope.apply(x, 20, 15)
    for t, j in np.argwhere(~np.isnan(slope))[::97]:
        part = x[t - 19 : t + 1, j] if t >= 19 else x[: t + 1, j]
        known = np.flatnonzero(~np.isnan(part))
        line = scipy.stats.linregress(known, part[known])
        np.testing.assert_allclose(slope[t, j], line.slope, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("window", [5, 20, 60])
def test_places_of_extremes_equal_numpy(window: int) -> None:
    x = np.round(np.random.default_rng(5).normal(size=(150, 66)), 1)
    parts = np.lib.stride_tricks.sliding_window_view(x, window, axis=0)
    newest = move_argmax.apply(x, window, window)[window - 1 :]
    assert np.array_equal(newest, window - 1 - parts.argmax(axis=2))
    newest = move_argmin.apply(x, window, window)[window - 1 :]
    assert np.array_equal(newest, window - 1 - parts.argmin(axis=2))
