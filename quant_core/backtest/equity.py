"""The stage that turns weights into wealth, with benchmark, raw and filtered pool beside every method.

Accounting is in simulate.py, the portfolios in portfolios.py, the figures in metrics.py.
"""

from __future__ import annotations

import polars as pl

from quant_core.backtest.costs import CostParams
from quant_core.backtest.engine import BacktestEngine, EngineParams
from quant_core.backtest.portfolios import market_of, portfolios
from quant_core.backtest.simulate import Simulation
from quant_core.graph.stage import stage
from quant_core.market.contracts.portfolio import Equity
from quant_core.market.sleeves import Sleeve


class EquityParams(CostParams):
    """Costs and assumptions of the simulation."""


@stage(
    "backtest.equity",
    inputs={
        "returns": "ingest.returns",
        "universe": "ingest.universe",
        "lives": "ingest.lives",
        "atoms": "synthesis.atoms",
        "atom_returns": "synthesis.atom_returns",
        "weights": "allocation.weights",
        "schedule": "backtest.schedule",
    },
    output=Equity,
)
def equity(
    returns: pl.DataFrame,
    universe: pl.DataFrame,
    lives: pl.DataFrame,
    atoms: pl.DataFrame,
    atom_returns: pl.DataFrame,
    weights: pl.DataFrame,
    schedule: pl.DataFrame,
    *,
    params: EquityParams,
    sleeve: Sleeve,
) -> pl.DataFrame:
    """Simulate every portfolio from the first rebalance with weights; nothing was earned before it.

    A rebalance without weights goes to cash. A holding that dies is closed when its death is known, at its last close
    times one plus the delisting return.
    """
    if weights.is_empty():
        return Equity.empty()
    calendar = sleeve.market
    traded = schedule.filter(pl.col("date") >= weights["date"].min()).sort("row")
    market = market_of(returns, universe, lives, traded, calendar=calendar, costs=params.costs(calendar))
    engine = EngineParams(mode="atoms", delisting_return=params.exit_return(calendar))
    dates = market.returns.dates
    tables = [
        _rows(name, BacktestEngine(data, engine).run(), dates, int(market.rows[0]))
        for name, data in portfolios(market, atoms, atom_returns, weights, benchmark=sleeve.benchmark)
    ]
    return pl.concat(tables).select(*Equity.dtypes)


def _rows(name: str, simulation: Simulation, dates: pl.Series, start: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": dates[start:],
            "portfolio": pl.repeat(name, len(dates) - start, eager=True),
            "equity": simulation.equity[start:],
            "net_return": simulation.net_returns[start:],
            "cost": simulation.costs[start:],
            "turnover": simulation.turnover[start:],
            "exposure": simulation.exposure[start:],
            "held": pl.Series(simulation.held[start:], dtype=pl.Int32),
        }
    )
