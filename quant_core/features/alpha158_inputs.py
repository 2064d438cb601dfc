"""Ingredients that several factors of Alpha158 share: each computed once per block, none a column.

The factors are in alpha158.py, the definition of an ingredient in steps.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.catalogue import ingredient
from quant_core.features.levels import within_life
from quant_core.kernels.extremes import move_max, move_min
from quant_core.kernels.moving import move_sum
from quant_core.market.panel import Matrix

WINDOWS = (5, 10, 20, 30, 60)


def with_row_before(join: np.ufunc, x: Matrix) -> Matrix:
    """Return `join` of each row and the one before; NaN in the first row."""
    out = np.empty_like(x)
    out[:1] = np.nan
    join(x[1:], x[:-1], out=out[1:])
    return out


def over(values: Matrix, unit: Matrix) -> Matrix:
    """Divide in place: no one else uses `values`, and a block does not grow by another matrix."""
    return np.divide(values, unit, out=values)


def in_one_life(values: Matrix, rows_apart: Matrix, rows: int) -> Matrix:
    """Return the values whose last `rows` rows are within one life of the ticker."""
    # What is known of a row stays known of later ones, and a block where nothing is has one life per ticker: the rule.
    return values if np.isnan(rows_apart[-1:]).all() else within_life(values, rows_apart, rows)


@ingredient
def high_to_low(high: Matrix, low: Matrix) -> Matrix:
    """Highest less lowest price of the bar."""
    return high - low


@ingredient
def log_volume(volume: Matrix) -> Matrix:
    """Natural logarithm of one plus the volume."""
    found = volume + 1.0
    return np.log(found, out=found)


@ingredient(memory=2)
def log_volume_ratio(volume: Matrix, rows_apart: Matrix) -> Matrix:
    """Natural logarithm of one plus the volume over that of the bar before; no number after a bar without volume."""
    found = with_row_before(np.divide, volume)
    found += 1.0
    return in_one_life(np.log(found, out=found), rows_apart, 2)


@ingredient
def traded_move(returns: Matrix, volume: Matrix) -> Matrix:
    """Absolute return times volume."""
    return np.abs(returns) * volume


@ingredient
def is_rise(returns: Matrix) -> Matrix:
    """One where the close rose, else zero."""
    return np.where(np.isnan(returns), np.nan, returns > 0.0)


@ingredient
def is_fall(returns: Matrix) -> Matrix:
    """One where the close fell, else zero."""
    return np.where(np.isnan(returns), np.nan, returns < 0.0)


@ingredient(memory=2)
def price_change(close: Matrix, returns: Matrix) -> Matrix:
    """Close less that of the bar before, where the return between them is known."""
    found = with_row_before(np.subtract, close)
    np.copyto(found, np.nan, where=np.isnan(returns))
    return found


@ingredient(memory=2)
def volume_change(volume: Matrix, rows_apart: Matrix) -> Matrix:
    """Volume less that of the bar before."""
    return in_one_life(with_row_before(np.subtract, volume), rows_apart, 2)


@ingredient(windows=WINDOWS)
def highest(high: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Highest price of the last {window} bars."""
    return in_one_life(move_max.apply(high, window, window), rows_apart, window)


@ingredient(windows=WINDOWS)
def lowest(low: Matrix, rows_apart: Matrix, *, window: int) -> Matrix:
    """Lowest price of the last {window} bars."""
    return in_one_life(move_min.apply(low, window, window), rows_apart, window)


@ingredient
def price_rise(price_change: Matrix) -> Matrix:
    """Rise of the close, zero where it did not rise."""
    return np.maximum(price_change, 0.0)


@ingredient
def price_fall(price_change: Matrix) -> Matrix:
    """Fall of the close, zero where it did not fall."""
    return np.maximum(-price_change, 0.0)


@ingredient
def volume_rise(volume_change: Matrix) -> Matrix:
    """Rise of the volume, zero where it did not rise."""
    return np.maximum(volume_change, 0.0)


@ingredient
def volume_fall(volume_change: Matrix) -> Matrix:
    """Fall of the volume, zero where it did not fall."""
    return np.maximum(-volume_change, 0.0)


@ingredient(windows=WINDOWS)
def price_gains(price_rise: Matrix, *, window: int) -> Matrix:
    """Sum of the rises of the close over the last {window} bars."""
    return move_sum.apply(price_rise, window, window)


@ingredient(windows=WINDOWS)
def price_losses(price_fall: Matrix, *, window: int) -> Matrix:
    """Sum of the falls of the close over the last {window} bars."""
    return move_sum.apply(price_fall, window, window)


@ingredient(windows=WINDOWS)
def volume_gains(volume_rise: Matrix, *, window: int) -> Matrix:
    """Sum of the rises of the volume over the last {window} bars."""
    return move_sum.apply(volume_rise, window, window)


@ingredient(windows=WINDOWS)
def volume_losses(volume_fall: Matrix, *, window: int) -> Matrix:
    """Sum of the falls of the volume over the last {window} bars."""
    return move_sum.apply(volume_fall, window, window)


@ingredient(windows=WINDOWS)
def price_movement(price_gains: Matrix, price_losses: Matrix, *, window: int) -> Matrix:
    """Sum of the movements of the close over the last {window} bars."""
    return price_gains + price_losses


@ingredient(windows=WINDOWS)
def volume_movement(volume_gains: Matrix, volume_losses: Matrix, *, window: int) -> Matrix:
    """Sum of the movements of the volume over the last {window} bars."""
    return volume_gains + volume_losses
