"""Keeping and reading a table version against plain Parquet: what sorting, hashing and syncing cost."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benchmarks.contest import Contest, named, scaled, topic
from benchmarks.tables import bars_table
from quant_core.evidence.store.store import Store
from quant_core.market.contracts.ingest import Bars


@topic("storage")
def storage(share: float) -> Iterator[Contest]:
    frame = bars_table(scaled(500, share, least=10), scaled(1_000, share, least=10))
    with TemporaryDirectory() as folder:
        yield Contest(
            name=f"Store.write and read, {frame.height:,} bars",
            peer=f"{named('polars')} write and read",
            ours=partial(kept, frame, folder),
            theirs=partial(plain, frame, folder),
            agree=is_same,
            moved=2 * int(frame.estimated_size()),
        )


def kept(frame: pl.DataFrame, folder: str) -> pl.DataFrame:
    with TemporaryDirectory(dir=folder) as home:
        store = Store(Path(home))
        return store.read(store.write(frame, stage="ingest.bars", sleeve="bench", key=Bars.key))


def plain(frame: pl.DataFrame, folder: str) -> pl.DataFrame:
    with TemporaryDirectory(dir=folder) as home:
        path = Path(home, "table.parquet")
        frame.write_parquet(path, compression="zstd", compression_level=1)
        return pl.read_parquet(path)


def is_same(ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    assert ours.equals(theirs)
