"""Formulas of the family alpha101 that compare a correlation of price and traded value: 0 or 1, or 0 or -1.

Formulas that answer with a number are in alpha101_value_correlation.py; what the family shares, and what it leaves out,
in alpha101.py.
"""

from __future__ import annotations

from quant_core.features.alpha101_operators import (
    correlation,
    cross_sectional,
    delta,
    less,
    log,
    power,
    product,
    rank,
    ts_min,
    ts_rank,
    ts_sum,
)
from quant_core.market.panel import Matrix


@cross_sectional("flag", warmup=195, lower=0.0, upper=1.0)
def alpha061(vwap: Matrix, adv180: Matrix) -> Matrix:
    """One where the average price over its 16-bar low ranks below its correlation with adv180, else zero.

    (rank((vwap - ts_min(vwap, 16.1219))) < rank(correlation(vwap, adv180, 17.9282)))

    Source: Kakushadze (2016), Alpha#61.
    """
    return less(rank(vwap - ts_min(vwap, 16.1219)), rank(correlation(vwap, adv180, 17.9282)))


@cross_sectional("flag", warmup=48, lower=-1.0, upper=0.0)
def alpha062(high: Matrix, low: Matrix, vwap: Matrix, adv20: Matrix, rank_open: Matrix, rank_high: Matrix) -> Matrix:
    """Minus one where the correlation of average price and value ranks below the rank of opening low, else zero.

    ((rank(correlation(vwap, sum(adv20, 22.4101), 9.91009)) < rank(((rank(open) + rank(open)) < (rank(((high + low) /
    2)) + rank(high))))) * -1)

    Source: Kakushadze (2016), Alpha#62.
    """
    opened_low = less(rank_open + rank_open, rank((high + low) / 2) + rank_high)
    return -less(rank(correlation(vwap, ts_sum(adv20, 22.4101), 9.91009)), rank(opened_low))


@cross_sectional("flag", warmup=145, lower=-1.0, upper=0.0)
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


@cross_sectional("flag", warmup=71, lower=-1.0, upper=0.0)
def alpha065(open: Matrix, vwap: Matrix, adv60: Matrix) -> Matrix:
    """Minus one where the correlation of price and value ranks below the open over its 13-bar low, else zero.

    ((rank(correlation(((open * 0.00817205) + (vwap * (1 - 0.00817205))), sum(adv60, 8.6911), 6.40374)) < rank((open -
    ts_min(open, 13.635)))) * -1)

    Source: Kakushadze (2016), Alpha#65.
    """
    price = open * 0.00817205 + vwap * (1 - 0.00817205)
    together = correlation(price, ts_sum(adv60, 8.6911), 6.40374)
    return -less(rank(together), rank(open - ts_min(open, 13.635)))


@cross_sectional("flag", warmup=33, lower=-1.0, upper=0.0)
def alpha068(low: Matrix, close: Matrix, adv15: Matrix, rank_high: Matrix) -> Matrix:
    """Minus one where the ranks of high and value correlate at a lower place than the price's change ranks, else zero.

    ((Ts_Rank(correlation(rank(high), rank(adv15), 8.91644), 13.9333) < rank(delta(((close * 0.518371) + (low * (1 -
    0.518371))), 1.06157))) * -1)

    Source: Kakushadze (2016), Alpha#68.
    """
    together = ts_rank(correlation(rank_high, rank(adv15), 8.91644), 13.9333)
    return -less(together, rank(delta(close * 0.518371 + low * (1 - 0.518371), 1.06157)))


@cross_sectional("flag", warmup=79, lower=-1.0, upper=0.0)
def alpha074(high: Matrix, close: Matrix, vwap: Matrix, adv30: Matrix, rank_volume: Matrix) -> Matrix:
    """Minus one where close and value correlate to a lower rank than the ranks of price and volume, else zero.

    ((rank(correlation(close, sum(adv30, 37.4843), 15.1365)) < rank(correlation(rank(((high * 0.0261661) + (vwap * (1 -
    0.0261661)))), rank(volume), 11.4791))) * -1)

    Source: Kakushadze (2016), Alpha#74.
    """
    value = correlation(close, ts_sum(adv30, 37.4843), 15.1365)
    price = rank(high * 0.0261661 + vwap * (1 - 0.0261661))
    return -less(rank(value), rank(correlation(price, rank_volume, 11.4791)))


@cross_sectional("flag", warmup=60, lower=0.0, upper=1.0)
def alpha075(volume: Matrix, vwap: Matrix, adv50: Matrix, rank_low: Matrix) -> Matrix:
    """One where average price and volume correlate to a lower rank than the ranks of low and adv50, else zero.

    (rank(correlation(vwap, volume, 4.24304)) < rank(correlation(rank(low), rank(adv50), 12.4413)))

    Source: Kakushadze (2016), Alpha#75.
    """
    return less(rank(correlation(vwap, volume, 4.24304)), rank(correlation(rank_low, rank(adv50), 12.4413)))


@cross_sectional("flag", warmup=77, lower=-1.0, upper=0.0)
def alpha081(vwap: Matrix, adv10: Matrix, rank_volume: Matrix, rank_vwap: Matrix) -> Matrix:
    """Minus one where a long product of ranks of price and value correlating ranks below price and volume, else zero.

    ((rank(Log(product(rank((rank(correlation(vwap, sum(adv10, 49.6054), 8.47743))^4)), 14.9655))) <
    rank(correlation(rank(vwap), rank(volume), 5.07914))) * -1)

    Source: Kakushadze (2016), Alpha#81.
    """
    together = power(rank(correlation(vwap, ts_sum(adv10, 49.6054), 8.47743)), 4)
    long = rank(log(product(rank(together), 14.9655)))
    return -less(long, rank(correlation(rank_vwap, rank_volume, 5.07914)))


@cross_sectional("flag", warmup=56, lower=-1.0, upper=0.0)
def alpha086(open: Matrix, close: Matrix, vwap: Matrix, adv20: Matrix) -> Matrix:
    """Minus one where close and value correlate at a lower place than the close over average price ranks, else zero.

    ((Ts_Rank(correlation(close, sum(adv20, 14.7444), 6.00049), 20.4195) < rank(((open + close) - (vwap + open)))) * -1)

    Source: Kakushadze (2016), Alpha#86.
    """
    together = ts_rank(correlation(close, ts_sum(adv20, 14.7444), 6.00049), 20.4195)
    return -less(together, rank(open + close - (vwap + open)))


@cross_sectional("flag", warmup=78, lower=0.0, upper=1.0)
def alpha095(open: Matrix, high: Matrix, low: Matrix, adv40: Matrix) -> Matrix:
    """One where the open over its 12-bar low ranks below the place of middle and value correlating, else zero.

    (rank((open - ts_min(open, 12.4105))) < Ts_Rank((rank(correlation(sum(((high + low) / 2), 19.1351), sum(adv40,
    19.1351), 12.8742))^5), 11.7584))

    Source: Kakushadze (2016), Alpha#95.
    """
    together = correlation(ts_sum((high + low) / 2, 19.1351), ts_sum(adv40, 19.1351), 12.8742)
    return less(rank(open - ts_min(open, 12.4105)), ts_rank(power(rank(together), 5), 11.7584))


@cross_sectional("flag", warmup=84, lower=-1.0, upper=0.0)
def alpha099(high: Matrix, low: Matrix, volume: Matrix, adv60: Matrix) -> Matrix:
    """Minus one where summed middle and value correlate to a lower rank than low and volume, else zero.

    ((rank(correlation(sum(((high + low) / 2), 19.8975), sum(adv60, 19.8975), 8.8136)) < rank(correlation(low, volume,
    6.28259))) * -1)

    Source: Kakushadze (2016), Alpha#99.
    """
    middle = correlation(ts_sum((high + low) / 2, 19.8975), ts_sum(adv60, 19.8975), 8.8136)
    return -less(rank(middle), rank(correlation(low, volume, 6.28259)))
