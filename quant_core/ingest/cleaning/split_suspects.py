"""Finds bars where prices seem to change to the terms of an unreported split. A suspicion excludes nothing.

Splits that are known are applied in corporate_actions/effects.py. How far the rule is right on real data is counted
by its tests.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from quant_core.market.arrays import Floats, Ints, run_starts

# New shares per old one; a reverse split of 3:2 is not made.
RATIOS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)
SCALE_BARS, SCALE_LEAST = 60, 20
VALUE_BARS, VALUE_LEAST = 20, 5
EXTRAORDINARY = 8.0  # the move is that many usual days
NEAR_OPEN, NEAR_CLOSE = 3.0, 5.0  # what it leaves unexplained at the open and at the close, in usual days
NEAREST = 0.25  # and at the open at most this, as a logarithm: beyond it the next ratio is as near
CALM = 0.5  # the day's range is at most this part of the move
HIGHEST_VALUE, LOWEST_VALUE = 2.0, 0.01  # traded value against its usual one: at most that times the ratio
LONGEST_BREAK = 10
NORMAL_MAD = 1.4826
_BLOCK = 1 << 16

_TERMS = np.sort(np.concatenate([-np.log(RATIOS), np.log([ratio for ratio in RATIOS if ratio >= 2.0])]))
_EDGES = 0.5 * (_TERMS[1:] + _TERMS[:-1])
_SMALLEST = float(np.abs(_TERMS).min()) * (1.0 - NEAR_OPEN / EXTRAORDINARY)  # no smaller gap can pass


def suspected_splits(bars: pl.DataFrame, *, volume_unit: Literal["units", "value"] = "units") -> pl.Series:
    """Return at which bars a split seems to have been left unadjusted.

    A split changes the price overnight, by a simple ratio, on a day like any other. A crash trades through its fall, or
    comes with a multiple of the traded value. So a bar is suspected where all of this holds:

    - it opens within NEAR_OPEN usual days, and closes within NEAR_CLOSE, of a ratio's price; a usual day is 1.4826
      times the median absolute log return of the SCALE_BARS bars before;
    - the ratio is a move of at least EXTRAORDINARY usual days, and the day's own range at most half of it;
    - its traded value, where known, is between LOWEST_VALUE and HIGHEST_VALUE x the ratio of the median of the
      VALUE_BARS bars before. After a reverse split an asset draws more than its usual trade, the more the larger it is.

    Only the bar itself and earlier ones are looked at: the answer on a bar is known at its close and no later bar
    changes it. Whether the new level holds is therefore not asked, so a price on the wrong terms for one day is
    suspected twice, going and coming. A life that begins by a jump is judged against the life before it.

    Parameters
    ----------
    bars : DataFrame [R]
        Sorted by symbol and date: date, symbol, life, open, high, low, close, volume.
    volume_unit : "units" or "value"
        Whether volume is shares or already traded value.

    Returns
    -------
    pl.Series of Boolean [R]
        False where it cannot be judged: open, high or low is not known, all prices of the day are one, the bar before
        is more than LONGEST_BREAK days back, fewer than SCALE_LEAST returns are known, or most of them are zero. With
        fewer than VALUE_LEAST traded values the prices alone decide, and a crash overnight to a ratio is suspected.
    """
    table = bars.select(
        asset=pl.struct("symbol", "life").rle_id(),
        overnight=(pl.col("open") / pl.col("close").shift(1)).log(),
        change=(pl.col("close") / pl.col("close").shift(1)).log(),
        span=(pl.col("high") / pl.col("low")).log(),
        value=pl.when(pl.col("volume") > 0.0).then(
            pl.col("volume") * pl.col("close") if volume_unit == "units" else pl.col("volume")
        ),
        is_next=(pl.col("symbol") == pl.col("symbol").shift(1))
        & ((pl.col("date") - pl.col("date").shift(1)).dt.total_days() <= LONGEST_BREAK),
    )
    is_gap = table.select(pl.col("is_next") & (pl.col("span") > 0.0) & (pl.col("overnight").abs() >= _SMALLEST))
    position = np.flatnonzero(is_gap.to_series().fill_null(value=False).to_numpy())
    overnight, change, span, value = (table[name].to_numpy() for name in ("overnight", "change", "span", "value"))
    term = _TERMS[np.searchsorted(_EDGES, overnight[position])]
    is_near = np.abs(overnight[position] - term) <= NEAREST
    is_calm = span[position] <= CALM * np.abs(term)
    position, term = position[is_near & is_calm], term[is_near & is_calm]
    asset = table["asset"].to_numpy().astype(np.int64)
    moves = np.where(run_starts(asset), np.nan, np.abs(change))
    suspected = np.zeros(bars.height, dtype=np.bool_)
    for start in range(0, position.size, _BLOCK):
        at, ratio = position[start : start + _BLOCK], term[start : start + _BLOCK]
        usual_day = NORMAL_MAD * _median_before(moves, asset, at, SCALE_BARS, SCALE_LEAST)
        multiple = value[at] / _median_before(value, asset, at, VALUE_BARS, VALUE_LEAST)
        suspected[at] = (
            (usual_day > 0.0)
            & (np.abs(ratio) >= EXTRAORDINARY * usual_day)
            & (np.abs(overnight[at] - ratio) <= NEAR_OPEN * usual_day)
            & (np.abs(change[at] - ratio) <= NEAR_CLOSE * usual_day)
            & ~((multiple < LOWEST_VALUE) | (multiple > HIGHEST_VALUE * np.exp(np.abs(ratio))))
        )
    return pl.Series("is_suspected", suspected)


def _median_before(values: Floats, asset: Ints, at: Ints, bars: int, least: int) -> Floats:
    """Return the median of the values known of the `bars` bars before each of `at`, in the life of the one before.

    values, asset: [R], NaN where not known; at: [P], none of them 0; out: [P], NaN with fewer than `least`.
    """
    row = at[:, None] - np.arange(1, bars + 1)
    is_there, row = row >= 0, np.maximum(row, 0)
    window = np.sort(np.where(is_there & (asset[row] == asset[at - 1][:, None]), values[row], np.nan), axis=1)
    known = np.count_nonzero(~np.isnan(window), axis=1)
    middle = np.stack([np.maximum(known - 1, 0) // 2, known // 2], axis=1)
    median: Floats = np.take_along_axis(window, np.minimum(middle, bars - 1), axis=1).mean(axis=1)
    return np.where(known >= least, median, np.nan)
