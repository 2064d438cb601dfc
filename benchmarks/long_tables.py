"""Thirty simple rolling factors, long table in and long table out, against the same in polars expressions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from benchmarks.contest import Contest, Entry, faster, named, scaled, topic
from benchmarks.market import bars, dense, long_table
from benchmarks.polars_factors import expressions_of
from benchmarks.qlib_store import agree
from quant_core.features import compute_features

SIMPLE = {
    "ROC": "Ref($close, {0})/$close",
    "MA": "Mean($close, {0})/$close",
    "STD": "Std($close, {0})/$close",
    "MAX": "Max($high, {0})/$close",
    "MIN": "Min($low, {0})/$close",
    "VMA": "Mean($volume, {0})/($volume+1e-12)",
}
FACTORS = {f"{name}{window}": text.format(window) for name, text in SIMPLE.items() for window in (5, 10, 20, 30, 60)}


@topic("long_tables", pools=(1, 2))
def long_tables(share: float) -> Iterator[Entry]:
    T, N = scaled(3_400, share, least=200), scaled(200, share, least=8)
    cores = pl.thread_pool_size()
    for what, gaps in (("complete", False), ("with gaps", True)):
        table = long_table(bars(T, N, gaps=gaps))
        yield Contest(
            name=f"{len(FACTORS)} rolling factors, {N:,} x {T:,}, {what}",
            peer=named("polars"),
            ours=partial(computed, table, cores),
            theirs=partial(in_polars, dense(table)),
            # Beside a gap ours says nothing until the window is full, theirs compares two closes across it.
            agree=partial(agree, speaks=0.2 if gaps else 0.95),
            moved=8 * (5 + len(FACTORS)) * table.height,
            elements=len(FACTORS) * table.height,
            threads=(cores, cores),
            targets=(faster(4.0),),
        )


def computed(table: pl.DataFrame, cores: int) -> pl.DataFrame:
    return compute_features(table, list(FACTORS), calendar="XNYS", threads=cores)


def in_polars(table: pl.DataFrame) -> pl.DataFrame:
    return table.lazy().select("date", "symbol", *expressions_of(FACTORS)).collect()
