"""Simple returns of each symbol on its own calendar.

Which closes may be compared is decided in cleaning/jumps_and_stalls.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.graph.stage import TableRule, stage
from quant_core.ingest.cleaning.drift import drift, drift_numbers
from quant_core.ingest.cleaning.jumps_and_stalls import bar_return
from quant_core.market.contracts.ingest import ReturnsSchema
from quant_core.market.text_codes import codes_of, order_of

PADDED_SHARE = 0.5


def padding(returns: pl.DataFrame) -> str | None:
    """Demand that no symbol with a year of returns has more than half of them exactly zero."""
    coded, change = codes_of(returns["symbol"]), returns["simple_return"]
    known, zero = (
        np.bincount(coded.code[is_one.to_numpy()], minlength=len(coded.texts))
        for is_one in (change.is_not_null(), (change == 0.0).fill_null(value=False))
    )
    padded = coded.texts.filter(pl.Series((known >= 252) & (zero > PADDED_SHARE * known)))
    if padded.is_empty():
        return None
    return f"{len(padded)} symbols have mostly zero returns, such as {padded.head(3).to_list()}."


@stage(
    "ingest.returns",
    inputs={"bars": "ingest.bars"},
    output=ReturnsSchema,
    conserves="bars",
    rules=(TableRule("padding", padding, "warn"), TableRule("drift", drift, "warn")),
    metrics=drift_numbers,
)
def returns(bars: pl.DataFrame) -> pl.DataFrame:
    """Return close over the symbol's previous close less 1; null at the first bar of a life and at a provisional bar.

    Rows are in the order of the bars.

    Across a halt or an excluded bar the return runs from the last trustworthy close: no move is lost, none is padded.
    """
    day = bars["date"].to_physical()
    code = codes_of(bars["symbol"]).code
    order = order_of(code, (day - day.min()).to_numpy() if len(day) else day.to_numpy())
    series = bars.select("close", "life", "is_provisional", symbol=pl.Series(code))
    changes = (series if order is None else series[order]).select(bar_return()).to_series()
    return bars.select("date", "symbol").with_columns(
        simple_return=changes if order is None else _restore_order(changes, order)
    )


def _restore_order(values: pl.Series, order: npt.NDArray[np.int64]) -> pl.Series:
    """Undo an ordering: put each value back in its original row."""
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    return values.gather(place)
