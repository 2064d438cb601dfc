"""Numbers of the report's charts and tables, as arrays: drawdown, rolling Sharpe, calendar returns, stacks.

Numbers with inference (metrics, intervals) are computed in backtest; sheet_charts.py and room_charts.py draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Vector = npt.NDArray[np.float64]
POINTS = 700
STEPS = 120
OTHER = "all other"


@dataclass(frozen=True)
class Stack:
    """Shares of named parts over dates.

    Attributes
    ----------
    dates : pl.Series [R]
    names : tuple of str
        Largest first; the last may be `OTHER`.
    values : ndarray [K, R]
        Zero where a part is absent.
    """

    dates: pl.Series
    names: tuple[str, ...]
    values: npt.NDArray[np.float64]


def span(dates: pl.Series) -> str:
    """Format the first and the last of `dates`."""
    return "none" if dates.is_empty() else f"{dates.min()!s} to {dates.max()!s}"


def curves(equity: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the equity rows of each portfolio in date order, portfolios sorted by name."""
    parts = equity.sort("portfolio", "date").partition_by("portfolio", as_dict=True, maintain_order=True)
    return {str(name): rows for (name,), rows in parts.items()}


def thin(values: Vector, limit: int = POINTS) -> npt.NDArray[np.int64]:
    """Return at most `limit` sorted positions that keep both ends and the extremes of every stretch."""
    if values.size <= limit:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, (limit - 2) // 2 + 1).astype(np.int64)[:-1]
    filled = np.where(np.isnan(values), -np.inf, values)
    kept = {0, values.size - 1}
    for piece, start in zip(np.split(filled, edges[1:]), edges, strict=True):
        kept |= {int(start + np.argmax(piece)), int(start + np.argmin(piece))}
    return np.array(sorted(kept), dtype=np.int64)


def drawdown(equity: Vector) -> Vector:
    """Return wealth over its highest value so far, less one: fractions, zero at a new high [T]."""
    return equity / np.maximum.accumulate(equity) - 1.0


def rolling_sharpe(returns: Vector, *, window: int, periods_per_year: int) -> Vector:
    """Annualised Sharpe ratio of the last `window` returns [T].

    NaN: fewer than `window` returns, or returns that do not vary.
    """
    out = np.full(returns.size, np.nan)
    if returns.size < window:
        return out
    blocks = np.lib.stride_tricks.sliding_window_view(returns, window)
    spread = blocks.std(axis=1, ddof=1)
    varies = spread > 1e-12
    ratio = np.divide(blocks.mean(axis=1), spread, out=np.full(spread.size, np.nan), where=varies)
    out[window - 1 :] = ratio * np.sqrt(periods_per_year)
    return out


def calendar_returns(rows: pl.DataFrame) -> dict[int, tuple[float | None, ...]]:
    """Return one portfolio's returns by year: January to December, then the whole year.

    Parameters
    ----------
    rows : DataFrame
        date and equity of one portfolio in date order; wealth starts at 1 before the first row.

    NaN: None for months without a close, and after wealth is gone.
    """
    lasts = (
        rows.select(pl.col("date").dt.year().alias("year"), pl.col("date").dt.month().alias("month"), "equity")
        .group_by("year", "month", maintain_order=True)
        .last()
    )
    table: dict[int, list[float | None]] = {}
    before, year_before = 1.0, 1.0
    for year, month, wealth in lasts.iter_rows():
        if year not in table:
            table[year], year_before = [None] * 13, before
        table[year][month - 1] = _change(before, wealth)
        table[year][12] = _change(year_before, wealth)
        before = wealth
    return {year: tuple(cells) for year, cells in table.items()}


def _change(before: float, after: float) -> float | None:
    return after / before - 1.0 if before > 0.0 else None


def stack_parts(
    frame: pl.DataFrame, *, by: str, value: str | None, dates: pl.Series, top: int, order: Sequence[str] | None = None
) -> Stack:
    """Sum `value` (or count rows) of `frame` per date and `by`, with the largest `top` parts apart and the rest as one.

    Parameters
    ----------
    frame : DataFrame
        With date, `by` and `value`.
    by : str
        Column that names the part.
    value : str, optional
        Column to sum; None counts rows.
    dates : pl.Series [R]
        Sorted dates; other rows of `frame` are left out.
    top : int
    order : sequence of str, optional
        The parts to show, in this order, instead of the largest.
    """
    labelled = frame.filter(pl.col("date").is_in(dates.implode())).select(
        "date", pl.col(by).cast(pl.String), *_value_columns(value)
    )
    labelled = labelled.sort("date", by, *_value_columns(value))
    names = labelled[by].unique().sort().to_list() if order is None else list(order)
    matrix = np.zeros((len(names), len(dates)))
    place = {name: i for i, name in enumerate(names)}
    rows = labelled[by].replace_strict(place, default=-1, return_dtype=pl.Int64).to_numpy()
    columns = np.searchsorted(dates.to_physical().to_numpy(), labelled["date"].to_physical().to_numpy())
    amounts = np.ones(labelled.height) if value is None else labelled[value].fill_null(0.0).to_numpy()
    np.add.at(matrix, (rows[rows >= 0], columns[rows >= 0]), amounts[rows >= 0])
    if order is None:
        ranked = sorted(range(len(names)), key=lambda i: (-float(matrix[i].sum()), names[i]))
        names, matrix = [names[i] for i in ranked], matrix[ranked]
    if len(names) > top:
        matrix = np.vstack([matrix[:top], matrix[top:].sum(axis=0)])
        names = [*names[:top], OTHER]
    return Stack(dates, tuple(names), matrix)


def steps_per_point(size: int) -> int:
    """Return how many neighbouring steps are shown as one, so that at most `STEPS` are left of `size`."""
    return max(1, -(-size // STEPS))


def average_steps(stack: Stack) -> Stack:
    """Average neighbouring dates down to `STEPS` steps: hundreds of dates side by side cannot be read."""
    starts = np.arange(0, len(stack.dates), steps_per_point(len(stack.dates)))
    widths = np.diff(np.append(starts, len(stack.dates)))
    return Stack(stack.dates.gather(starts), stack.names, np.add.reduceat(stack.values, starts, axis=1) / widths)


def _value_columns(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)
