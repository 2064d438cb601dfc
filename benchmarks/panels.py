"""From a long table to a Panel against polars' pivot."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.contest import Contest, named, scaled, topic
from benchmarks.tables import returns_table
from quant_core.market.panel import axes_of

Matrix = npt.NDArray[np.float64]


@topic("panels")
def panels(share: float) -> Iterator[Contest]:
    dates, symbols = scaled(1_260, share, least=10), scaled(500, share, least=10)
    frame = returns_table(dates, symbols)
    yield Contest(
        name=f"axes_of and panel, {frame.height:,} rows",
        peer=f"{named('polars')} pivot",
        ours=partial(scattered, frame),
        theirs=partial(pivoted, frame),
        agree=np.testing.assert_array_equal,
        moved=int(frame.estimated_size()) + 8 * frame.height,
    )


def scattered(frame: pl.DataFrame) -> Matrix:
    return axes_of(frame).panel(frame["simple_return"]).values


def pivoted(frame: pl.DataFrame) -> Matrix:
    wide = frame.pivot("symbol", index="date", values="simple_return").sort("date")
    return wide.select(sorted(wide.columns[1:])).to_numpy()
