from __future__ import annotations

import math

import numpy as np
import pytest

from quant_core.kernels.scaling import estimate_hurst, expected_reach, move_dfa, move_hurst

NAN = np.nan


def reach(known: int, *, is_detrended: bool = False) -> float:
    return float(expected_reach(known, is_detrended, np.full(known + 1, NAN)))


def test_the_expected_range_of_few_values_is_known_on_paper() -> None:
    # Two values lie on either side of their mean: range and deviation are both half their distance.
    assert reach(2) == pytest.approx(1.0)
    # Gamma(1) / (sqrt(pi) Gamma(3 / 2)) = 2 / pi, times sqrt(2) + sqrt(1 / 2).
    assert reach(3) == pytest.approx(2.0 / math.pi * (math.sqrt(2.0) + math.sqrt(0.5)))
    assert reach(4, is_detrended=True) == pytest.approx(0.2)


@pytest.mark.parametrize("is_detrended", [False, True])
def test_the_expected_reach_is_that_of_simulated_noise(is_detrended: bool) -> None:
    x = np.random.default_rng(1).standard_normal((40_000, 16))
    paths = np.cumsum(x - x.mean(axis=1, keepdims=True), axis=1)
    times = np.arange(16) - 7.5
    left = paths - paths.mean(axis=1, keepdims=True) - np.outer(paths @ times / (times @ times), times)
    found = np.mean(left**2) if is_detrended else np.mean(np.ptp(paths, axis=1) / x.std(axis=1))
    assert found == pytest.approx(reach(16, is_detrended=is_detrended), rel=0.01)


def test_two_sizes_give_the_slope_between_them() -> None:
    x = np.array([1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0])[:, None]
    # Ranges over deviations: 1 and 2 in blocks of four; over eight rows the path goes 1 0 1 0 1 2 1 0.
    expected = 0.5 + math.log(2.0 / reach(8) / (1.5 / reach(4))) / math.log(2.0)
    assert move_hurst.apply(x, 8, 4, 1, 8)[7, 0] == pytest.approx(expected)


@pytest.mark.parametrize("kernel", [move_hurst, move_dfa])
def test_too_few_blocks_and_equal_values_have_no_exponent(kernel) -> None:
    x = np.random.default_rng(2).normal(size=(64, 1))
    assert np.isnan(kernel.apply(x[:31], 31, 8, 2, 31)).all()
    assert np.isfinite(kernel.apply(x[:32], 32, 8, 2, 32)[31, 0])
    assert np.isnan(kernel.apply(np.full((64, 1), 0.013), 64, 8, 2, 64)).all()
    # Half of the blocks of eight rows must speak.
    x[:40] = 0.013
    assert np.isnan(kernel.apply(x, 64, 8, 2, 64)[63, 0])


@pytest.mark.parametrize("kernel", [move_hurst, move_dfa])
def test_neither_level_nor_scale_of_the_values_matters(kernel) -> None:
    x = np.random.default_rng(3).normal(size=(128, 3))
    expected = kernel.apply(x, 128, 8, 2, 128)[127]
    np.testing.assert_allclose(kernel.apply(x * 1e-3 + 0.02, 128, 8, 2, 128)[127], expected, rtol=1e-9)


def test_a_series_too_short_to_cut_has_no_exponent_at_all() -> None:
    exponents = np.full(2, 7.0)
    estimate_hurst(np.ones((10, 2)), 8, 2, 1, exponents)
    assert np.isnan(exponents).all()
