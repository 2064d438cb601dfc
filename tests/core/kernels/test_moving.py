from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels.moving import move_kurtosis, move_mean, move_skewness, move_std
from tests.builders import column

NAN = np.nan


def test_a_window_of_three_averages_three_rows() -> None:
    assert move_mean.apply(column(1.0, 2.0, 6.0, 1.0), 3, 3)[2:, 0].tolist() == [3.0, 3.0]


def test_a_window_speaks_with_min_count_known_values() -> None:
    out = move_mean.apply(column(1.0, NAN, 3.0, NAN, NAN, 8.0), 3, 2)[:, 0]
    assert np.array_equal(out, [NAN, NAN, 2.0, NAN, NAN, NAN], equal_nan=True)


def test_the_standard_deviation_divides_by_one_less() -> None:
    assert move_std.apply(column(1.0, 3.0), 2, 2)[1, 0] == pytest.approx(2.0**0.5)
    assert np.isnan(move_std.apply(column(1.0, 3.0), 1, 1)).all()


def test_equal_values_have_no_spread_and_no_shape() -> None:
    x = np.full((40, 1), 0.1)
    assert move_std.apply(x, 30, 30)[29:, 0].tolist() == [0.0] * 11
    assert np.isnan(move_skewness.apply(x, 30, 30)).all()
    assert np.isnan(move_kurtosis.apply(x, 30, 30)).all()


def test_small_spread_about_a_large_mean_is_still_spread() -> None:
    x = 1e6 + np.array([1e-6, -1e-6] * 20)[:, None]
    assert move_std.apply(x, 40, 40)[39, 0] == pytest.approx(1e-6 * (40 / 39) ** 0.5, rel=1e-3)


def test_skewness_keeps_its_sign_and_is_the_population_s() -> None:
    assert move_skewness.apply(column(0.0, 0.0, 3.0), 3, 3)[2, 0] == pytest.approx(2.0**-0.5)
    assert move_skewness.apply(column(0.0, 0.0, -3.0), 3, 3)[2, 0] == pytest.approx(-(2.0**-0.5))


def test_two_points_have_the_lowest_kurtosis_there_is() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 500)) + np.array([[1.0], [-1.0], [1.0], [-1.0]]) * rng.uniform(0.01, 3.0, 500)
    out = move_kurtosis.apply(x, 4, 4)[3]
    assert (out >= -2.0).all()
    np.testing.assert_allclose(out, -2.0, atol=1e-9)


def test_an_infinity_in_the_window_gives_no_finite_spread() -> None:
    assert np.isnan(move_std.apply(column(1.0, np.inf, 2.0), 3, 3)[2, 0])
