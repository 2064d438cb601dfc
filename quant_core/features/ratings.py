"""Ratings: oscillators, and what averages and oscillators vote for. Indicators of direction alone are in trend.py.

Every component of a rating votes 1, 0 or -1. One that is not known does not vote: it never counts as neutral. The
rating is the mean of the votes cast, not known where too few were.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.catalogue import feature, ingredient
from quant_core.features.families import family_stage
from quant_core.features.levels import ROUNDING, nine_tenths, place_in_range, within_life
from quant_core.kernels.extremes import move_max, move_min
from quant_core.kernels.moving import move_mean, move_sum
from quant_core.kernels.recursive import ewm_mean, previous_bar
from quant_core.kernels.technical import cast_by_side, cast_outside, move_deviation
from quant_core.market.panel import Matrix


@ingredient
def awesome(top: Matrix, bottom: Matrix, rows_apart: Matrix, *, window: int = 34, fast: int = 5) -> Matrix:
    """Mean of high and low of the last 5 bars less that of the last 34, in quote currency."""
    middle = 0.5 * (top + bottom)
    means = [move_mean.apply(middle, bars, nine_tenths(bars)) for bars in (fast, window)]
    return within_life(means[0] - means[1], rows_apart, window)


@ingredient(has_infinite_memory=True)
def bull_bear(top: Matrix, bottom: Matrix, close: Matrix, life: Matrix, *, window: int = 13) -> Matrix:
    """High less, plus low less the 13-bar exponential mean close, in quote currency."""
    return top + bottom - 2.0 * ewm_mean.apply(close, life, 2.0 / (window + 1.0), window, False)


@feature(family="ratings", unit="index", warmup=14, lower=0.0, upper=100.0)
def stochastic_k(
    top: Matrix, bottom: Matrix, close: Matrix, rows_apart: Matrix, *, window: int = 14, smoothing: int = 3
) -> Matrix:
    """Stochastic %K 14/3: place of the close in the range of 14 bars, 0 to 100, the mean of 3 bars.

    Null where 14 bars have no range, where others give 0.
    Source: Lane (1984), Technical Analysis of Stocks & Commodities 2(3).
    """
    place = place_in_range(close, bottom, top, window)
    return within_life(_smooth(100.0 * place, smoothing), rows_apart, window + smoothing - 1)


@feature(family="ratings", unit="index", warmup=16, lower=0.0, upper=100.0)
def stochastic_d(stochastic_k: Matrix, rows_apart: Matrix, *, window: int = 3, reach: int = 18) -> Matrix:
    """Stochastic %D 14/3/3: mean of the last 3 values of %K.

    Source: Lane (1984), Technical Analysis of Stocks & Commodities 2(3).
    """
    return within_life(_smooth(stochastic_k, window), rows_apart, reach)


@feature(family="ratings", unit="index", warmup=12, lower=-100.0, upper=0.0)
def williams_r_14(top: Matrix, bottom: Matrix, close: Matrix, rows_apart: Matrix, *, window: int = 14) -> Matrix:
    """Williams %R: place of the close in the range of 14 bars, -100 at its lowest low to 0 at its highest high.

    Source: Williams (1979), How I Made One Million Dollars Last Year Trading Commodities.
    """
    return within_life(100.0 * place_in_range(close, bottom, top, window) - 100.0, rows_apart, window)


@feature(family="ratings", unit="index", warmup=17)
def cci_20(
    top: Matrix, bottom: Matrix, close: Matrix, rows_apart: Matrix, *, window: int = 20, scale: float = 0.015
) -> Matrix:
    """Commodity channel index: typical price less its mean of 20 bars, over 0.015 times its mean absolute deviation.

    The typical price is the mean of high, low and close. Null where the 20 are equal.
    Source: Lambert (1980), Commodities magazine 9(10).
    """
    typical, least = (top + bottom + close) / 3.0, nine_tenths(window)
    deviation = move_deviation.apply(typical, window, least)
    return within_life((typical - move_mean.apply(typical, window, least)) / (scale * deviation), rows_apart, window)


@feature(family="ratings", unit="fraction of the close", warmup=30)
def awesome_oscillator(awesome: Matrix, close: Matrix) -> Matrix:
    """Awesome oscillator over the close: mean middle price of 5 bars less that of 34.

    Source: Williams (1998), New Trading Dimensions.
    """
    return awesome / close


@feature(family="ratings", unit="fraction of the close", warmup=12, has_infinite_memory=True)
def bull_bear_power_13(bull_bear: Matrix, close: Matrix) -> Matrix:
    """Bull power plus bear power over the close: distances of high and low from the 13-bar exponential mean close.

    Source: Elder (1993), Trading for a Living.
    """
    return bull_bear / close


@feature(family="ratings", unit="index", warmup=28, lower=0.0, upper=100.0, has_infinite_memory=True)
def stochastic_rsi_14(rsi_14: Matrix, rows_apart: Matrix, *, window: int = 14, smoothing: int = 3) -> Matrix:
    """Stochastic %K 14/3 of the relative strength index of 14 bars.

    Source: Chande & Kroll (1994), The New Technical Trader.
    """
    place = place_in_range(rsi_14, rsi_14, rsi_14, window)
    return within_life(_smooth(100.0 * place, smoothing), rows_apart, window + smoothing - 1)


@feature(family="ratings", unit="index", warmup=26, lower=0.0, upper=100.0, has_infinite_memory=True)
def ultimate_oscillator(top: Matrix, bottom: Matrix, close: Matrix, last_close: Matrix, rows_apart: Matrix) -> Matrix:
    """Ultimate oscillator: buying pressure over true range of 7, 14 and 28 bars, weighted 4, 2 and 1, times 100.

    The pressure is the close less the true low, which is the previous close where that is lower.
    Source: Williams (1985), Technical Analysis of Stocks & Commodities 3(4).
    """
    low = np.minimum(bottom, last_close)
    pressure, true_range = close - low, np.maximum(top, last_close) - low
    total: Matrix = np.zeros(close.shape)
    for window, weight in ((7, 4.0), (14, 2.0), (28, 1.0)):
        pressures, ranges = (move_sum.apply(x, window, nine_tenths(window)) for x in (pressure, true_range))
        total += weight * (pressures / ranges)
    return within_life(_clip_percent(100.0 * (total / 7.0)), rows_apart, 28)


@feature(family="ratings", unit="fraction of the close", warmup=10)
def distance_to_hull_9(close: Matrix, hull9: Matrix) -> Matrix:
    """Last close less its Hull average of 9 bars, over the close.

    Source: Hull (2005), How to reduce lag in a moving average.
    """
    return (close - hull9) / close


@feature(family="ratings", unit="fraction of the close", warmup=72)
def distance_to_cloud(
    top: Matrix,
    bottom: Matrix,
    close: Matrix,
    rows_apart: Matrix,
    *,
    fast: int = 9,
    slow: int = 26,
    window: int = 52,
    displacement: int = 26,
) -> Matrix:
    """Distance of the last close to the Ichimoku cloud 9/26/52 over the close, 0 inside it.

    The cloud of a bar is between two spans of 26 bars before, displaced once: the mean of the middles of 9 and of 26
    bars, and the middle of 52 bars. A middle is half of highest high plus lowest low.
    Source: Hosoda (1969), Ichimoku Kinko Hyo.
    """
    first = 0.5 * (_middle(top, bottom, fast) + _middle(top, bottom, slow))
    spans = [_rows_later(span, displacement) for span in (first, _middle(top, bottom, window))]
    above, below = close - np.maximum(*spans), close - np.minimum(*spans)
    outside = np.where(above > 0.0, above, np.minimum(below, 0.0))
    return within_life(np.where(np.isnan(above), np.nan, outside) / close, rows_apart, window + displacement)


@feature(family="ratings", unit="mean vote", warmup=72, lower=-1.0, upper=1.0, has_infinite_memory=True)
def recommend_ma(
    close: Matrix,
    sma10: Matrix,
    sma20: Matrix,
    sma30: Matrix,
    sma50: Matrix,
    sma100: Matrix,
    sma200: Matrix,
    ema10: Matrix,
    ema20: Matrix,
    ema30: Matrix,
    ema50: Matrix,
    ema100: Matrix,
    ema200: Matrix,
    vwma20: Matrix,
    hull9: Matrix,
    distance_to_cloud: Matrix,
    *,
    min_count: int = 11,
) -> Matrix:
    """Rating by moving averages: mean vote of 15, 1 where the close is above and -1 where it is below.

    Simple and exponential means of 10, 20, 30, 50, 100 and 200 bars, the volume-weighted mean of 20, the Hull average
    of 9 and the Ichimoku cloud, whose inside votes 0. At least 11 must be known: all but the slow ones of 100 and 200
    bars, so that a symbol at the history floor of 90 bars is rated, and none by its fast averages alone.
    Source: the components and thresholds of TradingView's technical ratings.
    """
    total, cast = np.zeros(close.shape), np.zeros(close.shape)
    for means in ((sma10, sma20, sma30, sma50, sma100, sma200), (ema10, ema20, ema30, ema50, ema100, ema200)):
        for mean in means:
            cast_by_side(close, mean, ROUNDING, total, cast)
    for mean in (vwma20, hull9):
        cast_by_side(close, mean, ROUNDING, total, cast)
    cast_outside(distance_to_cloud, -ROUNDING, ROUNDING, -1.0, total, cast)
    return np.where(cast >= min_count, total / cast, np.nan)


@feature(family="ratings", unit="mean vote", warmup=27, lower=-1.0, upper=1.0, has_infinite_memory=True)
def recommend_other(
    close: Matrix,
    life: Matrix,
    rsi_14: Matrix,
    stochastic_k: Matrix,
    stochastic_d: Matrix,
    cci_20: Matrix,
    adx_14: Matrix,
    plus_di_14: Matrix,
    minus_di_14: Matrix,
    awesome: Matrix,
    roc_10: Matrix,
    macd_histogram: Matrix,
    stochastic_rsi_14: Matrix,
    williams_r_14: Matrix,
    bull_bear: Matrix,
    ultimate_oscillator: Matrix,
    *,
    min_count: int = 8,
) -> Matrix:
    """Rating by oscillators: mean vote of 11, 1 to buy and -1 to sell.

    Bought below and sold above: RSI 30 and 70, CCI -100 and 100, stochastic RSI 20 and 80, Williams %R -80 and -20,
    ultimate oscillator 30 and 70; stochastic %K below 20 and above %D, sold above 80 and below it. By sign: the change
    over 10 bars, the MACD histogram; the awesome oscillator and bull-bear power only while they grow. ADX above 20: the
    stronger directional indicator. At least 8 must be known: without highs and lows there are 4, another rating.
    Source: the components and thresholds of TradingView's technical ratings.
    """
    total, cast = np.zeros(close.shape), np.zeros(close.shape)
    for x, lower, upper in (
        (rsi_14, 30.0, 70.0),
        (cci_20, -100.0, 100.0),
        (stochastic_rsi_14, 20.0, 80.0),
        (williams_r_14, -80.0, -20.0),
        (ultimate_oscillator, 30.0, 70.0),
    ):
        cast_outside(x, lower, upper, 1.0, total, cast)
    for x in (
        roc_10,
        macd_histogram,
        _turn_at_extremes(stochastic_k, stochastic_d),
        np.where(adx_14 > 20.0, (plus_di_14 - minus_di_14) / 100.0, 0.0 * adx_14),
        _growth_from_zero(awesome, close, life),
        _growth_from_zero(bull_bear, close, life),
    ):
        cast_outside(x, -ROUNDING, ROUNDING, -1.0, total, cast)
    return np.where(cast >= min_count, total / cast, np.nan)


@feature(family="ratings", unit="mean vote", warmup=72, lower=-1.0, upper=1.0, has_infinite_memory=True)
def recommend_all(recommend_ma: Matrix, recommend_other: Matrix) -> Matrix:
    """Rating by moving averages and oscillators: the mean of the two, both known."""
    return 0.5 * (recommend_ma + recommend_other)


def _turn_at_extremes(k: Matrix, d: Matrix) -> Matrix:
    """Return how far %K has risen above %D below 20, or fallen below it above 80, as a fraction; elsewhere 0."""
    turn = (k - d) / 100.0
    return np.where(((k < 20.0) & (turn > 0.0)) | ((k > 80.0) & (turn < 0.0)), turn, 0.0 * turn)


def _growth_from_zero(x: Matrix, close: Matrix, life: Matrix) -> Matrix:
    """Return x over the close where it has moved away from zero since the bar before, elsewhere 0."""
    change = (x - previous_bar.apply(x, life)) / close
    return np.where((change * x > 0.0) & (np.abs(change) > ROUNDING), x / close, 0.0 * change)


def _smooth(x: Matrix, window: int) -> Matrix:
    return _clip_percent(move_mean.apply(x, window, nine_tenths(window)))


def _clip_percent(x: Matrix) -> Matrix:
    """Return x within 0 and 100, which rounding may miss by an ulp."""
    return np.clip(x, 0.0, 100.0)


def _middle(top: Matrix, bottom: Matrix, window: int) -> Matrix:
    least = nine_tenths(window)
    return 0.5 * (move_max.apply(top, window, least) + move_min.apply(bottom, window, least))


def _rows_later(x: Matrix, rows: int) -> Matrix:
    """Return at each row the x of that many rows before."""
    moved = np.full(x.shape, np.nan)
    moved[rows:] = x[: max(0, len(x) - rows)]
    return moved


table = family_stage(__name__)
