from datetime import date

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from quant_core.backtest import BacktestEngine, Costs, EngineParams, RunData, simulate
from quant_core.errors import DataError, PanelError
from quant_core.market.calendar import calendar
from quant_core.market.panel import Panel


def run_data(weights, **changes):
    rng = np.random.default_rng(1)
    dates = pl.date_range(date(2024, 1, 5), date(2024, 1, 14), eager=True).alias("date")
    returns = Panel(rng.normal(0, 0.01, (10, 2)), dates, ("X:A", "X:B"))
    fields = {
        "returns": returns,
        "universe": np.ones((10, 2), dtype=bool),
        "weights": np.array(weights, dtype=float),
        "rebalance_rows": np.arange(len(weights)) * 4,
        "calendar": calendar("24/7"),
    }
    return RunData(**fields | changes)


def test_the_engine_is_simulate_on_its_data():
    data = run_data([[0.5, 0.5], [0.9, 0.1]], costs=Costs(fee_bps=10))
    found = BacktestEngine(data, EngineParams()).run()
    plain = simulate(data.returns.values, data.weights, data.rebalance_rows, 0.001)
    assert found.equity.tolist() == plain.equity.tolist()


def test_borrowing_runs_by_calendar_days():
    dates = pl.Series("date", [date(2024, 1, 5), date(2024, 1, 8), date(2024, 1, 9)])
    flat = Panel(np.zeros((3, 1)), dates, ("X:A",))
    data = run_data(
        [[-1.0]], returns=flat, universe=np.ones((3, 1), dtype=bool), costs=Costs(borrow_per_year=0.02),
    )  # fmt: skip
    found = BacktestEngine(data, EngineParams(mode="drift")).run()
    assert 1 - found.equity == pytest.approx([0.0, 0.02 * 3 / 365.25, 0.02 * 4 / 365.25])


def test_a_weight_on_what_could_not_be_held_is_refused():
    universe = np.ones((10, 2), dtype=bool)
    universe[4, 1] = False
    with pytest.raises(DataError, match=r"X:B at 2024-01-09"):
        BacktestEngine(run_data([[0.5, 0.5], [0.9, 0.1]], universe=universe)).run()
    assert BacktestEngine(run_data([[0.5, 0.5], [1.0, 0.0]], universe=universe)).run().equity.size == 10


def test_run_data_is_frozen_and_its_shapes_agree():
    data = run_data([[0.5, 0.5]])
    with pytest.raises(ValidationError):
        data.costs = Costs()
    with pytest.raises(ValidationError):
        run_data([[0.5, 0.5]], benchmark="X:A")
    with pytest.raises(PanelError, match="disagree"):
        run_data([[0.5, 0.5, 0.0]])
