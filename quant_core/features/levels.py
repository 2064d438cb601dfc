"""Ingredients of several families: the life a bar belongs to, consistent highs and lows, average prices.

Prices are levels: across two lives of a ticker they mean nothing to each other. Recursive kernels take `life` and start
again with each; what reads a window of levels is passed through `within_life`. Columns live in the family files.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.catalogue import ingredient
from quant_core.kernels._jit import Mask
from quant_core.kernels.decay import move_decay_linear
from quant_core.kernels.extremes import move_max, move_min
from quant_core.kernels.moving import move_mean, move_sum
from quant_core.kernels.recursive import count_rows_apart, ewm_mean, number_lives, previous_bar
from quant_core.market.panel import Matrix

RANGE_TOLERANCE = 1e-9
"""Adjusted prices are rounded: a close may be this far, relative, outside its bar's range."""
ROUNDING = 1e-12
"""Relative difference up to which two prices are the same: averages of equal prices differ from them by rounding."""
AVERAGES = (10, 20, 30, 50, 100, 200)


def nine_tenths(window: int) -> int:
    """Return how many values of a window must be known."""
    return -(-9 * window // 10)


def within_life(values: Matrix, rows_apart: Matrix, window: int) -> Matrix:
    """Return the values whose window of that many rows is within one life."""
    return np.where(rows_apart < window, np.nan, values)


def place_in_range(x: Matrix, bottom: Matrix, top: Matrix, window: int) -> Matrix:
    """Return the place of x between the lowest bottom (0) and the highest top (1) of each window.

    NaN: at a bar without bottom or top, whose x might be outside, and where nine tenths of the window are not known.
    """
    lowest = move_min.apply(bottom, window, nine_tenths(window))
    highest = move_max.apply(top, window, nine_tenths(window))
    return np.where(np.isnan(bottom), np.nan, (x - lowest) / (highest - lowest))


def sign_of(x: Matrix) -> Matrix:
    """Return the sign of a relative difference, 0 where it is rounding only."""
    return np.where(np.abs(x) <= ROUNDING, 0.0, np.sign(x))


@ingredient
def life(close: Matrix, returns: Matrix) -> Matrix:
    """Life of its ticker that the bar is in; a close without return begins one, as does an unconfirmed jump."""
    return number_lives.apply(close, returns)


@ingredient
def rows_apart(life: Matrix) -> Matrix:
    """Rows since the last bar of another life of the ticker, not known where there was none.

    A window of no more rows reads one life. Bars before the window do not matter, so that what is built on it
    stays local.
    """
    return count_rows_apart.apply(life)


@ingredient
def top(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """High of the bar, not known where high, low and close contradict each other."""
    return np.where(_is_sound(high, low, close), np.maximum(high, close), np.nan)


@ingredient
def bottom(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Low of the bar, not known where high, low and close contradict each other."""
    return np.where(_is_sound(high, low, close), np.minimum(low, close), np.nan)


@ingredient(has_infinite_memory=True)
def last_close(close: Matrix, life: Matrix) -> Matrix:
    """Close of the bar before, of the same life and however many dates ago."""
    return previous_bar.apply(close, life)


@ingredient(windows=AVERAGES)
def sma(close: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Mean close of the last {window} bars, nine tenths of them known."""
    return within_life(move_mean.apply(close, window, nine_tenths(window)), rows_apart, window)


@ingredient(windows=AVERAGES, has_infinite_memory=True)
def ema(close: Matrix, life: Matrix, *, window: int) -> Matrix:
    """Exponential mean close of {window} bars, begun with the mean of the first {window}."""
    return ewm_mean.apply(close, life, 2.0 / (window + 1.0), window, False)


@ingredient
def vwma20(
    close: Matrix, volume: Matrix, rows_apart: Matrix, *, window: int = 20, volume_unit: str = "units"
) -> Matrix:
    """Mean close of the last 20 bars weighted by the units traded, nine tenths of them known."""
    units = np.where(np.isnan(close), np.nan, volume / close if volume_unit == "value" else volume)
    least = nine_tenths(window)
    mean = move_sum.apply(close * units, window, least) / move_sum.apply(units, window, least)
    return within_life(mean, rows_apart, window)


@ingredient
def hull9(close: Matrix, rows_apart: Matrix, *, window: int = 9, half: int = 4, root: int = 3) -> Matrix:
    """Hull average close of 9 bars: the 3-bar mean of twice the 4-bar less the 9-bar mean, weights falling linearly.

    Source: Hull (2005), How to reduce lag in a moving average.
    """
    twice = 2.0 * move_decay_linear.apply(close, half, nine_tenths(half))
    straight = twice - move_decay_linear.apply(close, window, nine_tenths(window))
    return within_life(move_decay_linear.apply(straight, root, nine_tenths(root)), rows_apart, window + root - 1)


def _is_sound(high: Matrix, low: Matrix, close: Matrix) -> Mask:
    return (low <= close * (1.0 + RANGE_TOLERANCE)) & (close <= high * (1.0 + RANGE_TOLERANCE))
