"""Bars as the features read them: in order of symbol and date, cut into tiles, as matrices.

No full Panel is ever made: a sleeve of 13,000 dates and 1,240 symbols is mostly cells without a bar. What features do
with a tile lives in engine.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.errors import ContractError, PanelError, SourceError
from quant_core.features.steps import BAR_COLUMNS
from quant_core.kernels.columns import fill_column
from quant_core.kernels.scatter import (
    Column,
    Days,
    Places,
    fill_matrix,
    fill_returns,
    find_changes,
    is_in_order,
    mark_days,
    number_days,
)
from quant_core.kernels.threads import BLOCK, run_blocks
from quant_core.kernels.workspace import empty
from quant_core.market.panel import Mask, Matrix
from quant_core.market.text_codes import codes_of, order_of

S = TypeVar("S", bound=np.generic)

MARKS = ("life", "is_provisional")
"""Columns of bars that bound where a return is known."""

ANY = float(np.finfo(np.float64).min)
LOWEST = dict.fromkeys(BAR_COLUMNS, float(np.nextafter(0.0, 1.0))) | {"volume": 0.0}
"""The least value of a bar column that can be known: a price is above zero."""

CELLS = 1 << 19
"""Cells of a tile of all symbols, when the memory of its features allows: 4 MiB per matrix."""


MOST_SYMBOLS = 1 << 16
"""Most runs of one symbol that a sorted table can have; a table with more is sorted again."""

_NONE = np.empty(0)


@dataclass(frozen=True, eq=False)
class Tile:
    """Some symbols on some dates: what one thread works on at a time.

    Attributes
    ----------
    members : int64 [W]
        Symbols, by their place in the order of all.
    top, height : int
        The dates of its matrices: `height` of them from the date `top` on.
    since : int64 [W]
        The date of each member from which on its rows are wanted; rows before it only feed windows.
    """

    members: Places
    top: int
    height: int
    since: Places


@dataclass(frozen=True, eq=False)
class SortedBars:
    """A bars table in order of symbol and date.

    Attributes
    ----------
    labels : DataFrame
        date and symbol, unchanged.
    columns : mapping of bar column to float64 [R]
        The requested columns that exist, unchanged; read-only. NaN where null.
    row : int32 [R]
        Position of each row's date among all dates.
    starts : int64 [N + 1]
        Where each symbol begins.
    dates : int [T]
        All dates, as whole numbers, ascending.
    """

    labels: pl.DataFrame
    columns: dict[str, Column]
    row: Days
    starts: Places
    dates: npt.NDArray[np.integer]

    @property
    def n_symbols(self) -> int:
        """Number of symbols, N."""
        return len(self.starts) - 1

    @cached_property
    def first(self) -> Days:
        """The date of each symbol's first row; int32 [N]."""
        return self.row[self.starts[:-1]]

    @cached_property
    def last(self) -> Days:
        """The date of each symbol's last row; int32 [N]."""
        return self.row[self.starts[1:] - 1]

    def part(self, first: int, stop: int) -> SortedBars:
        """Return the symbols first to stop, on the same dates; nothing is copied."""
        low, high = int(self.starts[first]), int(self.starts[stop])
        columns = {name: column[low:high] for name, column in self.columns.items()}
        labels, starts = self.labels.slice(low, high - low), self.starts[first : stop + 1] - low
        return SortedBars(labels, columns, self.row[low:high], starts, self.dates)

    def returns(self, *, threads: int | None = None) -> Column:
        """Return the simple returns [R] along the rows of each symbol."""
        out = np.empty(self.row.size)
        if "close" not in self.columns:
            out[:] = np.nan
            return out
        close, life, is_provisional = (as_read_only(self.columns.get(name, _NONE)) for name in ("close", *MARKS))

        def fill(part: slice) -> None:
            fill_returns(close, life, is_provisional, self.starts[part.start : part.stop + 1], out)

        run_blocks(fill, self.n_symbols, threads=threads)
        return out

    def tiles_of_symbols(self, since: Places, memory: int | None) -> list[Tile]:
        """Cut the symbols into blocks, each over the dates of its members.

        Neighbours in the order of `since` and of their first bars share most of their dates, so tiles are low; which
        tile a symbol is in changes no bit of it.

        Parameters
        ----------
        since : int64 [N]
            See `Tile`; a symbol without a row from there on is in no tile.
        memory : int, optional
            Dates a value reads; None: all before it.
        """
        order = np.lexsort((self.last, self.first, since))
        wanted = order[self.last[order] >= since[order]]
        tiles = []
        for members in (wanted[at : at + BLOCK] for at in range(0, len(wanted), BLOCK)):
            top = int(self.first[members].min())
            if memory is not None:
                top = max(top, int(since[members].min()) - memory + 1)
            tiles.append(Tile(members, top, int(self.last[members].max()) + 1 - top, since[members]))
        return tiles

    def tiles_of_dates(self, since: Places, memory: int | None, floor: int) -> list[Tile]:
        """Cut the dates into chunks, each with all symbols and the dates before it that its values read.

        Parameters
        ----------
        since, memory : see `tiles_of_symbols`
        floor : int
            The first date with anything to read.
        """
        at, end = int(since.min(initial=len(self.dates))), len(self.dates)
        # An overlap costs time, a chunk memory: an overlap is at most a third of its chunk.
        step = end if memory is None else max(3 * memory, CELLS // max(self.n_symbols, 1), 1)
        tiles = []
        while at < end:
            top = floor if memory is None else max(at - memory + 1, floor)
            stop = min(at + step, end)
            tiles.append(Tile(np.arange(self.n_symbols), top, stop - top, np.maximum(since, at)))
            at = stop
        return tiles

    def matrix(self, column: Column | None, tile: Tile, lowest: float = ANY) -> Matrix:
        """Return one column [R] as the matrix [height, W] of a tile; cells without a row are NaN.

        Parameters
        ----------
        column : float64 [R], optional
            None: nothing is known.
        tile : Tile
        lowest : float
            Values below it are not known.
        """
        out = empty((tile.height, len(tile.members)))
        if column is None:
            out.fill(np.nan)
        else:
            fill_matrix(as_read_only(column), lowest, self.row, self.starts, tile.members, tile.top, out)
        return out

    def write(self, matrix: Matrix, tile: Tile, since: Places, column: Column, known: Mask | None = None) -> None:
        """Put the rows of a tile's matrix, each member's from the date `since` [W] on, into a column [R].

        known: [R], set for the same rows: whether the value is known.
        """
        is_known = np.empty(0, dtype=np.bool_) if known is None else known
        fill_column(matrix, self.row, self.starts, tile.members, since, tile.top, column, is_known)


def as_read_only(column: npt.NDArray[S]) -> npt.NDArray[S]:
    """Return a read-only view: polars' columns are read-only, and kernels compile once per kind of array."""
    view = column.view()
    view.flags.writeable = False
    return view


def sorted_bars(bars: pl.DataFrame | Path, names: Iterable[str]) -> SortedBars:
    """Sort a bars table and read its numbers.

    Parameters
    ----------
    bars : DataFrame or Path
        date and symbol, in any order, and whichever bar columns there are; absent ones are not known. Without `life`
        all bars of a symbol are one life, without `is_provisional` none is. A price that is not above zero and finite
        is not known, nor is a volume below zero. Of a Parquet file only the columns named are loaded.
    names : iterable of str
        The inputs that will be read, of steps.INPUTS.

    Raises
    ------
    SourceError
        The file cannot be read.
    ContractError
        date or symbol is missing, date is not a date, or a value is not a number.
    PanelError
        A (date, symbol) key comes twice or is null.
    """
    if isinstance(bars, Path):
        bars = _load_columns(bars, ("date", "symbol", *_with_marks(names)))
    missing = [name for name in ("date", "symbol") if name not in bars.columns]
    if missing:
        raise ContractError(f"bars lack the column {missing[0]!r}; got {', '.join(bars.columns) or 'none'}.")
    if bars.schema["date"] != pl.Date and not isinstance(bars.schema["date"], pl.Datetime):
        raise ContractError(f"bars: date is {bars.schema['date']}; make it a Date, or a Datetime for intraday bars.")
    if bars["date"].null_count() or bars["symbol"].null_count():
        raise PanelError("a row without date or symbol has no place in a Panel; split the table first.")
    wanted = [name for name in (*BAR_COLUMNS, *MARKS) if name in bars.columns and name in _with_marks(names)]
    values = bars.select("date", "symbol", *(_number(bars, name) for name in wanted)).rechunk()
    dates, row = _number_dates(values["date"].to_physical().to_numpy())
    starts = _starts(values["symbol"].cast(pl.String))
    if starts is None or not is_in_order(as_read_only(row), starts):
        code = codes_of(values["symbol"].cast(pl.String)).code
        order = order_of(code, row)
        if order is not None:
            values, code, row = values[order], code[order], row[order]
        starts = np.searchsorted(code, np.arange(int(code[-1]) + 2 if code.size else 1)).astype(np.int64)
        if not is_in_order(as_read_only(row), starts):
            raise PanelError("a (date, symbol) key comes twice; split the table first.")
    columns = {name: as_read_only(values[name].to_numpy()) for name in wanted}
    return SortedBars(values.select("date", "symbol"), columns, row, starts, dates)


def _load_columns(path: Path, names: Iterable[str]) -> pl.DataFrame:
    """Load some columns of a Parquet file, one after the other: only one is ever there in pieces and as a whole."""
    wanted = set(names)
    try:
        scan = pl.scan_parquet(path, glob=False)
        there = [name for name in scan.collect_schema() if name in wanted]
        return pl.DataFrame([scan.select(name).collect().to_series().rechunk() for name in there])
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise SourceError(f"bars {path} cannot be read: {str(error).partition(chr(10))[0]}.") from error


def _with_marks(names: Iterable[str]) -> set[str]:
    found = set(names)
    return found | {"close", *MARKS} if "returns" in found else found


def _starts(symbols: pl.Series) -> Places | None:
    """Return where each symbol begins [N + 1] in a column without null; None where the symbols are not in order."""
    array = symbols.to_arrow(compat_level=pl.CompatLevel.newest())
    words = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint64).reshape(-1, 2)
    first = np.empty(MOST_SYMBOLS, dtype=np.int64)
    count = find_changes(words[array.offset : array.offset + len(array)], first)
    if count > first.size:
        return None
    names = symbols.gather(first[:count])
    # One text may be at several places in memory: then it comes twice.
    return np.append(first[:count], len(symbols)) if (names.slice(1) > names.head(max(count - 1, 0))).all() else None


def _number_dates(stamps: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], Days]:
    """Return the different whole numbers, ascending, and the place of each row's among them."""
    low = int(stamps.min()) if stamps.size else 0
    span = int(stamps.max()) - low + 1 if stamps.size else 0
    if span > 4 * stamps.size + (1 << 16):
        found, row = np.unique(stamps, return_inverse=True)
        return found, row.astype(np.int32)
    # Days are dense numbers: a table of them answers at once, a search takes ten times as long.
    is_there, row = np.zeros(span, dtype=np.bool_), np.empty(stamps.size, dtype=np.int32)
    mark_days(as_read_only(stamps), low, is_there)
    number_days(as_read_only(stamps), low, np.cumsum(is_there, dtype=np.int32) - np.int32(1), row)
    return np.flatnonzero(is_there) + low, row


def _number(bars: pl.DataFrame, name: str) -> pl.Expr:
    kind = bars.schema[name]
    if not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
        raise ContractError(f"bars: {name} is {kind}, not a number.")
    return pl.col(name).cast(pl.Float64)
