"""All of Alpha158 against pyqlib, and what polars can express of it against polars; long table in and out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import polars as pl

from benchmarks.contest import Contest, Entry, Skipped, faster, lacking, named, nanoseconds, scaled, topic
from benchmarks.market import bars, long_table
from benchmarks.polars_factors import expressible, expressions_of
from benchmarks.qlib_store import Computed, agree, alpha158, factors_of
from quant_core.features import compute_features

PART = 100
"""Symbols pyqlib is asked for at a time: it works symbol by symbol, and its answer to more would fill the memory."""


@topic("alpha158")
def alpha158_factors(share: float) -> Iterator[Entry]:
    for full in (100, 800):
        T, N = scaled(3_400, share, least=200), scaled(full, share, least=4)
        if why := lacking("qlib"):
            yield Skipped(f"Alpha158, {N:,} x {T:,}", "pyqlib and polars", why)
            continue
        yield from _of_table(f"{N:,} x {T:,}", long_table(bars(T, N)), alpha158())


def _of_table(size: str, table: pl.DataFrame, factors: dict[str, str]) -> Iterator[Entry]:
    in_polars = expressible(factors)
    some = table["symbol"].unique().sort().tail(20).to_list()
    held = partial(Contest, agree=partial(are_factors, some))
    yield held(
        name=f"{len(in_polars)} of Alpha158, {size}",
        peer=named("polars"),
        ours=partial(computed, table, list(in_polars)),
        theirs=lambda: table.lazy().select("date", "symbol", *expressions_of(in_polars)).collect(),
        moved=8 * (6 + len(in_polars)) * table.height,
        elements=len(in_polars) * table.height,
        targets=(faster(12.0), nanoseconds(7.0)),
    )
    with factors_of(table, kernels=1) as qlib:
        yield held(
            name=f"Alpha158, {size}",
            peer=f"{named('pyqlib')}, kernels=1, nothing cached",
            ours=partial(computed, table, list(factors)),
            theirs=partial(in_parts, qlib, factors, table["symbol"].unique().sort().to_list()),
            moved=8 * (6 + len(factors)) * table.height,
            elements=len(factors) * table.height,
            targets=(faster(80.0), nanoseconds(7.0)),
        )


def computed(table: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return compute_features(table, names, calendar="XNYS", threads=1)


def in_parts(qlib: Computed, factors: dict[str, str], symbols: Sequence[str]) -> pd.DataFrame:
    """Return pyqlib's answer for the last symbols, after it has given those for all others."""
    for part in np.array_split(np.array(symbols), -(-len(symbols) // PART)):
        found = qlib(factors, part.tolist())
    return found


def are_factors(symbols: Sequence[str], ours: pl.DataFrame, theirs: pl.DataFrame | pd.DataFrame) -> None:
    """Compare some symbols, which the last part holds."""
    mine = ours.filter(pl.col("symbol").is_in(symbols))
    if isinstance(theirs, pl.DataFrame):
        agree(mine, theirs.filter(pl.col("symbol").is_in(symbols)))
    else:
        agree(mine, theirs[theirs.index.get_level_values("instrument").isin(symbols)])
