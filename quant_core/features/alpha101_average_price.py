"""Formulas of the family alpha101 that read the average price (`vwap`) and no volume.

Those of the other prices are in alpha101_prices.py; what the family shares, and what it leaves out, in alpha101.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.alpha101_operators import (
    correlation,
    cross_sectional,
    decay_linear,
    delay,
    delta,
    divide,
    larger,
    per_symbol,
    rank,
    scale,
    signed_power,
    ts_argmax,
    ts_max,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@cross_sectional("share", warmup=9, lower=-1.0, upper=0.0)
def alpha005(open: Matrix, close: Matrix, vwap: Matrix) -> Matrix:
    """Rank of the open over its 10-bar average price, times the rank of the close over today's, reversed.

    (rank((open - (sum(vwap, 10) / 10))) * (-1 * abs(rank((close - vwap)))))

    Source: Kakushadze (2016), Alpha#5.
    """
    return rank(open - ts_sum(vwap, 10) / 10) * -np.abs(rank(close - vwap))


@cross_sectional("share of the row", warmup=234, lower=-21.0, upper=21.0)
def alpha032(close: Matrix, vwap: Matrix) -> Matrix:
    """Mean of 7 closes over the last, scaled, plus 20 times the scaled correlation of average price and earlier close.

    (scale(((sum(close, 7) / 7) - close)) + (20 * scale(correlation(vwap, delay(close, 5), 230))))

    Source: Kakushadze (2016), Alpha#32.
    """
    return scale(ts_sum(close, 7) / 7 - close) + 20 * scale(correlation(vwap, delay(close, 5), 230))


@per_symbol("quote currency", warmup=0)
def alpha041(high: Matrix, low: Matrix, vwap: Matrix) -> Matrix:
    """Geometric mean of high and low, less the average price.

    (((high * low)^0.5) - vwap)

    Source: Kakushadze (2016), Alpha#41.
    """
    return np.sqrt(high * low) - vwap


@cross_sectional("ratio", warmup=0, lower=0.0)
def alpha042(close: Matrix, vwap: Matrix) -> Matrix:
    """Rank of the average price over the close, divided by the rank of their sum.

    (rank((vwap - close)) / rank((vwap + close)))

    Source: Kakushadze (2016), Alpha#42.
    """
    return rank(vwap - close) / rank(vwap + close)


@cross_sectional("quote currency", warmup=30)
def alpha057(close: Matrix, vwap: Matrix) -> Matrix:
    """Close over the average price, divided by the fading rank of the bars since the 30-bar high, reversed.

    (0 - (1 * ((close - vwap) / decay_linear(rank(ts_argmax(close, 30)), 2))))

    Source: Kakushadze (2016), Alpha#57.
    """
    return 0 - (close - vwap) / decay_linear(rank(ts_argmax(close, 30)), 2)


@cross_sectional("share", warmup=15, lower=-2.0, upper=0.0)
def alpha066(open: Matrix, high: Matrix, low: Matrix, vwap: Matrix) -> Matrix:
    """Rank of the average price's fading change, plus the place among 6 of the low's fading gap to it, reversed.

    ((rank(decay_linear(delta(vwap, 3.51013), 7.23052)) + Ts_Rank(decay_linear(((((low * 0.96633) + (low * (1 -
    0.96633))) - vwap) / (open - ((high + low) / 2))), 11.4157), 6.72611)) * -1)

    Source: Kakushadze (2016), Alpha#66.
    """
    gap = divide(low * 0.96633 + low * (1 - 0.96633) - vwap, open - (high + low) / 2)
    return -(rank(decay_linear(delta(vwap, 3.51013), 7.23052)) + ts_rank(decay_linear(gap, 11.4157), 6.72611))


@cross_sectional("share", warmup=19, lower=-1.0, upper=0.0)
def alpha073(open: Matrix, low: Matrix, vwap: Matrix) -> Matrix:
    """Larger of the rank of the average price's fading change and of the place of the price's fading fall, reversed.

    (max(rank(decay_linear(delta(vwap, 4.72775), 2.91864)), Ts_Rank(decay_linear(((delta(((open * 0.147155) + (low * (1
    - 0.147155))), 2.03608) / ((open * 0.147155) + (low * (1 - 0.147155)))) * -1), 3.33829), 16.7411)) * -1)

    Source: Kakushadze (2016), Alpha#73.
    """
    price = open * 0.147155 + low * (1 - 0.147155)
    fall = ts_rank(decay_linear(-(delta(price, 2.03608) / price), 3.33829), 16.7411)
    return -larger(rank(decay_linear(delta(vwap, 4.72775), 2.91864)), fall)


@per_symbol("ratio", warmup=33, lower=0.0)
def alpha084(close: Matrix, vwap: Matrix) -> Matrix:
    """Place among 20 of the average price under its 15-bar high, to the power of the close's 4-bar change.

    SignedPower(Ts_Rank((vwap - ts_max(vwap, 15.3217)), 20.7127), delta(close, 4.96796))

    Source: Kakushadze (2016), Alpha#84.
    """
    return signed_power(ts_rank(vwap - ts_max(vwap, 15.3217), 20.7127), delta(close, 4.96796))
