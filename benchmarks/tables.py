"""Seeded tables under the contracts, for the contests about tables. No contest stands here."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from quant_core.market.contracts.ingest import Bars, ReturnsSchema


def returns_table(dates: int, symbols: int) -> pl.DataFrame:
    """Return valid rows under Returns, sorted by date and symbol."""
    rng = np.random.default_rng(3)
    values = rng.normal(0.0005, 0.02, dates * symbols).clip(-0.9, 4.9)
    return labels(dates, symbols).with_columns(simple_return=values).select(*ReturnsSchema.dtypes)


def bars_table(dates: int, symbols: int) -> pl.DataFrame:
    """Return valid rows under Bars, sorted by date and symbol."""
    rng = np.random.default_rng(4)
    close = 100.0 * np.cumprod(1.0 + rng.normal(0.0, 0.01, (dates, symbols)), axis=0).ravel()
    spread = 1.0 + np.abs(rng.normal(0.0, 0.005, close.size))
    columns = {"open": close, "high": close * spread, "low": close / spread, "close": close}
    columns["volume"] = rng.lognormal(12.0, 0.5, close.size)
    facts = {
        "available_at": pl.col("date").dt.offset_by("1d").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        "life": pl.lit(0, dtype=pl.Int32),
        "is_provisional": pl.lit(value=False),
        "adjustment": pl.lit(1.0),
        "flags": pl.lit(""),
    }
    return labels(dates, symbols).with_columns(**columns).with_columns(**facts).select(*Bars.dtypes)


def labels(dates: int, symbols: int) -> pl.DataFrame:
    """Return every pair of date and symbol, sorted."""
    first = dt.date(2015, 1, 1)
    days = pl.date_range(first, first + dt.timedelta(days=dates - 1), eager=True)
    names = pl.Series([f"SIM:S{j:04d}" for j in range(symbols)])
    row = np.repeat(np.arange(dates), symbols)
    return pl.DataFrame({"date": days.gather(row), "symbol": names.gather(np.tile(np.arange(symbols), dates))})
