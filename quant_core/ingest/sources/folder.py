"""Bars from a folder of CSV and Parquet files of several schemas: each file lands once, and again when it changes.

How a file is read lives in reading/tabular.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from quant_core.errors import SourceError
from quant_core.graph.stage import Params
from quant_core.ingest.reading.tabular import (
    TABLE_NAMES,
    TEXT_NAMES,
    TableParams,
    file_rows,
    source_row_count,
    text_bytes,
)
from quant_core.ingest.sources.source import Batch, Landed, source
from quant_core.market.contracts.ingest import Raw
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve

# Also what offices and editors leave beside an open file; unfinished downloads do not end in a name of a table.
_HIDDEN = (".", "~$", "#")
_TOLD = 5
# Names of marks beside those of the files, which all end in .csv, .csv.gz or .parquet.
_BYTES, _FACTORS = "#bytes", "factors"


class FileSchema(TableParams):
    """One of `[[source.schemas]]`: how the files whose name matches are read."""

    pattern: str = Field(
        default="*", min_length=1, description="Matched against the end of a file's path: *.parquet, eod/*.csv."
    )
    symbol_from: Literal["file stem"] | None = Field(
        default=None, description='"file stem": AAPL.csv holds AAPL, of the given venue; a column symbol is not read.'
    )
    known_at_from: str | None = Field(
        default=None,
        description="Regular expression on the name whose first group is a date, 2015-03-20 or 20150320: its rows were "
        "known at the end of that day, UTC, where they do not say themselves.",
    )

    @field_validator("known_at_from")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        try:
            if pattern is not None and re.compile(pattern).groups == 0:
                raise ValueError("no group around the date, such as (\\d{4}-\\d{2}-\\d{2})")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _names_symbols_once(self) -> FileSchema:
        if self.symbol_from is not None and (self.venue is None or "symbol" in self.columns.values()):
            raise ValueError('symbol_from = "file stem" needs a venue, and no column called symbol')
        return self


class FolderParams(Params):
    """The `[source]` table of kind "folder"."""

    path: str = Field(description="The folder; relative to the sleeve file.")
    pattern: str = Field(
        default="**/*", min_length=1, description="Which files to read; those that are .csv, .csv.gz or .parquet."
    )
    schemas: tuple[FileSchema, ...] = Field(
        default=(FileSchema(),), min_length=1, description="How to read them: the first one that matches a name does."
    )
    factors: str | None = Field(
        default=None, description="A file of split and dividend factors for raw prices; relative to the sleeve file."
    )

    @field_validator("pattern")
    @classmethod
    def _stays_inside(cls, pattern: str) -> str:
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise ValueError("it must not lead out of the folder")
        return pattern


@source("folder", params=FolderParams, grows=True, anchors=("path", "pattern", "schemas"))
def folder(params: FolderParams, sleeve: Sleeve, landed: Landed) -> Iterator[Batch]:
    """Yield the rows of every file of a folder that is new or has changed, in order of the names.

    A file is known by its name and the SHA-256 of its bytes: size and time prove nothing. A changed file is landed
    again as a whole, and rows it restates become later versions; of a plain CSV of daily bars with unchanged old bytes
    at its beginning, only the rows below them are. Rows of a file that is gone stay landed, which is reported. Hidden
    and temporary files are skipped; a link that leads out of the folder and a file no schema matches are errors.

    Bars within the day are put together file by file, so a file must hold whole days of the sleeve's calendar.
    """
    root = Path(params.path)
    files = folder_files(root, params.pattern)
    read = {name for name in landed.marks if not name.endswith(_BYTES)} - {_FACTORS}
    gone = sorted(read - set(files))
    if gone:
        landed.tell(f"files={len(gone)} are gone from the folder, their rows stay landed: {', '.join(gone[:_TOLD])}")
    schemas = {name: _schema_of(name, params.schemas, root) for name in files}
    if params.factors is not None:
        yield from _factors(Path(params.factors), params.schemas, landed.marks)
    for name, path in files.items():
        schema = schemas[name]
        if landed.marks.get(name) == _sha256_of(path):
            continue
        content = text_bytes(path) if path.name.lower().endswith(TEXT_NAMES) else path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        rows, facts = file_rows(
            path,
            schema,
            sleeve.market,
            content=content,
            symbol=None if schema.symbol_from is None else _ticker(path),
            known_at=None if schema.known_at_from is None else _known_at(path, name, schema.known_at_from),
        )
        first = _first_new_row(name, content, schema, landed.marks)
        is_new = pl.col("row") >= first
        yield Batch(
            Split(rows.valid.filter(is_new), rows.exclusions.filter(is_new)),
            request={"file": name, "sha256": sha256, "first_row": first, **facts},
            marks={name: sha256, name + _BYTES: str(len(content))},
            made_of=source_row_count(facts),
        )


def _factors(path: Path, schemas: tuple[FileSchema, ...], marks: Mapping[str, str]) -> Iterator[Batch]:
    """Yield the corporate actions of the file of factors if it is new or has changed."""
    from quant_core.ingest.corporate_actions.factor_file import read_factors

    sha256 = _sha256_of(path)
    if marks.get(_FACTORS) != sha256:
        venues = {schema.venue for schema in schemas}
        actions = read_factors(path, venue=venues.pop() if len(venues) == 1 else None)
        yield Batch(
            Split(Raw.empty()),
            request={"factors": path.name, "sha256": sha256},
            marks={_FACTORS: sha256},
            actions=actions,
        )


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error


def _first_new_row(name: str, content: bytes, schema: FileSchema, marks: Mapping[str, str]) -> int:
    """Return the position of the first row that has not landed: 0 unless lines were added below those that have.

    Landing a file again every day would land each of its rows as often as the file has grown.
    """
    if not name.lower().endswith(".csv") or schema.encoding == "utf-16" or schema.is_intraday:
        return 0
    before = content[: int(marks.get(name + _BYTES, "0"))]
    header, end, _ = before.partition(b"\n")
    is_header = header.strip(b" \r" + schema.separator.encode()) != b""
    is_same = before.endswith(b"\n") and hashlib.sha256(before).hexdigest() == marks[name]
    return before.count(end) - 1 if is_header and is_same else 0


def folder_files(root: Path, pattern: str) -> dict[str, Path]:
    """Return the files of a folder that can be read, by their name relative to it, sorted.

    Raises
    ------
    SourceError
        The folder or the file in it does not exist, or a link leads out of it or nowhere.
    """
    if not root.is_dir():
        raise SourceError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}.")
    found: dict[str, Path] = {}
    home = root.resolve()
    try:
        for path in root.glob(pattern):
            name = path.relative_to(root)
            if any(part.startswith(_HIDDEN) for part in name.parts):
                continue
            if path.is_symlink() and not path.exists():
                raise SourceError(f"{path} is a link that leads nowhere.")
            if not path.resolve().is_relative_to(home):
                raise SourceError(f"{path} is a link that leads out of the folder; copy what it leads to.")
            if path.name.lower().endswith(TABLE_NAMES) and path.is_file():
                found[name.as_posix()] = path
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"{root} cannot be searched for {pattern!r}: {error}.") from error
    if not found:
        raise SourceError(f"{root} has no .csv, .csv.gz or .parquet file that matches {pattern!r}.")
    return dict(sorted(found.items()))


def _schema_of(name: str, schemas: tuple[FileSchema, ...], root: Path) -> FileSchema:
    for schema in schemas:
        if PurePosixPath(name).match(schema.pattern):
            return schema
    known = ", ".join(repr(schema.pattern) for schema in schemas)
    raise SourceError(f"{root / name} matches no schema of [[source.schemas]], whose patterns are {known}.")


def _ticker(path: Path) -> str:
    suffix = next(suffix for suffix in TABLE_NAMES if path.name.lower().endswith(suffix))
    ticker = path.name[: -len(suffix)]
    if not ticker or any(character.isspace() or character == ":" for character in ticker):
        raise SourceError(f"{path}: its name is not a ticker; symbols are taken from the names of files here.")
    return ticker


def _known_at(path: Path, name: str, pattern: str) -> datetime:
    found = re.search(pattern, name)
    try:
        day = date.fromisoformat((found and found[1]) or "")
    except ValueError as error:
        raise SourceError(f"{path}: its name has no date where known_at_from = {pattern!r} looks for it.") from error
    return datetime.combine(day, time.max, UTC)
