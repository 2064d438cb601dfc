"""One CSV or Parquet file as rows: which of its columns are read, in which dialect, and what is reported of the others.

How text falls into lines and fields lives in delimited.py, in which process Parquet is decoded in untrusted.py, what a
value means in parsing.py, how bars within the day become daily ones in intraday.py. Which files there are is the
sources' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field, JsonValue, field_validator, model_validator

from quant_core.bounds import read_at_most
from quant_core.errors import ConfigError, SourceError
from quant_core.graph.stage import Params
from quant_core.ingest.reading.delimited import cut_lines
from quant_core.ingest.reading.intraday import DAILY, Stamped, bar_length, daily_bars, day_facts
from quant_core.ingest.reading.parsing import COLUMNS, PRICES, parse_rows
from quant_core.ingest.reading.unpacking import unpack_gzip
from quant_core.ingest.reading.untrusted import untrusted_parquet
from quant_core.market.calendar import Calendar
from quant_core.market.contracts.split import EXCLUSION_SCHEMA, Split

TEXT_NAMES = (".csv", ".csv.gz")
TABLE_NAMES = (*TEXT_NAMES, ".parquet")
# A panic of the reader is not an error of polars' own tree.
_UNREADABLE = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
_NO_EXCLUSIONS = pl.DataFrame(schema=EXCLUSION_SCHEMA)


class TableParams(Params):
    """How a table is read: the keys every source of files shares."""

    columns: dict[str, str] = Field(default_factory=dict, description="Names in the file -> names here.")
    venue: str | None = Field(default=None, pattern=r"^[^\s:]+$", description="Venue of symbols that name none.")
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252"] = Field(
        default="utf-8", description="Encoding of a CSV file, read strictly."
    )
    separator: Literal[",", ";", "\t", "|"] = Field(default=",", description="What separates the fields of a CSV file.")
    decimal: Literal[".", ","] = Field(default=".", description="Decimal sign of numbers in text.")
    interval: str = Field(default=DAILY, description="Length of a bar: 1d, or below a day 1h, 15m, ...: made daily.")
    stamped: Stamped = Field(default="open", description="Which end of a bar within the day its timestamp marks.")

    @field_validator("columns")
    @classmethod
    def _known_targets(cls, columns: dict[str, str]) -> dict[str, str]:
        ours = list(columns.values())
        if not set(ours) <= set(COLUMNS) or len(set(ours)) != len(ours):
            raise ValueError(f"each name must stand for another one of {', '.join(COLUMNS)}")
        return columns

    @field_validator("interval")
    @classmethod
    def _known_length(cls, interval: str) -> str:
        if interval != DAILY:
            try:
                bar_length(interval)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return interval

    @model_validator(mode="after")
    def _fits_together(self) -> TableParams:
        if self.decimal == self.separator:
            raise ValueError(f"decimal {self.decimal!r} needs another separator, such as ';'")
        needed, other = ("timestamp", "date") if self.is_intraday else ("date", "timestamp")
        if other in self.columns.values():
            raise ValueError(f"bars of interval {self.interval!r} are dated by {needed}, not by {other}")
        return self

    @property
    def is_intraday(self) -> bool:
        """Whether a row is a bar within the day."""
        return self.interval != DAILY


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file, not yet parsed.

    Attributes
    ----------
    frame : DataFrame
        `row` (position below the header) and the wanted columns under our names, in the types of the file.
    exclusions : DataFrame
        Lines that are not rows of the table, see delimited.py.
    ignored, absent : tuple of str
        Columns of the file that are not read; optional ones it does not have.
    """

    frame: pl.DataFrame
    exclusions: pl.DataFrame
    ignored: tuple[str, ...]
    absent: tuple[str, ...]


# Columns a record names; a file may have thousands nobody reads.
SHOWN = 20
# Among so many columns a name that is near an absent one is looked for.
_SEARCHED = 500
LARGEST_TEXT = 2 << 30
"""Most bytes of a CSV file, packed or not: reading one takes several times its size in memory. Parquet has no bound."""


def source_row_count(facts: Mapping[str, JsonValue]) -> int | None:
    """Return how many bars within the day a file's rows were put together from; None for a file of daily bars."""
    bars = facts.get("bars")
    return bars if isinstance(bars, int) else None


def file_rows(
    path: Path,
    params: TableParams,
    market: Calendar,
    *,
    content: bytes | None = None,
    symbol: str | None = None,
    known_at: datetime | None = None,
) -> tuple[Split, dict[str, JsonValue]]:
    """Return the rows of one file in the types of Raw, and facts about it.

    Parameters
    ----------
    path : Path
        A .csv, .csv.gz or .parquet file.
    params : TableParams
    market : Calendar
        Whose sessions bars within the day are put together to.
    content : bytes, optional
        What the file holds, where it has been read already.
    symbol : str, optional
        The ticker of all rows; a column `symbol` is not read then.
    known_at : datetime, optional
        When rows were known that say nothing of it themselves.

    Returns
    -------
    rows : Split
        Exclusions: lines that are not rows (delimited.py), values that do not parse (parsing.py), bars that make no day
        (intraday.py).
    facts : dict of JSON values
        ignored and absent columns; of bars within the day, their interval and `day_facts`.

    Raises
    ------
    SourceError
        The file cannot be read, lacks a column, has a column of an unfit type, or no row can be read.
    """
    table = read_table(path, params, content=content, is_named=symbol is None)
    frame, lost = table.frame, table.exclusions
    if frame.is_empty():
        raise SourceError(f"{path}: none of its {lost.height} rows can be read; the first has {lost['detail'][0]}.")
    if symbol is not None:
        frame = frame.with_columns(symbol=pl.lit(symbol))
    rows = parse_rows(frame, str(path), venue=params.venue, decimal=params.decimal)
    facts: dict[str, JsonValue] = {"ignored": [*table.ignored[:SHOWN]], "absent": [*table.absent]}
    if len(table.ignored) > SHOWN:
        facts["ignored_more"] = len(table.ignored) - SHOWN
    valid, lost = rows.valid, pl.concat([lost, rows.exclusions])
    if params.is_intraday:
        try:
            days = daily_bars(valid, interval=params.interval, stamped=params.stamped, market=market)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from error
        facts |= {"interval": params.interval, "stamped": params.stamped, **day_facts(days.valid)}
        valid, lost = days.valid.drop("bars", "missing"), pl.concat([lost, days.exclusions])
    if known_at is not None:
        stamp = pl.lit(known_at, dtype=pl.Datetime("us", "UTC"))
        own = pl.col("known_at") if "known_at" in valid.columns else pl.lit(None)
        valid = valid.with_columns(known_at=pl.coalesce(own, stamp))
    return Split(valid, lost.sort("row")), facts


def read_table(path: Path, params: TableParams, *, content: bytes | None = None, is_named: bool = True) -> Table:
    """Read the wanted columns of one file; `is_named`: it has a column of symbols.

    Memory is proportional to the file.

    Raises
    ------
    SourceError
        The file is missing, is damaged, has no rows, or lacks a column; names the near ones.
    """
    if content is None and not path.is_file():
        raise SourceError(f"{path}: {'not a file' if path.exists() else 'no such file'}.")
    name = path.name.lower()
    if not name.endswith(TABLE_NAMES):
        raise SourceError(f"{path}: expected a name that ends in .parquet, .csv or .csv.gz.")
    try:
        if name.endswith(TEXT_NAMES):
            return _read_text(path, text_bytes(path) if content is None else content, params, is_named)
        return _read_parquet(path, content, params, is_named)
    except _UNREADABLE as error:
        said = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise SourceError(f"{path} cannot be read: {said}") from error


def text_bytes(path: Path) -> bytes:
    """Return the bytes of a CSV file.

    Raises
    ------
    SourceError
        It is too large or cannot be read.
    """
    try:
        return read_at_most(path, LARGEST_TEXT)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error


def _read_text(path: Path, content: bytes, params: TableParams, is_named: bool) -> Table:
    if path.name.lower().endswith(".gz"):
        content = unpack_gzip(content, largest=LARGEST_TEXT, where=str(path))
    if not content:
        raise SourceError(f"{path} is empty.")
    text = cut_lines(content, encoding=params.encoding, separator=params.separator, where=str(path))
    wanted = _wanted_columns(text.names, params, path, is_named)
    return _table(text.columns(wanted), text.exclusions, wanted, text.names)


def _read_parquet(path: Path, content: bytes | None, params: TableParams, is_named: bool) -> Table:
    with untrusted_parquet(path, content) as file:
        found = file.names()
        wanted = _wanted_columns(found, params, path, is_named)
        table = file.columns(list(wanted))
    if table.is_empty():
        raise SourceError(f"{path} has no rows.")
    numbered = table.with_row_index("row").select(
        pl.col("row").cast(pl.Int64), **{ours: pl.col(theirs) for theirs, ours in wanted.items()}
    )
    return _table(numbered, _NO_EXCLUSIONS, wanted, found)


def _table(frame: pl.DataFrame, lost: pl.DataFrame, wanted: Mapping[str, str], found: tuple[str, ...]) -> Table:
    ignored = tuple(name for name in found if name not in wanted)
    absent = tuple(name for name in PRICES if name not in frame.columns)
    return Table(frame, lost, ignored, absent)


def _wanted_columns(found: tuple[str, ...], params: TableParams, path: Path, is_named: bool) -> dict[str, str]:
    """Return which columns of the file to read, with their names here."""
    names, taken = params.columns, set(params.columns.values())
    required = ("timestamp" if params.is_intraday else "date", *(("symbol",) if is_named else ()), "close")
    unread = {"date" if params.is_intraday else "timestamp", *(() if is_named else ("symbol",))}
    own = [name for name in COLUMNS if name in found and name not in {*names, *taken, *unread}]
    wanted = dict(names) | {name: name for name in own}
    absent = [theirs for theirs in names if theirs not in found]
    absent += [name for name in required if name not in wanted.values()]
    if not absent:
        return wanted
    if len(found) == 1:
        raise SourceError(
            f"{path} is not a table with separator {params.separator!r}; it begins with {found[0][:80]!r}."
        )
    near = sorted({other for other in found[:_SEARCHED] for name in absent if _is_near(name, other)})
    hint = f" Near: {', '.join(near)}; map them under [source.columns]." if near else ""
    if "date" in absent and "timestamp" in found:
        hint = ' It has timestamps: bars within the day need [source] interval, such as "1h".'
    raise SourceError(f"{path} lacks {', '.join(absent)}; it has {_list_names(found)}.{hint}")


def _list_names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:80] for name in names[:SHOWN]) + more if names else "no columns"


def _is_near(name: str, other: str) -> bool:
    name, other = name.lower(), other.lower()
    is_time = name in ("date", "timestamp") and other in ("date", "time", "datetime", "timestamp")
    return is_time or name in other or bool(get_close_matches(name, [other], cutoff=0.6))
