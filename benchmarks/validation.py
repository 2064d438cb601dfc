"""Judging every row of a table against reading the table from disk: filter and log must cost less than the data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.contest import Contest, named, scaled, topic
from benchmarks.tables import bars_table, returns_table
from quant_core.evidence.store.store import ROW_GROUP
from quant_core.market.contracts.ingest import Bars, ReturnsSchema
from quant_core.market.contracts.split import Contract, Split, split, validate

BROKEN = 0.001


@topic("validation")
def validation(share: float) -> Iterator[Contest]:
    dates, symbols = scaled(5_000, share, least=20), scaled(1_000, share, least=20)
    for contract, made in ((ReturnsSchema, returns_table), (Bars, bars_table)):
        clean = made(dates, symbols)
        for order in (["date", "symbol"], ["symbol", "date"]):
            table = clean.sort(order).rechunk()
            yield from _read_back("clean", table, contract, order)
            yield from _read_back("0.1 % broken", broken(table, contract), contract, order)


def _read_back(what: str, table: pl.DataFrame, contract: Contract, order: list[str]) -> Iterator[Contest]:
    """Yield the contests on one table, as it comes back from a file written as the store writes it."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        table.write_parquet(path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
        read = pl.read_parquet(path)
        by, moved = " and ".join(order), int(read.estimated_size())
        name = f"{contract.name}, {read.height:,} rows by {by}, {what}"
        contest = partial(
            Contest, peer=f"{named('polars')} reads the file", theirs=partial(pl.read_parquet, path), moved=moved
        )
        yield contest(name=f"split {name}", ours=partial(split, read, contract), agree=keeps_all)
        if what == "clean":
            yield contest(name=f"validate {name}", ours=partial(validate, read, contract), agree=is_same)


def broken(table: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Break 0.1 % of the rows, a quarter each: a bound, a value that is not there, a symbol, a key that comes twice."""
    rng = np.random.default_rng(5)
    kind = np.zeros(table.height, dtype=np.int8)
    rows = rng.choice(table.height, max(4, round(BROKEN * table.height)), replace=False)
    kind[rows] = 1 + np.arange(rows.size) % 4
    number = "close" if contract is Bars else "simple_return"
    kinds = pl.lit(pl.Series(kind))
    # A row that takes the key of the one before it: by symbols that is the date before, by dates the symbol before.
    again = {name: pl.when(kinds == 4).then(pl.col(name).shift(1)).otherwise(name) for name in contract.key}
    return table.with_columns(**again).with_columns(
        pl.when(kinds == 1)
        .then(-5.0)
        .when((kinds == 2) & (number == "close"))
        .then(None)
        .otherwise(number)
        .alias(number),
        pl.when(kinds == 3).then(pl.lit("nowhere")).otherwise("symbol").alias("symbol"),
    )


def keeps_all(parted: Split, read: pl.DataFrame) -> None:
    assert parted.valid.height + parted.exclusions.height == read.height
    lost = parted.exclusions["row"]
    assert parted.valid.equals(read if lost.is_empty() else read.with_row_index("_row").filter(
        ~pl.col("_row").cast(pl.Int64).is_in(lost.implode())).drop("_row"))  # fmt: skip


def is_same(judged: pl.DataFrame, read: pl.DataFrame) -> None:
    assert judged.equals(read)
