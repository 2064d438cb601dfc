"""Kernels and features of predictability against antropy (golden file), statsmodels, and formulas written out."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.tsa.adfvalues import mackinnonp
from statsmodels.tsa.stattools import acf, adfuller

from quant_core.kernels.complexity import move_permutation_entropy, move_turbulence
from quant_core.kernels.paths import move_autocorrelation
from quant_core.kernels.scaling import estimate_hurst, move_dfa, move_hurst
from quant_core.kernels.serial_dependence import (
    move_adf,
    move_half_life,
    move_ljung_box,
    move_memory_depth,
    move_variance_ratio,
)
from quant_core.statistics.calibration import chi_square_p, half_normal_score, unit_root_p

FOLDER = Path(__file__).parents[1] / "golden" / "complexity"
GOLDEN = json.loads((FOLDER / "permutation_entropy.json").read_text())["rows"]
SEEDS = range(5)


def column(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values[:, None])


def reverting(seed: int, n: int, persistence: float = 0.9) -> np.ndarray:
    """Return a path that is drawn to zero."""
    noise = np.random.default_rng(seed).standard_t(4, n) * 0.01
    path = np.zeros(n)
    for t in range(1, n):
        path[t] = persistence * path[t - 1] + noise[t]
    return path


@pytest.mark.parametrize(("n", "order", "expected"), GOLDEN, ids=lambda value: str(value)[:6])
def test_permutation_entropy_is_antropys(n: int, order: int, expected: float) -> None:
    x = column(np.array([(7919 * k * k) % 10007 for k in range(1, n + 1)], dtype=float))
    assert move_permutation_entropy.apply(x, n, order, 1)[-1, 0] == pytest.approx(expected, abs=1e-12)


def test_a_rolling_entropy_does_not_drift_from_that_of_its_window_alone() -> None:
    x = np.random.default_rng(7).normal(size=(5000, 2))
    rolling = move_permutation_entropy.apply(x, 120, 5, 100)
    for t in (119, 2500, 4999):
        alone = move_permutation_entropy.apply(np.ascontiguousarray(x[t - 119 : t + 1]), 120, 5, 100)
        assert np.array_equal(alone[-1], rolling[t])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("is_augmented", [False, True])
def test_the_dickey_fuller_statistic_and_its_p_value_are_those_of_statsmodels(seed: int, is_augmented: bool) -> None:
    path = reverting(seed, 253, persistence=(0.5, 0.9, 0.97, 1.0, 1.01)[seed])
    with warnings.catch_warnings():
        # A plain tuple becomes an object in a later version of statsmodels.
        warnings.simplefilter("ignore", FutureWarning)
        expected = adfuller(path, maxlag=int(is_augmented), regression="c", autolag=None)
    found = move_adf.apply(column(np.diff(path)), 252, is_augmented, 252)[-1]
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    assert unit_root_p(found)[0] == pytest.approx(expected[1], rel=1e-8, abs=1e-12)


def test_the_p_value_of_a_unit_root_is_statsmodels_wherever_it_is_asked() -> None:
    statistics = np.linspace(-20.0, 4.0, 97)
    expected = [mackinnonp(value, regression="c", N=1) for value in statistics]
    np.testing.assert_allclose(unit_root_p(statistics), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_ljung_box_is_that_of_statsmodels(seed: int) -> None:
    x = np.random.default_rng(seed).standard_t(4, 120) * 0.02 + 0.001
    expected = acorr_ljungbox(x, lags=[5])
    found = move_ljung_box.apply(column(x), 120, 5, 120)[-1]
    assert found[0] == pytest.approx(expected["lb_stat"].iloc[0], rel=1e-10)
    assert chi_square_p(found, 5)[0] == pytest.approx(expected["lb_pvalue"].iloc[0], rel=1e-10)


@pytest.mark.parametrize("lag", [1, 2, 5, 17])
def test_the_autocorrelation_at_a_lag_is_that_of_statsmodels(lag: int) -> None:
    x = reverting(3, 120)
    found = move_autocorrelation.apply(column(x), 120, lag, 1)[-1, 0]
    assert found == pytest.approx(acf(x, nlags=lag)[lag], rel=1e-10)


def test_the_variance_ratio_and_the_depth_of_memory_are_read_off_the_correlogram() -> None:
    x = reverting(4, 120, persistence=0.6)
    rho = acf(x, nlags=10)[1:]
    ratio = 1.0 + 2.0 * sum((1.0 - (k + 1) / 5.0) * rho[k] for k in range(4))
    assert move_variance_ratio.apply(column(x), 120, 4, 120)[-1, 0] == pytest.approx(ratio, rel=1e-10)
    beyond = [abs(value) > 2.0 / math.sqrt(120) for value in rho]
    depth = beyond.index(False)
    assert 0 < depth < 10
    assert move_memory_depth.apply(column(x), 120, 10, 120)[-1, 0] == depth


@pytest.mark.parametrize("persistence", [0.8, 0.95])
def test_the_half_life_is_that_of_a_regression(persistence: float) -> None:
    path = reverting(6, 253, persistence)
    slope = scipy.stats.linregress(path[:-1], np.diff(path)).slope
    found = move_half_life.apply(column(np.diff(path)), 252, 252)[-1, 0]
    assert found == pytest.approx(-math.log(2.0) / slope, rel=1e-9)
    assert np.isnan(move_half_life.apply(column(np.diff(np.exp(np.arange(253.0) / 100.0))), 252, 252)).all()


def uncorrected_hurst(x: np.ndarray) -> float:
    """Return the slope of ln(R/S) on ln n, blocks of 8, 16, ... 512 that fit twice, from the first value on."""
    sizes = [n for n in (8, 16, 32, 64, 128, 256, 512) if 2 * n <= len(x)]
    means = []
    for n in sizes:
        blocks = x[: len(x) // n * n].reshape(-1, n)
        paths = np.cumsum(blocks - blocks.mean(axis=1, keepdims=True), axis=1)
        means.append(np.mean(np.ptp(paths, axis=1) / blocks.std(axis=1)))
    return float(np.polyfit(np.log(sizes), np.log(means), 1)[0])


def correction(n: int) -> float:
    """Return the slope of ln E[R/S] on ln n over the same blocks."""
    sizes = [size for size in (8, 16, 32, 64, 128, 256, 512) if 2 * size <= n]
    expected = []
    for m in sizes:
        ratio = math.exp(math.lgamma((m - 1) / 2) - math.lgamma(m / 2)) / math.sqrt(math.pi)
        expected.append(ratio * sum(math.sqrt((m - i) / i) for i in range(1, m)))
    return float(np.polyfit(np.log(sizes), np.log(expected), 1)[0])


@pytest.mark.parametrize("n", [90, 252, 1260])
def test_hurst_is_the_rescaled_range_less_the_slope_of_its_expectation(n: int) -> None:
    x = np.random.default_rng(n).standard_t(4, (n, 3)) * 0.02
    expected = [0.5 + uncorrected_hurst(x[:, j]) - correction(n) for j in range(3)]
    np.testing.assert_allclose(move_hurst.apply(x, n, 8, 2, n)[-1], expected, rtol=1e-12, atol=1e-12)
    exponents = np.empty(3)
    estimate_hurst(x, 8, 2, n, exponents)
    np.testing.assert_allclose(exponents, expected, rtol=1e-12, atol=1e-12)


def test_columns_estimated_at_once_are_the_rolling_exponents_of_the_last_row_gaps_and_all() -> None:
    x = np.random.default_rng(8).normal(size=(300, 70))
    x[np.random.default_rng(9).random(x.shape) < 0.05] = np.nan
    exponents = np.empty(70)
    estimate_hurst(x, 8, 2, 200, exponents)
    np.testing.assert_allclose(exponents, move_hurst.apply(x, 300, 8, 2, 200)[-1], rtol=1e-12)


@pytest.mark.parametrize("exponent", [0.5, 0.8])
def test_fractional_noise_has_its_exponent(exponent: float) -> None:
    # Exact covariance of fractional Gaussian noise, through its Cholesky factor.
    lags = np.arange(512.0)
    powers = [np.abs(lags + k) ** (2.0 * exponent) for k in (1.0, 0.0, -1.0)]
    covariance = 0.5 * (powers[0] - 2.0 * powers[1] + powers[2])
    factor = np.linalg.cholesky(scipy.linalg.toeplitz(covariance))
    x = np.ascontiguousarray(factor @ np.random.default_rng(11).normal(size=(512, 400)))
    assert move_dfa.apply(x, 512, 8, 2, 512)[-1].mean() == pytest.approx(exponent, abs=0.04)
    # Rescaled ranges of so few values fall short of a persistence that is there.
    hurst = move_hurst.apply(x, 512, 8, 2, 512)[-1].mean()
    assert hurst == pytest.approx(0.5 + 0.7 * (exponent - 0.5), abs=0.02)


def test_turbulence_is_the_share_of_details_of_an_orthonormal_haar_transform() -> None:
    x = np.random.default_rng(12).normal(size=120)
    haar = np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2.0)
    smooth, details = x, 0.0
    for _ in range(3):
        smooth, detail = haar @ smooth.reshape(-1, 2).T
        details += float(detail @ detail)
    assert move_turbulence.apply(column(x), 120, 3, 120)[-1, 0] == pytest.approx(details / float(x @ x), rel=1e-12)


def test_the_half_normal_score_is_the_normal_quantile_of_scipys_half_normal() -> None:
    values = np.array([0.0, 1e-6, 0.1, 0.2, 0.5, 0.6745, 1.0, 2.0, 5.0, 10.9])
    expected = scipy.stats.norm.ppf(scipy.stats.halfnorm.cdf(values[1:8]))
    found = half_normal_score(values)
    np.testing.assert_allclose(found[1:8], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[8:], scipy.stats.norm.isf(scipy.stats.halfnorm.sf(values[8:])), rtol=1e-9)
    assert found[0] == -8.0
    assert np.isnan(half_normal_score(np.array([np.nan])))[0]
