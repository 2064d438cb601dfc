"""Alphas 21 to 40 of the family alpha101; what they share, and which are left out, stands in alpha101.py."""

from __future__ import annotations

import numpy as np

from quant_core.features.alpha101_operators import (
    across,
    alone,
    choose,
    correlation,
    decay_linear,
    delay,
    delta,
    divide,
    either,
    equal,
    less,
    log,
    product,
    rank,
    scale,
    stddev,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@alone("sign", warmup=7, lower=-1.0, upper=1.0, memory=20)
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


@across("correlation", warmup=19, lower=-2.0, upper=2.0)
def alpha022(high: Matrix, close: Matrix, volume: Matrix) -> Matrix:
    """Change over 5 bars of the correlation of high and volume, times the rank of the close's deviation, reversed.

    (-1 * (delta(correlation(high, volume, 5), 5) * rank(stddev(close, 20))))

    Source: Kakushadze (2016), Alpha#22.
    """
    return -(delta(correlation(high, volume, 5), 5) * rank(stddev(close, 20)))


@alone("quote currency", warmup=19)
def alpha023(high: Matrix) -> Matrix:
    """Change of the high over 2 bars, reversed, where the high exceeds its 20-bar mean; else zero.

    (((sum(high, 20) / 20) < high) ? (-1 * delta(high, 2)) : 0)

    Source: Kakushadze (2016), Alpha#23.
    """
    return choose(less(ts_sum(high, 20) / 20, high), -delta(high, 2), 0.0)


@alone("quote currency", warmup=199)
def alpha024(close: Matrix) -> Matrix:
    """Height of the close over its 100-bar low where its mean rose by up to 5 %, else its 3-bar change; reversed.

    ((((delta((sum(close, 100) / 100), 100) / delay(close, 100)) < 0.05) || ((delta((sum(close, 100) / 100), 100) /
    delay(close, 100)) == 0.05)) ? (-1 * (close - ts_min(close, 100))) : (-1 * delta(close, 3)))

    Source: Kakushadze (2016), Alpha#24.
    """
    growth = divide(delta(ts_sum(close, 100) / 100, 100), delay(close, 100))
    is_flat = either(less(growth, 0.05), equal(growth, 0.05))
    return choose(is_flat, -(close - ts_min(close, 100)), -delta(close, 3))


@across("share", warmup=19, lower=0.0, upper=1.0)
def alpha025(high: Matrix, close: Matrix, vwap: Matrix, returns: Matrix, adv20: Matrix) -> Matrix:
    """Rank of the reversed return times adv20, average price and the high's distance over the close.

    rank(((((-1 * returns) * adv20) * vwap) * (high - close)))

    Source: Kakushadze (2016), Alpha#25.
    """
    return rank(-returns * adv20 * vwap * (high - close))


@alone("correlation", warmup=10, lower=-1.0, upper=1.0)
def alpha026(high: Matrix, volume: Matrix) -> Matrix:
    """Highest of the last 3 correlations, over 5 bars each, of the places of volume and high among 5, reversed.

    (-1 * ts_max(correlation(ts_rank(volume, 5), ts_rank(high, 5), 5), 3))

    Source: Kakushadze (2016), Alpha#26.
    """
    return -ts_max(correlation(ts_rank(volume, 5), ts_rank(high, 5), 5), 3)


@across("sign", warmup=6, lower=-1.0, upper=1.0)
def alpha027(rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Minus one where the correlation of the ranks of volume and average price ranks above a half, else one.

    ((0.5 < rank((sum(correlation(rank(volume), rank(vwap), 6), 2) / 2.0))) ? (-1 * 1) : 1)

    Source: Kakushadze (2016), Alpha#27.
    """
    mean = ts_sum(correlation(rank_volume, rank_vwap, 6), 2) / 2.0
    return choose(less(0.5, rank(mean)), -1.0, 1.0)


@across("share of the row", warmup=23, lower=-1.0, upper=1.0)
def alpha028(high: Matrix, low: Matrix, close: Matrix, adv20: Matrix) -> Matrix:
    """Middle of the bar over the close plus the 5-bar correlation of adv20 and low, scaled over all symbols.

    scale(((correlation(adv20, low, 5) + ((high + low) / 2)) - close))

    Source: Kakushadze (2016), Alpha#28.
    """
    return scale(correlation(adv20, low, 5) + (high + low) / 2 - close)


@across("share", warmup=11, lower=0.0, upper=2.0)
def alpha029(close: Matrix, returns: Matrix) -> Matrix:
    """Lowest in 5 bars of the rank of a reversed 5-bar move, plus the place of the return 6 bars ago, reversed.

    (min(product(rank(rank(scale(log(sum(ts_min(rank(rank((-1 * rank(delta((close - 1), 5))))), 2), 1))))), 1), 5) +
    ts_rank(delay((-1 * returns), 6), 5))

    The log, the scale and the product of one bar are the paper's; none of them moves a rank.

    Source: Kakushadze (2016), Alpha#29.
    """
    reversal = rank(rank(-rank(delta(close - 1, 5))))
    found = rank(rank(scale(log(ts_sum(ts_min(reversal, 2), 1)))))
    return ts_min(product(found, 1), 5) + ts_rank(delay(-returns, 6), 5)


@across("share", warmup=19, lower=0.0, upper=1.0)
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


@across("share", warmup=30, lower=-1.0, upper=3.0)
def alpha031(low: Matrix, close: Matrix, adv20: Matrix) -> Matrix:
    """Rank of the fading 10-bar reversal, plus the 3-bar one's, plus the sign of adv20's correlation with the low.

    ((rank(rank(rank(decay_linear((-1 * rank(rank(delta(close, 10)))), 10)))) + rank((-1 * delta(close, 3)))) +
    sign(scale(correlation(adv20, low, 12))))

    Source: Kakushadze (2016), Alpha#31.
    """
    fading = rank(rank(rank(decay_linear(-rank(rank(delta(close, 10))), 10))))
    return fading + rank(-delta(close, 3)) + np.sign(scale(correlation(adv20, low, 12)))


@across("share of the row", warmup=234, lower=-21.0, upper=21.0)
def alpha032(close: Matrix, vwap: Matrix) -> Matrix:
    """Mean of 7 closes over the last, scaled, plus 20 times the scaled correlation of average price and earlier close.

    (scale(((sum(close, 7) / 7) - close)) + (20 * scale(correlation(vwap, delay(close, 5), 230))))

    Source: Kakushadze (2016), Alpha#32.
    """
    return scale(ts_sum(close, 7) / 7 - close) + 20 * scale(correlation(vwap, delay(close, 5), 230))


@across("share", warmup=0, lower=0.0, upper=1.0)
def alpha033(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the open over the close, less one: high where the bar fell most.

    rank((-1 * ((1 - (open / close))^1)))

    Source: Kakushadze (2016), Alpha#33.
    """
    return rank(-(1 - open / close))


@across("share", warmup=5, lower=0.0, upper=1.0)
def alpha034(close: Matrix, returns: Matrix) -> Matrix:
    """Rank of lately fallen volatility together with a fallen close.

    rank(((1 - rank((stddev(returns, 2) / stddev(returns, 5)))) + (1 - rank(delta(close, 1)))))

    Source: Kakushadze (2016), Alpha#34.
    """
    calm = 1 - rank(divide(stddev(returns, 2), stddev(returns, 5)))
    return rank(calm + (1 - rank(delta(close, 1))))


@alone("share", warmup=32, lower=0.0, upper=1.0)
def alpha035(high: Matrix, low: Matrix, close: Matrix, volume: Matrix, returns: Matrix) -> Matrix:
    """Place of volume among 32, times how low close plus range stands among 16 and the return among 32.

    ((Ts_Rank(volume, 32) * (1 - Ts_Rank(((close + high) - low), 16))) * (1 - Ts_Rank(returns, 32)))

    Source: Kakushadze (2016), Alpha#35.
    """
    return ts_rank(volume, 32) * (1 - ts_rank(close + high - low, 16)) * (1 - ts_rank(returns, 32))


@across("share", warmup=199, lower=0.0)
def alpha036(open: Matrix, close: Matrix, volume: Matrix, vwap: Matrix, returns: Matrix, adv20: Matrix) -> Matrix:
    """Weighted ranks of five: body and earlier volume, body reversed, an old return, price and value, height of trend.

    (((((2.21 * rank(correlation((close - open), delay(volume, 1), 15))) + (0.7 * rank((open - close)))) + (0.73 *
    rank(Ts_Rank(delay((-1 * returns), 6), 5)))) + rank(abs(correlation(vwap, adv20, 6)))) + (0.6 * rank((((sum(close,
    200) / 200) - open) * (close - open)))))

    Source: Kakushadze (2016), Alpha#36.
    """
    body = 2.21 * rank(correlation(close - open, delay(volume, 1), 15)) + 0.7 * rank(open - close)
    past = 0.73 * rank(ts_rank(delay(-returns, 6), 5))
    trend = 0.6 * rank((ts_sum(close, 200) / 200 - open) * (close - open))
    return body + past + rank(np.abs(correlation(vwap, adv20, 6))) + trend


@across("share", warmup=200, lower=0.0, upper=2.0)
def alpha037(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the 200-bar correlation of the last bar's fall with the close, plus the rank of today's fall.

    (rank(correlation(delay((open - close), 1), close, 200)) + rank((open - close)))

    Source: Kakushadze (2016), Alpha#37.
    """
    return rank(correlation(delay(open - close, 1), close, 200)) + rank(open - close)


@across("share", warmup=9, lower=-1.0, upper=0.0)
def alpha038(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the close's place among 10, times the rank of close over open, reversed.

    ((-1 * rank(Ts_Rank(close, 10))) * rank((close / open)))

    Source: Kakushadze (2016), Alpha#38.
    """
    return -rank(ts_rank(close, 10)) * rank(close / open)


@across("share", warmup=250, lower=-2.0, upper=0.0)
def alpha039(close: Matrix, volume: Matrix, returns: Matrix, adv20: Matrix) -> Matrix:
    """Rank of the 7-bar change on fading volume, reversed, times one to two by the rank of the last 250 returns.

    ((-1 * rank((delta(close, 7) * (1 - rank(decay_linear((volume / adv20), 9)))))) * (1 + rank(sum(returns, 250))))

    Source: Kakushadze (2016), Alpha#39.
    """
    faded = 1 - rank(decay_linear(divide(volume, adv20), 9))
    return -rank(delta(close, 7) * faded) * (1 + rank(ts_sum(returns, 250)))


@across("correlation", warmup=9, lower=-1.0, upper=1.0)
def alpha040(high: Matrix, volume: Matrix) -> Matrix:
    """Rank of the high's 10-bar deviation, times the 10-bar correlation of high and volume, reversed.

    ((-1 * rank(stddev(high, 10))) * correlation(high, volume, 10))

    Source: Kakushadze (2016), Alpha#40.
    """
    return -rank(stddev(high, 10)) * correlation(high, volume, 10)
