"""Alphas 68 to 101 of the family alpha101; what they share, and which are left out, stands in alpha101.py."""

from __future__ import annotations

from quant_core.features.alpha101_operators import (
    across,
    alone,
    correlation,
    decay_linear,
    delay,
    delta,
    divide,
    larger,
    less,
    log,
    power,
    product,
    rank,
    signed_power,
    smaller,
    ts_argmax,
    ts_argmin,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@across("flag", warmup=33, lower=-1.0, upper=0.0)
def alpha068(low: Matrix, close: Matrix, adv15: Matrix, rank_high: Matrix) -> Matrix:
    """Minus one where the ranks of high and value correlate at a lower place than the price's change ranks, else zero.

    ((Ts_Rank(correlation(rank(high), rank(adv15), 8.91644), 13.9333) < rank(delta(((close * 0.518371) + (low * (1 -
    0.518371))), 1.06157))) * -1)

    Source: Kakushadze (2016), Alpha#68.
    """
    together = ts_rank(correlation(rank_high, rank(adv15), 8.91644), 13.9333)
    return -less(together, rank(delta(close * 0.518371 + low * (1 - 0.518371), 1.06157)))


@across("share", warmup=224, lower=0.0, upper=1.0)
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


@across("ratio", warmup=55, lower=0.0)
def alpha072(high: Matrix, low: Matrix, volume: Matrix, vwap: Matrix, adv40: Matrix) -> Matrix:
    """Rank of the fading correlation of the bar's middle with value, over that of places of average price and volume.

    (rank(decay_linear(correlation(((high + low) / 2), adv40, 8.93345), 10.1519)) /
    rank(decay_linear(correlation(Ts_Rank(vwap, 3.72469), Ts_Rank(volume, 18.5188), 6.86671), 2.95011)))

    Source: Kakushadze (2016), Alpha#72.
    """
    middle = correlation((high + low) / 2, adv40, 8.93345)
    places = correlation(ts_rank(vwap, 3.72469), ts_rank(volume, 18.5188), 6.86671)
    return rank(decay_linear(middle, 10.1519)) / rank(decay_linear(places, 2.95011))


@across("share", warmup=19, lower=-1.0, upper=0.0)
def alpha073(open: Matrix, low: Matrix, vwap: Matrix) -> Matrix:
    """Larger of the rank of the average price's fading change and of the place of the price's fading fall, reversed.

    (max(rank(decay_linear(delta(vwap, 4.72775), 2.91864)), Ts_Rank(decay_linear(((delta(((open * 0.147155) + (low * (1
    - 0.147155))), 2.03608) / ((open * 0.147155) + (low * (1 - 0.147155)))) * -1), 3.33829), 16.7411)) * -1)

    Source: Kakushadze (2016), Alpha#73.
    """
    price = open * 0.147155 + low * (1 - 0.147155)
    fall = ts_rank(decay_linear(-(delta(price, 2.03608) / price), 3.33829), 16.7411)
    return -larger(rank(decay_linear(delta(vwap, 4.72775), 2.91864)), fall)


@across("flag", warmup=79, lower=-1.0, upper=0.0)
def alpha074(high: Matrix, close: Matrix, vwap: Matrix, adv30: Matrix, rank_volume: Matrix) -> Matrix:
    """Minus one where close and value correlate to a lower rank than the ranks of price and volume, else zero.

    ((rank(correlation(close, sum(adv30, 37.4843), 15.1365)) < rank(correlation(rank(((high * 0.0261661) + (vwap * (1 -
    0.0261661)))), rank(volume), 11.4791))) * -1)

    Source: Kakushadze (2016), Alpha#74.
    """
    value = correlation(close, ts_sum(adv30, 37.4843), 15.1365)
    price = rank(high * 0.0261661 + vwap * (1 - 0.0261661))
    return -less(rank(value), rank(correlation(price, rank_volume, 11.4791)))


@across("flag", warmup=60, lower=0.0, upper=1.0)
def alpha075(volume: Matrix, vwap: Matrix, adv50: Matrix, rank_low: Matrix) -> Matrix:
    """One where average price and volume correlate to a lower rank than the ranks of low and adv50, else zero.

    (rank(correlation(vwap, volume, 4.24304)) < rank(correlation(rank(low), rank(adv50), 12.4413)))

    Source: Kakushadze (2016), Alpha#75.
    """
    return less(rank(correlation(vwap, volume, 4.24304)), rank(correlation(rank_low, rank(adv50), 12.4413)))


@across("share", warmup=45, lower=0.0, upper=1.0)
def alpha077(high: Matrix, low: Matrix, vwap: Matrix, adv40: Matrix) -> Matrix:
    """Smaller of the ranks of the middle's fading gap over average price and of its fading correlation with value.

    min(rank(decay_linear(((((high + low) / 2) + high) - (vwap + high)), 20.0451)), rank(decay_linear(correlation(((high
    + low) / 2), adv40, 3.1614), 5.64125)))

    Source: Kakushadze (2016), Alpha#77.
    """
    gap = (high + low) / 2 + high - (vwap + high)
    together = correlation((high + low) / 2, adv40, 3.1614)
    return smaller(rank(decay_linear(gap, 20.0451)), rank(decay_linear(together, 5.64125)))


@across("share", warmup=62, lower=0.0, upper=1.0)
def alpha078(low: Matrix, vwap: Matrix, adv40: Matrix, rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Rank of summed price correlating with value, to the power of the rank of price and volume correlating in ranks.

    (rank(correlation(sum(((low * 0.352233) + (vwap * (1 - 0.352233))), 19.7428), sum(adv40, 19.7428),
    6.83313))^rank(correlation(rank(vwap), rank(volume), 5.77492)))

    Source: Kakushadze (2016), Alpha#78.
    """
    price = ts_sum(low * 0.352233 + vwap * (1 - 0.352233), 19.7428)
    exponent = rank(correlation(rank_vwap, rank_volume, 5.77492))
    return power(rank(correlation(price, ts_sum(adv40, 19.7428), 6.83313)), exponent)


@across("flag", warmup=77, lower=-1.0, upper=0.0)
def alpha081(vwap: Matrix, adv10: Matrix, rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Minus one where a long product of ranks of price and value correlating ranks below price and volume, else zero.

    ((rank(Log(product(rank((rank(correlation(vwap, sum(adv10, 49.6054), 8.47743))^4)), 14.9655))) <
    rank(correlation(rank(vwap), rank(volume), 5.07914))) * -1)

    Source: Kakushadze (2016), Alpha#81.
    """
    together = power(rank(correlation(vwap, ts_sum(adv10, 49.6054), 8.47743)), 4)
    long = rank(log(product(rank(together), 14.9655)))
    return -less(long, rank(correlation(rank_vwap, rank_volume, 5.07914)))


@across("quote currency", warmup=6)
def alpha083(high: Matrix, low: Matrix, close: Matrix, vwap: Matrix, rank_volume: Matrix) -> Matrix:
    """Ranks of the range two bars ago and of volume, times average price over close by today's range.

    ((rank(delay(((high - low) / (sum(close, 5) / 5)), 2)) * rank(rank(volume))) / (((high - low) / (sum(close, 5) / 5))
    / (vwap - close)))

    Source: Kakushadze (2016), Alpha#83.
    """
    spread = (high - low) / (ts_sum(close, 5) / 5)
    return divide(rank(delay(spread, 2)) * rank(rank_volume), divide(spread, vwap - close))


@alone("ratio", warmup=33, lower=0.0)
def alpha084(close: Matrix, vwap: Matrix) -> Matrix:
    """Place among 20 of the average price under its 15-bar high, to the power of the close's 4-bar change.

    SignedPower(Ts_Rank((vwap - ts_max(vwap, 15.3217)), 20.7127), delta(close, 4.96796))

    Source: Kakushadze (2016), Alpha#84.
    """
    return signed_power(ts_rank(vwap - ts_max(vwap, 15.3217), 20.7127), delta(close, 4.96796))


@across("share", warmup=37, lower=0.0, upper=1.0)
def alpha085(high: Matrix, low: Matrix, close: Matrix, volume: Matrix, adv30: Matrix) -> Matrix:
    """Rank of price correlating with adv30, to the power of the rank of the places of middle and volume correlating.

    (rank(correlation(((high * 0.876703) + (close * (1 - 0.876703))), adv30, 9.61331))^rank(correlation(Ts_Rank(((high +
    low) / 2), 3.70596), Ts_Rank(volume, 10.1595), 7.11408)))

    Source: Kakushadze (2016), Alpha#85.
    """
    value = rank(correlation(high * 0.876703 + close * (1 - 0.876703), adv30, 9.61331))
    places = correlation(ts_rank((high + low) / 2, 3.70596), ts_rank(volume, 10.1595), 7.11408)
    return power(value, rank(places))


@across("flag", warmup=56, lower=-1.0, upper=0.0)
def alpha086(open: Matrix, close: Matrix, vwap: Matrix, adv20: Matrix) -> Matrix:
    """Minus one where close and value correlate at a lower place than the close over average price ranks, else zero.

    ((Ts_Rank(correlation(close, sum(adv20, 14.7444), 6.00049), 20.4195) < rank(((open + close) - (vwap + open)))) * -1)

    Source: Kakushadze (2016), Alpha#86.
    """
    together = ts_rank(correlation(close, ts_sum(adv20, 14.7444), 6.00049), 20.4195)
    return -less(together, rank(open + close - (vwap + open)))


@across("share", warmup=91, lower=0.0, upper=1.0)
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


@across("share", warmup=45, lower=0.0, upper=1.0)
def alpha092(open: Matrix, high: Matrix, low: Matrix, close: Matrix, adv30: Matrix, rank_low: Matrix) -> Matrix:
    """Smaller of two places: of bars ending under low plus open, fading, and of low and value correlating in ranks.

    min(Ts_Rank(decay_linear(((((high + low) / 2) + close) < (low + open)), 14.7221), 18.8683),
    Ts_Rank(decay_linear(correlation(rank(low), rank(adv30), 7.58555), 6.94024), 6.80584))

    Source: Kakushadze (2016), Alpha#92.
    """
    under = decay_linear(less((high + low) / 2 + close, low + open), 14.7221)
    together = decay_linear(correlation(rank_low, rank(adv30), 7.58555), 6.94024)
    return smaller(ts_rank(under, 18.8683), ts_rank(together, 6.80584))


@across("share", warmup=80, lower=-1.0, upper=0.0)
def alpha094(vwap: Matrix, adv60: Matrix) -> Matrix:
    """Rank of the average price over its 11-bar low, to the power of a place of its correlation with value, reversed.

    ((rank((vwap - ts_min(vwap, 11.5783)))^Ts_Rank(correlation(Ts_Rank(vwap, 19.6462), Ts_Rank(adv60, 4.02992),
    18.0926), 2.70756)) * -1)

    Source: Kakushadze (2016), Alpha#94.
    """
    together = correlation(ts_rank(vwap, 19.6462), ts_rank(adv60, 4.02992), 18.0926)
    return -power(rank(vwap - ts_min(vwap, 11.5783)), ts_rank(together, 2.70756))


@across("flag", warmup=78, lower=0.0, upper=1.0)
def alpha095(open: Matrix, high: Matrix, low: Matrix, adv40: Matrix) -> Matrix:
    """One where the open over its 12-bar low ranks below the place of middle and value correlating, else zero.

    (rank((open - ts_min(open, 12.4105))) < Ts_Rank((rank(correlation(sum(((high + low) / 2), 19.1351), sum(adv40,
    19.1351), 12.8742))^5), 11.7584))

    Source: Kakushadze (2016), Alpha#95.
    """
    together = correlation(ts_sum((high + low) / 2, 19.1351), ts_sum(adv40, 19.1351), 12.8742)
    return less(rank(open - ts_min(open, 12.4105)), ts_rank(power(rank(together), 5), 11.7584))


@across("share", warmup=89, lower=-1.0, upper=0.0, memory=101)
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


@across("share", warmup=52, lower=-1.0, upper=1.0)
def alpha098(vwap: Matrix, adv5: Matrix, adv15: Matrix, rank_open: Matrix) -> Matrix:
    """Rank of average price and value correlating, fading, less that of how long since open and value did least.

    (rank(decay_linear(correlation(vwap, sum(adv5, 26.4719), 4.58418), 7.18088)) -
    rank(decay_linear(Ts_Rank(Ts_ArgMin(correlation(rank(open), rank(adv15), 20.8187), 8.62571), 6.95668), 8.07206)))

    Source: Kakushadze (2016), Alpha#98.
    """
    value = decay_linear(correlation(vwap, ts_sum(adv5, 26.4719), 4.58418), 7.18088)
    since = ts_rank(ts_argmin(correlation(rank_open, rank(adv15), 20.8187), 8.62571), 6.95668)
    return rank(value) - rank(decay_linear(since, 8.07206))


@across("flag", warmup=84, lower=-1.0, upper=0.0)
def alpha099(high: Matrix, low: Matrix, volume: Matrix, adv60: Matrix) -> Matrix:
    """Minus one where summed middle and value correlate to a lower rank than low and volume, else zero.

    ((rank(correlation(sum(((high + low) / 2), 19.8975), sum(adv60, 19.8975), 8.8136)) < rank(correlation(low, volume,
    6.28259))) * -1)

    Source: Kakushadze (2016), Alpha#99.
    """
    middle = correlation(ts_sum((high + low) / 2, 19.8975), ts_sum(adv60, 19.8975), 8.8136)
    return -less(rank(middle), rank(correlation(low, volume, 6.28259)))


@alone("ratio", warmup=0)
def alpha101(open: Matrix, high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Body of the bar over its range, a thousandth of the currency added to the range.

    ((close - open) / ((high - low) + .001))

    The thousandth is a price: it weighs on symbols that cost little.

    Source: Kakushadze (2016), Alpha#101.
    """
    return (close - open) / (high - low + 0.001)
