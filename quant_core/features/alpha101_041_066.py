"""Alphas 41 to 66 of the family alpha101; what they share, and which are left out, stands in alpha101.py."""

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
    less,
    power,
    rank,
    scale,
    ts_argmax,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@alone("quote currency", warmup=0)
def alpha041(high: Matrix, low: Matrix, vwap: Matrix) -> Matrix:
    """Geometric mean of high and low, less the average price.

    (((high * low)^0.5) - vwap)

    Source: Kakushadze (2016), Alpha#41.
    """
    return np.sqrt(high * low) - vwap


@across("ratio", warmup=0, lower=0.0)
def alpha042(close: Matrix, vwap: Matrix) -> Matrix:
    """Rank of the average price over the close, divided by the rank of their sum.

    (rank((vwap - close)) / rank((vwap + close)))

    Source: Kakushadze (2016), Alpha#42.
    """
    return rank(vwap - close) / rank(vwap + close)


@alone("share", warmup=38, lower=0.0, upper=1.0)
def alpha043(close: Matrix, volume: Matrix, adv20: Matrix) -> Matrix:
    """Place of relative volume among 20, times the place of the reversed 7-bar change among 8.

    (ts_rank((volume / adv20), 20) * ts_rank((-1 * delta(close, 7)), 8))

    Source: Kakushadze (2016), Alpha#43.
    """
    return ts_rank(divide(volume, adv20), 20) * ts_rank(-delta(close, 7), 8)


@across("correlation", warmup=4, lower=-1.0, upper=1.0)
def alpha044(high: Matrix, rank_volume: Matrix) -> Matrix:
    """Correlation over 5 bars of the high and the rank of volume, reversed.

    (-1 * correlation(high, rank(volume), 5))

    Source: Kakushadze (2016), Alpha#44.
    """
    return -correlation(high, rank_volume, 5)


@across("correlation", warmup=24, lower=-1.0, upper=1.0)
def alpha045(close: Matrix, volume: Matrix) -> Matrix:
    """Ranks of older closes and of two trends agreeing, times the 2-bar correlation of close and volume, reversed.

    (-1 * ((rank((sum(delay(close, 5), 20) / 20)) * correlation(close, volume, 2)) * rank(correlation(sum(close, 5),
    sum(close, 20), 2))))

    Source: Kakushadze (2016), Alpha#45.
    """
    older = rank(ts_sum(delay(close, 5), 20) / 20)
    trends = rank(correlation(ts_sum(close, 5), ts_sum(close, 20), 2))
    return -(older * correlation(close, volume, 2) * trends)


@alone("quote currency", warmup=20)
def alpha046(close: Matrix) -> Matrix:
    """Minus one where the 10-bar trend turned up by 0.25 a bar, one where it turned down, else the change reversed.

    ((0.25 < (((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10))) ? (-1 * 1) :
    (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < 0) ? 1 : ((-1 * 1) * (close -
    delay(close, 1)))))

    Source: Kakushadze (2016), Alpha#46.
    """
    turn = (delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10
    return choose(less(0.25, turn), -1.0, choose(less(turn, 0.0), 1.0, -(close - delay(close, 1))))


@across("share", warmup=19)
def alpha047(high: Matrix, close: Matrix, volume: Matrix, vwap: Matrix, adv20: Matrix) -> Matrix:
    """Relative volume of the cheap, times the high's height over the close, less a rank of the average price's rise.

    ((((rank((1 / close)) * volume) / adv20) * ((high * rank((high - close))) / (sum(high, 5) / 5))) - rank((vwap -
    delay(vwap, 5))))

    Source: Kakushadze (2016), Alpha#47.
    """
    cheap = divide(rank(1 / close) * volume, adv20)
    height = high * rank(high - close) / (ts_sum(high, 5) / 5)
    return cheap * height - rank(vwap - delay(vwap, 5))


@alone("quote currency", warmup=20)
def alpha049(close: Matrix) -> Matrix:
    """One where the close's 10-bar trend turned down by more than 0.1 a bar, else its last change reversed.

    (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < (-1 * 0.1)) ? 1 : ((-1 * 1) *
    (close - delay(close, 1))))

    Source: Kakushadze (2016), Alpha#49.
    """
    turn = (delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10
    return choose(less(turn, -0.1), 1.0, -(close - delay(close, 1)))


@across("share", warmup=8, lower=-1.0, upper=0.0)
def alpha050(rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Highest of the last 5 ranks of the 5-bar correlation of the ranks of volume and average price, reversed.

    (-1 * ts_max(rank(correlation(rank(volume), rank(vwap), 5)), 5))

    Source: Kakushadze (2016), Alpha#50.
    """
    return -ts_max(rank(correlation(rank_volume, rank_vwap, 5)), 5)


@alone("quote currency", warmup=20)
def alpha051(close: Matrix) -> Matrix:
    """One where the close's 10-bar trend turned down by more than 0.05 a bar, else its last change reversed.

    (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < (-1 * 0.05)) ? 1 : ((-1 * 1)
    * (close - delay(close, 1))))

    Source: Kakushadze (2016), Alpha#51.
    """
    turn = (delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10
    return choose(less(turn, -0.05), 1.0, -(close - delay(close, 1)))


@across("quote currency", warmup=240)
def alpha052(low: Matrix, volume: Matrix, returns: Matrix) -> Matrix:
    """Fall of the 5-bar low within 5 bars, times the rank of 220 older returns and the place of volume among 5.

    ((((-1 * ts_min(low, 5)) + delay(ts_min(low, 5), 5)) * rank(((sum(returns, 240) - sum(returns, 20)) / 220))) *
    ts_rank(volume, 5))

    Source: Kakushadze (2016), Alpha#52.
    """
    lowest = ts_min(low, 5)
    older = rank((ts_sum(returns, 240) - ts_sum(returns, 20)) / 220)
    return (-lowest + delay(lowest, 5)) * older * ts_rank(volume, 5)


@alone("ratio", warmup=9)
def alpha053(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Change over 9 bars of how far the close stands from the bar's low against its high, reversed.

    (-1 * delta((((close - low) - (high - close)) / (close - low)), 9))

    Source: Kakushadze (2016), Alpha#53.
    """
    return -delta(divide((close - low) - (high - close), close - low), 9)


@alone("ratio", warmup=0)
def alpha054(open: Matrix, high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Height of the close in the bar, times the fifth power of open over close, reversed.

    ((-1 * ((low - close) * (open^5))) / ((low - high) * (close^5)))

    Source: Kakushadze (2016), Alpha#54.
    """
    return divide(-((low - close) * power(open, 5)), (low - high) * power(close, 5))


@across("correlation", warmup=16, lower=-1.0, upper=1.0)
def alpha055(high: Matrix, low: Matrix, close: Matrix, rank_volume: Matrix) -> Matrix:
    """Correlation over 6 bars of the ranks of the close's place in the 12-bar range and of volume, reversed.

    (-1 * correlation(rank(((close - ts_min(low, 12)) / (ts_max(high, 12) - ts_min(low, 12)))), rank(volume), 6))

    Source: Kakushadze (2016), Alpha#55.
    """
    lowest = ts_min(low, 12)
    return -correlation(rank(divide(close - lowest, ts_max(high, 12) - lowest)), rank_volume, 6)


@across("quote currency", warmup=30)
def alpha057(close: Matrix, vwap: Matrix) -> Matrix:
    """Close over the average price, divided by the fading rank of the bars since the 30-bar high, reversed.

    (0 - (1 * ((close - vwap) / decay_linear(rank(ts_argmax(close, 30)), 2))))

    Source: Kakushadze (2016), Alpha#57.
    """
    return 0 - (close - vwap) / decay_linear(rank(ts_argmax(close, 30)), 2)


@across("share of the row", warmup=9, lower=-2.0, upper=1.0)
def alpha060(high: Matrix, low: Matrix, close: Matrix, volume: Matrix) -> Matrix:
    """Scaled rank of the bars since the 10-bar high, less twice that of volume signed by the close's place in the bar.

    (0 - (1 * ((2 * scale(rank(((((close - low) - (high - close)) / (high - low)) * volume)))) -
    scale(rank(ts_argmax(close, 10))))))

    Source: Kakushadze (2016), Alpha#60.
    """
    pressure = divide((close - low) - (high - close), high - low) * volume
    return 0 - (2 * scale(rank(pressure)) - scale(rank(ts_argmax(close, 10))))


@across("flag", warmup=195, lower=0.0, upper=1.0)
def alpha061(vwap: Matrix, adv180: Matrix) -> Matrix:
    """One where the average price over its 16-bar low ranks below its correlation with adv180, else zero.

    (rank((vwap - ts_min(vwap, 16.1219))) < rank(correlation(vwap, adv180, 17.9282)))

    Source: Kakushadze (2016), Alpha#61.
    """
    return less(rank(vwap - ts_min(vwap, 16.1219)), rank(correlation(vwap, adv180, 17.9282)))


@across("flag", warmup=48, lower=-1.0, upper=0.0)
def alpha062(high: Matrix, low: Matrix, vwap: Matrix, adv20: Matrix, rank_open: Matrix, rank_high: Matrix) -> Matrix:
    """Minus one where the correlation of average price and value ranks below the rank of opening low, else zero.

    ((rank(correlation(vwap, sum(adv20, 22.4101), 9.91009)) < rank(((rank(open) + rank(open)) < (rank(((high + low) /
    2)) + rank(high))))) * -1)

    Source: Kakushadze (2016), Alpha#62.
    """
    opened_low = less(rank_open + rank_open, rank((high + low) / 2) + rank_high)
    return -less(rank(correlation(vwap, ts_sum(adv20, 22.4101), 9.91009)), rank(opened_low))


@across("flag", warmup=145, lower=-1.0, upper=0.0)
def alpha064(open: Matrix, high: Matrix, low: Matrix, vwap: Matrix, adv120: Matrix) -> Matrix:
    """Minus one where the correlation of summed price and value ranks below the price's 3-bar change, else zero.

    ((rank(correlation(sum(((open * 0.178404) + (low * (1 - 0.178404))), 12.7054), sum(adv120, 12.7054), 16.6208)) <
    rank(delta(((((high + low) / 2) * 0.178404) + (vwap * (1 - 0.178404))), 3.69741))) * -1)

    Source: Kakushadze (2016), Alpha#64.
    """
    price = open * 0.178404 + low * (1 - 0.178404)
    together = correlation(ts_sum(price, 12.7054), ts_sum(adv120, 12.7054), 16.6208)
    middle = (high + low) / 2 * 0.178404 + vwap * (1 - 0.178404)
    return -less(rank(together), rank(delta(middle, 3.69741)))


@across("flag", warmup=71, lower=-1.0, upper=0.0)
def alpha065(open: Matrix, vwap: Matrix, adv60: Matrix) -> Matrix:
    """Minus one where the correlation of price and value ranks below the open over its 13-bar low, else zero.

    ((rank(correlation(((open * 0.00817205) + (vwap * (1 - 0.00817205))), sum(adv60, 8.6911), 6.40374)) < rank((open -
    ts_min(open, 13.635)))) * -1)

    Source: Kakushadze (2016), Alpha#65.
    """
    price = open * 0.00817205 + vwap * (1 - 0.00817205)
    together = correlation(price, ts_sum(adv60, 8.6911), 6.40374)
    return -less(rank(together), rank(open - ts_min(open, 13.635)))


@across("share", warmup=15, lower=-2.0, upper=0.0)
def alpha066(open: Matrix, high: Matrix, low: Matrix, vwap: Matrix) -> Matrix:
    """Rank of the average price's fading change, plus the place among 6 of the low's fading gap to it, reversed.

    ((rank(decay_linear(delta(vwap, 3.51013), 7.23052)) + Ts_Rank(decay_linear(((((low * 0.96633) + (low * (1 -
    0.96633))) - vwap) / (open - ((high + low) / 2))), 11.4157), 6.72611)) * -1)

    Source: Kakushadze (2016), Alpha#66.
    """
    gap = divide(low * 0.96633 + low * (1 - 0.96633) - vwap, open - (high + low) / 2)
    return -(rank(decay_linear(delta(vwap, 3.51013), 7.23052)) + ts_rank(decay_linear(gap, 11.4157), 6.72611))
