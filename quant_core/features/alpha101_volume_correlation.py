"""Formulas of the family alpha101 that correlate a price with volume, or take their covariance.

Formulas that also read traded value (`adv{d}`) are in alpha101_value_correlation.py, those that answer 0 or 1 in
alpha101_correlation_flags.py; what the family shares, and what it leaves out, in alpha101.py.
"""

from __future__ import annotations

from quant_core.features.alpha101_operators import (
    choose,
    correlation,
    covariance,
    cross_sectional,
    delay,
    delta,
    divide,
    less,
    log,
    per_symbol,
    rank,
    stddev,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@cross_sectional("correlation", warmup=7, lower=-1.0, upper=1.0)
def alpha002(open: Matrix, close: Matrix, volume: Matrix) -> Matrix:
    """Correlation over 6 bars of the ranks of volume's two-bar growth and of the bar's own move, reversed.

    (-1 * correlation(rank(delta(log(volume), 2)), rank(((close - open) / open)), 6))

    Source: Kakushadze (2016), Alpha#2.
    """
    return -correlation(rank(delta(log(volume), 2)), rank((close - open) / open), 6)


@cross_sectional("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha003(rank_open: Matrix, rank_volume: Matrix) -> Matrix:
    """Correlation over 10 bars of the ranks of the open and of volume, reversed.

    (-1 * correlation(rank(open), rank(volume), 10))

    Source: Kakushadze (2016), Alpha#3.
    """
    return -correlation(rank_open, rank_volume, 10)


@per_symbol("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha006(open: Matrix, volume: Matrix) -> Matrix:
    """Correlation over 10 bars of open and volume, reversed.

    (-1 * correlation(open, volume, 10))

    Source: Kakushadze (2016), Alpha#6.
    """
    return -correlation(open, volume, 10)


@cross_sectional("share", warmup=4, lower=-1.0, upper=0.0)
def alpha013(rank_close: Matrix, rank_volume: Matrix) -> Matrix:
    """Rank of the 5-bar covariance of the ranks of close and volume, reversed.

    (-1 * rank(covariance(rank(close), rank(volume), 5)))

    Source: Kakushadze (2016), Alpha#13.
    """
    return -rank(covariance(rank_close, rank_volume, 5))


@cross_sectional("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha014(open: Matrix, volume: Matrix, returns: Matrix) -> Matrix:
    """Rank of the return's 3-bar change, times the 10-bar correlation of open and volume, reversed.

    ((-1 * rank(delta(returns, 3))) * correlation(open, volume, 10))

    Source: Kakushadze (2016), Alpha#14.
    """
    return -rank(delta(returns, 3)) * correlation(open, volume, 10)


@cross_sectional("share", warmup=4, lower=-3.0, upper=0.0)
def alpha015(rank_high: Matrix, rank_volume: Matrix) -> Matrix:
    """Sum over 3 bars of the rank of the 3-bar correlation of the ranks of high and volume, reversed.

    (-1 * sum(rank(correlation(rank(high), rank(volume), 3)), 3))

    Source: Kakushadze (2016), Alpha#15.
    """
    return -ts_sum(rank(correlation(rank_high, rank_volume, 3)), 3)


@cross_sectional("share", warmup=4, lower=-1.0, upper=0.0)
def alpha016(rank_high: Matrix, rank_volume: Matrix) -> Matrix:
    """Rank of the 5-bar covariance of the ranks of high and volume, reversed.

    (-1 * rank(covariance(rank(high), rank(volume), 5)))

    Source: Kakushadze (2016), Alpha#16.
    """
    return -rank(covariance(rank_high, rank_volume, 5))


@cross_sectional("correlation", warmup=19, lower=-2.0, upper=2.0)
def alpha022(high: Matrix, close: Matrix, volume: Matrix) -> Matrix:
    """Change over 5 bars of the correlation of high and volume, times the rank of the close's deviation, reversed.

    (-1 * (delta(correlation(high, volume, 5), 5) * rank(stddev(close, 20))))

    Source: Kakushadze (2016), Alpha#22.
    """
    return -(delta(correlation(high, volume, 5), 5) * rank(stddev(close, 20)))


@per_symbol("correlation", warmup=10, lower=-1.0, upper=1.0)
def alpha026(high: Matrix, volume: Matrix) -> Matrix:
    """Highest of the last 3 correlations, over 5 bars each, of the places of volume and high among 5, reversed.

    (-1 * ts_max(correlation(ts_rank(volume, 5), ts_rank(high, 5), 5), 3))

    Source: Kakushadze (2016), Alpha#26.
    """
    return -ts_max(correlation(ts_rank(volume, 5), ts_rank(high, 5), 5), 3)


@cross_sectional("sign", warmup=6, lower=-1.0, upper=1.0)
def alpha027(rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Minus one where the correlation of the ranks of volume and average price ranks above a half, else one.

    ((0.5 < rank((sum(correlation(rank(volume), rank(vwap), 6), 2) / 2.0))) ? (-1 * 1) : 1)

    Source: Kakushadze (2016), Alpha#27.
    """
    mean = ts_sum(correlation(rank_volume, rank_vwap, 6), 2) / 2.0
    return choose(less(0.5, rank(mean)), -1.0, 1.0)


@cross_sectional("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha040(high: Matrix, volume: Matrix) -> Matrix:
    """Rank of the high's 10-bar deviation, times the 10-bar correlation of high and volume, reversed.

    ((-1 * rank(stddev(high, 10))) * correlation(high, volume, 10))

    Source: Kakushadze (2016), Alpha#40.
    """
    return -rank(stddev(high, 10)) * correlation(high, volume, 10)


@cross_sectional("correlation", warmup=4, lower=-1.0, upper=1.0)
def alpha044(high: Matrix, rank_volume: Matrix) -> Matrix:
    """Correlation over 5 bars of the high and the rank of volume, reversed.

    (-1 * correlation(high, rank(volume), 5))

    Source: Kakushadze (2016), Alpha#44.
    """
    return -correlation(high, rank_volume, 5)


@cross_sectional("correlation", warmup=24, lower=-1.0, upper=1.0)
def alpha045(close: Matrix, volume: Matrix) -> Matrix:
    """Ranks of older closes and of two trends agreeing, times the 2-bar correlation of close and volume, reversed.

    (-1 * ((rank((sum(delay(close, 5), 20) / 20)) * correlation(close, volume, 2)) * rank(correlation(sum(close, 5),
    sum(close, 20), 2))))

    Source: Kakushadze (2016), Alpha#45.
    """
    older = rank(ts_sum(delay(close, 5), 20) / 20)
    trends = rank(correlation(ts_sum(close, 5), ts_sum(close, 20), 2))
    return -(older * correlation(close, volume, 2) * trends)


@cross_sectional("share", warmup=8, lower=-1.0, upper=0.0)
def alpha050(rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Highest of the last 5 ranks of the 5-bar correlation of the ranks of volume and average price, reversed.

    (-1 * ts_max(rank(correlation(rank(volume), rank(vwap), 5)), 5))

    Source: Kakushadze (2016), Alpha#50.
    """
    return -ts_max(rank(correlation(rank_volume, rank_vwap, 5)), 5)


@cross_sectional("correlation", warmup=16, lower=-1.0, upper=1.0)
def alpha055(high: Matrix, low: Matrix, close: Matrix, rank_volume: Matrix) -> Matrix:
    """Correlation over 6 bars of the ranks of the close's place in the 12-bar range and of volume, reversed.

    (-1 * correlation(rank(((close - ts_min(low, 12)) / (ts_max(high, 12) - ts_min(low, 12)))), rank(volume), 6))

    Source: Kakushadze (2016), Alpha#55.
    """
    lowest = ts_min(low, 12)
    return -correlation(rank(divide(close - lowest, ts_max(high, 12) - lowest)), rank_volume, 6)
