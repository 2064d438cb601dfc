"""Seeded bars of a market with one factor, complete or with gaps as real ones have. No contest stands here."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.settings import CHECKOUT

Matrix = npt.NDArray[np.float64]
FIRST = dt.date(2007, 1, 1)
FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def bars(T: int, N: int, *, gaps: bool = False) -> dict[str, Matrix]:
    """Return open, high, low, close, volume and vwap [T, N], each exact in single precision, which some peers keep."""
    rng = np.random.default_rng(7)
    steps = rng.normal(0.0003, 0.01, (T, 1)) * rng.uniform(0.5, 1.5, N) + rng.normal(0.0, 0.015, (T, N))
    close = rng.uniform(10.0, 200.0, N) * np.exp(np.cumsum(steps - 0.00015, axis=0))
    opened = close * np.exp(rng.normal(0.0, 0.005, (T, N)))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 0.005, (T, N))))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 0.005, (T, N))))
    volume = rng.lognormal(12.0, 0.7, (T, N))
    made = dict(zip(FIELDS, (opened, high, low, close, volume, (high + low + close) / 3.0), strict=True))
    for values in made.values():
        values[...] = values.astype(np.float32)
        if gaps:
            values[~lived(T, N)] = np.nan
    return made


def lived(T: int, N: int) -> npt.NDArray[np.bool_]:
    """Return where a bar is [T, N]: a third listed late, a fifth gone early, two cells in a hundred empty."""
    rng = np.random.default_rng(8)
    day = np.arange(T)[:, None]
    first = np.where(rng.random(N) < 0.33, rng.integers(0, max(1, T // 2), N), 0)
    last = np.where(rng.random(N) < 0.2, rng.integers(T // 2, T, N), T)
    return (day >= first) & (day < last) & (rng.random((T, N)) >= 0.02)


def long_table(panels: Mapping[str, Matrix]) -> pl.DataFrame:
    """Return panels as a long table by symbol and date: a row where a bar is."""
    T, N = next(iter(panels.values())).shape
    days = pl.date_range(FIRST, FIRST + dt.timedelta(days=T - 1), eager=True)
    names = pl.Series([f"SIM:S{j:04d}" for j in range(N)])
    known = ~np.isnan(panels["close"]).T
    column, row = np.nonzero(known)
    labels = {"date": days.gather(row), "symbol": names.gather(column)}
    return pl.DataFrame(labels | {name: np.ascontiguousarray(values.T)[known] for name, values in panels.items()})


def with_gaps(x: Matrix) -> Matrix:
    """Return a copy of x [T, N] that is known only where a bar is."""
    return np.where(lived(*x.shape), x, np.nan)


def dense(table: pl.DataFrame) -> pl.DataFrame:
    """Return a long table by symbol and date with a row of nulls on every date a symbol has no bar between its own."""
    spans = table.group_by("symbol").agg(first=pl.col("date").min(), last=pl.col("date").max())
    days = table.select(pl.col("date").unique())
    every = spans.join(days, how="cross").filter(pl.col("date").is_between("first", "last"))
    return every.select("date", "symbol").join(table, on=["date", "symbol"], how="left").sort("symbol", "date")


def real_bars(share: float) -> pl.DataFrame | str:
    """Return some 3,400 sessions of real prices as a long table by symbol and date, or why there are none."""
    folder = os.environ.get("QUANT_SHARED_DATA", str(CHECKOUT.parent / "shared" / "data"))
    path = Path(folder, "us_eod_2017_1d.parquet")
    if not path.is_file():
        return "QUANT_SHARED_DATA names no folder of real prices"
    table = pl.read_parquet(path)
    names = table["symbol"].unique().sort()
    table = table.filter(pl.col("symbol").is_in(names.head(max(8, round(share * len(names)))).implode()))
    # A date on which hardly anybody trades is an error of the file: it would be a gap of everybody else.
    sessions = table.group_by("date").len().filter(pl.col("len") >= 0.1 * pl.col("len").max())["date"].sort()
    return table.filter(pl.col("date").is_in(sessions.tail(max(200, round(3_400 * share))).implode())).sort(
        "symbol", "date"
    )
