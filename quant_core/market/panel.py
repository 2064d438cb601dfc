"""Panels: float64 matrices with dates down and symbols across, and the only way between them and tables.

Tables hold null where Panels hold NaN; nothing else converts. Calendars live in calendar.py, who could be held in
universe.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.errors import PanelError

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Panel:
    """A matrix with its labels.

    Attributes
    ----------
    values : ndarray [T, N]
        float64, C order. NaN means not known.
    dates : pl.Series [T]
        Sorted, unique; Date for daily bars, Datetime("us", "UTC") for intraday bars.
    symbols : tuple of str [N]
        Sorted, unique.
    """

    values: Matrix
    dates: pl.Series
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.values.dtype != np.float64 or not self.values.flags.c_contiguous:
            raise PanelError(f"a Panel is float64 in C order; got {self.values.dtype}, strides {self.values.strides}.")
        if self.values.shape != (len(self.dates), len(self.symbols)):
            raise PanelError(f"values {self.values.shape} do not match {len(self.dates)} dates x {len(self.symbols)}.")

    @property
    def shape(self) -> tuple[int, int]:
        """T and N."""
        return len(self.dates), len(self.symbols)

    def like(self, values: Matrix) -> Panel:
        """Return a Panel of `values` [T, N] under the labels of this one."""
        return Panel(np.ascontiguousarray(values, dtype=np.float64), self.dates, self.symbols)

    def column(self, symbol: str) -> Matrix:
        """Return the series [T] of one symbol."""
        return self.values[:, self.symbols.index(symbol)]


@dataclass(frozen=True, eq=False)
class Axes:
    """Where each row of a table sits in a Panel: its labels and one (row, column) pair per table row.

    Built once per table; several columns are then scattered and gathered without looking at labels again.
    """

    dates: pl.Series
    symbols: tuple[str, ...]
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]

    def panel(self, values: pl.Series) -> Panel:
        """Scatter one value per table row into a Panel; cells without a row are NaN."""
        matrix = np.full((len(self.dates), len(self.symbols)), np.nan)
        matrix[self.row, self.column] = values.cast(pl.Float64).to_numpy()
        return Panel(matrix, self.dates, self.symbols)

    def gather(self, panel: Panel, name: str) -> pl.Series:
        """Read a Panel back at the table's rows, NaN as null."""
        return pl.Series(name, panel.values[self.row, self.column]).fill_nan(None)


def axes_of(frame: pl.DataFrame, *, dates: pl.Series | None = None, symbols: Sequence[str] | None = None) -> Axes:
    """Find the place of each row of `frame` by its `date` and `symbol`.

    Parameters
    ----------
    frame : DataFrame
        With columns date and symbol, in any order, no key twice.
    dates, symbols : optional
        Labels to use instead of those found in the frame; every row must be among them.

    Raises
    ------
    PanelError
        A key comes twice, is null, or is not among the labels given.
    """
    if frame["date"].null_count() or frame["symbol"].null_count():
        raise PanelError("a row without date or symbol has no place in a Panel; split the table first.")
    days = frame["date"].unique().sort() if dates is None else dates
    names = frame["symbol"].unique().sort().to_list() if symbols is None else list(symbols)
    known = days.to_physical().to_numpy()
    stamps = frame["date"].to_physical().to_numpy()
    row = np.searchsorted(known, stamps).astype(np.int64)
    if stamps.size and (row.max(initial=0) >= known.size or np.any(known[np.minimum(row, known.size - 1)] != stamps)):
        raise PanelError("the table has dates that are not among the Panel's dates.")
    try:
        column = frame["symbol"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
    except pl.exceptions.InvalidOperationError as error:
        raise PanelError("the table has symbols that are not among the Panel's symbols.") from error
    if _has_twins(row * max(len(names), 1) + column):
        raise PanelError("a (date, symbol) key comes twice; split the table first.")
    return Axes(days, tuple(names), row, column)


def _has_twins(cells: npt.NDArray[np.int64]) -> bool:
    """Whether a number comes twice: sorted neighbours, ten times faster than a hash."""
    steps = np.diff(cells)
    return bool(np.any(steps == 0) or (np.any(steps < 0) and np.any(np.diff(np.sort(cells)) == 0)))


def panels_of(frame: pl.DataFrame, columns: Iterable[str], *, axes: Axes | None = None) -> dict[str, Panel]:
    """Return one Panel per named column of `frame`, all under the same labels."""
    where = axes or axes_of(frame)
    return {name: where.panel(frame[name]) for name in columns}


def table_of(panels: Mapping[str, Panel], *, where: Mask | None = None) -> pl.DataFrame:
    """Melt Panels of equal labels into one table: date, symbol, one column per Panel, sorted by date and symbol.

    Parameters
    ----------
    panels : mapping of column name to Panel
    where : bool [T, N], optional
        Cells that become rows; default: cells where any Panel is known.
    """
    first = next(iter(panels.values()))
    if where is None:
        where = np.zeros(first.shape, dtype=np.bool_)
        for panel in panels.values():
            where |= ~np.isnan(panel.values)
    row, column = np.nonzero(where)
    labels = {
        "date": first.dates.gather(row),
        "symbol": pl.Series("symbol", list(first.symbols), dtype=pl.String).gather(column),
    }
    cells = {name: pl.Series(name, panel.values[row, column]).fill_nan(None) for name, panel in panels.items()}
    return pl.DataFrame(labels | cells)
