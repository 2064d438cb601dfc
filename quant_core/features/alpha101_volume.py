"""Formulas of the family alpha101 that read volume or traded value (`adv{d}`) and correlate nothing with it.

Correlations are in alpha101_volume_correlation.py and alpha101_value_correlation.py; what the family shares, and what
it leaves out, in alpha101.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.alpha101_operators import (
    choose,
    cross_sectional,
    decay_linear,
    delay,
    delta,
    divide,
    either,
    equal,
    less,
    per_symbol,
    rank,
    scale,
    stddev,
    ts_argmax,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@per_symbol("share", warmup=19, lower=-1.0, upper=1.0, memory=67)
def alpha007(close: Matrix, volume: Matrix, adv20: Matrix) -> Matrix:
    """Size of the 7-bar move among the last 60, against its direction, where volume exceeds adv20; else minus one.

    ((adv20 < volume) ? ((-1 * ts_rank(abs(delta(close, 7)), 60)) * sign(delta(close, 7))) : (-1 * 1))

    Volume and `adv20` are compared as they come; see the card of alpha101.py.

    Source: Kakushadze (2016), Alpha#7.
    """
    move = delta(close, 7)
    return choose(less(adv20, volume), -ts_rank(np.abs(move), 60) * np.sign(move), -1.0)


@cross_sectional("share", warmup=3, lower=0.0, upper=2.0)
def alpha011(close: Matrix, volume: Matrix, vwap: Matrix) -> Matrix:
    """Ranks of the highest and lowest of 3 gaps of average price over close, times that of volume's 3-bar change.

    ((rank(ts_max((vwap - close), 3)) + rank(ts_min((vwap - close), 3))) * rank(delta(volume, 3)))

    Source: Kakushadze (2016), Alpha#11.
    """
    gap = vwap - close
    return (rank(ts_max(gap, 3)) + rank(ts_min(gap, 3))) * rank(delta(volume, 3))


@per_symbol("quote currency", warmup=1)
def alpha012(close: Matrix, volume: Matrix) -> Matrix:
    """Last change of the close, reversed where volume rose, zero where volume stood still.

    (sign(delta(volume, 1)) * (-1 * delta(close, 1)))

    Source: Kakushadze (2016), Alpha#12.
    """
    return np.sign(delta(volume, 1)) * -delta(close, 1)


@cross_sectional("share", warmup=23, lower=-1.0, upper=0.0)
def alpha017(close: Matrix, volume: Matrix, adv20: Matrix) -> Matrix:
    """Ranks of the close's place among 10, its acceleration and relative volume's place among 5, multiplied, reversed.

    (((-1 * rank(ts_rank(close, 10))) * rank(delta(delta(close, 1), 1))) * rank(ts_rank((volume / adv20), 5)))

    Source: Kakushadze (2016), Alpha#17.
    """
    acceleration = delta(delta(close, 1), 1)
    return -rank(ts_rank(close, 10)) * rank(acceleration) * rank(ts_rank(divide(volume, adv20), 5))


@per_symbol("sign", warmup=7, lower=-1.0, upper=1.0, memory=20)
def alpha021(close: Matrix, volume: Matrix, adv20: Matrix) -> Matrix:
    """Minus one after a rise past a deviation of 8 closes, one after such a fall, else one where volume reaches adv20.

    ((((sum(close, 8) / 8) + stddev(close, 8)) < (sum(close, 2) / 2)) ? (-1 * 1) : (((sum(close, 2) / 2) < ((sum(close,
    8) / 8) - stddev(close, 8))) ? 1 : (((1 < (volume / adv20)) || ((volume / adv20) == 1)) ? 1 : (-1 * 1))))

    Volume is divided by `adv20` as they come; see the card of alpha101.py.

    Source: Kakushadze (2016), Alpha#21.
    """
    mean, fast, deviation = ts_sum(close, 8) / 8, ts_sum(close, 2) / 2, stddev(close, 8)
    relative = divide(volume, adv20)
    busy = choose(either(less(1.0, relative), equal(relative, 1.0)), 1.0, -1.0)
    return choose(less(mean + deviation, fast), -1.0, choose(less(fast, mean - deviation), 1.0, busy))


@cross_sectional("share", warmup=19, lower=0.0, upper=1.0)
def alpha025(high: Matrix, close: Matrix, vwap: Matrix, returns: Matrix, adv20: Matrix) -> Matrix:
    """Rank of the reversed return times adv20, average price and the high's distance over the close.

    rank(((((-1 * returns) * adv20) * vwap) * (high - close)))

    Source: Kakushadze (2016), Alpha#25.
    """
    return rank(-returns * adv20 * vwap * (high - close))


@cross_sectional("share", warmup=19, lower=0.0, upper=1.0)
def alpha030(close: Matrix, volume: Matrix) -> Matrix:
    """Share of 20 bars' volume that fell in the last 5, larger the more of the last 3 closes fell.

    (((1.0 - rank(((sign((close - delay(close, 1))) + sign((delay(close, 1) - delay(close, 2)))) + sign((delay(close, 2)
    - delay(close, 3)))))) * sum(volume, 5)) / sum(volume, 20))

    Source: Kakushadze (2016), Alpha#30.
    """
    first = np.sign(close - delay(close, 1))
    second = np.sign(delay(close, 1) - delay(close, 2))
    third = np.sign(delay(close, 2) - delay(close, 3))
    return divide((1.0 - rank(first + second + third)) * ts_sum(volume, 5), ts_sum(volume, 20))


@per_symbol("share", warmup=32, lower=0.0, upper=1.0)
def alpha035(high: Matrix, low: Matrix, close: Matrix, volume: Matrix, returns: Matrix) -> Matrix:
    """Place of volume among 32, times how low close plus range stands among 16 and the return among 32.

    ((Ts_Rank(volume, 32) * (1 - Ts_Rank(((close + high) - low), 16))) * (1 - Ts_Rank(returns, 32)))

    Source: Kakushadze (2016), Alpha#35.
    """
    return ts_rank(volume, 32) * (1 - ts_rank(close + high - low, 16)) * (1 - ts_rank(returns, 32))


@cross_sectional("share", warmup=250, lower=-2.0, upper=0.0)
def alpha039(close: Matrix, volume: Matrix, returns: Matrix, adv20: Matrix) -> Matrix:
    """Rank of the 7-bar change on fading volume, reversed, times one to two by the rank of the last 250 returns.

    ((-1 * rank((delta(close, 7) * (1 - rank(decay_linear((volume / adv20), 9)))))) * (1 + rank(sum(returns, 250))))

    Source: Kakushadze (2016), Alpha#39.
    """
    faded = 1 - rank(decay_linear(divide(volume, adv20), 9))
    return -rank(delta(close, 7) * faded) * (1 + rank(ts_sum(returns, 250)))


@per_symbol("share", warmup=38, lower=0.0, upper=1.0)
def alpha043(close: Matrix, volume: Matrix, adv20: Matrix) -> Matrix:
    """Place of relative volume among 20, times the place of the reversed 7-bar change among 8.

    (ts_rank((volume / adv20), 20) * ts_rank((-1 * delta(close, 7)), 8))

    Source: Kakushadze (2016), Alpha#43.
    """
    return ts_rank(divide(volume, adv20), 20) * ts_rank(-delta(close, 7), 8)


@cross_sectional("share", warmup=19)
def alpha047(high: Matrix, close: Matrix, volume: Matrix, vwap: Matrix, adv20: Matrix) -> Matrix:
    """Relative volume of the cheap, times the high's height over the close, less a rank of the average price's rise.

    ((((rank((1 / close)) * volume) / adv20) * ((high * rank((high - close))) / (sum(high, 5) / 5))) - rank((vwap -
    delay(vwap, 5))))

    Source: Kakushadze (2016), Alpha#47.
    """
    cheap = divide(rank(1 / close) * volume, adv20)
    height = high * rank(high - close) / (ts_sum(high, 5) / 5)
    return cheap * height - rank(vwap - delay(vwap, 5))


@cross_sectional("quote currency", warmup=240)
def alpha052(low: Matrix, volume: Matrix, returns: Matrix) -> Matrix:
    """Fall of the 5-bar low within 5 bars, times the rank of 220 older returns and the place of volume among 5.

    ((((-1 * ts_min(low, 5)) + delay(ts_min(low, 5), 5)) * rank(((sum(returns, 240) - sum(returns, 20)) / 220))) *
    ts_rank(volume, 5))

    Source: Kakushadze (2016), Alpha#52.
    """
    lowest = ts_min(low, 5)
    older = rank((ts_sum(returns, 240) - ts_sum(returns, 20)) / 220)
    return (-lowest + delay(lowest, 5)) * older * ts_rank(volume, 5)


@cross_sectional("share of the row", warmup=9, lower=-2.0, upper=1.0)
def alpha060(high: Matrix, low: Matrix, close: Matrix, volume: Matrix) -> Matrix:
    """Scaled rank of the bars since the 10-bar high, less twice that of volume signed by the close's place in the bar.

    (0 - (1 * ((2 * scale(rank(((((close - low) - (high - close)) / (high - low)) * volume)))) -
    scale(rank(ts_argmax(close, 10))))))

    Source: Kakushadze (2016), Alpha#60.
    """
    pressure = divide((close - low) - (high - close), high - low) * volume
    return 0 - (2 * scale(rank(pressure)) - scale(rank(ts_argmax(close, 10))))


@cross_sectional("quote currency", warmup=6)
def alpha083(high: Matrix, low: Matrix, close: Matrix, vwap: Matrix, rank_volume: Matrix) -> Matrix:
    """Ranks of the range two bars ago and of volume, times average price over close by today's range.

    ((rank(delay(((high - low) / (sum(close, 5) / 5)), 2)) * rank(rank(volume))) / (((high - low) / (sum(close, 5) / 5))
    / (vwap - close)))

    Source: Kakushadze (2016), Alpha#83.
    """
    spread = (high - low) / (ts_sum(close, 5) / 5)
    return divide(rank(delay(spread, 2)) * rank(rank_volume), divide(spread, vwap - close))
