"""`simulate`: wealth over time from returns and the weights traded on the way. Its loops are in kernels/accounting.py.

Which weights, on which rows, is decided by its callers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from quant_core.backtest.costs import Costs
from quant_core.errors import DataError, PanelError, UnknownNameError, UsageError
from quant_core.kernels.accounting import account_rows
from quant_core.market.panel import Mask, Matrix

Mode = Literal["drift", "atoms"]
RUIN = 0.01


@dataclass(frozen=True, eq=False)
class Simulation:
    """The path of one unit of wealth.

    Attributes
    ----------
    equity : ndarray [T]
        Wealth after the trades and costs of the row; it starts from 1, so a trade at row 0 leaves 1 less its cost.
        Below zero is debt left by a short. equity[-1] = cash + sum of final_values.
    net_returns : ndarray [T]
        equity[t] / equity[t - 1] - 1, from 1 at row 0; 0 after ruin.
    costs, turnover : ndarray [T]
        Costs paid and notional traded (both sides), as fractions of the wealth before them.
    exposure : ndarray [T]
        Gross exposure over wealth after the row.
    held : ndarray [T], int
        Positions after the row.
    final_values : ndarray [N]
        Value of each position at the end; of a short in mode "atoms", the capital behind it.
    cash : float
        Cash at the end; it earns nothing.
    ruined_at : int or None
        Row at which wealth fell to 1 % of the start or below; everything was closed there.
    """

    equity: Matrix
    net_returns: Matrix
    costs: Matrix
    turnover: Matrix
    exposure: Matrix
    held: npt.NDArray[np.int64]
    final_values: Matrix
    cash: float
    ruined_at: int | None

    @property
    def final_holdings(self) -> Matrix:
        """Share of final wealth in each position [N]; zeros after ruin."""
        wealth = float(self.equity[-1]) if self.equity.size else 1.0
        return self.final_values / wealth if wealth > 0.0 else np.zeros_like(self.final_values)


def simulate(
    returns: npt.ArrayLike,
    weights: npt.ArrayLike,
    rebalance_rows: npt.ArrayLike,
    costs: Costs | float = 0.0,
    *,
    mode: Mode = "drift",
    exits: Sequence[tuple[int, int]] = (),
    exit_return: float = 0.0,
    years: npt.ArrayLike | None = None,
    is_perpetual: npt.ArrayLike | None = None,
) -> Simulation:
    """Simulate a portfolio in value space: positions and cash, costs from the holdings as they drifted.

    `weights[k]` is traded at the close of row `rebalance_rows[k]`, drifts, and earns from the next row. What weights
    leave to 1 is cash. The order is sized at the wealth before its cost, and the cost is shared by what was traded.

    Parameters
    ----------
    returns : array [T, N]
        Simple returns per bar. A return after closed bars covers all of them.
    weights : array [R, N]
        Signed shares of wealth.
    rebalance_rows : array [R]
        Ascending rows.
    costs : Costs or float
        A float is a fraction of traded value; `Costs()` is free.
    mode : "drift" or "atoms"
        "drift" holds what was traded: a short that rises grows. "atoms" resets each position to its capital at every
        close, on the side of its weight: a short earns exactly -r per bar on its capital and pays for the resetting.
    exits : sequence of (row, column)
        Holdings that end there, at their last value x (1 + `exit_return`), without cost.
    exit_return : float
        Delisting return, a fraction.
    years : array [T], optional
        Calendar years since the row before; needed where shorts pay to borrow or perpetuals pay funding. Both are owed
        on the exposure carried into the row and paid from cash at its close, so they compound from one rebalance to the
        next only.
    is_perpetual : bool array [N], optional
        Columns whose longs pay funding and whose shorts pay no borrow fee; default: none.

    Returns
    -------
    Simulation

    Raises
    ------
    PanelError
        Shapes or rows disagree.
    UnknownNameError
        No such mode.
    DataError
        A weight is not finite, or a return is infinite.
    UsageError
        The cost is negative or eats all that is traded; or holding costs by calendar time and `years` is missing.

    NaN: an asset without a return is closed: it keeps its value, and a rebalance at that row does not trade it (see
    `trade_weights`). Row 0 has no return by construction; everything trades there.
    """
    if mode not in get_args(Mode):
        raise UnknownNameError("mode", mode, get_args(Mode))
    moves = np.ascontiguousarray(returns, dtype=np.float64)
    targets = np.ascontiguousarray(weights, dtype=np.float64)
    rows = np.ascontiguousarray(rebalance_rows, dtype=np.int64)
    ends = np.array(sorted(exits), dtype=np.int64).reshape(-1, 2)
    _check(moves, targets, rows, ends)
    held = costs if isinstance(costs, Costs) else Costs()
    rate = costs.rate if isinstance(costs, Costs) else float(costs)
    if not 0.0 <= rate < 1.0:
        raise UsageError(f"a cost of {rate} of traded value; it must be at least 0 and below 1.")
    size, width = moves.shape
    perpetual = _perpetuals(is_perpetual, width)
    borrow = _holding_fees(held.borrow_per_year, (targets[:, ~perpetual] < 0.0).any(), years, size)
    funding = _holding_fees(held.funding_per_year, (targets[:, perpetual] > 0.0).any(), years, size)
    value, account, out = np.empty(width), np.empty(2), np.empty((size, 5))
    account_rows(
        moves, targets, rows, ends, borrow, funding, perpetual, mode == "atoms", rate, exit_return, RUIN,
        np.empty(width, dtype=np.bool_), np.empty(width), np.empty(2), value, account, out,
    )  # fmt: skip
    return _name_columns(value, account, out)


def _name_columns(value: Matrix, account: Matrix, out: Matrix) -> Simulation:
    """Name the columns that the kernel filled; see `account_rows` for those of `out`."""
    equity = out[:, 0].copy()
    before = np.concatenate([[1.0], equity[:-1]])
    ruined_at = int(account[1]) if account[1] >= 0.0 else None
    net = np.zeros(equity.size)
    alive = slice(0, equity.size if ruined_at is None else ruined_at + 1)
    net[alive] = equity[alive] / before[alive] - 1.0
    return Simulation(
        equity=equity,
        net_returns=net,
        costs=out[:, 1].copy(),
        turnover=out[:, 2].copy(),
        exposure=out[:, 3].copy(),
        held=out[:, 4].astype(np.int64),
        final_values=value,
        cash=float(account[0]),
        ruined_at=ruined_at,
    )


def _check(moves: Matrix, targets: Matrix, rows: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> None:
    if moves.ndim != 2 or targets.ndim != 2 or rows.ndim != 1 or targets.shape != (rows.size, moves.shape[1]):
        raise PanelError(
            f"returns {moves.shape}, weights {targets.shape} and {rows.shape} rebalance rows disagree; "
            "weights need one row per rebalance and one column per column of returns."
        )
    size, width = moves.shape
    if rows.size and (rows[0] < 0 or rows[-1] >= size or np.any(np.diff(rows) <= 0)):
        raise PanelError(f"rebalance rows must ascend within 0..{size - 1}; got {rows[:5].tolist()}...")
    if ends.size and (ends.min() < 0 or ends[:, 0].max() >= size or ends[:, 1].max() >= width):
        raise PanelError(f"an exit is outside {size} rows x {width} columns.")
    if not np.isfinite(targets).all():
        raise DataError("a weight is not finite; give 0 to what is not held.")
    if np.isinf(moves).any():
        raise DataError("a return is infinite; give NaN to what is not known.")


def _perpetuals(is_perpetual: npt.ArrayLike | None, width: int) -> Mask:
    marks = np.zeros(width, dtype=np.bool_) if is_perpetual is None else np.ascontiguousarray(is_perpetual, np.bool_)
    if marks.shape != (width,):
        raise PanelError(f"perpetual marks {marks.shape} for {width} columns; give one per column.")
    return marks


def _holding_fees(fee: float, is_due: bool | np.bool_, years: npt.ArrayLike | None, size: int) -> Matrix:
    """Return the fraction of exposure owed at each row [T] for a yearly fee; zeros if the fee is not due."""
    if fee == 0.0 or not is_due:
        return np.zeros(size)
    if years is None:
        raise UsageError("borrow and funding run by calendar time; give `years` since the row before, or no such fee.")
    elapsed = np.asarray(years, dtype=np.float64)
    if elapsed.shape != (size,) or not np.isfinite(elapsed).all():
        raise PanelError(f"years {elapsed.shape} must give a finite span for each of {size} rows.")
    return np.ascontiguousarray(fee * elapsed)
