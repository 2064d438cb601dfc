from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels.paths import (
    move_autocorrelation,
    move_compound,
    move_distance,
    move_drawdown,
    move_efficiency,
)
from tests.builders import column

NAN = np.nan


def returns_of(*prices: float) -> np.ndarray:
    path = np.array(prices)
    return np.concatenate([[NAN], path[1:] / path[:-1] - 1.0])[:, None]


def test_drawdown_counts_prices_and_forgets_a_peak_that_left() -> None:
    now = move_drawdown.apply(returns_of(100.0, 50.0, 60.0, 60.0), 3, 1, False)[:, 0]
    worst = move_drawdown.apply(returns_of(100.0, 50.0, 60.0, 60.0), 3, 1, True)[:, 0]
    np.testing.assert_allclose(now, [NAN, -0.5, -0.4, 0.0], atol=1e-15)
    np.testing.assert_allclose(worst, [NAN, -0.5, -0.5, 0.0], atol=1e-15)


def test_total_loss_is_a_drawdown_of_one() -> None:
    assert move_drawdown.apply(column(0.1, -1.0, 0.3), 4, 1, True)[2, 0] == -1.0


def test_distance_is_the_last_price_over_the_mean_price() -> None:
    assert move_distance.apply(returns_of(10.0, 20.0, 30.0), 3, 2)[2, 0] == pytest.approx(0.5)
    assert np.isnan(move_distance.apply(returns_of(10.0, 20.0, 30.0), 3, 3)[2, 0])


def test_compound_leaves_out_the_latest_rows() -> None:
    out = move_compound.apply(column(0.5, 0.1, 9.0, 9.0), 4, 2, 2)[:, 0]
    np.testing.assert_allclose(out, [NAN, NAN, NAN, 0.65])


def test_an_alternating_series_has_nearly_minus_one_autocorrelation() -> None:
    out = move_autocorrelation.apply(column(1.0, -1.0, 1.0, -1.0), 4, 1, 3)[3, 0]
    assert out == pytest.approx(-0.75)


def test_autocorrelation_counts_neighbours_only() -> None:
    gaps = column(1.0, NAN, -1.0, NAN, 1.0, NAN, -1.0)
    assert np.isnan(move_autocorrelation.apply(gaps, 7, 1, 1)).all()


def test_autocorrelation_at_a_lag_pairs_rows_so_far_apart() -> None:
    gaps = column(1.0, NAN, -1.0, NAN, 1.0, NAN, -1.0)
    assert move_autocorrelation.apply(gaps, 7, 2, 1)[6, 0] == pytest.approx(-0.75)
    assert move_autocorrelation.apply(gaps, 7, 4, 1)[6, 0] == pytest.approx(0.5)


def test_a_straight_path_is_as_efficient_as_its_length_allows() -> None:
    assert move_efficiency.apply(column(0.1, 0.1, 0.1, 0.1), 4, 4)[3, 0] == pytest.approx(2.0)
    assert move_efficiency.apply(column(0.1, -0.1, 0.1, -0.1), 4, 4)[3, 0] == 0.0
    assert np.isnan(move_efficiency.apply(np.zeros((4, 1)), 4, 4)).all()
