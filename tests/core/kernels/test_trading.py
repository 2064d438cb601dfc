from __future__ import annotations

import numpy as np

from quant_core.kernels.trading import move_amihud, move_zero_share
from tests.builders import column

NAN = np.nan


def test_zero_share_counts_known_returns_only() -> None:
    assert move_zero_share.apply(column(0.0, NAN, 0.1, -0.0), 4, 3)[3, 0] == 2 / 3


def test_amihud_skips_bars_without_trades() -> None:
    returns, value = column(0.1, -0.2, 0.5, NAN), column(2.0, 1.0, 0.0, 5.0)
    out = move_amihud.apply(returns, value, 4, 2)[:, 0]
    np.testing.assert_allclose(out, [NAN, 0.125, 0.125, 0.125])
