"""Alphas 1 to 20 of the family alpha101; what they share, and which are left out, stands in alpha101.py."""

from __future__ import annotations

import numpy as np

from quant_core.features.alpha101_operators import (
    across,
    alone,
    choose,
    correlation,
    covariance,
    delay,
    delta,
    divide,
    less,
    log,
    rank,
    signed_power,
    stddev,
    ts_argmax,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@across("share", warmup=5, lower=-0.5, upper=0.5, memory=25)
def alpha001(close: Matrix, returns: Matrix) -> Matrix:
    """Rank of how many bars ago the largest of five values stood, closes or on falls volatilities, minus a half.

    (rank(Ts_ArgMax(SignedPower(((returns < 0) ? stddev(returns, 20) : close), 2.), 5)) - 0.5)

    Source: Kakushadze (2016), Alpha#1.
    """
    value = choose(less(returns, 0.0), stddev(returns, 20), close)
    return rank(ts_argmax(signed_power(value, 2), 5)) - 0.5


@across("correlation", warmup=7, lower=-1.0, upper=1.0)
def alpha002(open: Matrix, close: Matrix, volume: Matrix) -> Matrix:
    """Correlation over 6 bars of the ranks of volume's two-bar growth and of the bar's own move, reversed.

    (-1 * correlation(rank(delta(log(volume), 2)), rank(((close - open) / open)), 6))

    Source: Kakushadze (2016), Alpha#2.
    """
    return -correlation(rank(delta(log(volume), 2)), rank((close - open) / open), 6)


@across("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha003(rank_open: Matrix, rank_volume: Matrix) -> Matrix:
    """Correlation over 10 bars of the ranks of the open and of volume, reversed.

    (-1 * correlation(rank(open), rank(volume), 10))

    Source: Kakushadze (2016), Alpha#3.
    """
    return -correlation(rank_open, rank_volume, 10)


@across("share", warmup=8, lower=-1.0, upper=0.0)
def alpha004(rank_low: Matrix) -> Matrix:
    """Place of the low's rank among its last 9, reversed.

    (-1 * Ts_Rank(rank(low), 9))

    Source: Kakushadze (2016), Alpha#4.
    """
    return -ts_rank(rank_low, 9)


@across("share", warmup=9, lower=-1.0, upper=0.0)
def alpha005(open: Matrix, close: Matrix, vwap: Matrix) -> Matrix:
    """Rank of the open over its 10-bar average price, times the rank of the close over today's, reversed.

    (rank((open - (sum(vwap, 10) / 10))) * (-1 * abs(rank((close - vwap)))))

    Source: Kakushadze (2016), Alpha#5.
    """
    return rank(open - ts_sum(vwap, 10) / 10) * -np.abs(rank(close - vwap))


@alone("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha006(open: Matrix, volume: Matrix) -> Matrix:
    """Correlation over 10 bars of open and volume, reversed.

    (-1 * correlation(open, volume, 10))

    Source: Kakushadze (2016), Alpha#6.
    """
    return -correlation(open, volume, 10)


@alone("share", warmup=19, lower=-1.0, upper=1.0, memory=67)
def alpha007(close: Matrix, volume: Matrix, adv20: Matrix) -> Matrix:
    """Size of the 7-bar move among the last 60, against its direction, where volume exceeds adv20; else minus one.

    ((adv20 < volume) ? ((-1 * ts_rank(abs(delta(close, 7)), 60)) * sign(delta(close, 7))) : (-1 * 1))

    Volume and `adv20` are compared as they come; see the card of alpha101.py.

    Source: Kakushadze (2016), Alpha#7.
    """
    move = delta(close, 7)
    return choose(less(adv20, volume), -ts_rank(np.abs(move), 60) * np.sign(move), -1.0)


@across("share", warmup=15, lower=-1.0, upper=0.0)
def alpha008(open: Matrix, returns: Matrix) -> Matrix:
    """Rank of how much the 5-bar sum of opens times that of returns has grown in 10 bars, reversed.

    (-1 * rank(((sum(open, 5) * sum(returns, 5)) - delay((sum(open, 5) * sum(returns, 5)), 10))))

    Source: Kakushadze (2016), Alpha#8.
    """
    value = ts_sum(open, 5) * ts_sum(returns, 5)
    return -rank(value - delay(value, 10))


@alone("quote currency", warmup=5)
def alpha009(close: Matrix) -> Matrix:
    """Last change of the close, reversed unless the last 5 changes have one sign.

    ((0 < ts_min(delta(close, 1), 5)) ? delta(close, 1) : ((ts_max(delta(close, 1), 5) < 0) ? delta(close, 1) : (-1 *
    delta(close, 1))))

    Source: Kakushadze (2016), Alpha#9.
    """
    change = delta(close, 1)
    falling = choose(less(ts_max(change, 5), 0.0), change, -change)
    return choose(less(0.0, ts_min(change, 5)), change, falling)


@across("share", warmup=4, lower=0.0, upper=1.0)
def alpha010(close: Matrix) -> Matrix:
    """Rank of the last change of the close, reversed unless the last 4 changes have one sign.

    rank(((0 < ts_min(delta(close, 1), 4)) ? delta(close, 1) : ((ts_max(delta(close, 1), 4) < 0) ? delta(close, 1) : (-1
    * delta(close, 1)))))

    Source: Kakushadze (2016), Alpha#10.
    """
    change = delta(close, 1)
    falling = choose(less(ts_max(change, 4), 0.0), change, -change)
    return rank(choose(less(0.0, ts_min(change, 4)), change, falling))


@across("share", warmup=3, lower=0.0, upper=2.0)
def alpha011(close: Matrix, volume: Matrix, vwap: Matrix) -> Matrix:
    """Ranks of the highest and lowest of 3 gaps of average price over close, times that of volume's 3-bar change.

    ((rank(ts_max((vwap - close), 3)) + rank(ts_min((vwap - close), 3))) * rank(delta(volume, 3)))

    Source: Kakushadze (2016), Alpha#11.
    """
    gap = vwap - close
    return (rank(ts_max(gap, 3)) + rank(ts_min(gap, 3))) * rank(delta(volume, 3))


@alone("quote currency", warmup=1)
def alpha012(close: Matrix, volume: Matrix) -> Matrix:
    """Last change of the close, reversed where volume rose, zero where volume stood still.

    (sign(delta(volume, 1)) * (-1 * delta(close, 1)))

    Source: Kakushadze (2016), Alpha#12.
    """
    return np.sign(delta(volume, 1)) * -delta(close, 1)


@across("share", warmup=4, lower=-1.0, upper=0.0)
def alpha013(rank_close: Matrix, rank_volume: Matrix) -> Matrix:
    """Rank of the 5-bar covariance of the ranks of close and volume, reversed.

    (-1 * rank(covariance(rank(close), rank(volume), 5)))

    Source: Kakushadze (2016), Alpha#13.
    """
    return -rank(covariance(rank_close, rank_volume, 5))


@across("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha014(open: Matrix, volume: Matrix, returns: Matrix) -> Matrix:
    """Rank of the return's 3-bar change, times the 10-bar correlation of open and volume, reversed.

    ((-1 * rank(delta(returns, 3))) * correlation(open, volume, 10))

    Source: Kakushadze (2016), Alpha#14.
    """
    return -rank(delta(returns, 3)) * correlation(open, volume, 10)


@across("share", warmup=4, lower=-3.0, upper=0.0)
def alpha015(rank_high: Matrix, rank_volume: Matrix) -> Matrix:
    """Sum over 3 bars of the rank of the 3-bar correlation of the ranks of high and volume, reversed.

    (-1 * sum(rank(correlation(rank(high), rank(volume), 3)), 3))

    Source: Kakushadze (2016), Alpha#15.
    """
    return -ts_sum(rank(correlation(rank_high, rank_volume, 3)), 3)


@across("share", warmup=4, lower=-1.0, upper=0.0)
def alpha016(rank_high: Matrix, rank_volume: Matrix) -> Matrix:
    """Rank of the 5-bar covariance of the ranks of high and volume, reversed.

    (-1 * rank(covariance(rank(high), rank(volume), 5)))

    Source: Kakushadze (2016), Alpha#16.
    """
    return -rank(covariance(rank_high, rank_volume, 5))


@across("share", warmup=23, lower=-1.0, upper=0.0)
def alpha017(close: Matrix, volume: Matrix, adv20: Matrix) -> Matrix:
    """Ranks of the close's place among 10, its acceleration and relative volume's place among 5, multiplied, reversed.

    (((-1 * rank(ts_rank(close, 10))) * rank(delta(delta(close, 1), 1))) * rank(ts_rank((volume / adv20), 5)))

    Source: Kakushadze (2016), Alpha#17.
    """
    acceleration = delta(delta(close, 1), 1)
    return -rank(ts_rank(close, 10)) * rank(acceleration) * rank(ts_rank(divide(volume, adv20), 5))


@across("share", warmup=9, lower=-1.0, upper=0.0)
def alpha018(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the sum of the bar's body, its size's 5-bar deviation and close's correlation with open, reversed.

    (-1 * rank(((stddev(abs((close - open)), 5) + (close - open)) + correlation(close, open, 10))))

    Source: Kakushadze (2016), Alpha#18.
    """
    body = close - open
    return -rank(stddev(np.abs(body), 5) + body + correlation(close, open, 10))


@across("share", warmup=250, lower=-2.0, upper=2.0)
def alpha019(close: Matrix, returns: Matrix) -> Matrix:
    """Direction of the 7-bar move, reversed, times one to two by the rank of the last 250 returns.

    ((-1 * sign(((close - delay(close, 7)) + delta(close, 7)))) * (1 + rank((1 + sum(returns, 250)))))

    Source: Kakushadze (2016), Alpha#19.
    """
    return -np.sign(close - delay(close, 7) + delta(close, 7)) * (1.0 + rank(1.0 + ts_sum(returns, 250)))


@across("share", warmup=1, lower=-1.0, upper=0.0)
def alpha020(open: Matrix, high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Ranks of the open's gaps over the last high, close and low, multiplied, reversed.

    (((-1 * rank((open - delay(high, 1)))) * rank((open - delay(close, 1)))) * rank((open - delay(low, 1))))

    Source: Kakushadze (2016), Alpha#20.
    """
    return -rank(open - delay(high, 1)) * rank(open - delay(close, 1)) * rank(open - delay(low, 1))
