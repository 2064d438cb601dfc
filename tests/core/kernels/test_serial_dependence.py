from __future__ import annotations

import math

import numpy as np
import pytest

from quant_core.kernels.serial_dependence import (
    move_adf,
    move_half_life,
    move_ljung_box,
    move_memory_depth,
    move_variance_ratio,
)
from tests.builders import column

NAN = np.nan


def test_ljung_box_weighs_squared_correlations_by_their_pairs() -> None:
    # About the mean 0 the correlations of 1 -1 1 -1 are -3/4 and 2/4, of three pairs and of two.
    x = column(1.0, -1.0, 1.0, -1.0)
    assert move_ljung_box.apply(x, 4, 2, 4)[3, 0] == pytest.approx(4 * 6 * (0.5625 / 3 + 0.25 / 2))
    assert np.isnan(move_ljung_box.apply(column(1.0, NAN, -1.0, NAN, 1.0), 5, 1, 1)).all()


def test_the_variance_ratio_is_below_one_for_reversals_and_above_it_for_runs() -> None:
    assert move_variance_ratio.apply(column(1.0, -1.0, 1.0, -1.0), 4, 1, 4)[3, 0] == pytest.approx(0.25)
    assert move_variance_ratio.apply(column(1.0, 1.0, -1.0, -1.0), 4, 1, 4)[3, 0] == pytest.approx(1.25)


def test_memory_ends_at_the_first_lag_within_chance() -> None:
    long = column(*np.repeat([1.0, -1.0], 20))
    depth = move_memory_depth.apply(long, 40, 30, 40)[39, 0]
    # rho falls from 37/40 by 3/40 a lag, and 2 / sqrt(40) is 0.316: lags 1 to 9.
    assert depth == 9.0
    assert move_memory_depth.apply(long, 40, 4, 40)[39, 0] == 4.0
    noise = np.random.default_rng(1).normal(size=(40, 1))
    assert move_memory_depth.apply(noise, 40, 30, 40)[39, 0] == 0.0


def test_half_of_the_distance_is_gone_in_a_half_life() -> None:
    path = 0.9 ** np.arange(61)
    # Steps are -0.1 times the place before them: ln(2) / 0.1.
    steps = column(*np.diff(path))
    assert move_half_life.apply(steps, 60, 60)[59, 0] == pytest.approx(math.log(2.0) / 0.1)
    assert np.isnan(move_half_life.apply(-steps[::-1].copy(), 60, 60)).all()


def test_a_missing_step_bends_no_path() -> None:
    steps = np.random.default_rng(2).normal(size=(50, 1))
    gaps = np.insert(steps, 20, NAN, axis=0)
    np.testing.assert_allclose(move_adf.apply(gaps, 51, True, 50)[50], move_adf.apply(steps, 50, True, 50)[49])
    np.testing.assert_allclose(move_half_life.apply(gaps, 51, 50)[50], move_half_life.apply(steps, 50, 50)[49])


def test_equal_steps_and_exact_fits_have_no_statistic() -> None:
    assert np.isnan(move_adf.apply(np.full((30, 1), 0.01), 20, True, 10)).all()
    exact = column(*np.diff(0.9 ** np.arange(31)))
    assert np.isnan(move_adf.apply(exact, 30, False, 30)).all()


def test_more_lags_than_rows_are_not_known() -> None:
    x = np.random.default_rng(3).normal(size=(10, 2))
    for kernel in (move_ljung_box, move_variance_ratio, move_memory_depth):
        assert np.isnan(kernel.apply(x, 5, 5, 1)).all()
