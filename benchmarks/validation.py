"""Judging every row of a table against reading the table from disk: filter and log must cost less than the data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benchmarks.contest import Contest, named, scaled, topic
from benchmarks.tables import bars_table, returns_table
from quant_core.market.contracts.ingest import Bars, ReturnsSchema
from quant_core.market.contracts.split import Split, split


@topic("validation")
def validation(share: float) -> Iterator[Contest]:
    dates, symbols = scaled(1_000, share, least=10), scaled(1_000, share, least=10)
    for contract, made in ((ReturnsSchema, returns_table), (Bars, bars_table)):
        with TemporaryDirectory() as folder:
            frame, path = made(dates, symbols), Path(folder, "table.parquet")
            frame.write_parquet(path, compression="zstd", compression_level=1)
            yield Contest(
                name=f"split by {contract.name}, {frame.height:,} rows",
                peer=f"{named('polars')} reads the file",
                ours=partial(split, frame, contract),
                theirs=partial(pl.read_parquet, path),
                agree=keeps_all,
                moved=int(frame.estimated_size()),
            )


def keeps_all(parted: Split, read: pl.DataFrame) -> None:
    assert parted.valid.equals(read)
    assert parted.exclusions.is_empty()
