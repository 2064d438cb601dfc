"""Trend: where the price has been going. How much it moved on the way is in volatility.py."""

from __future__ import annotations

import numpy as np

from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.features.levels import place_in_range, sign_of, within_life
from quant_core.kernels.extremes import move_max, move_min
from quant_core.kernels.moving import move_mean
from quant_core.kernels.paths import move_compound, move_distance
from quant_core.kernels.recursive import count_run, ewm_mean
from quant_core.kernels.technical import wilder_adx, wilder_di, wilder_rsi
from quant_core.market.panel import Matrix


@feature(family="trend", unit="fraction per year", warmup=108)
def momentum(returns: Matrix, *, window: int = 120, min_count: int = 108, periods_per_year: int = 252) -> Matrix:
    """Mean return of the last 120 bars, at least 108 of them known, times the bars in a year."""
    return move_mean.apply(returns, window, min_count) * periods_per_year


@feature(family="trend", unit="fraction", warmup=229, lower=-1.0)
def momentum_12_1(returns: Matrix, *, window: int = 252, skip: int = 20, min_count: int = 209) -> Matrix:
    """Compound return of the last 252 bars but the latest 20, at least 209 of these 232 returns known.

    Source: Jegadeesh & Titman (1993), Journal of Finance 48(1), with the month skipped.
    """
    return move_compound.apply(returns, window, skip, min_count)


@feature(family="trend", unit="fraction", warmup=19)
def distance_to_mean(returns: Matrix, *, window: int = 20, min_count: int = 19) -> Matrix:
    """Last close over the mean of the last 20 closes, minus one, all 19 returns between them known.

    The closes are rebuilt from returns, so that a new life of the ticker is not a jump.
    """
    return move_distance.apply(returns, window, min_count)


@feature(family="trend", unit="fraction", warmup=44, lower=-1.0)
def distance_to_sma_50(close: Matrix, sma50: Matrix) -> Matrix:
    """Last close over the mean of the last 50 closes, minus one, 45 of them known and all of one life."""
    return close / sma50 - 1.0


@feature(family="trend", unit="fraction", warmup=179, lower=-1.0)
def distance_to_sma_200(close: Matrix, sma200: Matrix) -> Matrix:
    """Last close over the mean of the last 200 closes, minus one, 180 of them known and all of one life."""
    return close / sma200 - 1.0


@feature(family="trend", unit="fraction", warmup=17, lower=-1.0)
def distance_to_vwma_20(close: Matrix, vwma20: Matrix) -> Matrix:
    """Last close over the mean of the last 20 closes weighted by units traded, minus one, 18 of them known."""
    return close / vwma20 - 1.0


@feature(family="trend", unit="fraction", warmup=9, lower=-1.0)
def roc_10(returns: Matrix, rows_apart: Matrix, *, window: int = 10, min_count: int = 9) -> Matrix:
    """Rate of change: compound return of the last 10 bars, at least 9 of them known."""
    return within_life(move_compound.apply(returns, window, 0, min_count), rows_apart, window + 1)


@feature(family="trend", unit="index", warmup=27, lower=0.0, upper=100.0, has_infinite_memory=True)
def adx_14(top: Matrix, bottom: Matrix, close: Matrix, life: Matrix, *, window: int = 14) -> Matrix:
    """Average directional index of 14 bars: how one-sided the movements of highs and lows are.

    100 abs(plus_di - minus_di) / (plus_di + minus_di), smoothed as Wilder does.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, section IV.
    """
    return wilder_adx.apply(top, bottom, close, life, window)


@feature(family="trend", unit="index", warmup=14, lower=0.0, upper=100.0, has_infinite_memory=True)
def plus_di_14(top: Matrix, bottom: Matrix, close: Matrix, life: Matrix, *, window: int = 14) -> Matrix:
    """Positive directional indicator of 14 bars: rises of the high over the true range, times 100.

    Source: Wilder (1978), New Concepts in Technical Trading Systems, section IV.
    """
    return wilder_di.apply(top, bottom, close, life, window, True)


@feature(family="trend", unit="index", warmup=14, lower=0.0, upper=100.0, has_infinite_memory=True)
def minus_di_14(top: Matrix, bottom: Matrix, close: Matrix, life: Matrix, *, window: int = 14) -> Matrix:
    """Negative directional indicator of 14 bars: falls of the low over the true range, times 100.

    Source: Wilder (1978), New Concepts in Technical Trading Systems, section IV.
    """
    return wilder_di.apply(top, bottom, close, life, window, False)


@feature(family="trend", unit="index", warmup=14, lower=0.0, upper=100.0, has_infinite_memory=True)
def rsi_14(close: Matrix, life: Matrix, *, window: int = 14) -> Matrix:
    """Relative strength index of 14 bars: mean gain over mean gain plus mean loss, times 100.

    Null while nothing has changed, where others give 0, 50 or 100.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, section VI.
    """
    return wilder_rsi.apply(close, life, window)


@feature(family="trend", unit="fraction", warmup=33, has_infinite_memory=True)
def macd_histogram(close: Matrix, life: Matrix, *, fast: int = 12, slow: int = 26, signal: int = 9) -> Matrix:
    """MACD histogram: the 12-bar less the 26-bar exponential mean close, less its own 9-bar mean, over the close.

    Each exponential mean begins with the plain mean of its own first bars.
    Source: Appel (1979), The Moving Average Convergence-Divergence Trading Method.
    """
    means = [ewm_mean.apply(close, life, 2.0 / (bars + 1.0), bars, False) for bars in (fast, slow)]
    line = means[0] - means[1]
    return (line - ewm_mean.apply(line, life, 2.0 / (signal + 1.0), signal, False)) / close


@feature(family="trend", unit="fraction", warmup=17, lower=0.0, upper=1.0)
def donchian_position_20(top: Matrix, bottom: Matrix, close: Matrix, rows_apart: Matrix, *, window: int = 20) -> Matrix:
    """Place of the close between the lowest low (0) and the highest high (1) of the last 20 bars, 18 of them known."""
    return within_life(place_in_range(close, bottom, top, window), rows_apart, window)


@feature(family="trend", unit="fraction", warmup=17, lower=-1.0, upper=0.0)
def distance_to_donchian_high_20(
    top: Matrix, close: Matrix, rows_apart: Matrix, *, window: int = 20, min_count: int = 18
) -> Matrix:
    """Last close over the highest high of the last 20 bars, minus one, 18 of them known."""
    return within_life(np.minimum(close, top) / move_max.apply(top, window, min_count) - 1.0, rows_apart, window)


@feature(family="trend", unit="fraction", warmup=17, lower=0.0)
def distance_to_donchian_low_20(
    bottom: Matrix, close: Matrix, rows_apart: Matrix, *, window: int = 20, min_count: int = 18
) -> Matrix:
    """Last close over the lowest low of the last 20 bars, minus one, 18 of them known."""
    return within_life(np.maximum(close, bottom) / move_min.apply(bottom, window, min_count) - 1.0, rows_apart, window)


@feature(family="trend", unit="bars", warmup=49, has_infinite_memory=True)
def trend_duration(close: Matrix, ema50: Matrix, life: Matrix) -> Matrix:
    """Bars in a row that closed above their 50-bar exponential mean, negative below; 0 on it."""
    return count_run.apply(sign_of((close - ema50) / close), life)


@feature(family="trend", unit="bars", warmup=179, has_infinite_memory=True)
def cross_duration(vwma20: Matrix, sma200: Matrix, life: Matrix) -> Matrix:
    """Bars since the 20-bar mean close weighted by volume crossed above the 200-bar mean, negative below; 0 on it.

    Before the first crossing seen, bars since both means were known.
    """
    return count_run.apply(sign_of(vwma20 / sma200 - 1.0), life)


table = family_stage(__name__)
