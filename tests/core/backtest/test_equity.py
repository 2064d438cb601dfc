from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from quant_core.backtest.costs import CostParams
from quant_core.backtest.equity import EquityParams, equity
from quant_core.backtest.metrics import MetricsParams, metrics
from quant_core.backtest.portfolios import atom_positions, market_of
from quant_core.backtest.schedule import ScheduleParams, schedule
from quant_core.errors import DataError, PanelError, UnknownNameError, WindowError
from quant_core.market.calendar import calendar
from quant_core.market.contracts.ingest import Lives, ReturnsSchema, Universe
from quant_core.market.contracts.portfolio import Equity, Metrics, Schedule, Weights
from quant_core.market.contracts.split import validate
from quant_core.market.contracts.synthesis import AtomReturns, Atoms
from quant_core.market.sleeves import Sleeve
from tests.builders import intervals

START = date(2024, 1, 1)
NAMES = ("X:A", "X:B", "X:C", "X:D")
FREE = EquityParams(slippage_bps=0.0, fee_bps=0.0, borrow_per_year=0.0)


def sleeve(**changes):
    return Sleeve(**{"name": "s", "calendar": "24/7"} | changes)


def day(row):
    return START + timedelta(days=row)


class World:
    """Tables of a small sleeve: four symbols, a window every 5 bars from row 9 on, the first two selected."""

    def __init__(self, returns, *, directions=("LONG", "LONG"), names=NAMES):
        values = np.array(returns, dtype=float)
        size, width = values.shape
        self.names = names[:width]
        rows = [(day(t), name, values[t, j]) for t in range(size) for j, name in enumerate(self.names)]
        self.returns = pl.DataFrame(rows, schema=ReturnsSchema.dtypes, orient="row").fill_nan(None)
        self.schedule = schedule(self.returns, params=ScheduleParams(train=10, test=5, step=5))
        members = [(name, START, None, True, "member") for name in self.names]
        self.universe = intervals(members)
        self.lives = Lives.empty()
        chosen = [
            (when, f"{name}_trend_{side}", name, "trend", side, 1, 0.5)
            for when in self.schedule["date"]
            for name, side in zip(self.names, directions, strict=False)
        ]
        self.atoms = pl.DataFrame(chosen, schema=Atoms.dtypes, orient="row")
        streams = self.returns.drop_nulls().join(
            self.atoms.select("symbol", "atom", "direction").unique(), on="symbol", maintain_order="left_right"
        )
        r = pl.col("simple_return")
        earned = pl.when(pl.col("direction") == "SHORT").then(-pl.min_horizontal(r, 1.0)).otherwise(r)
        self.atom_returns = streams.select("date", "atom", earned.alias("atom_return"))
        half = self.atoms.with_columns(method=pl.lit("equal_weight"), weight=pl.lit(0.5))
        self.weights = half.select(*Weights.dtypes)
        for frame, contract in (
            (self.returns, ReturnsSchema), (self.universe, Universe), (self.atoms, Atoms), (self.weights, Weights),
            (self.atom_returns, AtomReturns), (self.schedule, Schedule),
        ):  # fmt: skip
            validate(frame, contract)

    def equity(self, params=FREE, **changes):
        found = equity(
            self.returns, self.universe, self.lives, self.atoms, self.atom_returns, self.weights, self.schedule,
            params=params, sleeve=sleeve(**changes),
        )  # fmt: skip
        return validate(found, Equity)

    def market(self, traded=None):
        cut = self.schedule if traded is None else traded
        always = calendar("24/7")
        return market_of(self.returns, self.universe, self.lives, cut, calendar=always, costs=FREE.costs(always))


def moves(size=30, width=4, seed=0):
    returns = np.random.default_rng(seed).normal(0.001, 0.02, (size, width))
    returns[0] = np.nan
    return returns


def curve(table, portfolio, column="equity"):
    return table.filter(pl.col("portfolio") == portfolio).sort("date")[column].to_numpy()


def test_windows_are_cut_from_the_dates_of_the_returns():
    world = World(moves())
    assert world.schedule["row"].to_list() == [9, 14, 19, 24, 29]
    assert world.schedule["test_end"].to_list() == [day(14), day(19), day(24), day(29), None]
    with pytest.raises(WindowError):
        schedule(world.returns, params=ScheduleParams())


def test_every_portfolio_starts_at_the_first_rebalance_from_one():
    found = World(moves()).equity()
    assert sorted(found["portfolio"].unique()) == ["benchmark", "equal_weight", "filtered_pool", "raw_pool"]
    assert found.group_by("portfolio").agg(pl.min("date"), pl.len()).select("date", "len").unique().rows() == [
        (day(9), 21)
    ]
    assert found.filter(pl.col("date") == day(9))["equity"].to_list() == [1.0] * 4


def test_curves_are_what_hand_written_loops_make_of_the_weights():
    returns = moves()
    found = World(returns).equity()
    for portfolio, columns in (("equal_weight", [0, 1]), ("filtered_pool", [0, 1]), ("raw_pool", [0, 1, 2, 3])):
        wealth, parts, expected = 1.0, None, []
        for t in range(9, 30):
            if parts is not None:
                parts = parts * (1 + returns[t, columns])
                wealth = parts.sum()
            if (t - 9) % 5 == 0:
                parts = np.full(len(columns), wealth / len(columns))
            expected.append(wealth)
        np.testing.assert_allclose(curve(found, portfolio), expected, rtol=1e-12)
    assert curve(found, "benchmark").tolist() == curve(found, "raw_pool").tolist()


def test_a_benchmark_symbol_is_bought_once_and_held():
    returns = moves()
    found = World(returns).equity(EquityParams(), benchmark="X:D")
    bought = curve(found, "benchmark")
    np.testing.assert_allclose(bought, (1 - 0.0014) * np.cumprod(1 + np.r_[0.0, returns[10:, 3]]), rtol=1e-12)
    assert curve(found, "benchmark", "turnover").tolist() == pytest.approx([1.0] + [0.0] * 20, abs=1e-12)
    with pytest.raises(UnknownNameError, match="X:D"):
        World(returns).equity(benchmark="X:E")


def test_costs_come_from_the_calendar_unless_the_sleeve_says_otherwise():
    rates = {name: CostParams().costs(calendar(name)).rate for name in ("24/7", "24/5", "XNYS")}
    assert rates == pytest.approx({"24/7": 0.0014, "24/5": 0.0006, "XNYS": 0.0006})
    assert CostParams(fee_bps=0.0, slippage_bps=2.0).costs(calendar("XNYS")).rate == pytest.approx(0.0002)
    assert [CostParams().exit_return(calendar(name)) for name in ("24/7", "XNYS")] == [0.0, -0.30]
    assert CostParams(delisting_return=-1.0).exit_return(calendar("24/7")) == -1.0


def test_dearer_trading_leaves_less_to_every_portfolio():
    world = World(moves())
    ends = [
        world.equity(EquityParams(slippage_bps=0.0, fee_bps=fee)).filter(pl.col("date") == day(29)).sort("portfolio")
        for fee in (0.0, 10.0, 100.0)
    ]
    for cheap, dear in pairwise(ends):
        assert (cheap["equity"] > dear["equity"]).all()


def test_a_method_without_weights_at_a_rebalance_goes_to_cash():
    world = World(moves())
    world.weights = world.weights.filter(pl.col("date") != day(14))
    found = world.equity()
    assert curve(found, "equal_weight", "exposure")[[4, 5, 9, 10]].tolist() == pytest.approx([1.0, 0.0, 0.0, 1.0])
    assert len(set(curve(found, "equal_weight")[5:11].tolist())) == 1
    assert curve(found, "filtered_pool", "held").tolist() == [2] * 21


def test_nothing_selected_ever_is_an_empty_table():
    world = World(moves())
    world.weights = world.weights.clear()
    assert world.equity().is_empty()
    assert metrics(Equity.empty(), params=MetricsParams(), sleeve=sleeve()).is_empty()


def test_at_zero_cost_an_atom_trades_its_stream_and_a_loss_beyond_it_is_not_capped():
    returns = moves()
    returns[12, 1] = 2.5
    world = World(returns, directions=("LONG", "SHORT"))
    streams = world.atom_returns.pivot(on="atom", index="date", values="atom_return").sort("date")
    held = atom_positions(world.atoms, world.atom_returns, world.market())
    traded = held.returns.values * held.side
    optimised = streams.select(held.returns.symbols).to_numpy()
    gap = traded[1:] - optimised
    assert gap[11, 1] == -(2.5 - 1.0)
    gap[11, 1] = 0.0
    assert not gap.any()
    short = curve(world.equity(), "equal_weight", "net_return")
    assert short[3] < -0.9


def test_a_dead_holding_is_closed_when_its_death_is_known():
    returns = np.full((30, 4), 0.01)
    returns[0] = np.nan
    returns[11:, 0] = np.nan
    world = World(returns)
    world.atoms = world.atoms.filter((pl.col("date") < day(12)) | (pl.col("symbol") != "X:A"))
    world.weights = world.weights.filter((pl.col("date") < day(12)) | (pl.col("symbol") != "X:A"))
    known_at = datetime(2024, 1, 14, tzinfo=UTC)
    world.lives = pl.DataFrame(
        [("X:A", 0, "genesis", START, known_at), ("X:A", 0, "death", day(11), known_at)],
        schema=Lives.dtypes, orient="row",
    )  # fmt: skip
    closed_at = 3
    found = world.equity(EquityParams(slippage_bps=0.0, fee_bps=0.0, delisting_return=-0.3))
    net, held = curve(found, "equal_weight", "net_return"), curve(found, "equal_weight", "held")
    before = 0.5 * 1.01 + 0.5 * 1.01**2
    assert net[closed_at] == pytest.approx((0.5 * 1.01 * 0.7 + 0.5 * 1.01**3) / before - 1)
    assert held.tolist()[: closed_at + 1] == [2, 2, 2, 1]
    unknown_yet = world.lives.with_columns(known_at=pl.lit(datetime(2024, 3, 1, tzinfo=UTC)))
    world.lives = unknown_yet
    assert (curve(world.equity(), "equal_weight", "net_return") >= 0.0).all()


def test_perpetuals_are_told_by_their_ticker_and_pay_in_every_portfolio():
    flat = np.zeros((30, 4))
    flat[0] = np.nan
    params = EquityParams(slippage_bps=0.0, fee_bps=0.0)
    world = World(flat, names=("X:A.P", "X:B", "X:C", "X:P"))
    found = world.equity(params)
    for portfolio, share in (("equal_weight", 0.5), ("filtered_pool", 0.5), ("raw_pool", 0.25), ("benchmark", 0.25)):
        windows = (1 - 5 * 0.0003 * share) ** np.arange(5)
        np.testing.assert_allclose(curve(found, portfolio)[::5], windows, rtol=1e-13)
    alone = curve(world.equity(params, benchmark="X:A.P"), "benchmark")
    np.testing.assert_allclose(alone[:6], 1 - 0.0003 * np.arange(6), rtol=1e-13)
    assert curve(World(flat).equity(params), "equal_weight").tolist() == [1.0] * 21


def test_a_short_atom_of_a_perpetual_pays_nothing_to_hold():
    flat = np.zeros((30, 4))
    flat[0] = np.nan
    params = EquityParams(slippage_bps=0.0, fee_bps=0.0)
    world = World(flat, directions=("SHORT", "LONG"), names=("X:A.P", "X:B", "X:C", "X:D"))
    assert curve(world.equity(params), "equal_weight").tolist() == [1.0] * 21


def test_a_death_becomes_known_at_the_first_close_not_before_it_also_on_a_day_without_a_session():
    days = pl.Series("date", [date(2024, 1, 5), date(2024, 1, 6), date(2024, 1, 8)])  # Friday, Saturday, Monday
    rows = [(when, "X:A", 0.0) for when in days]
    returns = pl.DataFrame(rows, schema=ReturnsSchema.dtypes, orient="row")
    nyse = calendar("XNYS")
    for known_at, row in (
        (datetime(2024, 1, 5, 21, tzinfo=UTC), 0),
        (datetime(2024, 1, 5, 22, tzinfo=UTC), 1),
        (datetime(2024, 1, 7, tzinfo=UTC), 1),
        (datetime(2024, 1, 7, 1, tzinfo=UTC), 2),
    ):
        lives = pl.DataFrame([("X:A", 0, "death", days[0], known_at)], schema=Lives.dtypes, orient="row")
        market = market_of(
            returns, Universe.empty(), lives, Schedule.empty(), calendar=nyse, costs=CostParams().costs(nyse)
        )
        assert market.deaths == ((row, 0),)


def test_tables_that_do_not_belong_together_are_refused():
    world = World(moves())
    shifted = world.schedule.with_columns(pl.col("row") + 1)
    with pytest.raises(PanelError, match="schedule"):
        world.market(shifted)
    world.universe = world.universe.filter(pl.col("symbol") != "X:B")
    with pytest.raises(DataError, match="X:B"):
        world.equity()


def test_later_data_do_not_change_earlier_wealth():
    returns = moves(40)
    short, whole = World(returns[:28]), World(returns)
    head = whole.equity(EquityParams()).filter(pl.col("date") <= day(27)).sort("portfolio", "date")
    assert head.equals(short.equity(EquityParams()).sort("portfolio", "date"))


def test_metrics_name_every_figure_of_every_portfolio_and_leave_the_undefined_null():
    world = World(moves(200))
    found = world.equity(EquityParams())
    table = validate(metrics(found, params=MetricsParams(), sleeve=sleeve()), Metrics)
    value = {(p, m): v for p, m, v in table.select("portfolio", "metric", "value").iter_rows()}
    assert value["benchmark", "bars"] == 190
    assert value["benchmark", "tracking_error"] == 0.0
    assert value["benchmark", "information_ratio"] is None
    assert value["benchmark", "beta"] == pytest.approx(1.0)
    assert value["equal_weight", "total_return"] == pytest.approx(curve(found, "equal_weight")[-1] - 1)
    assert value["equal_weight", "turnover_per_year"] == pytest.approx(
        curve(found, "equal_weight", "turnover").sum() * 365 / 190
    )
    assert value["equal_weight", "mean_held"] == 2.0
    assert value["equal_weight", "optimisation_alpha"] == pytest.approx(0.0, abs=1e-12)
    assert value["equal_weight", "selection_alpha"] == value["filtered_pool", "selection_alpha"]
    assert value["equal_weight", "selection_alpha"] == (
        value["filtered_pool", "annual_return"] - value["raw_pool", "annual_return"]
    )
    assert ("raw_pool", "optimisation_alpha") not in value
    assert value["equal_weight", "delisting_return"] == 0.0
    assert value["equal_weight", "cost_bps"] == 14.0
    assert value["equal_weight", "ruined"] == 0.0
    assert not any(v is not None and np.isnan(v) for v in value.values())


def test_every_sharpe_ratio_has_an_interval_around_it():
    table = metrics(World(moves(200)).equity(), params=MetricsParams(), sleeve=sleeve())
    rows = table.filter(pl.col("metric") == "sharpe")
    assert rows.height == 4
    assert ((rows["lower"] < rows["value"]) & (rows["value"] < rows["upper"])).all()


def test_annual_figures_follow_the_calendar():
    found = World(moves(200)).equity()
    per_year = [
        metrics(found, params=MetricsParams(), sleeve=sleeve(calendar=name))
        .filter((pl.col("portfolio") == "raw_pool") & (pl.col("metric") == "annual_volatility"))["value"]
        .item()
        for name in ("24/7", "XNYS")
    ]
    assert per_year[0] / per_year[1] == pytest.approx(np.sqrt(365 / 252))


def test_a_record_of_one_row_has_no_figures_but_says_so():
    found = World(moves(10)).equity()
    table = metrics(found, params=MetricsParams(), sleeve=sleeve())
    value = {m: v for p, m, v in table.select("portfolio", "metric", "value").iter_rows() if p == "equal_weight"}
    assert value["bars"] == 0
    assert {value[name] for name in ("total_return", "annual_return", "sharpe", "beta", "mean_held")} == {None}


def test_the_ledger_gets_a_handful_of_aggregates():
    table = metrics(World(moves(200)).equity(), params=MetricsParams(), sleeve=sleeve())
    found = metrics.metrics(table)
    assert len(found) == 16
    assert found["backtest.equal_weight.sharpe"] == table.filter(
        (pl.col("portfolio") == "equal_weight") & (pl.col("metric") == "sharpe")
    )["value"].item()  # fmt: skip
