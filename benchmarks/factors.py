"""Fourteen of Qlib's factors, long table in and out, against pyqlib and polars; in memory and from a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benchmarks.contest import Contest, Entry, Skipped, copies, faster, lacking, named, scaled, topic
from benchmarks.market import bars, dense, long_table, real_bars
from benchmarks.polars_factors import expressions_of
from benchmarks.qlib_store import F14, agree, factors_of
from quant_core.evidence.store.store import ROW_GROUP
from quant_core.features import compute_features

NAMES = list(F14)


@topic("factors", pools=(1, 2))
def factors(share: float) -> Iterator[Entry]:
    T, N = scaled(3_400, share, least=200), scaled(800, share, least=8)
    size = f"14 factors, {N:,} x {T:,}"
    yield from _of_table(f"{size}, complete", long_table(bars(T, N)), speaks=0.95)
    yield from _of_table(f"{size}, with gaps", long_table(bars(T, N, gaps=True)), speaks=0.2)
    found = real_bars(share)
    if isinstance(found, str):
        yield Skipped("14 factors, real prices", "pyqlib and polars", found)
        return
    title = f"14 factors, real prices, {found['symbol'].n_unique():,} symbols, {found.height:,} rows"
    yield from _of_table(title, found, speaks=0.2)


def _of_table(title: str, table: pl.DataFrame, *, speaks: float) -> Iterator[Entry]:
    """Yield the contests on one table, in memory, from a file, and against pyqlib, which reads its own files."""
    cores = pl.thread_pool_size()
    held = partial(
        Contest,
        moved=8 * (6 + len(NAMES)) * table.height,
        elements=len(NAMES) * table.height,
        threads=(cores, cores),
    )
    ours = partial(computed, table, cores)
    yield held(
        name=f"{title}, in memory",
        peer=named("polars"),
        ours=ours,
        theirs=partial(in_polars, dense(table).lazy()),
        agree=partial(agree, speaks=speaks),
        targets=(faster(10.0),),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder, "bars.parquet")
        table.write_parquet(path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
        dense(table).write_parquet(Path(folder, "dense.parquet"), compression="zstd", compression_level=1)
        yield held(
            name=f"{title}, from Parquet",
            peer=named("polars"),
            ours=partial(computed, path, cores),
            theirs=lambda: in_polars(pl.scan_parquet(Path(folder, "dense.parquet"))),
            agree=partial(agree, speaks=speaks),
            targets=(copies(6.0),),
        )
    if why := lacking("qlib"):
        yield Skipped(f"{title}, in memory", "pyqlib", why)
        return
    with factors_of(table, kernels=cores) as qlib:
        yield held(
            name=f"{title}, in memory",
            peer=f"{named('pyqlib')}, kernels={cores}, nothing cached",
            ours=ours,
            theirs=partial(qlib, F14),
            agree=partial(agree, speaks=speaks),
            targets=(faster(50.0),),
        )


def computed(table: pl.DataFrame | Path, cores: int) -> pl.DataFrame:
    return compute_features(table, NAMES, calendar="XNYS", threads=cores)


def in_polars(table: pl.LazyFrame) -> pl.DataFrame:
    return table.select("date", "symbol", *expressions_of(F14)).collect()
