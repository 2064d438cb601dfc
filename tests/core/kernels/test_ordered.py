from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels.ordered import move_cvar, move_median, move_quantile, move_rank
from tests.builders import column

NAN, INF = np.nan, np.inf


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    out = move_median.apply(column(5.0, 1.0, 3.0, 2.0, NAN), 4, 3)[:, 0]
    assert np.array_equal(out, [NAN, NAN, 3.0, 2.5, 2.0], equal_nan=True)


def test_cvar_is_the_mean_of_the_worst_returns_and_never_of_none() -> None:
    x = np.arange(-10.0, 30.0)[:, None]
    assert move_cvar.apply(x, 40, 0.05, 40)[39, 0] == -9.5
    assert move_cvar.apply(x, 40, 0.05, 1)[5, 0] == -10.0


def test_equal_values_leave_one_at_a_time() -> None:
    out = move_median.apply(column(2.0, 2.0, 7.0, 7.0, 7.0), 3, 3)[:, 0]
    assert out[2:].tolist() == [2.0, 7.0, 7.0]


@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0)])
def test_the_sign_of_zero_does_not_remember_the_past(zeros: tuple[float, float]) -> None:
    out = move_median.apply(column(*zeros, -0.0), 1, 1)
    assert not np.signbit(out).any()


def test_a_quantile_lies_on_the_line_between_its_neighbours() -> None:
    x = column(4.0, 1.0, 3.0, 2.0, NAN)
    assert move_quantile.apply(x, 4, 0.8, 4)[3, 0] == pytest.approx(3.4)
    assert move_quantile.apply(x, 4, 0.5, 3)[4, 0] == 2.0
    assert move_quantile.apply(x, 4, 1.0, 1)[:, 0].tolist() == [4.0, 4.0, 4.0, 4.0, 3.0]
    assert move_quantile.apply(x, 4, 0.0, 1)[:, 0].tolist() == [4.0, 1.0, 1.0, 1.0, 1.0]


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    x = column(2.0, 1.0, 2.0, 2.0, NAN, 1.0)
    expected = [1.0, 0.5, 2.5 / 3, 3.0 / 4, NAN, 1.5 / 4]
    assert np.array_equal(move_rank.apply(x, 5, 1)[:, 0], expected, equal_nan=True)


def test_infinite_values_have_their_place() -> None:
    x = column(INF, -INF, 1.0, -INF, NAN)
    assert np.array_equal(move_rank.apply(x, 3, 1)[:, 0], [1.0, 0.5, 2.0 / 3, 0.5, NAN], equal_nan=True)
    assert np.array_equal(move_median.apply(x, 3, 1)[:, 0], [INF, NAN, 1.0, -INF, NAN], equal_nan=True)
    assert np.array_equal(move_cvar.apply(x, 3, 0.5, 1)[:, 0], [INF, -INF, -INF, -INF, -INF])


KERNELS = [(move_rank, ()), (move_quantile, (0.3,)), (move_median, ()), (move_cvar, (0.3,))]


@pytest.mark.parametrize(("kernel", "settings"), KERNELS)
@pytest.mark.parametrize("window", [1, 7, 64, 500])
def test_every_strip_of_a_wide_panel_is_that_panel_alone(kernel: object, settings: tuple, window: int) -> None:
    x = np.random.default_rng(2).integers(0, 9, (80, 150)).astype(float)
    x[x == 4.0] = NAN
    whole = kernel.apply(x, window, *settings, 1)
    for j in (0, 31, 32, 63, 64, 149):
        alone = kernel.apply(np.ascontiguousarray(x[:, j : j + 1]), window, *settings, 1)
        assert np.array_equal(whole[:, j : j + 1], alone, equal_nan=True)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("rows", [1, 2, 40, 501])
def test_the_tail_of_all_rows_is_that_of_a_window_kept_sorted(rows: int, level: float) -> None:
    x = np.random.default_rng(rows).normal(size=(rows, 9))
    x[:, 1], x[:, 2], x[:, 3] = 0.0, np.arange(rows), -np.arange(rows)
    x[:, 4] = np.round(x[:, 4], 1)
    x[0, 5], x[-1, 6], x[rows // 2, 7] = -np.inf, np.inf, np.nan
    kept = move_cvar.apply(x, rows, level, 1)[-1]
    found = move_cvar.apply(x, rows, level, rows)
    assert np.isnan(found[:-1]).all()
    np.testing.assert_array_equal(found[-1], np.where(np.isnan(x).any(axis=0), np.nan, kept))
