"""Reading table versions: the bytes are checked against their hash before a table is returned. Writing: store.py."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath

import polars as pl
from polars.exceptions import ColumnNotFoundError, PanicException, PolarsError

from quant_core.errors import IntegrityError, MissingVersionError, UnknownNameError
from quant_core.evidence.files.safe_paths import open_below
from quant_core.evidence.store.refs import DataRef, version_path

LIST_SCHEMA = {"sha256": pl.String(), "rows": pl.Int64()}
"""Columns of a version in the form "list"."""

# File time stamps have the resolution of the kernel's tick: a file this young may change without a new time stamp.
_SETTLED_NS = 50_000_000


def _advise_replay(ref: DataRef) -> str:
    return "Replay the run that made it."


class StoreReader:
    """The `store/` folder of a home, to read from. It changes nothing and lists no folder: references name the files.

    Parameters
    ----------
    home : Path
    advice : callable, optional
        Returns the advice for a missing version: who made it, and whether it was collected.
    """

    def __init__(self, home: Path, *, advice: Callable[[DataRef], str] = _advise_replay) -> None:
        self.home, self.root = home, home / "store"
        self._advice = advice
        self._vouched: dict[str, tuple[str, int, int, int, int]] = {}

    def read(self, ref: DataRef, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the table, or these columns of it, after its bytes were checked against its hash."""
        if ref.form == "list":
            return pl.concat([self._read_rows(version, columns) for version in self.versions(ref)])
        return self._read_rows(ref, columns)

    def versions(self, ref: DataRef) -> tuple[DataRef, ...]:
        """Return the versions that make up a table: the reference itself, or those its list names."""
        if ref.form == "rows":
            return (ref,)
        names = self._read_file(ref, None)
        if dict(names.schema) != LIST_SCHEMA or names["rows"].sum() != ref.rows:
            raise IntegrityError(f"{_describe_ref(ref)} is not a list of versions with {ref.rows} rows.")
        return tuple(
            DataRef(
                stage=ref.stage,
                sleeve=ref.sleeve,
                part=ref.part,
                sha256=sha256,
                rows=rows,
                path=str(version_path(ref.stage, ref.sleeve, sha256)),
            )
            for sha256, rows in names.iter_rows()
        )

    def _read_rows(self, ref: DataRef, columns: Sequence[str] | None) -> pl.DataFrame:
        frame = self._read_file(ref, columns)
        if frame.height != ref.rows:
            raise IntegrityError(f"{_describe_ref(ref)} has {frame.height} rows, {ref.rows} were recorded.")
        return frame

    def _read_file(self, ref: DataRef, columns: Sequence[str] | None) -> pl.DataFrame:
        # One descriptor: the bytes hashed are the bytes read. No name is taken for a pattern.
        with self._verified_stream(ref) as stream:
            try:
                return pl.read_parquet(stream, columns=None if columns is None else list(columns), glob=False)
            except ColumnNotFoundError as error:
                stream.seek(0)
                known = pl.read_parquet_schema(stream)
                missing = next(name for name in columns or () if name not in known)
                raise UnknownNameError(f"column of {ref.stage}", missing, known) from error

    def verify(self, ref: DataRef) -> None:
        """Check the bytes of a table against their hash; raise as `read` does, but decode nothing."""
        for version in self.versions(ref):
            with self._verified_stream(version):
                pass

    @contextmanager
    def _verified_stream(self, ref: DataRef) -> Iterator[BufferedReader]:
        """Check the bytes of a version against their hash, then yield the file at its beginning."""
        try:
            with self._stream(ref) as stream:
                self._vouch(ref, stream)
                stream.seek(0)
                yield stream
        except FileNotFoundError as error:
            raise MissingVersionError(f"{_describe_ref(ref)} is not in {self.home}. {self._advice(ref)}") from error
        except (PolarsError, PanicException, OSError) as error:
            raise IntegrityError(f"{_describe_ref(ref)} cannot be read: {error}") from error

    def exists(self, ref: DataRef) -> bool:
        """Return whether there is a file for `ref`; its bytes are checked by `read`."""
        try:
            self._stream(ref).close()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise IntegrityError(f"{_describe_ref(ref)} cannot be read: {error}") from error
        return True

    def _stream(self, ref: DataRef) -> BufferedReader:
        return os.fdopen(open_below(self.root, PurePosixPath(ref.path).parts[1:]), "rb")

    def _vouch(self, ref: DataRef, stream: BufferedReader) -> None:
        """Raise IntegrityError unless the open file has the hash in its name. Checked once while it looks unchanged."""
        status = os.fstat(stream.fileno())
        look = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._vouched.get(ref.path) == (ref.sha256, *look):
            return
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if sha256 != ref.sha256:
            raise IntegrityError(
                f"{_describe_ref(ref)} has other bytes: they hash to {sha256[:12]}. Restore {self.home / ref.path}."
            )
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._vouched[ref.path] = (sha256, *look)


def _describe_ref(ref: DataRef) -> str:
    return f"{ref.stage} of {ref.sleeve} ({ref.part}, version {ref.sha256[:12]})"
