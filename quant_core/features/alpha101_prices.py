"""Formulas of the family alpha101 that read prices alone: open, high, low, close and returns, no volume.

Those of the average price (`vwap`) are in alpha101_average_price.py; what the family shares, and what it leaves
out, in alpha101.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.alpha101_operators import (
    choose,
    correlation,
    cross_sectional,
    delay,
    delta,
    divide,
    either,
    equal,
    less,
    log,
    per_symbol,
    power,
    product,
    rank,
    scale,
    signed_power,
    stddev,
    ts_argmax,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@cross_sectional("share", warmup=5, lower=-0.5, upper=0.5, memory=25)
def alpha001(close: Matrix, returns: Matrix) -> Matrix:
    """Rank of how many bars ago the largest of five values stood, closes or on falls volatilities, minus a half.

    (rank(Ts_ArgMax(SignedPower(((returns < 0) ? stddev(returns, 20) : close), 2.), 5)) - 0.5)

    Source: Kakushadze (2016), Alpha#1.
    """
    value = choose(less(returns, 0.0), stddev(returns, 20), close)
    return rank(ts_argmax(signed_power(value, 2), 5)) - 0.5


@cross_sectional("share", warmup=8, lower=-1.0, upper=0.0)
def alpha004(rank_low: Matrix) -> Matrix:
    """Place of the low's rank among its last 9, reversed.

    (-1 * Ts_Rank(rank(low), 9))

    Source: Kakushadze (2016), Alpha#4.
    """
    return -ts_rank(rank_low, 9)


@cross_sectional("share", warmup=15, lower=-1.0, upper=0.0)
def alpha008(open: Matrix, returns: Matrix) -> Matrix:
    """Rank of how much the 5-bar sum of opens times that of returns has grown in 10 bars, reversed.

    (-1 * rank(((sum(open, 5) * sum(returns, 5)) - delay((sum(open, 5) * sum(returns, 5)), 10))))

    Source: Kakushadze (2016), Alpha#8.
    """
    value = ts_sum(open, 5) * ts_sum(returns, 5)
    return -rank(value - delay(value, 10))


@per_symbol("quote currency", warmup=5)
def alpha009(close: Matrix) -> Matrix:
    """Last change of the close, reversed unless the last 5 changes have one sign.

    ((0 < ts_min(delta(close, 1), 5)) ? delta(close, 1) : ((ts_max(delta(close, 1), 5) < 0) ? delta(close, 1) : (-1 *
    delta(close, 1))))

    Source: Kakushadze (2016), Alpha#9.
    """
    change = delta(close, 1)
    falling = choose(less(ts_max(change, 5), 0.0), change, -change)
    return choose(less(0.0, ts_min(change, 5)), change, falling)


@cross_sectional("share", warmup=4, lower=0.0, upper=1.0)
def alpha010(close: Matrix) -> Matrix:
    """Rank of the last change of the close, reversed unless the last 4 changes have one sign.

    rank(((0 < ts_min(delta(close, 1), 4)) ? delta(close, 1) : ((ts_max(delta(close, 1), 4) < 0) ? delta(close, 1) : (-1
    * delta(close, 1)))))

    Source: Kakushadze (2016), Alpha#10.
    """
    change = delta(close, 1)
    falling = choose(less(ts_max(change, 4), 0.0), change, -change)
    return rank(choose(less(0.0, ts_min(change, 4)), change, falling))


@cross_sectional("share", warmup=9, lower=-1.0, upper=0.0)
def alpha018(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the sum of the bar's body, its size's 5-bar deviation and close's correlation with open, reversed.

    (-1 * rank(((stddev(abs((close - open)), 5) + (close - open)) + correlation(close, open, 10))))

    Source: Kakushadze (2016), Alpha#18.
    """
    body = close - open
    return -rank(stddev(np.abs(body), 5) + body + correlation(close, open, 10))


@cross_sectional("share", warmup=250, lower=-2.0, upper=2.0)
def alpha019(close: Matrix, returns: Matrix) -> Matrix:
    """Direction of the 7-bar move, reversed, times one to two by the rank of the last 250 returns.

    ((-1 * sign(((close - delay(close, 7)) + delta(close, 7)))) * (1 + rank((1 + sum(returns, 250)))))

    Source: Kakushadze (2016), Alpha#19.
    """
    return -np.sign(close - delay(close, 7) + delta(close, 7)) * (1.0 + rank(1.0 + ts_sum(returns, 250)))


@cross_sectional("share", warmup=1, lower=-1.0, upper=0.0)
def alpha020(open: Matrix, high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Ranks of the open's gaps over the last high, close and low, multiplied, reversed.

    (((-1 * rank((open - delay(high, 1)))) * rank((open - delay(close, 1)))) * rank((open - delay(low, 1))))

    Source: Kakushadze (2016), Alpha#20.
    """
    return -rank(open - delay(high, 1)) * rank(open - delay(close, 1)) * rank(open - delay(low, 1))


@per_symbol("quote currency", warmup=19)
def alpha023(high: Matrix) -> Matrix:
    """Change of the high over 2 bars, reversed, where the high exceeds its 20-bar mean; else zero.

    (((sum(high, 20) / 20) < high) ? (-1 * delta(high, 2)) : 0)

    Source: Kakushadze (2016), Alpha#23.
    """
    return choose(less(ts_sum(high, 20) / 20, high), -delta(high, 2), 0.0)


@per_symbol("quote currency", warmup=199)
def alpha024(close: Matrix) -> Matrix:
    """Height of the close over its 100-bar low where its mean rose by up to 5 %, else its 3-bar change; reversed.

    ((((delta((sum(close, 100) / 100), 100) / delay(close, 100)) < 0.05) || ((delta((sum(close, 100) / 100), 100) /
    delay(close, 100)) == 0.05)) ? (-1 * (close - ts_min(close, 100))) : (-1 * delta(close, 3)))

    Source: Kakushadze (2016), Alpha#24.
    """
    growth = divide(delta(ts_sum(close, 100) / 100, 100), delay(close, 100))
    is_flat = either(less(growth, 0.05), equal(growth, 0.05))
    return choose(is_flat, -(close - ts_min(close, 100)), -delta(close, 3))


@cross_sectional("share", warmup=11, lower=0.0, upper=2.0)
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


@cross_sectional("share", warmup=0, lower=0.0, upper=1.0)
def alpha033(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the open over the close, less one: high where the bar fell most.

    rank((-1 * ((1 - (open / close))^1)))

    Source: Kakushadze (2016), Alpha#33.
    """
    return rank(-(1 - open / close))


@cross_sectional("share", warmup=5, lower=0.0, upper=1.0)
def alpha034(close: Matrix, returns: Matrix) -> Matrix:
    """Rank of lately fallen volatility together with a fallen close.

    rank(((1 - rank((stddev(returns, 2) / stddev(returns, 5)))) + (1 - rank(delta(close, 1)))))

    Source: Kakushadze (2016), Alpha#34.
    """
    calm = 1 - rank(divide(stddev(returns, 2), stddev(returns, 5)))
    return rank(calm + (1 - rank(delta(close, 1))))


@cross_sectional("share", warmup=200, lower=0.0, upper=2.0)
def alpha037(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the 200-bar correlation of the last bar's fall with the close, plus the rank of today's fall.

    (rank(correlation(delay((open - close), 1), close, 200)) + rank((open - close)))

    Source: Kakushadze (2016), Alpha#37.
    """
    return rank(correlation(delay(open - close, 1), close, 200)) + rank(open - close)


@cross_sectional("share", warmup=9, lower=-1.0, upper=0.0)
def alpha038(open: Matrix, close: Matrix) -> Matrix:
    """Rank of the close's place among 10, times the rank of close over open, reversed.

    ((-1 * rank(Ts_Rank(close, 10))) * rank((close / open)))

    Source: Kakushadze (2016), Alpha#38.
    """
    return -rank(ts_rank(close, 10)) * rank(close / open)


@per_symbol("quote currency", warmup=20)
def alpha046(close: Matrix) -> Matrix:
    """Minus one where the 10-bar trend turned up by 0.25 a bar, one where it turned down, else the change reversed.

    ((0.25 < (((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10))) ? (-1 * 1) :
    (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < 0) ? 1 : ((-1 * 1) * (close -
    delay(close, 1)))))

    Source: Kakushadze (2016), Alpha#46.
    """
    turn = (delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10
    return choose(less(0.25, turn), -1.0, choose(less(turn, 0.0), 1.0, -(close - delay(close, 1))))


@per_symbol("quote currency", warmup=20)
def alpha049(close: Matrix) -> Matrix:
    """One where the close's 10-bar trend turned down by more than 0.1 a bar, else its last change reversed.

    (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < (-1 * 0.1)) ? 1 : ((-1 * 1) *
    (close - delay(close, 1))))

    Source: Kakushadze (2016), Alpha#49.
    """
    turn = (delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10
    return choose(less(turn, -0.1), 1.0, -(close - delay(close, 1)))


@per_symbol("quote currency", warmup=20)
def alpha051(close: Matrix) -> Matrix:
    """One where the close's 10-bar trend turned down by more than 0.05 a bar, else its last change reversed.

    (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < (-1 * 0.05)) ? 1 : ((-1 * 1)
    * (close - delay(close, 1))))

    Source: Kakushadze (2016), Alpha#51.
    """
    turn = (delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10
    return choose(less(turn, -0.05), 1.0, -(close - delay(close, 1)))


@per_symbol("ratio", warmup=9)
def alpha053(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Change over 9 bars of how far the close stands from the bar's low against its high, reversed.

    (-1 * delta((((close - low) - (high - close)) / (close - low)), 9))

    Source: Kakushadze (2016), Alpha#53.
    """
    return -delta(divide((close - low) - (high - close), close - low), 9)


@per_symbol("ratio", warmup=0)
def alpha054(open: Matrix, high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Height of the close in the bar, times the fifth power of open over close, reversed.

    ((-1 * ((low - close) * (open^5))) / ((low - high) * (close^5)))

    Source: Kakushadze (2016), Alpha#54.
    """
    return divide(-((low - close) * power(open, 5)), (low - high) * power(close, 5))


@per_symbol("ratio", warmup=0)
def alpha101(open: Matrix, high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Body of the bar over its range, a thousandth of the currency added to the range.

    ((close - open) / ((high - low) + .001))

    The thousandth is a price: it weighs on symbols that cost little.

    Source: Kakushadze (2016), Alpha#101.
    """
    return (close - open) / (high - low + 0.001)
