"""Portfolio accounting kernels: position values, cash and costs, bar by bar. The stages decide what to trade.

A book is `value` [N] and `account` [2] = (cash, ruin row or -1); wealth is cash plus the sum of the values. Two ways to
carry a position:

- drift: `value` is the market value, negative for a short, and moves with the asset;
- reset: `value` is the capital behind a position whose exposure is set back to that capital at every close, on the side
  +1 or -1 kept in `side`. A long needs no trade for it, a short trades twice its capital times the move; cash pays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quant_core.kernels._jit import Mask, Matrix, kernel

Rows = npt.NDArray[np.int64]


@kernel
def carry_positions(
    returns: Matrix,
    is_reset: bool,
    borrow: float,
    funding: float,
    is_perpetual: Mask,
    value: Matrix,
    side: Matrix,
    paid: Matrix,
) -> None:
    """Move every position over one bar; an unknown return moves nothing, no loss is capped.

    returns: [N] one row. borrow, funding: fractions owed for the bar, of the short exposure of what is not a perpetual
    and of the long exposure of perpetuals, as carried into the bar. is_perpetual: [N]. value, side: [N] book, in place.
    paid: [2] gets (notional traded to reset shorts, borrow and funding owed).
    """
    traded, owed = 0.0, 0.0
    for i in range(value.shape[0]):
        held = value[i]
        if held == 0.0 or (is_reset and held < 0.0):
            continue  # nothing is held; negative capital is the debt of a position already closed
        move = 0.0 if np.isnan(returns[i]) else returns[i]
        is_short = side[i] < 0.0 if is_reset else held < 0.0
        if is_short != is_perpetual[i]:
            owed += (borrow if is_short else funding) * abs(held)
        if not is_reset:
            value[i] = held * (1.0 + move)
        else:
            value[i] = held * (1.0 + side[i] * move)
            if is_short:
                traded += abs(held * (1.0 + move) - max(value[i], 0.0))
    paid[0], paid[1] = traded, owed


@kernel
def trade_weights(
    weights: Matrix,
    is_closed: Mask,
    wealth: float,
    is_reset: bool,
    rate: float,
    value: Matrix,
    side: Matrix,
    paid: Matrix,
) -> None:
    """Trade the book to `weights` at one close.

    A closed asset keeps its value; the others are scaled down, never up, so that gross exposure stays within what the
    weights ask for. Orders are sized at `wealth`; their cost is then shared by all that was traded and by cash.

    weights: [N] signed shares of wealth. is_closed: [N]. rate: cost per unit of notional. value, side: [N] book, in
    place. paid: [2] gets (notional traded, cost).
    """
    planned, wanted, stuck, locked = 0.0, 0.0, 0.0, 0.0
    for i in range(value.shape[0]):
        planned += abs(weights[i])
        if is_closed[i]:
            locked += value[i]
            stuck += max(value[i], 0.0) if is_reset else abs(value[i])
        else:
            wanted += abs(weights[i])
    room = max(planned * wealth - stuck, 0.0)
    scale = wealth if wanted * wealth <= room else room / wanted
    traded = 0.0
    for i in range(value.shape[0]):
        if not is_closed[i]:
            exposure = side[i] * max(value[i], 0.0) if is_reset else value[i]
            traded += abs(weights[i] * scale - exposure)
    cost = rate * traded
    free = wealth - locked
    share = scale * (1.0 - cost / free) if free > cost else scale
    for i in range(value.shape[0]):
        if not is_closed[i]:
            value[i] = abs(weights[i]) * share if is_reset else weights[i] * share
            side[i] = np.sign(weights[i])
    paid[0], paid[1] = traded, cost


@kernel
def account_rows(
    returns: Matrix,
    weights: Matrix,
    rebalance_rows: Rows,
    exits: Rows,
    borrow: Matrix,
    funding: Matrix,
    is_perpetual: Mask,
    is_reset: bool,
    rate: float,
    exit_return: float,
    ruin: float,
    is_closed: Mask,
    side: Matrix,
    paid: Matrix,
    value: Matrix,
    account: Matrix,
    out: Matrix,
) -> None:
    """Keep the book of one portfolio over all rows, starting from a wealth of 1 in cash.

    At each row: returns, then exits (a position is settled at its value x (1 + exit_return)), then ruin, then the
    rebalance. An asset without a return at a rebalance is closed; row 0 has no return by construction and is open.

    returns: [T, N], NaN means no trade. weights: [R, N]. rebalance_rows: [R], ascending. exits: [E, 2] of (row,
    column), ascending rows. borrow, funding: [T] and is_perpetual: [N], see `carry_positions`. is_closed, side: [N]
    scratch. paid: [2] scratch. value: [N] and account: [2] get the final book. out: [T, 5] gets wealth after costs,
    costs and notional traded as fractions of wealth before them, gross exposure over wealth, and the number of
    positions.
    """
    value[:] = 0.0
    side[:] = 1.0
    account[0], account[1] = 1.0, -1.0
    trade, leave = 0, 0
    for t in range(returns.shape[0]):
        carry_positions(returns[t], is_reset, borrow[t], funding[t], is_perpetual, value, side, paid)
        traded, cost = paid[0], rate * paid[0] + paid[1]
        while leave < exits.shape[0] and exits[leave, 0] <= t:
            i = exits[leave, 1]
            move = side[i] * exit_return if is_reset else exit_return
            account[0] += value[i] * (1.0 + move) if value[i] > 0.0 or not is_reset else value[i]
            value[i] = 0.0
            leave += 1
        wealth = account[0] + value.sum()
        before = wealth
        account[0] -= cost
        wealth -= cost
        is_due = trade < rebalance_rows.shape[0] and rebalance_rows[trade] == t
        if account[1] < 0.0 and wealth <= ruin:
            gross = np.maximum(value, 0.0).sum() if is_reset else np.abs(value).sum()
            traded, cost = traded + gross, cost + rate * gross
            account[0], account[1] = wealth - rate * gross, float(t)
            value[:] = 0.0
        elif account[1] < 0.0 and is_due:
            for i in range(value.shape[0]):
                is_closed[i] = t > 0 and np.isnan(returns[t, i])
            trade_weights(weights[trade], is_closed, wealth, is_reset, rate, value, side, paid)
            traded, cost = traded + paid[0], cost + paid[1]
            account[0] = wealth - paid[1] - value.sum()
        if is_due:
            trade += 1
        gross, held = 0.0, 0
        for i in range(value.shape[0]):
            exposure = max(value[i], 0.0) if is_reset else abs(value[i])
            gross += exposure
            held += exposure > 0.0
        wealth = account[0] + value.sum()
        out[t, 0] = wealth
        out[t, 1] = cost / before if before > 0.0 else 0.0
        out[t, 2] = traded / before if before > 0.0 else 0.0
        out[t, 3] = gross / wealth if wealth > 0.0 else 0.0
        out[t, 4] = held
