"""Formulas of the family alpha101 that correlate a price with traded value (`adv{d}`), and answer with a number.

Formulas that correlate with volume alone are in alpha101_volume_correlation.py, those that answer 0 or 1 in
alpha101_correlation_flags.py; what the family shares, and what it leaves out, in alpha101.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.alpha101_operators import (
    correlation,
    cross_sectional,
    decay_linear,
    delay,
    delta,
    larger,
    less,
    power,
    rank,
    scale,
    smaller,
    ts_argmax,
    ts_argmin,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@cross_sectional("share of the row", warmup=23, lower=-1.0, upper=1.0)
def alpha028(high: Matrix, low: Matrix, close: Matrix, adv20: Matrix) -> Matrix:
    """Middle of the bar over the close plus the 5-bar correlation of adv20 and low, scaled over all symbols.

    scale(((correlation(adv20, low, 5) + ((high + low) / 2)) - close))

    Source: Kakushadze (2016), Alpha#28.
    """
    return scale(correlation(adv20, low, 5) + (high + low) / 2 - close)


@cross_sectional("share", warmup=30, lower=-1.0, upper=3.0)
def alpha031(low: Matrix, close: Matrix, adv20: Matrix) -> Matrix:
    """Rank of the fading 10-bar reversal, plus the 3-bar one's, plus the sign of adv20's correlation with the low.

    ((rank(rank(rank(decay_linear((-1 * rank(rank(delta(close, 10)))), 10)))) + rank((-1 * delta(close, 3)))) +
    sign(scale(correlation(adv20, low, 12))))

    Source: Kakushadze (2016), Alpha#31.
    """
    fading = rank(rank(rank(decay_linear(-rank(rank(delta(close, 10))), 10))))
    return fading + rank(-delta(close, 3)) + np.sign(scale(correlation(adv20, low, 12)))


@cross_sectional("share", warmup=199, lower=0.0)
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


@cross_sectional("share", warmup=224, lower=0.0, upper=1.0)
def alpha071(open: Matrix, low: Matrix, close: Matrix, vwap: Matrix, adv180: Matrix) -> Matrix:
    """Larger place of two: close and value correlating, fading; squared rank of low plus open over average price.

    max(Ts_Rank(decay_linear(correlation(Ts_Rank(close, 3.43976), Ts_Rank(adv180, 12.0647), 18.0175), 4.20501),
    15.6948), Ts_Rank(decay_linear((rank(((low + open) - (vwap + vwap)))^2), 16.4662), 4.4388))

    Source: Kakushadze (2016), Alpha#71.
    """
    together = correlation(ts_rank(close, 3.43976), ts_rank(adv180, 12.0647), 18.0175)
    left = ts_rank(decay_linear(together, 4.20501), 15.6948)
    right = ts_rank(decay_linear(power(rank(low + open - (vwap + vwap)), 2), 16.4662), 4.4388)
    return larger(left, right)


@cross_sectional("ratio", warmup=55, lower=0.0)
def alpha072(high: Matrix, low: Matrix, volume: Matrix, vwap: Matrix, adv40: Matrix) -> Matrix:
    """Rank of the fading correlation of the bar's middle with value, over that of places of average price and volume.

    (rank(decay_linear(correlation(((high + low) / 2), adv40, 8.93345), 10.1519)) /
    rank(decay_linear(correlation(Ts_Rank(vwap, 3.72469), Ts_Rank(volume, 18.5188), 6.86671), 2.95011)))

    Source: Kakushadze (2016), Alpha#72.
    """
    middle = correlation((high + low) / 2, adv40, 8.93345)
    places = correlation(ts_rank(vwap, 3.72469), ts_rank(volume, 18.5188), 6.86671)
    return rank(decay_linear(middle, 10.1519)) / rank(decay_linear(places, 2.95011))


@cross_sectional("share", warmup=45, lower=0.0, upper=1.0)
def alpha077(high: Matrix, low: Matrix, vwap: Matrix, adv40: Matrix) -> Matrix:
    """Smaller of the ranks of the middle's fading gap over average price and of its fading correlation with value.

    min(rank(decay_linear(((((high + low) / 2) + high) - (vwap + high)), 20.0451)), rank(decay_linear(correlation(((high
    + low) / 2), adv40, 3.1614), 5.64125)))

    Source: Kakushadze (2016), Alpha#77.
    """
    gap = (high + low) / 2 + high - (vwap + high)
    together = correlation((high + low) / 2, adv40, 3.1614)
    return smaller(rank(decay_linear(gap, 20.0451)), rank(decay_linear(together, 5.64125)))


@cross_sectional("share", warmup=62, lower=0.0, upper=1.0)
def alpha078(low: Matrix, vwap: Matrix, adv40: Matrix, rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Rank of summed price correlating with value, to the power of the rank of price and volume correlating in ranks.

    (rank(correlation(sum(((low * 0.352233) + (vwap * (1 - 0.352233))), 19.7428), sum(adv40, 19.7428),
    6.83313))^rank(correlation(rank(vwap), rank(volume), 5.77492)))

    Source: Kakushadze (2016), Alpha#78.
    """
    price = ts_sum(low * 0.352233 + vwap * (1 - 0.352233), 19.7428)
    exponent = rank(correlation(rank_vwap, rank_volume, 5.77492))
    return power(rank(correlation(price, ts_sum(adv40, 19.7428), 6.83313)), exponent)


@cross_sectional("share", warmup=37, lower=0.0, upper=1.0)
def alpha085(high: Matrix, low: Matrix, close: Matrix, volume: Matrix, adv30: Matrix) -> Matrix:
    """Rank of price correlating with adv30, to the power of the rank of the places of middle and volume correlating.

    (rank(correlation(((high * 0.876703) + (close * (1 - 0.876703))), adv30, 9.61331))^rank(correlation(Ts_Rank(((high +
    low) / 2), 3.70596), Ts_Rank(volume, 10.1595), 7.11408)))

    Source: Kakushadze (2016), Alpha#85.
    """
    value = rank(correlation(high * 0.876703 + close * (1 - 0.876703), adv30, 9.61331))
    places = correlation(ts_rank((high + low) / 2, 3.70596), ts_rank(volume, 10.1595), 7.11408)
    return power(value, rank(places))


@cross_sectional("share", warmup=91, lower=0.0, upper=1.0)
def alpha088(
    close: Matrix, adv60: Matrix, rank_open: Matrix, rank_high: Matrix, rank_low: Matrix, rank_close: Matrix
) -> Matrix:
    """Smaller of the rank of the bar's fading fall in ranks and of the place of close and value correlating.

    min(rank(decay_linear(((rank(open) + rank(low)) - (rank(high) + rank(close))), 8.06882)),
    Ts_Rank(decay_linear(correlation(Ts_Rank(close, 8.44728), Ts_Rank(adv60, 20.6966), 8.01266), 6.65053), 2.61957))

    Source: Kakushadze (2016), Alpha#88.
    """
    fall = rank(decay_linear(rank_open + rank_low - (rank_high + rank_close), 8.06882))
    together = correlation(ts_rank(close, 8.44728), ts_rank(adv60, 20.6966), 8.01266)
    return smaller(fall, ts_rank(decay_linear(together, 6.65053), 2.61957))


@cross_sectional("share", warmup=45, lower=0.0, upper=1.0)
def alpha092(open: Matrix, high: Matrix, low: Matrix, close: Matrix, adv30: Matrix, rank_low: Matrix) -> Matrix:
    """Smaller of two places: of bars ending under low plus open, fading, and of low and value correlating in ranks.

    min(Ts_Rank(decay_linear(((((high + low) / 2) + close) < (low + open)), 14.7221), 18.8683),
    Ts_Rank(decay_linear(correlation(rank(low), rank(adv30), 7.58555), 6.94024), 6.80584))

    Source: Kakushadze (2016), Alpha#92.
    """
    under = decay_linear(less((high + low) / 2 + close, low + open), 14.7221)
    together = decay_linear(correlation(rank_low, rank(adv30), 7.58555), 6.94024)
    return smaller(ts_rank(under, 18.8683), ts_rank(together, 6.80584))


@cross_sectional("share", warmup=80, lower=-1.0, upper=0.0)
def alpha094(vwap: Matrix, adv60: Matrix) -> Matrix:
    """Rank of the average price over its 11-bar low, to the power of a place of its correlation with value, reversed.

    ((rank((vwap - ts_min(vwap, 11.5783)))^Ts_Rank(correlation(Ts_Rank(vwap, 19.6462), Ts_Rank(adv60, 4.02992),
    18.0926), 2.70756)) * -1)

    Source: Kakushadze (2016), Alpha#94.
    """
    together = correlation(ts_rank(vwap, 19.6462), ts_rank(adv60, 4.02992), 18.0926)
    return -power(rank(vwap - ts_min(vwap, 11.5783)), ts_rank(together, 2.70756))


@cross_sectional("share", warmup=89, lower=-1.0, upper=0.0, memory=101)
def alpha096(close: Matrix, adv60: Matrix, rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Larger place of two, reversed: average price and volume correlating, fading; when close and value last did.

    (max(Ts_Rank(decay_linear(correlation(rank(vwap), rank(volume), 3.83878), 4.16783), 8.38151),
    Ts_Rank(decay_linear(Ts_ArgMax(correlation(Ts_Rank(close, 7.45404), Ts_Rank(adv60, 4.13242), 3.65459), 12.6556),
    14.0365), 13.4143)) * -1)

    Of the 12 correlations behind the second place those count that are known: a place among 4 bars often stays the same
    for 3, which leaves none.

    Source: Kakushadze (2016), Alpha#96.
    """
    volumes = decay_linear(correlation(rank_vwap, rank_volume, 3.83878), 4.16783)
    together = correlation(ts_rank(close, 7.45404), ts_rank(adv60, 4.13242), 3.65459)
    since = decay_linear(ts_argmax(together, 12.6556, least=1), 14.0365)
    return -larger(ts_rank(volumes, 8.38151), ts_rank(since, 13.4143))


@cross_sectional("share", warmup=52, lower=-1.0, upper=1.0)
def alpha098(vwap: Matrix, adv5: Matrix, adv15: Matrix, rank_open: Matrix) -> Matrix:
    """Rank of average price and value correlating, fading, less that of how long since open and value did least.

    (rank(decay_linear(correlation(vwap, sum(adv5, 26.4719), 4.58418), 7.18088)) -
    rank(decay_linear(Ts_Rank(Ts_ArgMin(correlation(rank(open), rank(adv15), 20.8187), 8.62571), 6.95668), 8.07206)))

    Source: Kakushadze (2016), Alpha#98.
    """
    value = decay_linear(correlation(vwap, ts_sum(adv5, 26.4719), 4.58418), 7.18088)
    since = ts_rank(ts_argmin(correlation(rank_open, rank(adv15), 20.8187), 8.62571), 6.95668)
    return rank(value) - rank(decay_linear(since, 8.07206))
