"""Computes what given weights would have earned: accounting, portfolios to compare, figures. Optimises nothing."""

from quant_core.backtest.costs import Costs
from quant_core.backtest.engine import BacktestEngine, EngineParams, RunData
from quant_core.backtest.simulate import Simulation, simulate

__all__ = ["BacktestEngine", "Costs", "EngineParams", "RunData", "Simulation", "simulate"]
