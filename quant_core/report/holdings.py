"""Reads the holdings before the orders: a CSV of symbol and quantity. orders.py turns them into orders."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from quant_core.errors import SourceError

CASH = "CASH"
_COLUMNS = ("symbol", "quantity")
_SHOWN = 3


@dataclass(frozen=True)
class Holdings:
    """Units held per symbol, negative when short, and cash in quote currency.

    Attributes
    ----------
    units : DataFrame
        symbol, held; sorted by symbol, each once.
    cash : float
    """

    units: pl.DataFrame
    cash: float


def all_cash(cash: float) -> Holdings:
    """Return holdings of cash alone."""
    return Holdings(pl.DataFrame(schema={"symbol": pl.String, "held": pl.Float64}), cash)


def read_holdings(path: Path, known: Collection[str]) -> Holdings:
    """Read a CSV with the columns symbol and quantity; a row with the symbol CASH states the cash, else it is 0.

    Parameters
    ----------
    path : Path
    known : collection of str
        Symbols that have bars; others could not be priced.

    Raises
    ------
    SourceError
        The file cannot be read, lacks a column, holds a quantity that is not a finite number, lists a symbol twice or
        lists one without bars.
    """
    try:
        table = pl.read_csv(path.read_bytes(), infer_schema=False)
    except OSError as error:
        raise SourceError(f"holdings {path}: {error.strerror or error}.") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise SourceError(f"holdings {path} is not a CSV file: {str(error).partition(chr(10))[0]}.") from error
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        found = ", ".join(table.columns)
        raise SourceError(f"holdings {path} lacks the column {missing[0]!r}; found {found}. Needed: symbol, quantity.")
    rows = table.select(
        pl.col("symbol").fill_null("").str.strip_chars(),
        pl.col("quantity").str.strip_chars().alias("text"),
        pl.col("quantity").str.strip_chars().cast(pl.Float64, strict=False).alias("held"),
    )
    _check_rows(rows, path, known)
    is_cash = pl.col("symbol") == CASH
    units = rows.filter(~is_cash).select("symbol", "held").sort("symbol")
    return Holdings(units, math.fsum(rows.filter(is_cash)["held"]))


def _check_rows(rows: pl.DataFrame, path: Path, known: Collection[str]) -> None:
    wrong = rows.filter(~pl.col("held").is_finite().fill_null(value=False))
    if wrong.height:
        symbol, text = wrong.row(0)[:2]
        raise SourceError(f"holdings {path}: the quantity of {symbol!r} is {text!r}, not a finite number.")
    twice = rows.filter(pl.col("symbol").is_duplicated())
    if twice.height:
        raise SourceError(f"holdings {path}: {twice['symbol'][0]!r} is listed {twice.height} times; combine the rows.")
    lost = sorted(set(rows["symbol"]) - set(known) - {CASH})
    if lost:
        near = get_close_matches(lost[0], sorted(known), n=_SHOWN, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else "Remove it, or extend ingest."
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise SourceError(f"holdings {path}: {lost[0]!r}{more} has no bars and cannot be priced. {hint}")
