"""Figures of one stream of returns, or of one against another: arrays in, one number out, NaN where it is not defined.

Nothing is clipped and nothing is assumed below its least number of bars. Sharpe ratios and their intervals are in
statistics/sharpe.py; which figures are reported is decided in metrics.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.market.panel import Matrix

UNDEFINED = float("nan")
_TAIL = 0.05


def bar_returns(equity: Matrix) -> Matrix:
    """Return the returns [T - 1] of the bars after the first row of `equity` [T], whose wealth came from 1.

    The cost of entering at the first row is in the first return, so they compound to equity[-1] - 1. A bar that starts
    without wealth returns 0.
    """
    before = np.concatenate([[1.0], equity[1:-1]])[: max(equity.size - 1, 0)]
    growth: Matrix = np.divide(equity[1:], before, out=np.ones(before.size), where=before > 0.0)
    return growth - 1.0


def total_return(returns: Matrix) -> float:
    """Compounded return of all bars [T]; NaN without bars."""
    return float(np.prod(1.0 + returns)) - 1.0 if returns.size else UNDEFINED


def annual_return(returns: Matrix, *, periods_per_year: float) -> float:
    """Geometric return a year: the constant rate with the same end; NaN where nothing is left to compound."""
    wealth = total_return(returns) + 1.0
    return float(wealth ** (periods_per_year / returns.size)) - 1.0 if wealth > 0.0 else UNDEFINED


def annual_volatility(returns: Matrix, *, periods_per_year: float) -> float:
    """Return the standard deviation (ddof 1) of the bars, annualised by the root; NaN below two bars."""
    return float(returns.std(ddof=1) * np.sqrt(periods_per_year)) if returns.size > 1 else UNDEFINED


def sortino(returns: Matrix, *, periods_per_year: float) -> float:
    """Mean over the root mean square of the returns below 0 (zeros for the others), annualised; NaN without a loss.

    Source: Sortino & Price (1994), Journal of Investing 3(3).
    """
    downside = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))) if returns.size else 0.0
    return float(returns.mean() / downside * np.sqrt(periods_per_year)) if downside > 0.0 else UNDEFINED


def max_drawdown(returns: Matrix) -> float:
    """Largest fall from the highest wealth so far, start included, as a fraction (not positive)."""
    if not returns.size:
        return UNDEFINED
    wealth = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    return float(np.min(wealth / np.maximum.accumulate(wealth))) - 1.0


def calmar(returns: Matrix, *, periods_per_year: float) -> float:
    """Annual return over the size of the deepest drawdown; NaN without a drawdown."""
    fall = max_drawdown(returns)
    return annual_return(returns, periods_per_year=periods_per_year) / -fall if fall < 0.0 else UNDEFINED


def value_at_risk(returns: Matrix) -> float:
    """Return where the worst twentieth of the bars ends: the k-th smallest, k = floor(T / 20); NaN below 20 bars."""
    worst = _worst(returns)
    return float(worst[-1]) if worst.size else UNDEFINED


def expected_shortfall(returns: Matrix) -> float:
    """Mean return of the worst twentieth of the bars, empirical; NaN below 20 bars."""
    worst = _worst(returns)
    return float(worst.mean()) if worst.size else UNDEFINED


def hit_rate(returns: Matrix) -> float:
    """Share of bars with a gain."""
    return float(np.mean(returns > 0.0)) if returns.size else UNDEFINED


def beta(returns: Matrix, benchmark: Matrix) -> float:
    """Slope of returns [T] on the benchmark's [T]; NaN where the benchmark does not move."""
    if returns.size < 2:
        return UNDEFINED
    centred = benchmark - benchmark.mean()
    variance = float(np.mean(centred**2))
    return float(np.mean(centred * (returns - returns.mean()))) / variance if variance > 0.0 else UNDEFINED


def _worst(returns: Matrix) -> Matrix:
    return np.sort(returns)[: int(_TAIL * returns.size + 1e-9)]
