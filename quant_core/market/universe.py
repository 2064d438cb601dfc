"""Who could be held when: the interval table of the universe as a mask over a Panel's labels.

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
    mask = np.zeros((len(dates), len(symbols)), dtype=np.bool_)
    place = {symbol: j for j, symbol in enumerate(symbols)}
    days = dates.cast(pl.Date).to_physical().to_numpy()
    rows = universe.filter(pl.col("is_eligible")).select(
        "symbol", pl.col("start").to_physical(), pl.col("end").to_physical()
    )
    for symbol, start, end in rows.iter_rows():
        if symbol not in place:
            continue
        first = int(np.searchsorted(days, start, side="left"))
        last = len(days) if end is None else int(np.searchsorted(days, end, side="right"))
        mask[first:last, place[symbol]] = True
    return mask
