import numpy as np
import pytest

from quant_core.backtest import performance as perf

YEAR = 252.0


def test_bar_returns_carry_the_cost_of_entering_and_compound_to_the_end():
    equity = np.array([0.99, 1.089, 1.089])
    assert perf.bar_returns(equity) == pytest.approx([0.089, 0.0])
    assert perf.total_return(perf.bar_returns(equity)) == pytest.approx(0.089)
    assert perf.bar_returns(np.array([1.0])).size == 0
    assert perf.bar_returns(np.array([1.0, -0.2, -0.2])).tolist() == pytest.approx([-1.2, 0.0])


def test_a_constant_rate_is_its_own_annual_return():
    returns = np.full(504, 1.1 ** (1 / YEAR) - 1)
    assert perf.annual_return(returns, periods_per_year=YEAR) == pytest.approx(0.1)
    assert perf.total_return(returns) == pytest.approx(0.21)


def test_drawdown_counts_from_the_start_and_from_the_last_high():
    assert perf.max_drawdown(np.array([-0.1, 0.5])) == pytest.approx(-0.1)
    assert perf.max_drawdown(np.array([0.5, -0.2, -0.5, 1.0])) == pytest.approx(-0.6)
    assert perf.max_drawdown(np.array([0.1, 0.1])) == 0.0


def test_sortino_and_calmar_by_hand():
    returns = np.array([0.03, -0.01, 0.02, -0.02])
    downside = np.sqrt((0.01**2 + 0.02**2) / 4)
    assert perf.sortino(returns, periods_per_year=4.0) == pytest.approx(0.005 / downside * 2.0)
    wealth = 1.03 * 0.99 * 1.02 * 0.98
    assert perf.calmar(returns, periods_per_year=4.0) == pytest.approx((wealth - 1) / 0.02)


def test_the_tail_is_the_worst_twentieth_empirical():
    returns = np.random.default_rng(0).permutation(np.arange(60.0) / 100 - 0.3)
    assert perf.value_at_risk(returns) == pytest.approx(-0.28)
    assert perf.expected_shortfall(returns) == pytest.approx(-0.29)
    assert np.isnan(perf.value_at_risk(returns[:19]))
    assert perf.value_at_risk(returns[:20]) == returns[:20].min()


def test_beta_is_the_slope_of_a_regression():
    rng = np.random.default_rng(1)
    benchmark = rng.normal(size=300)
    returns = 0.7 * benchmark + rng.normal(size=300)
    assert perf.beta(returns, benchmark) == pytest.approx(np.polyfit(benchmark, returns, 1)[0])
    assert np.isnan(perf.beta(returns, np.zeros(300)))


@pytest.mark.parametrize("returns", [np.empty(0), np.array([0.01]), np.full(3, 0.0)])
def test_what_is_not_defined_is_nan_and_never_a_number_in_its_place(returns):
    assert np.isnan(perf.sortino(returns, periods_per_year=YEAR))
    assert np.isnan(perf.calmar(returns, periods_per_year=YEAR))
    assert np.isnan(perf.expected_shortfall(returns))
    if returns.size < 2:
        assert np.isnan(perf.annual_volatility(returns, periods_per_year=YEAR))
        assert np.isnan(perf.beta(returns, returns))
    if not returns.size:
        assert np.isnan(perf.total_return(returns))
        assert np.isnan(perf.annual_return(returns, periods_per_year=YEAR))
        assert np.isnan(perf.hit_rate(returns))
        assert np.isnan(perf.max_drawdown(returns))


def test_an_annual_return_needs_something_left_to_compound():
    assert np.isnan(perf.annual_return(np.array([-1.2, 0.0]), periods_per_year=YEAR))
    assert perf.total_return(np.array([-1.2, 0.0])) == pytest.approx(-1.2)


def test_figures_are_never_clipped():
    assert perf.annual_return(np.full(10, 0.05), periods_per_year=YEAR) > 200_000
