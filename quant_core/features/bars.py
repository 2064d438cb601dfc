"""Bars as the features read them: sorted by symbol and date, cut into blocks of symbols, as matrices.

No full Panel is ever made: a sleeve of 13,000 dates and 1,240 symbols is mostly cells without a bar. What features do
with a block lives in compute.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.errors import ContractError
from quant_core.features.catalogue import BAR_COLUMNS
from quant_core.kernels.trading import step_returns
from quant_core.market.panel import Matrix, axes_of

MARKS = ("life", "is_provisional")
"""Columns of bars that bound where a return is known."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block:
    """Some symbols' bars and where they stand in the block's matrices.

    Attributes
    ----------
    rows : int64 [R]
        Positions in the sorted table.
    row, column : int64 [R]
        Places in a matrix of `shape`.
    shape : tuple
        From the first bar to the last bar of these symbols, on the dates of the whole table.
    """

    rows: Rows
    row: Rows
    column: Rows
    shape: tuple[int, int]

    def scatter(self, values: Matrix) -> Matrix:
        """Return one table column as a matrix; cells without a bar are NaN."""
        matrix = np.full(self.shape, np.nan)
        matrix[self.row, self.column] = values[self.rows]
        return matrix


@dataclass(frozen=True, eq=False)
class SortedBars:
    """A bars table in order of symbol and date.

    Attributes
    ----------
    labels : DataFrame
        date and symbol, as they came.
    values : mapping of bar column to float64 [rows]
        NaN where not known; further `life` and `is_provisional` (0 or 1).
    row : int64 [rows]
        Position of each row's date among all dates.
    starts : int64 [N + 1]
        Where each symbol begins.
    """

    labels: pl.DataFrame
    values: dict[str, Matrix]
    row: Rows
    starts: Rows

    @property
    def n_symbols(self) -> int:
        """N."""
        return len(self.starts) - 1

    def block(self, part: slice) -> Block:
        """Return the symbols at `part` of the order of their first bars.

        Neighbours in that order share most of their dates, so blocks are low; which block a symbol is in changes no
        bit of it.
        """
        first, stop = self.starts[:-1], self.starts[1:]
        members = np.lexsort((self.row[stop - 1], self.row[first]))[part]
        rows = np.concatenate([np.arange(first[j], stop[j]) for j in members])
        column = np.repeat(np.arange(len(members)), stop[members] - first[members])
        top = self.row[first[members]].min()
        height = int(self.row[stop[members] - 1].max() - top) + 1
        return Block(rows, self.row[rows] - top, column, (height, len(members)))

    def inputs(self, block: Block) -> dict[str, Matrix]:
        """Return the matrices [T, W] of the bar columns and of `returns`."""
        found = {name: block.scatter(self.values[name]) for name in BAR_COLUMNS}
        marks = [block.scatter(self.values[name]) for name in MARKS]
        return found | {"returns": step_returns.filled(found["close"], *marks)}


def sorted_bars(bars: pl.DataFrame) -> SortedBars:
    """Sort a bars table and read its numbers.

    Parameters
    ----------
    bars : DataFrame
        date and symbol, in any order, and whichever bar columns there are; absent ones are not known. Without `life`
        all bars of a symbol are one life, without `is_provisional` none is. A price that is not above zero and finite
        is not known, nor is a volume below zero.

    Raises
    ------
    ContractError
        date or symbol is missing, date is no date, or a value is no number.
    PanelError
        A (date, symbol) key comes twice or is null.
    """
    missing = [name for name in ("date", "symbol") if name not in bars.columns]
    if missing:
        raise ContractError(f"bars lack the column {missing[0]!r}; got {', '.join(bars.columns) or 'none'}.")
    if bars.schema["date"] != pl.Date and not isinstance(bars.schema["date"], pl.Datetime):
        raise ContractError(f"bars: date is {bars.schema['date']}; make it a Date, or a Datetime for intraday bars.")
    axes = axes_of(bars)
    order = np.argsort(axes.column * len(axes.dates) + axes.row)
    values = {name: _number(bars, name, np.nan)[order] for name in BAR_COLUMNS}
    for name, column in values.items():
        is_number = np.isfinite(column) & ((column >= 0.0) if name == "volume" else (column > 0.0))
        values[name] = np.where(is_number, column, np.nan)
    values |= {name: _number(bars, name, 0.0)[order] for name in MARKS}
    starts = np.searchsorted(axes.column[order], np.arange(len(axes.symbols) + 1)).astype(np.int64)
    return SortedBars(bars.select("date", "symbol")[order], values, axes.row[order], starts)


def _number(bars: pl.DataFrame, name: str, absent: float) -> Matrix:
    if name not in bars.columns:
        return np.full(bars.height, absent)
    kind = bars.schema[name]
    if not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
        raise ContractError(f"bars: {name} is {kind}, not a number.")
    return bars[name].cast(pl.Float64).to_numpy()
