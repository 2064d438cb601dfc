"""Ingredients of several families: the life a bar belongs to, consistent highs and lows, average prices.

Prices are levels: across two lives of a ticker they mean nothing to each other. Recursive kernels take `life` and start
again with each; what reads a window of levels is passed through `within_life`. Where windows are nested and symbols are
compared in between, a mask at the end comes too late: `lives_apart` gives every life a column of its own. Columns of
tables live in the family files.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quant_core.features.catalogue import ingredient
from quant_core.features.steps import Function
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


@dataclass(frozen=True, eq=False)
class Stay:
    """A life that leaves its ticker's column: which column, how many to the right it stays, and in which rows."""

    column: int
    aside: int
    is_here: Mask


def lives_apart(reach: int) -> Callable[[Function], Function]:
    """Give a function the further input `life`, and its other inputs a column more per life that would share a window.

    A ticker's columns are neighbours: what is summed across a row is summed in the same order, wherever rows begin.

    Parameters
    ----------
    reach : int
        Rows a value reads, its own included: two lives so far apart share a column.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def answer(*given: Matrix) -> Matrix:
            *inputs, life = given
            stays = stays_of(life, reach)
            if not stays:
                return function(*inputs)
            place = _places(stays, life.shape[1])
            found = function(*(_separate_lives(x, stays, place) for x in inputs))
            out = found[:, place[:-1]]
            for stay in stays:
                out[stay.is_here, stay.column] = found[stay.is_here, place[stay.column] + stay.aside]
            return np.ascontiguousarray(out)

        own = inspect.signature(function)
        life = inspect.Parameter("life", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Matrix)
        answer.__signature__ = own.replace(parameters=[*own.parameters.values(), life])  # type: ignore[attr-defined]
        return answer

    return decorate


def stays_of(life: Matrix, reach: int) -> list[Stay]:
    """Return the lives that begin while another one of their column is still in reach."""
    newest, oldest = np.fmax.reduce(life, axis=0, initial=-np.inf), np.fmin.reduce(life, axis=0, initial=np.inf)
    stays = []
    for column in np.flatnonzero(newest > oldest).tolist():
        last: list[int] = []
        for number in np.unique(life[~np.isnan(life[:, column]), column]):
            is_here = life[:, column] == number
            rows = np.flatnonzero(is_here)
            aside = next((k for k, row in enumerate(last) if row + reach <= rows[0]), len(last))
            last[aside : aside + 1] = [int(rows[-1])]
            if aside:
                stays.append(Stay(column, aside, is_here))
    return stays


def _is_sound(high: Matrix, low: Matrix, close: Matrix) -> Mask:
    return (low <= close * (1.0 + RANGE_TOLERANCE)) & (close <= high * (1.0 + RANGE_TOLERANCE))


def _places(stays: Sequence[Stay], columns: int) -> npt.NDArray[np.int64]:
    """Return where each ticker's columns begin, and after them the number of all columns."""
    further = np.zeros(columns, dtype=np.int64)
    for stay in stays:
        further[stay.column] = max(further[stay.column], stay.aside)
    return np.concatenate([[0], np.cumsum(further + 1)])


def _separate_lives(x: Matrix, stays: Sequence[Stay], place: npt.NDArray[np.int64]) -> Matrix:
    out = np.full((x.shape[0], place[-1]), np.nan)
    out[:, place[:-1]] = x
    for stay in stays:
        out[stay.is_here, place[stay.column] + stay.aside] = x[stay.is_here, stay.column]
        out[stay.is_here, place[stay.column]] = np.nan
    return out
