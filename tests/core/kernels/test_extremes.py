from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels.extremes import move_argmax, move_argmin, move_max, move_min
from tests.builders import column

NAN, INF = np.nan, np.inf


def test_the_oldest_of_equal_extremes_counts() -> None:
    x = column(1.0, 3.0, 3.0, 2.0, 2.0, 2.0)
    assert move_argmax.apply(x, 3, 3)[2:, 0].tolist() == [1.0, 2.0, 2.0, 2.0]
    assert move_argmin.apply(x, 3, 3)[2:, 0].tolist() == [2.0, 0.0, 1.0, 2.0]


def test_missing_bars_are_no_extremes_and_still_bars() -> None:
    x = column(5.0, NAN, 1.0, NAN, 2.0)
    assert np.array_equal(move_max.apply(x, 3, 2)[:, 0], [NAN, NAN, 5.0, NAN, 2.0], equal_nan=True)
    assert np.array_equal(move_argmax.apply(x, 3, 1)[:, 0], [0.0, 1.0, 2.0, 1.0, 0.0], equal_nan=True)


def test_an_infinite_value_is_a_value() -> None:
    x = column(-INF, NAN, -INF, 1.0, INF)
    assert np.array_equal(move_max.apply(x, 3, 1)[:, 0], [-INF, -INF, -INF, 1.0, INF])
    assert np.array_equal(move_argmax.apply(x, 3, 1)[:, 0], [0.0, 1.0, 2.0, 0.0, 0.0])
    assert np.array_equal(move_argmin.apply(x, 3, 1)[:, 0], [0.0, 1.0, 2.0, 1.0, 2.0])


@pytest.mark.parametrize("kernel", [move_max, move_min])
def test_the_sign_of_zero_does_not_remember_the_past(kernel: object) -> None:
    assert not np.signbit(kernel.apply(column(-0.0, 0.0, -0.0, -0.0), 2, 1)).any()


@pytest.mark.parametrize("kernel", [move_max, move_min, move_argmax, move_argmin])
@pytest.mark.parametrize("window", [1, 7, 64, 500])
def test_every_strip_of_a_wide_panel_is_that_panel_alone(kernel: object, window: int) -> None:
    x = np.random.default_rng(2).integers(0, 9, (80, 600)).astype(float)
    x[x == 4.0] = NAN
    whole = kernel.apply(x, window, 1)
    for j in (0, 127, 128, 599):
        alone = kernel.apply(np.ascontiguousarray(x[:, j : j + 1]), window, 1)
        assert np.array_equal(whole[:, j : j + 1], alone, equal_nan=True)
