import numpy as np
import pytest

from quant_core.backtest import Costs
from quant_core.backtest.costs import CostParams
from quant_core.backtest.simulate import RUIN, simulate
from quant_core.errors import PanelError, UsageError
from quant_core.market.calendar import calendar

TEN_DAYS = np.array([0.0] + [1.0] * 10) / 365.25
FUNDED = Costs(funding_per_8h=0.0001)


@pytest.mark.parametrize(
    ("name", "slippage_bps", "fee_bps", "delisting_return"),
    [("24/7", 10.0, 4.0, 0.0), ("24/5", 5.0, 1.0, -0.30), ("XNYS", 5.0, 1.0, -0.30), ("XLON", 5.0, 1.0, -0.30)],
)
def test_the_defaults_are_the_numbers_decided(name, slippage_bps, fee_bps, delisting_return):
    params = CostParams()
    assert params.costs(calendar(name)) == Costs(
        slippage_bps=slippage_bps, fee_bps=fee_bps, borrow_per_year=0.02, funding_per_8h=0.0001
    )
    assert params.exit_return(calendar(name)) == delisting_return
    assert RUIN == 0.01


def test_costs_are_free_unless_they_say_otherwise():
    assert Costs().model_dump() == {
        "slippage_bps": 0.0, "fee_bps": 0.0, "borrow_per_year": 0.0, "funding_per_8h": 0.0
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["drift", "atoms"])
def test_a_long_perpetual_pays_funding_from_cash_three_times_a_day(mode):
    held = simulate(np.zeros((11, 1)), [[1.0]], [0], FUNDED, mode=mode, is_perpetual=[True], years=TEN_DAYS)
    np.testing.assert_allclose(held.equity, 1 - 0.0003 * np.arange(11), rtol=1e-14)
    assert held.final_values.tolist() == [1.0]
    daily = simulate(
        np.zeros((11, 1)), np.ones((11, 1)), range(11), FUNDED, mode=mode, is_perpetual=[True], years=TEN_DAYS
    )
    np.testing.assert_allclose(daily.equity, (1 - 0.0003) ** np.arange(11), rtol=1e-14)
    np.testing.assert_allclose(daily.costs[1:], 0.0003, rtol=1e-12)


@pytest.mark.parametrize("mode", ["drift", "atoms"])
def test_funding_is_owed_on_the_exposure_carried_over_the_bar_and_over_closed_days(mode):
    returns = np.array([[0.0], [0.5], [np.nan]])
    found = simulate(returns, [[0.4]], [0], FUNDED, mode=mode, is_perpetual=[True], years=np.array([0, 1, 3]) / 365.25)
    assert found.equity[1] == pytest.approx(1.2 - 0.4 * 0.0003, rel=1e-14)
    assert found.equity[2] == pytest.approx(1.2 - 0.4 * 0.0003 - 0.6 * 0.0009, rel=1e-14)


@pytest.mark.parametrize("mode", ["drift", "atoms"])
def test_a_short_perpetual_receives_no_funding_and_pays_no_borrow(mode):
    both = Costs(borrow_per_year=0.02, funding_per_8h=0.0001)
    found = simulate(
        np.zeros((11, 2)), [[-0.3, -0.3]], [0], both, mode=mode, is_perpetual=[True, False], years=TEN_DAYS
    )
    assert 1 - found.equity[-1] == pytest.approx(0.3 * 0.02 * 10 / 365.25)
    alone = simulate(np.zeros((11, 1)), [[-0.3]], [0], both, mode=mode, is_perpetual=[True], years=TEN_DAYS)
    assert alone.equity.tolist() == [1.0] * 11


def test_what_is_no_perpetual_pays_no_funding():
    assert simulate(np.zeros((11, 1)), [[1.0]], [0], FUNDED, years=TEN_DAYS).equity.tolist() == [1.0] * 11
    assert simulate(np.zeros((11, 1)), [[1.0]], [0], FUNDED, is_perpetual=[False]).equity.tolist() == [1.0] * 11


def test_funding_needs_calendar_time_and_one_mark_per_column():
    with pytest.raises(UsageError, match="years"):
        simulate(np.zeros((3, 1)), [[1.0]], [0], FUNDED, is_perpetual=[True])
    with pytest.raises(PanelError, match="perpetual"):
        simulate(np.zeros((3, 1)), [[1.0]], [0], FUNDED, is_perpetual=[True, False], years=np.zeros(3))
