"""Features of a large market written to Parquet within bounded memory: family by family, column block by column block.

What fits into memory is `compute_features`' business, committed tables are the store's. A family is a folder of files;
each holds date, symbol and some columns of all rows, in order of symbol and date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from quant_core.errors import ContractError, UsageError
from quant_core.features.catalogue import catalogue
from quant_core.features.compute import VolumeUnit, choose_features, compute_table, context_of
from quant_core.features.step_order import plan_of
from quant_core.features.steps import Feature
from quant_core.features.tiles import SortedBars, sorted_bars
from quant_core.graph.catalog import Catalog
from quant_core.kernels.threads import BLOCK, run_parts
from quant_core.market.calendar import Calendar

FILE_BYTES = 1 << 30
"""Numbers in a file, unpacked: columns of one file that compare symbols are in memory at a time."""

PART_BYTES = 1 << 28
"""Numbers of the columns of a family that are in memory at a time where symbols do not meet."""

ROW_GROUP = 1 << 17


@dataclass(frozen=True)
class FamilyFiles:
    """The files of one family, as written.

    Attributes
    ----------
    family : str
    features, rows : int
    bytes : int
        On disk.
    files : Path, ...
    """

    family: str
    features: int
    rows: int
    bytes: int
    files: tuple[Path, ...]


def write_features(
    bars: pl.DataFrame | Path,
    folder: Path,
    *,
    calendar: Calendar | str,
    families: Sequence[str] | None = None,
    volume_unit: VolumeUnit = "units",
    threads: int | None = None,
    among: Catalog[Feature] | None = None,
) -> Iterator[FamilyFiles]:
    """Write the values `compute_features` gives to `folder`, a folder per family; `read_features` reads them.

    In memory are the bars, and beside them at most PART_BYTES of a family whose symbols do not meet, or FILE_BYTES and
    the inputs of one file of a family in which they do; and the tiles of engine.py.

    Parameters
    ----------
    bars : DataFrame or Path
        See `compute_features`.
    folder : Path
        Where the families' folders are made.
    calendar, families, volume_unit, threads, among
        As for `compute_features`.

    Yields
    ------
    FamilyFiles
        One per family, by name, as soon as it is on disk.

    Raises
    ------
    UsageError
        A family's folder is there already.
    SourceError
        The file of bars cannot be read.
    UnknownNameError, ContractError, PanelError
        As `compute_features` does.
    """
    known = catalogue() if among is None else among
    context = context_of(calendar, volume_unit)
    names = _names_by_family(choose_features(None, families, among), known, folder)
    reads = plan_of([name for part in names.values() for name in part], known).reads
    table = sorted_bars(bars, reads)
    for family, own in sorted(names.items()):
        (folder / family).mkdir(parents=True)
        size = max(FILE_BYTES // (8 * max(table.row.size, 1)), 1)
        blocks = [own[at : at + size] for at in range(0, len(own), size)]
        files = {folder / family / f"{number:03d}.parquet": block for number, block in enumerate(blocks)}
        if plan_of(own, known).is_cross_sectional:
            for path, block in files.items():
                tables = (compute_table(part, plan_of(block, known), context, threads=threads) for part in (table,))
                _write(tables, {path: block}, threads)
        else:
            plan = plan_of(own, known)
            tables = (compute_table(part, plan, context, threads=threads) for part in _split_symbols(table, len(own)))
            _write(tables, files, threads)
        yield FamilyFiles(family, len(own), table.row.size, sum(path.stat().st_size for path in files), tuple(files))


def read_features(folder: Path, family: str) -> pl.LazyFrame:
    """Return a family `write_features` wrote: the table `compute_features` gives.

    Raises
    ------
    ContractError
        Nothing was written there.
    """
    files = sorted((folder / family).glob("*.parquet"))
    if not files:
        raise ContractError(f"no features of {family!r} in {folder}; write them first.")
    first, *more = (pl.scan_parquet(path) for path in files)
    return pl.concat([first, *(part.drop("date", "symbol") for part in more)], how="horizontal")


def _names_by_family(features: Sequence[str], known: Catalog[Feature], folder: Path) -> dict[str, list[str]]:
    """Group features by family; a family whose folder exists is an error."""
    names: dict[str, list[str]] = {}
    for name in features:
        names.setdefault(known[name].family, []).append(name)
    for family in names:
        if (folder / family).exists():
            raise UsageError(f"{folder / family} exists already; name another folder, or remove it.")
    return names


def _split_symbols(table: SortedBars, columns: int) -> Iterator[SortedBars]:
    """Cut the symbols into parts of so many rows that their columns fit PART_BYTES, whole blocks of symbols each."""
    rows, first = max(PART_BYTES // (8 * columns), 1), 0
    while first < table.n_symbols or first == 0:
        stop = int(np.searchsorted(table.starts, table.starts[first] + rows, side="right")) - 1
        stop = min(first + max((stop - first) // BLOCK * BLOCK, BLOCK), table.n_symbols)
        yield table.part(first, stop)
        first = max(stop, 1)


def _write(tables: Iterator[pl.DataFrame], files: Mapping[Path, Sequence[str]], threads: int | None) -> None:
    """Write the tables one below the other, each file its columns; files are written side by side."""
    writers: dict[Path, Any] = {}
    try:
        while (table := next(tables, None)) is not None:
            run_parts(partial(_append, table, files, writers), list(files), threads=threads)
            # Gone before the next one is made.
            del table
    finally:
        for writer in writers.values():
            writer.close()


def _append(table: pl.DataFrame, files: Mapping[Path, Sequence[str]], writers: dict[Path, Any], path: Path) -> None:
    import pyarrow.parquet as pq

    rows = table.select("date", "symbol", *files[path]).to_arrow()
    if path not in writers:
        labels = ["date", "symbol"]
        settings = {"compression": "zstd", "compression_level": 1, "use_dictionary": labels, "write_statistics": labels}
        writers[path] = pq.ParquetWriter(path, rows.schema, **settings)
    writers[path].write_table(rows, row_group_size=ROW_GROUP)
