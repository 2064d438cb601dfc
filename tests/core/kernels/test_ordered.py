from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels.ordered import move_cvar, move_median

NAN = np.nan


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    out = move_median.filled(column(5.0, 1.0, 3.0, 2.0, NAN), 4, 3)[:, 0]
    assert np.array_equal(out, [NAN, NAN, 3.0, 2.5, 2.0], equal_nan=True)


def test_cvar_is_the_mean_of_the_worst_returns_and_never_of_none() -> None:
    x = np.arange(-10.0, 30.0)[:, None]
    assert move_cvar.filled(x, 40, 0.05, 40)[39, 0] == -9.5
    assert move_cvar.filled(x, 40, 0.05, 1)[5, 0] == -10.0


def test_equal_values_leave_one_at_a_time() -> None:
    out = move_median.filled(column(2.0, 2.0, 7.0, 7.0, 7.0), 3, 3)[:, 0]
    assert out[2:].tolist() == [2.0, 7.0, 7.0]


@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0)])
def test_the_sign_of_zero_does_not_remember_the_past(zeros: tuple[float, float]) -> None:
    out = move_median.filled(column(*zeros, -0.0), 1, 1)
    assert not np.signbit(out).any()
