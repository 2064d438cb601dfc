from itertools import pairwise

import numpy as np
import pytest

from quant_core.backtest import Costs, simulate
from quant_core.errors import DataError, PanelError, UnknownNameError, UsageError

NAN = np.nan


def bookkeeper(returns, weights, rows, rate):
    """Units, prices and cash; one asset and one trade at a time."""
    size, width = len(returns), len(returns[0])
    price, units, cash = [1.0] * width, [0.0] * width, 1.0
    wealths, traded_shares = [], []
    for t in range(size):
        price = [p if np.isnan(r) else p * (1 + r) for p, r in zip(price, returns[t], strict=True)]
        traded, before = 0.0, cash + sum(u * p for u, p in zip(units, price, strict=True))
        if t in rows:
            target = weights[list(rows).index(t)]
            shut = [t > 0 and np.isnan(returns[t][i]) for i in range(width)]
            gross_shut = sum(abs(units[i] * price[i]) for i in range(width) if shut[i])
            gross_open = sum(abs(target[i]) for i in range(width) if not shut[i]) * before
            room = max(sum(map(abs, target)) * before - gross_shut, 0.0)
            scale = 1.0 if gross_open <= room else room / gross_open
            orders = {i: target[i] * scale * before - units[i] * price[i] for i in range(width) if not shut[i]}
            traded = sum(map(abs, orders.values()))
            free = before - sum(units[i] * price[i] for i in range(width) if shut[i])
            kept = 1 - rate * traded / free if free > rate * traded else 1.0
            for i in orders:
                bought = target[i] * scale * before * kept / price[i] - units[i]
                cash -= bought * price[i]
                units[i] += bought
            cash -= rate * traded
        wealths.append(cash + sum(u * p for u, p in zip(units, price, strict=True)))
        traded_shares.append(traded / before)
    return np.array(wealths), np.array(traded_shares), cash


def market(seed, size=120, width=6, closed=0.1):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0005, 0.02, (size, width))
    returns[rng.random((size, width)) < closed] = NAN
    return rng, returns


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.001])
def test_the_kernel_keeps_the_same_books_as_a_bookkeeper_with_units_and_prices(seed, is_signed, rate):
    rng, returns = market(seed)
    rows = np.arange(3, 120, 17)
    weights = rng.dirichlet(np.ones(6), rows.size) * rng.uniform(0.6, 1.0, (rows.size, 1))
    if is_signed:
        weights *= rng.choice([-1.0, 1.0], weights.shape)
    found = simulate(returns, weights, rows, rate)
    equity, turnover, cash = bookkeeper(returns.tolist(), weights.tolist(), rows.tolist(), rate)
    np.testing.assert_allclose(found.equity, equity, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.turnover, turnover, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.costs, rate * turnover, rtol=0, atol=1e-15)
    assert found.cash == pytest.approx(cash, abs=1e-12)


@pytest.mark.parametrize("mode", ["drift", "atoms"])
def test_wealth_is_cash_plus_positions_and_compounds_from_one(mode):
    rng, returns = market(7)
    weights = rng.dirichlet(np.ones(6), 5) * rng.choice([-0.5, 1.0], (5, 6))
    found = simulate(returns, weights, [0, 20, 40, 60, 119], Costs(slippage_bps=10, fee_bps=4), mode=mode)
    assert abs(found.equity[-1] - found.cash - found.final_values.sum()) < 1e-12
    np.testing.assert_allclose(np.cumprod(1 + found.net_returns), found.equity, rtol=1e-12)


def test_a_short_that_rises_ten_percent_a_bar_loses_as_if_sold_once():
    returns = np.zeros((9, 2))
    returns[1:, 1] = 0.1
    found = simulate(returns, [[0.6, -0.4]], [0])
    expected = 1 - 0.4 * (1.1 ** np.arange(9) - 1)
    np.testing.assert_allclose(found.equity, expected, rtol=0, atol=1e-15)
    golden = [-4.0, -4.6, -5.3, -6.1, -7.2, -8.5, -10.2, -12.6]
    np.testing.assert_allclose(100 * found.net_returns[1:], golden, atol=0.05)


def test_a_short_atom_is_reset_to_its_capital_every_bar():
    returns = np.zeros((9, 2))
    returns[1:, 1] = 0.1
    found = simulate(returns, [[0.6, -0.4]], [0], mode="atoms")
    np.testing.assert_allclose(found.equity, 0.6 + 0.4 * 0.9 ** np.arange(9), rtol=0, atol=1e-15)


def test_a_closed_asset_keeps_its_value_and_earns_its_monday_return_once():
    friday_to_monday = np.array([[0.0, 0.0], [NAN, 0.10], [NAN, -0.05], [0.02, 0.01]])
    found = simulate(friday_to_monday, [[0.5, 0.5]], [0])
    crypto = 0.5 * np.cumprod([1.0, 1.10, 0.95, 1.01])
    stock = np.array([0.5, 0.5, 0.5, 0.51])
    np.testing.assert_allclose(found.equity, crypto + stock, rtol=1e-15)
    np.testing.assert_allclose(found.final_values, [stock[-1], crypto[-1]], rtol=1e-15)


def test_a_short_that_more_than_doubles_costs_more_than_its_capital():
    returns = np.array([[0.0], [2.5], [-0.5]])
    capped = simulate(returns, [[-0.2]], [0], mode="atoms")
    np.testing.assert_allclose(capped.equity, [1.0, 0.5, 0.5])
    held = simulate(returns, [[-0.2]], [0])
    np.testing.assert_allclose(held.equity, [1.0, 0.5, 0.85])


def test_ruin_is_absorbing_and_a_loss_beyond_all_wealth_stays_a_debt():
    returns = np.array([[0.0], [2.5], [-0.9], [5.0]])
    found = simulate(returns, [[-0.5], [1.0]], [0, 2])
    np.testing.assert_allclose(found.equity, [1.0, -0.25, -0.25, -0.25])
    np.testing.assert_allclose(found.net_returns, [0.0, -1.25, 0.0, 0.0])
    assert found.ruined_at == 1
    assert found.held.tolist() == [1, 0, 0, 0]
    assert found.final_holdings.tolist() == [0.0]
    assert simulate([[0.0], [-0.995], [4.0]], [[1.0]], [0]).equity.tolist() == pytest.approx([1.0, 0.005, 0.005])
    assert simulate([[0.0], [-0.98], [4.0]], [[1.0]], [0]).ruined_at is None


def test_an_asset_closed_at_the_rebalance_is_not_traded_and_the_others_share_what_is_left():
    returns = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [NAN, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = simulate(returns, [[0.4, 0.3, 0.3], [0.2, 0.4, 0.4]], [0, 2])
    assert found.equity[-1] == pytest.approx(1.2)
    np.testing.assert_allclose(found.final_values, [0.6, 0.3, 0.3], atol=1e-15)
    assert found.turnover[2] == pytest.approx(0.0, abs=1e-15)


def test_the_share_of_an_asset_that_cannot_be_bought_stays_cash():
    returns = np.array([[0.0, 0.0], [NAN, 0.0], [0.1, 0.1]])
    found = simulate(returns, [[0.5, 0.5]], [1])
    np.testing.assert_allclose(found.final_values, [0.0, 0.55])
    assert found.cash == pytest.approx(0.5)


def test_at_row_zero_everything_trades_for_no_return_is_known_there():
    found = simulate([[NAN, NAN], [0.1, 0.2]], [[0.5, 0.5]], [0])
    assert found.equity[-1] == pytest.approx(1.15)


def test_without_costs_full_investment_compounds_the_weighted_return():
    rng, returns = market(3, closed=0.0)
    weights = rng.dirichlet(np.ones(6), 120)
    found = simulate(returns, weights, np.arange(120))
    expected = np.cumprod(1 + np.concatenate([[0.0], (weights[:-1] * returns[1:]).sum(axis=1)]))
    np.testing.assert_allclose(found.equity, expected, rtol=1e-12)
    np.testing.assert_allclose(found.exposure, 1.0, rtol=1e-12)


def test_a_float_cost_is_a_fraction_of_what_was_traded():
    returns = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.0]])
    found = simulate(returns, [[1.0, 0.0], [0.0, 1.0]], [0, 1], 0.01)
    assert found.equity == pytest.approx([0.99, 0.99 * 1.1 * 0.98, 0.99 * 1.1 * 0.98])
    assert found.turnover == pytest.approx([1.0, 2.0, 0.0])
    assert found.costs == pytest.approx([0.01, 0.02, 0.0])
    same = simulate(returns, [[1.0, 0.0], [0.0, 1.0]], [0, 1], Costs(slippage_bps=60, fee_bps=40))
    assert same.equity == pytest.approx(found.equity)


def test_costs_count_from_the_drifted_holdings_not_from_the_old_weights():
    returns = np.array([[0.0, 0.0], [0.5, -0.5]])
    found = simulate(returns, [[0.5, 0.5], [0.75, 0.25]], [0, 1], 0.001)
    assert found.turnover[1] == pytest.approx(0.0, abs=1e-15)


def test_higher_costs_never_leave_more_wealth():
    rng, returns = market(5)
    weights = rng.dirichlet(np.ones(6), 6)
    ends = [simulate(returns, weights, np.arange(6) * 20, rate).equity for rate in (0.0, 0.0005, 0.002, 0.01)]
    assert all((low >= high).all() for low, high in pairwise(ends))
    assert simulate(returns, weights, np.arange(6) * 20, Costs()).equity.tolist() == ends[0].tolist()


def test_resetting_a_short_is_traded_and_paid():
    found = simulate([[0.0], [0.1]], [[-0.5]], [0], 0.01, mode="atoms")
    capital = 0.5 * 0.995
    assert found.turnover[1] == pytest.approx(2 * capital * 0.1 / (0.995 - 0.1 * capital))
    assert found.equity[1] == pytest.approx(0.995 - capital * 0.1 - 0.01 * 2 * capital * 0.1)


def test_a_long_atom_needs_no_resetting():
    _, returns = market(2)
    free = simulate(returns, np.full((1, 6), 1 / 6), [0], 0.01, mode="atoms")
    assert free.turnover[1:].sum() == 0.0
    assert free.equity.tolist() == simulate(returns, np.full((1, 6), 1 / 6), [0], 0.01).equity.tolist()


def test_shorts_pay_to_borrow_by_calendar_time_and_longs_do_not():
    fee = Costs(borrow_per_year=0.02)
    years = np.array([0.0, 3.0, 1.0]) / 365
    for mode in ("drift", "atoms"):
        found = simulate(np.zeros((3, 1)), [[-0.5]], [0], fee, mode=mode, years=years)
        assert 1 - found.equity[1] == pytest.approx(0.5 * 0.02 * 3 / 365)
    assert simulate(np.zeros((3, 1)), [[0.5]], [0], fee).equity.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(UsageError, match="years"):
        simulate(np.zeros((3, 1)), [[-0.5]], [0], fee)


@pytest.mark.parametrize("mode", ["drift", "atoms"])
def test_a_dead_holding_ends_at_its_last_close_times_one_plus_the_delisting_return(mode):
    returns = np.array([[0.0, 0.0], [0.1, 0.0], [NAN, 0.0], [NAN, 0.0], [NAN, 0.0]])
    found = simulate(returns, [[0.5, 0.5]], [0], mode=mode, exits=[(3, 0)], exit_return=-0.3)
    np.testing.assert_allclose(found.equity, [1.0, 1.05, 1.05, 0.885, 0.885])
    assert found.cash == pytest.approx(0.55 * 0.7)
    assert found.held.tolist() == [2, 2, 2, 1, 1]
    short = simulate(returns, [[-0.5, 0.5]], [0], mode=mode, exits=[(3, 0)], exit_return=-0.3)
    assert short.equity[3] > short.equity[2]


def test_what_a_rebalance_leaves_to_one_is_cash():
    found = simulate([[0.0], [0.1]], [[0.4]], [0])
    assert found.equity[-1] == pytest.approx(1.04)
    assert found.exposure.tolist() == pytest.approx([0.4, 0.44 / 1.04])


def test_future_weights_and_returns_do_not_change_the_past():
    rng, returns = market(9)
    weights, rows = rng.dirichlet(np.ones(6), 6), np.arange(6) * 20
    whole = simulate(returns, weights, rows, 0.001)
    other, moved = weights.copy(), returns.copy()
    other[4:] = 0.0
    moved[81:] *= -3.0
    changed = simulate(moved, other, rows, 0.001)
    assert changed.equity[:80].tolist() == whole.equity[:80].tolist()
    assert changed.turnover[:80].tolist() == whole.turnover[:80].tolist()
    head = simulate(returns[:70], weights[:4], rows[:4], 0.001)
    assert head.equity.tolist() == whole.equity[:70].tolist()


def test_the_order_of_the_columns_does_not_matter():
    rng, returns = market(4)
    weights, order = rng.dirichlet(np.ones(6), 3), rng.permutation(6)
    one = simulate(returns, weights, [0, 50, 100], 0.001)
    two = simulate(returns[:, order], weights[:, order], [0, 50, 100], 0.001)
    np.testing.assert_allclose(two.equity, one.equity, rtol=1e-13)
    np.testing.assert_allclose(two.final_values, one.final_values[order], rtol=1e-12)


def test_nothing_is_held_before_the_first_rebalance():
    found = simulate(np.full((3, 1), 0.5), np.empty((0, 1)), [])
    assert found.equity.tolist() == [1.0, 1.0, 1.0]
    assert found.exposure.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"weights": [[0.5]]}, PanelError, "disagree"),
        ({"rebalance_rows": [3]}, PanelError, "ascend"),
        ({"weights": [[0.5, 0.5]] * 2, "rebalance_rows": [1, 1]}, PanelError, "ascend"),
        ({"weights": [[0.5, NAN]]}, DataError, "not finite"),
        ({"returns": [[0.0, np.inf]] * 3}, DataError, "infinite"),
        ({"exits": [(5, 0)]}, PanelError, "exit"),
        ({"costs": -0.01}, UsageError, "at least 0"),
        ({"mode": "atom"}, UnknownNameError, "atoms"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(arguments, error, words):
    good = {"returns": np.zeros((3, 2)), "weights": [[0.5, 0.5]], "rebalance_rows": [0]}
    with pytest.raises(error, match=words):
        simulate(**good | arguments)


def test_read_only_and_strided_inputs_give_the_same_bits():
    rng, returns = market(11)
    weights = rng.dirichlet(np.ones(6), 2)
    frozen = np.asfortranarray(returns)
    frozen.setflags(write=False)
    plain = simulate(returns, weights, [0, 60], 0.001)
    assert simulate(frozen, weights, (0, 60), 0.001).equity.tolist() == plain.equity.tolist()
