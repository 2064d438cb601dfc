"""`BacktestEngine`: one portfolio with everything a simulation needs, by dot access. simulate.py computes.

Which portfolios there are is decided in portfolios.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quant_core.backtest.costs import DAYS_PER_YEAR, Costs
from quant_core.backtest.simulate import Mode, Simulation, simulate
from quant_core.errors import DataError, PanelError
from quant_core.graph.stage import Params
from quant_core.market.calendar import Calendar
from quant_core.market.panel import Mask, Matrix, Panel


class EngineParams(Params):
    """How the engine accounts."""

    mode: Mode = Field(
        default="atoms", description='"atoms" resets shorts to unit exposure each bar; "drift" does not.'
    )
    delisting_return: float = Field(default=0.0, ge=-1.0, description="Return on the last close of a dead holding.")


class RunData(BaseModel):
    """The data one portfolio trades on: K columns of symbols or atoms over T rows, with R rebalances.

    `returns` are those of what is held, so a short atom's column holds the return of its asset and its weight is
    negative. `universe` marks the cells that could be held; a weight elsewhere is an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    returns: Panel
    universe: Mask = Field(description="[T, K].")
    weights: Matrix = Field(description="[R, K], signed shares of wealth; the rest is cash.")
    rebalance_rows: npt.NDArray[np.int64] = Field(description="[R], ascending rows of `returns`.")
    calendar: Calendar
    costs: Costs = Costs()
    is_perpetual: Mask | None = Field(default=None, description="[K], columns that pay funding; null: none.")
    exits: tuple[tuple[int, int], ...] = Field(default=(), description="(row, column) at which a holding is dead.")

    @model_validator(mode="after")
    def _shapes_agree(self) -> RunData:
        shape = self.returns.shape
        if self.universe.shape != shape or self.weights.shape != (self.rebalance_rows.size, shape[1]):
            raise PanelError(
                f"returns {shape}, universe {self.universe.shape}, weights {self.weights.shape} and "
                f"{self.rebalance_rows.size} rebalance rows disagree."
            )
        return self


@dataclass(frozen=True)
class BacktestEngine:
    """Runs one portfolio; the same data and params give the same bits."""

    data: RunData
    params: EngineParams = field(default_factory=EngineParams)

    def run(self) -> Simulation:
        """Simulate the portfolio.

        Raises
        ------
        DataError
            A weight on a column that could not be held at that row.
        """
        data = self.data
        if data.rebalance_rows.size and data.rebalance_rows.max() < data.returns.shape[0]:
            self._refuse_outsiders()
        return simulate(
            data.returns.values,
            data.weights,
            data.rebalance_rows,
            data.costs,
            mode=self.params.mode,
            exits=data.exits,
            exit_return=self.params.delisting_return,
            years=_years_since_previous(data.returns),
            is_perpetual=data.is_perpetual,
        )

    def _refuse_outsiders(self) -> None:
        data = self.data
        outside = (data.weights != 0.0) & ~data.universe[data.rebalance_rows]
        if outside.any():
            k, j = np.argwhere(outside)[0]
            day, name = data.returns.dates[int(data.rebalance_rows[k])], data.returns.symbols[j]
            raise DataError(f"a weight of {data.weights[k, j]:.6f} on {name} at {day}, when it could not be held.")


def _years_since_previous(returns: Panel) -> Matrix:
    """Return the calendar years since the row before [T]; 0 at the first row."""
    days = returns.dates.cast(pl.Date).to_physical().to_numpy().astype(np.float64)
    return np.diff(days, prepend=days[:1]) / DAYS_PER_YEAR
