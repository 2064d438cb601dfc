"""Alpha158: the 158 price and volume factors of Qlib, under its names. One function per factor, five windows each.

Prices enter as ratios, so that no factor has a currency. Where a symbol has `window` bars without a gap the values are
Qlib's, but for what has no answer: Qlib adds 1e-12 to denominators, here a share of nothing is null (a bar without
range, a window without movement, a bar without volume); Qlib leaves out RSQR, CORR and CORD below a standard deviation
of 2e-5 in whatever unit, here they are null without spread. Elsewhere a window that is not full is null, where in
Qlib one bar speaks for sixty; and what compares a bar with the one before is not known on the first, which Qlib counts.

What factors share is in alpha158_inputs.py, kernels live in kernels/, further formulas of this kind in alpha101.py.
Source: Yang, Liu, Zhou, Bian & Liu (2020), Qlib: An AI-oriented Quantitative Investment Platform, arXiv:2009.11189.
"""

# ruff: noqa: N802 - the columns bear Qlib's names.

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quant_core.features.alpha158_inputs import WINDOWS, in_one_life, over
from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.features.steps import Feature, Function, Grid
from quant_core.kernels.extremes import move_argmax, move_argmin
from quant_core.kernels.moving import move_mean, move_std
from quant_core.kernels.ordered import move_quantile, move_rank
from quant_core.kernels.pairs import move_correlation
from quant_core.kernels.trading import move_lag_ratio
from quant_core.kernels.trend_lines import move_slope
from quant_core.market.panel import Matrix


def _bar(unit: str) -> Callable[[Function], Feature]:
    """Make a feature of one bar."""
    return feature(family="alpha158", unit=unit, warmup=0)


def _window(
    unit: str, lower: float | None = None, upper: float | None = None, *, before: int = 0
) -> Callable[[Function], Grid[Feature]]:
    """Make a feature of the last `window` bars and of `before` bars more, once per window."""
    return feature(
        family="alpha158",
        unit=unit,
        warmup=lambda window: window - 1 + before,
        memory=lambda window: window + before,
        lower=lower,
        upper=upper,
        windows=WINDOWS,
    )


# The shape of a bar, and its prices over its close.


@_bar("fraction of the open")
def KMID(open: Matrix, close: Matrix) -> Matrix:
    """Body of the bar over its open. (close - open) / open."""
    return (close - open) / open


@_bar("fraction of the open")
def KLEN(open: Matrix, high: Matrix, low: Matrix) -> Matrix:
    """Range of the bar over its open. (high - low) / open."""
    return (high - low) / open


@_bar("fraction of the range")
def KMID2(open: Matrix, close: Matrix, high_to_low: Matrix) -> Matrix:
    """Body of the bar over its range. (close - open) / (high - low)."""
    return (close - open) / high_to_low


@_bar("fraction of the open")
def KUP(open: Matrix, high: Matrix, close: Matrix) -> Matrix:
    """Upper shadow of the bar over its open. (high - max(open, close)) / open."""
    return (high - np.maximum(open, close)) / open


@_bar("fraction of the range")
def KUP2(open: Matrix, high: Matrix, close: Matrix, high_to_low: Matrix) -> Matrix:
    """Upper shadow of the bar over its range. (high - max(open, close)) / (high - low)."""
    return (high - np.maximum(open, close)) / high_to_low


@_bar("fraction of the open")
def KLOW(open: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Lower shadow of the bar over its open. (min(open, close) - low) / open."""
    return (np.minimum(open, close) - low) / open


@_bar("fraction of the range")
def KLOW2(open: Matrix, low: Matrix, close: Matrix, high_to_low: Matrix) -> Matrix:
    """Lower shadow of the bar over its range. (min(open, close) - low) / (high - low)."""
    return (np.minimum(open, close) - low) / high_to_low


@_bar("fraction of the open")
def KSFT(open: Matrix, high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Twice the close's height above the bar's middle, over its open. (2 close - high - low) / open."""
    return (2.0 * close - high - low) / open


@_bar("fraction of the range")
def KSFT2(high: Matrix, low: Matrix, close: Matrix, high_to_low: Matrix) -> Matrix:
    """Twice the close's height above the bar's middle, over its range.

    (2 close - high - low) / (high - low).
    """
    return (2.0 * close - high - low) / high_to_low


@_bar("fraction of the close")
def OPEN0(open: Matrix, close: Matrix) -> Matrix:
    """Open over close. open / close."""
    return open / close


@_bar("fraction of the close")
def HIGH0(high: Matrix, close: Matrix) -> Matrix:
    """High over close. high / close."""
    return high / close


@_bar("fraction of the close")
def LOW0(low: Matrix, close: Matrix) -> Matrix:
    """Low over close. low / close."""
    return low / close


@_bar("fraction of the close")
def VWAP0(vwap: Matrix, close: Matrix) -> Matrix:
    """Average price of the bar's trades over its close, null where the source has none. vwap / close."""
    return vwap / close


# Closes over a window.


@_window("fraction of the close", before=1)
def ROC(close: Matrix, returns: Matrix, *, window: int) -> Matrix:
    """Close of {window} bars ago over the close. close[t - {window}] / close, every close between them known."""
    return move_lag_ratio.apply(close, returns, window)


@_window("fraction of the close")
def MA(close: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Mean of the last {window} closes over the close. mean(close, {window}) / close."""
    return over(in_one_life(move_mean.apply(close, window, window), rows_apart, window), close)


@_window("fraction of the close", 0.0)
def STD(close: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Deviation (standard, ddof 1) of the last {window} closes over the close. std(close, {window}) / close."""
    return over(in_one_life(move_std.apply(close, window, window), rows_apart, window), close)


@_window("fraction of the close per bar")
def BETA(close: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Slope of the straight line through the last {window} closes over the close. slope(close, {window}) / close."""
    return over(in_one_life(move_slope.apply(close, window, window), rows_apart, window), close)


@_window("fraction", 0.0, 1.0)
def RSQR(BETA: Matrix, STD: Matrix, *, window: int) -> Matrix:
    """R squared of the straight line through the last {window} closes, null without spread.

    rsquare(close, {window}): the share of the variance that is the line's, slope^2 var(1 .. {window}) / var(close).
    """
    found = BETA / STD
    found *= found
    found *= window * (window + 1) / 12.0
    return np.minimum(found, 1.0, out=found)


@_window("fraction of the close")
def RESI(MA: Matrix, BETA: Matrix, *, window: int) -> Matrix:
    """Height of the close above the line through the last {window} closes over the close.

    resi(close, {window}) / close: the line runs through the mean in the middle of the window.
    """
    return 1.0 - MA - BETA * ((window - 1) / 2.0)


@_window("fraction of the close")
def QTLU(close: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """80 % quantile of the last {window} closes over the close. quantile(close, {window}, 0.8) / close."""
    return over(in_one_life(move_quantile.apply(close, window, 0.8, window), rows_apart, window), close)


@_window("fraction of the close")
def QTLD(close: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """20 % quantile of the last {window} closes over the close. quantile(close, {window}, 0.2) / close."""
    return over(in_one_life(move_quantile.apply(close, window, 0.2, window), rows_apart, window), close)


@_window("fraction", 0.0, 1.0)
def RANK(close: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Rank of the close among the last {window}, over their number. rank(close, {window}) / {window}."""
    return in_one_life(move_rank.apply(close, window, window), rows_apart, window)


# Highs and lows over a window.


@_window("fraction of the close")
def MAX(highest: Matrix, close: Matrix, *, window: int) -> Matrix:
    """Highest price of the last {window} bars over the close. max(high, {window}) / close."""
    return highest / close


@_window("fraction of the close")
def MIN(lowest: Matrix, close: Matrix, *, window: int) -> Matrix:
    """Lowest price of the last {window} bars over the close. min(low, {window}) / close."""
    return lowest / close


@_window("fraction of the range")
def RSV(highest: Matrix, lowest: Matrix, close: Matrix, *, window: int) -> Matrix:
    """Place of the close in the range of the last {window} bars.

    (close - min(low, {window})) / (max(high, {window}) - min(low, {window})).
    """
    return (close - lowest) / (highest - lowest)


@_window("fraction of the window", 0.0, 1.0)
def IMAX(high: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Place of the highest high among the last {window} bars, 1 for the newest.

    argmax(high, {window}) / {window}, counted from 1 at the oldest bar; of equals the oldest.
    """
    return 1.0 - in_one_life(move_argmax.apply(high, window, window), rows_apart, window) / window


@_window("fraction of the window", 0.0, 1.0)
def IMIN(low: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Place of the lowest low among the last {window} bars, 1 for the newest.

    argmin(low, {window}) / {window}, counted from 1 at the oldest bar; of equals the oldest.
    """
    return 1.0 - in_one_life(move_argmin.apply(low, window, window), rows_apart, window) / window


@_window("fraction of the window", -1.0, 1.0)
def IMXD(IMAX: Matrix, IMIN: Matrix, *, window: int) -> Matrix:
    """How much later the highest high came than the lowest low of the last {window} bars.

    (argmax(high, {window}) - argmin(low, {window})) / {window}.
    """
    return IMAX - IMIN


# Price and volume together.


@_window("correlation", -1.0, 1.0)
def CORR(close: Matrix, log_volume: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Correlation of close and log volume over the last {window} bars. corr(close, ln(volume + 1), {window})."""
    return in_one_life(move_correlation.apply(close, log_volume, window, window), rows_apart, window)


@_window("correlation", -1.0, 1.0, before=1)
def CORD(returns: Matrix, log_volume_ratio: Matrix, *, window: int) -> Matrix:
    """Correlation of the changes of close and volume over the last {window} bars.

    corr(close / close[t - 1], ln(volume / volume[t - 1] + 1), {window}).
    """
    return move_correlation.apply(returns, log_volume_ratio, window, window)


# Rises and falls of the close.


@_window("fraction", 0.0, 1.0, before=1)
def CNTP(is_rise: Matrix, *, window: int) -> Matrix:
    """Share of the last {window} bars on which the close rose. mean(close > close[t - 1], {window})."""
    return move_mean.apply(is_rise, window, window)


@_window("fraction", 0.0, 1.0, before=1)
def CNTN(is_fall: Matrix, *, window: int) -> Matrix:
    """Share of the last {window} bars on which the close fell. mean(close < close[t - 1], {window})."""
    return move_mean.apply(is_fall, window, window)


@_window("fraction", -1.0, 1.0, before=1)
def CNTD(CNTP: Matrix, CNTN: Matrix, *, window: int) -> Matrix:
    """Share of the last {window} bars that rose less the share that fell. CNTP - CNTN."""
    return CNTP - CNTN


@_window("fraction", 0.0, 1.0, before=1)
def SUMP(price_gains: Matrix, price_movement: Matrix, *, window: int) -> Matrix:
    """Rises of the close over all its movement, last {window} bars.

    With d = close - close[t - 1]: sum(max(d, 0), {window}) / (sum(abs(d), {window})).
    """
    return price_gains / price_movement


@_window("fraction", 0.0, 1.0, before=1)
def SUMN(price_losses: Matrix, price_movement: Matrix, *, window: int) -> Matrix:
    """Falls of the close over all its movement, last {window} bars.

    With d = close - close[t - 1]: sum(max(-d, 0), {window}) / (sum(abs(d), {window})).
    """
    return price_losses / price_movement


@_window("fraction", -1.0, 1.0, before=1)
def SUMD(SUMP: Matrix, SUMN: Matrix, *, window: int) -> Matrix:
    """Rises less falls of the close over all its movement, last {window} bars. SUMP - SUMN."""
    return SUMP - SUMN


# Volume over a window.


@_window("fraction of the volume", 0.0)
def VMA(volume: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Mean of the last {window} volumes over the volume. mean(volume, {window}) / (volume)."""
    return over(in_one_life(move_mean.apply(volume, window, window), rows_apart, window), volume)


@_window("fraction of the volume", 0.0)
def VSTD(volume: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Deviation (standard, ddof 1) of the last {window} volumes over the volume.

    std(volume, {window}) / (volume).
    """
    return over(in_one_life(move_std.apply(volume, window, window), rows_apart, window), volume)


@_window("fraction", 0.0, before=1)
def WVMA(traded_move: Matrix, *, window: int) -> Matrix:
    """Deviation (standard, ddof 1) over mean of return times volume, last {window} bars.

    With m = abs(close / close[t - 1] - 1) volume: std(m, {window}) / (mean(m, {window})).
    """
    return over(move_std.apply(traded_move, window, window), move_mean.apply(traded_move, window, window))


@_window("fraction", 0.0, 1.0, before=1)
def VSUMP(volume_gains: Matrix, volume_movement: Matrix, *, window: int) -> Matrix:
    """Rises of the volume over all its movement, last {window} bars.

    With d = volume - volume[t - 1]: sum(max(d, 0), {window}) / (sum(abs(d), {window})).
    """
    return volume_gains / volume_movement


@_window("fraction", 0.0, 1.0, before=1)
def VSUMN(volume_losses: Matrix, volume_movement: Matrix, *, window: int) -> Matrix:
    """Falls of the volume over all its movement, last {window} bars.

    With d = volume - volume[t - 1]: sum(max(-d, 0), {window}) / (sum(abs(d), {window})).
    """
    return volume_losses / volume_movement


@_window("fraction", -1.0, 1.0, before=1)
def VSUMD(VSUMP: Matrix, VSUMN: Matrix, *, window: int) -> Matrix:
    """Rises less falls of the volume over all its movement, last {window} bars. VSUMP - VSUMN."""
    return VSUMP - VSUMN


table = family_stage(__name__)
