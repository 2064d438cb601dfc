"""Checks whether enough of a symbol was traded recently, with different floors for entry and exit.

What follows for membership is said in universe.py; liquidity as a feature lives in features/.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

LEAVES_BELOW = 0.8


def is_liquid(
    value: pl.Series, age: npt.NDArray[np.int64], *, floor: float, bars: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Check the median of the last `bars` traded values at each bar.

    A symbol comes in where the median reaches `floor` and goes out where it falls below LEAVES_BELOW of it; in between
    it stays what it was. Where the median is not known it is out and must enter again. A median is an order
    statistic: the same bits whatever preceded the window.

    Parameters
    ----------
    value : Series [R]
        Traded value of bars sorted by symbol and date; null where not known.
    age : int64 [R]
        Bars of the symbol's life so far, this one included; no window reaches into an earlier life.
    floor : float
        In the unit of `value`.
    bars : int
        Length of the window.

    Returns
    -------
    is_liquid, is_known : bool [R]
        `is_known` where the life has `bars` bars and at least half of the window's values are known.
    """
    median = value.rolling_median(bars, min_samples=(bars + 1) // 2)
    table = pl.DataFrame({"median": median, "age": age})
    is_known = (pl.col("age") >= bars) & pl.col("median").is_not_null()
    comes, goes = pl.col("median") >= floor, pl.col("median") < LEAVES_BELOW * floor
    is_first = pl.col("age") <= bars  # the first full window of a life has no state before it to keep
    is_out = ~is_known | goes | is_first
    turn = pl.when(is_known & comes).then(pl.lit(value=True)).when(is_out).then(pl.lit(value=False))
    judged = table.select(is_liquid=turn.forward_fill().fill_null(value=False), is_known=is_known)
    return judged["is_liquid"].to_numpy(), judged["is_known"].to_numpy()
