"""Daily bars from one Parquet or CSV file. How its values are parsed lives in ../parsing.py.

Which rows make trustworthy bars is decided in ../bars.py.
"""

from __future__ import annotations

import gzip
import zlib
from difflib import get_close_matches
from pathlib import Path

import polars as pl
from pydantic import Field, field_validator

from quant_core.errors import SourceError
from quant_core.graph.stage import Params
from quant_core.ingest.parsing import COLUMNS, parsed_rows
from quant_core.ingest.source import source
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve

REQUIRED = ("date", "symbol", "close")
_TEXT_NAMES = (".csv", ".csv.gz")
# A damaged Parquet file can make the reader panic, which polars raises outside its tree of errors.
_UNREADABLE = (OSError, EOFError, zlib.error, pl.exceptions.PolarsError, pl.exceptions.PanicException)


class ParquetParams(Params):
    """The `[source]` table of kind "parquet"."""

    path: str = Field(description="A .parquet, .csv or .csv.gz file; relative to the sleeve file.")
    columns: dict[str, str] = Field(default_factory=dict, description="Names in the file -> names here.")
    venue: str | None = Field(default=None, pattern=r"^[^\s:]+$", description="Venue of symbols that name none.")

    @field_validator("columns")
    @classmethod
    def _known_targets(cls, columns: dict[str, str]) -> dict[str, str]:
        ours = list(columns.values())
        if not set(ours) <= set(COLUMNS) or len(set(ours)) != len(ours):
            raise ValueError(f"each name must stand for another one of {', '.join(COLUMNS)}")
        return columns


@source("parquet", params=ParquetParams)
def parquet(params: ParquetParams, sleeve: Sleeve) -> Split:
    """Return the rows of a Parquet or CSV file with one bar per row.

    The file has date, symbol and close; open, high, low, volume and known_at may be absent, further columns are not
    read. A CSV is read as text and parsed value by value; blank lines are no rows. A last line without a line end is
    excluded as `truncated_line`: what it lost, perhaps digits of its last number, cannot be seen.
    """
    path = Path(params.path)
    if not path.is_file():
        raise SourceError(f"{path}: {'not a file' if path.exists() else 'no such file'}.")
    try:
        frame, is_broken_off = _read(path, params.columns)
    except _UNREADABLE as error:
        said = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise SourceError(f"{path} cannot be read: {said}") from error
    if frame.is_empty():
        raise SourceError(f"{path} has no rows.")
    broken_off = int(frame["row"][-1]) if is_broken_off else None
    return parsed_rows(frame, str(path), venue=params.venue, broken_off=broken_off)


def _read(path: Path, names: dict[str, str]) -> tuple[pl.DataFrame, bool]:
    """Return `row` and the wanted columns under our names, and whether the file breaks off inside its last line."""
    if path.name.endswith(_TEXT_NAMES):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        table, is_broken_off = pl.read_csv(content, infer_schema=False), not content.endswith((b"\n", b"\r"))
        if any(column.str.contains("\n", literal=True).any() for column in table):
            raise SourceError(f"{path}: a quoted value runs over several lines; is a quote missing?")
        wanted = _wanted(table.columns, names, path)
        numbered = table.with_row_index("row").filter(~pl.all_horizontal(pl.exclude("row").is_null()))
    elif path.suffix == ".parquet":
        with path.open("rb") as file:
            wanted = _wanted(list(pl.read_parquet_schema(file)), names, path)
        table, is_broken_off = pl.read_parquet(path, columns=list(wanted), glob=False), False
        numbered = table.with_row_index("row")
    else:
        raise SourceError(f"{path}: expected a name that ends in .parquet, .csv or .csv.gz.")
    return numbered.select("row", **{ours: pl.col(theirs) for theirs, ours in wanted.items()}), is_broken_off


def _wanted(found: list[str], names: dict[str, str], path: Path) -> dict[str, str]:
    """Return which columns of the file to read, and what they are called here."""
    taken = set(names.values())
    wanted = names | {name: name for name in COLUMNS if name in found and name not in names and name not in taken}
    absent = [theirs for theirs in names if theirs not in found]
    absent += [name for name in REQUIRED if name not in wanted.values()]
    if absent:
        near = sorted({other for other in found for name in absent if _is_near(name, other)})
        hint = f" Near: {', '.join(near)}; say under [source.columns] what stands for what." if near else ""
        raise SourceError(f"{path} lacks {', '.join(absent)}; it has {', '.join(found) or 'no columns'}.{hint}")
    return wanted


def _is_near(name: str, other: str) -> bool:
    return name.lower() in other.lower() or bool(get_close_matches(name.lower(), [other.lower()], cutoff=0.6))
