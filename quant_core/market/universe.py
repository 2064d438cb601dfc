"""Turns the interval table of the universe into a mask over a Panel's labels.

How membership is decided is a stage (ingest/universe.py); this module only reads its table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from quant_core.market.panel import Mask


def universe_mask(universe: pl.DataFrame, dates: pl.Series, symbols: Sequence[str]) -> Mask:
    """Return where a symbol was an eligible member.

    Parameters
    ----------
    universe : DataFrame
        Under the contract Universe: symbol, start, end (null: still open), is_eligible. Both ends are inclusive.
    dates : pl.Series [T]
        Sorted dates.
    symbols : sequence of str [N]

    Returns
    -------
    bool [T, N]
        False where the table says no or says nothing.
    """
    days = dates.cast(pl.Date).to_physical().to_numpy()
    place = pl.DataFrame(
        {"symbol": list(symbols), "column": range(len(symbols))}, schema_overrides={"symbol": pl.String}
    )
    rows = universe.filter(pl.col("is_eligible")).join(place, on="symbol")
    start = rows["start"].to_physical().to_numpy()
    end = rows["end"].to_physical().fill_null(np.iinfo(np.int32).max).to_numpy()
    column = rows["column"].to_numpy()
    steps = np.zeros((len(dates) + 1, len(symbols)), dtype=np.int32)
    np.add.at(steps, (np.searchsorted(days, start, side="left"), column), 1)
    np.add.at(steps, (np.searchsorted(days, end, side="right"), column), -1)
    return np.cumsum(steps[:-1], axis=0) > 0
