"""Anchors: states of the ledger at earlier times, stored elsewhere. Checking them: verification/verify.py.

Only anchors reveal a cut tail or a rewritten history. They are stored in the metadata of Dagster's materializations
and in the tags of MLflow's runs; an attacker who owns the whole machine owns those too, so keep some elsewhere.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quant_core.errors import DataError, UsageError

_TEXT = re.compile(
    r"(?P<ledger_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(?P<size>[1-9][0-9]{0,15})"
    r":(?P<head>[0-9a-f]{64})(?::(?P<root>[0-9a-f]{64}))?(?![0-9a-f])"
)
_SQLITE = b"SQLite format 3\0"
_KEPT_IN = ("mlflow/mlflow.db", "dagster")


class Anchor(BaseModel):
    """The state of a ledger at some time: its id, number of records, hash of the last one, Merkle root of all."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    ledger_id: str
    size: int = Field(ge=1)
    head: str = Field(pattern=r"^[0-9a-f]{64}$")
    root: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @property
    def seq(self) -> int:
        """Number of the last record vouched for."""
        return self.size - 1

    def __str__(self) -> str:
        parts = (self.ledger_id, str(self.size), self.head, self.root)
        return ":".join(part for part in parts if part is not None)


def anchors_in_text(text: str) -> list[Anchor]:
    """Return every anchor in a text: `ledger_id:size:head`, with or without `:root`."""
    return [
        Anchor(ledger_id=match["ledger_id"], size=int(match["size"]), head=match["head"], root=match["root"])
        for match in _TEXT.finditer(text)
    ]


def anchors_in(*sources: Path) -> tuple[Anchor, ...]:
    """Return the distinct anchors in files, the oldest first.

    Parameters
    ----------
    sources : Path
        Text of any form (lines, JSON, a log), an SQLite database such as MLflow's or Dagster's, or a folder of these.

    Raises
    ------
    UsageError
        A source does not exist.
    DataError
        A source cannot be read.
    """
    found: set[Anchor] = set()
    for source in sources:
        if not source.exists():
            raise UsageError(f"no anchors at {source}: no such file or folder.")
        for file in sorted(_files(source)):
            found.update(_in_file(file))
    return tuple(sorted(found, key=lambda anchor: (anchor.size, str(anchor))))


def kept_anchors(home: Path) -> tuple[Anchor, ...]:
    """Return the anchors in MLflow's and Dagster's local stores of a home."""
    return anchors_in(*(place for name in _KEPT_IN if (place := home / name).exists()))


def _files(source: Path) -> Iterable[Path]:
    return (path for path in source.rglob("*") if path.is_file()) if source.is_dir() else (source,)


def _in_file(path: Path) -> Iterator[Anchor]:
    try:
        with path.open("rb") as stream:
            is_database = stream.read(len(_SQLITE)) == _SQLITE
        texts = _texts(path) if is_database else iter([path.read_text(errors="replace")])
        for text in texts:
            yield from anchors_in_text(text)
    except (OSError, sqlite3.Error) as error:
        raise DataError(f"anchors in {path} cannot be read: {error}") from error


def _texts(path: Path) -> Iterator[str]:
    """Yield every text value of a database, read-only: not even a lock file is written."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            quoted = table.replace('"', '""')
            columns = [row[1].replace('"', '""') for row in database.execute(f'PRAGMA table_info("{quoted}")')]
            for column in columns:
                query = f'SELECT "{column}" FROM "{quoted}" WHERE typeof("{column}") = \'text\''
                yield from (value for (value,) in database.execute(query))
