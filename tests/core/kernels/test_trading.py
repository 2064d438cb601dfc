from __future__ import annotations

import numpy as np

from quant_core.kernels.trading import move_amihud, move_zero_share, step_returns

NAN = np.nan


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_no_return_crosses_lives_or_belongs_to_an_open_jump() -> None:
    close = column(10.0, 11.0, 1.0, 2.0, 40.0)
    life, is_provisional = column(0, 0, 1, 1, 1), column(0, 0, 0, 0, 1)
    out = step_returns.apply(close, life, is_provisional)[:, 0]
    np.testing.assert_allclose(out, [NAN, 0.1, NAN, 1.0, NAN])


def test_a_return_runs_over_missing_bars() -> None:
    nothing = np.zeros((4, 1))
    out = step_returns.apply(column(NAN, 10.0, NAN, 15.0), nothing, nothing)[:, 0]
    assert np.array_equal(out, [NAN, NAN, NAN, 0.5], equal_nan=True)


def test_zero_share_counts_known_returns_only() -> None:
    assert move_zero_share.apply(column(0.0, NAN, 0.1, -0.0), 4, 3)[3, 0] == 2 / 3


def test_amihud_skips_bars_without_trades() -> None:
    returns, value = column(0.1, -0.2, 0.5, NAN), column(2.0, 1.0, 0.0, 5.0)
    out = move_amihud.apply(returns, value, 4, 2)[:, 0]
    np.testing.assert_allclose(out, [NAN, 0.125, 0.125, 0.125])
