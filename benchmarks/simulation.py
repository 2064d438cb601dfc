"""Portfolio accounting against the loop one would write in numpy: the same book, one bar at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contest, named, scaled, topic
from quant_core.backtest import simulate

Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
RATE = 0.001


@topic("simulation")
def simulation(share: float) -> Iterator[Contest]:
    T, N = scaled(1_260, share, least=60), scaled(1_000, share, least=8)
    rows = np.arange(0, T, 20)
    rng = np.random.default_rng(5)
    returns = rng.normal(0.0005, 0.02, (T, N))
    weights = rng.dirichlet(np.ones(N), rows.size)
    yield Contest(
        name=f"simulate, {N:,} x {T:,}, {rows.size} rebalances",
        peer=f"{named('numpy')} loop",
        ours=partial(ours, returns, weights, rows),
        theirs=partial(looped, returns, weights, rows),
        agree=partial(np.testing.assert_allclose, rtol=1e-9),
        moved=returns.nbytes + weights.nbytes,
    )


def ours(returns: Matrix, weights: Matrix, rows: Rows) -> Matrix:
    return simulate(returns, weights, rows, RATE).equity


def looped(returns: Matrix, weights: Matrix, rows: Rows) -> Matrix:
    value, cash, equity = np.zeros(returns.shape[1]), 1.0, np.empty(returns.shape[0])
    window = dict(zip(rows.tolist(), weights, strict=True))
    for t in range(returns.shape[0]):
        value *= 1.0 + returns[t]
        if t in window:
            wealth = cash + value.sum()
            cost = RATE * np.abs(window[t] * wealth - value).sum()
            value = window[t] * (wealth - cost)
            cash = wealth - cost - value.sum()
        equity[t] = cash + value.sum()
    return equity
