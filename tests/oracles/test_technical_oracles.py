"""Technical indicators against TA-Lib and pandas. Tolerances are beside the tests; TA-Lib's goldens need no TA-Lib."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
import pytest

from quant_core.features import catalogue, compute_features
from quant_core.kernels import technical
from quant_core.kernels.recursive import ewm_mean
from tests.golden.technical.make import BARS, FOLDER, bars, indicators
from tests.oracles.twins import technical as twins

NAMES = sorted(pl.read_csv(FOLDER / "talib.csv", n_rows=0).columns)
# An index runs from 0 to 100, a distance is a fraction: one absolute tolerance each, beside the relative one.
RELATIVE, ABSOLUTE = 1e-9, {"index": 1e-8, "fraction": 1e-11, "fraction of the close": 1e-11}


@cache
def goldens() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    given, expected = (pl.read_csv(FOLDER / name, infer_schema_length=None) for name in ("bars.csv", "talib.csv"))
    return (
        {name: given[name].cast(pl.Float64).to_numpy() for name in BARS},
        {name: expected[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in NAMES},
    )


def ours(given: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(len(given["close"]))]
    table = pl.DataFrame({"date": days, "symbol": ["X:A"] * len(days)} | given)
    found = compute_features(table, names, calendar="24/7")
    return {name: found[name].fill_null(np.nan).to_numpy() for name in names}


def compare(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    both = np.isfinite(expected)
    assert both.sum() > 60
    assert np.isfinite(found[both]).all()
    # A window speaks with nine tenths of its bars, TA-Lib with all: no more than that comes before it.
    assert np.isfinite(found[~both]).sum() <= 11
    assert np.isnan(found[: catalogue()[name].warmup]).all()
    tolerance = ABSOLUTE[catalogue()[name].unit]
    np.testing.assert_allclose(found[both], expected[both], rtol=RELATIVE, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_the_column_equals_what_ta_lib_once_said(name: str) -> None:
    given, expected = goldens()
    compare(name, ours(given, [name])[name], expected[name])


def ta_lib() -> ModuleType:
    return pytest.importorskip("talib", reason="TA-Lib is not installed; its goldens are compared all the same")


@pytest.mark.parametrize("seed", range(4))
def test_the_columns_equal_ta_lib_on_long_series(seed: int) -> None:
    given = bars(seed, 900, daily=(0.003, 0.01, 0.03, 0.06)[seed])
    expected = indicators(ta_lib(), given)
    for name, found in ours(given, NAMES).items():
        compare(name, found, expected[name])


def test_the_goldens_are_what_ta_lib_says_today() -> None:
    given, written = goldens()
    for name, expected in indicators(ta_lib(), given).items():
        np.testing.assert_allclose(written[name], expected, rtol=1e-12, atol=1e-13)


def test_votes_equal_their_slow_twins() -> None:
    x = np.exp(gapped() * 0.01)
    level = np.where(np.arange(x.size).reshape(x.shape) % 5 == 0, x * (1.0 + 1e-13), np.roll(x, 3, axis=0))
    for kernel, twin, given in (
        (technical.cast_by_side, twins.cast_by_side, (x, level, 1e-12)),
        (technical.cast_outside, twins.cast_outside, (x, 1.62, 1.68, 1.0)),
    ):
        total, cast = np.full(x.shape, 0.5), np.full(x.shape, 2.0)
        kernel(*given, total, cast)
        columns = [np.broadcast_to(value, x.shape).ravel() for value in given]
        votes = [twin(*cells) for cells in zip(*columns, strict=True)]
        assert {None, -1.0, 0.0, 1.0} == set(votes)
        np.testing.assert_array_equal(total.ravel() - 0.5, [vote or 0.0 for vote in votes])
        np.testing.assert_array_equal(cast.ravel() - 2.0, [vote is not None for vote in votes])


def gapped() -> np.ndarray:
    rng = np.random.default_rng(5)
    x = np.cumsum(rng.normal(0.0, 1.0, (300, 4)), axis=0) + 50.0
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:40, 2] = np.nan
    x[:, 3] = np.nan
    return x


@pytest.mark.parametrize("alpha", [2.0 / 14.0, 1.0 / 14.0, 0.9])
@pytest.mark.parametrize("least", [1, 5, 20])
def test_weighted_means_equal_pandas_within_1e_12(alpha: float, least: int) -> None:
    x = gapped()
    expected = pd.DataFrame(x).ewm(alpha=alpha, adjust=True, ignore_na=True, min_periods=least).mean().to_numpy()
    found = ewm_mean.apply(x, np.ones(x.shape), alpha, least, True)
    np.testing.assert_allclose(found, np.where(np.isnan(x), np.nan, expected), rtol=1e-12)


@pytest.mark.parametrize("alpha", [2.0 / 14.0, 1.0 / 14.0, 0.9])
def test_means_begun_with_the_first_value_equal_pandas_within_1e_12(alpha: float) -> None:
    x = gapped()
    expected = pd.DataFrame(x).ewm(alpha=alpha, adjust=False, ignore_na=True).mean().to_numpy()
    found = ewm_mean.apply(x, np.ones(x.shape), alpha, 1, False)
    np.testing.assert_allclose(found, np.where(np.isnan(x), np.nan, expected), rtol=1e-12)
