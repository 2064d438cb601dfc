"""Table versions: immutable Parquet files named by their SHA-256. Which version is current: runs/commits.py."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader, BufferedWriter
from pathlib import Path, PurePosixPath
from typing import IO, Literal, Self, cast

import polars as pl
from polars.exceptions import ColumnNotFoundError, PanicException, PolarsError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quant_core.errors import ContractError, EvidenceError, IntegrityError, MissingVersionError, UnknownNameError
from quant_core.evidence.files.documents import flush_path, staged, sweep
from quant_core.evidence.files.kill_points import reached
from quant_core.evidence.files.names import encoded
from quant_core.evidence.files.safe_paths import opened_below, refuse_links

Part = Literal["valid", "exclusions", "actions"]
_LIST = {"sha256": pl.String(), "rows": pl.Int64()}

ROW_GROUP = 131_072
# Time stamps of files have the grain of the kernel's tick: a file this young may change and look the same.
_SETTLED_NS = 50_000_000
# One table at a time: a write holds a sorted copy of the whole table.
_one_write = threading.Lock()


class DataRef(BaseModel):
    """Which bytes of which table: all a stage needs to load it, and small enough to travel.

    `path` is relative to the home and follows from the other fields, so a reference cannot point elsewhere. In the form
    "list" the file holds no rows but names the versions whose rows, one after the other, are the table.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    stage: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    sleeve: str = Field(min_length=1)
    part: Part = "valid"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=0)
    path: str
    form: Literal["rows", "list"] = "rows"

    @model_validator(mode="after")
    def _path_follows(self) -> Self:
        if self.path != str(version_path(self.stage, self.sleeve, self.sha256)):
            raise ValueError(f"path {self.path!r} is not that of {self.stage} of {self.sleeve}")
        return self


def version_path(stage: str, sleeve: str, sha256: str) -> PurePosixPath:
    """Return where a version lies, relative to the home: `store/<room>/<name>/<sleeve>/<sha256>.parquet`."""
    return PurePosixPath("store", *map(encoded, stage.split(".")), encoded(sleeve), f"{sha256}.parquet")


def _replay(ref: DataRef) -> str:
    return "Replay the run that made it."


class Store:
    """The `store/` folder of a home. Nothing in it is ever changed, and nothing is found by listing it.

    Parameters
    ----------
    home : Path
    advice : callable, optional
        What to say of a version that is not there: who made it, and whether it was collected.
    """

    def __init__(self, home: Path, *, advice: Callable[[DataRef], str] = _replay) -> None:
        self.home, self.root = home, home / "store"
        self._advice = advice
        self._vouched: dict[str, tuple[str, int, int, int, int]] = {}

    def write(
        self, frame: pl.DataFrame, *, stage: str, sleeve: str, key: Sequence[str], part: Part = "valid"
    ) -> DataRef:
        """Keep a table; return its reference. Equal tables are equal bytes, hence one file.

        Parameters
        ----------
        frame : DataFrame
            Flat columns, no NaN or infinity.
        stage, sleeve : str
            Whose table it is.
        key : sequence of str
            Columns to sort by. Rows with equal keys keep their order; an empty key keeps all.
        part : "valid" or "exclusions"
            Both lie in one folder.

        Raises
        ------
        ContractError
            A column is nested or not finite, or the key is not there.
        EvidenceError
            The system takes no more; what was there stays, and nothing new is left behind.
        IntegrityError
            A folder of the store was replaced by a link.
        """
        folder = self.home / version_path(stage, sleeve, "").parent
        refuse_links(self.root, folder.relative_to(self.root).parts)
        with _one_write, staged(folder) as file:
            sha256 = _written(_normalised(frame, key, name=f"{stage} of {sleeve}"), file.path)
            path = str(version_path(stage, sleeve, sha256))
            ref = DataRef(stage=stage, sleeve=sleeve, part=part, sha256=sha256, rows=frame.height, path=path)
            if self._holds(ref):
                # Young again, so that a collection spares what is about to be committed; of another owner's file, the
                # commit itself finds out.
                with suppress(PermissionError):
                    os.utime(self.home / path)
                # Whoever put it there may have died before its name was durable.
                flush_path(self.home / path)
                flush_path(folder)
            else:
                file.publish(f"{sha256}.parquet")
        return ref

    def write_list(self, versions: Sequence[DataRef]) -> DataRef:
        """Keep a table made of versions there are, of one part of one table; return its reference.

        It costs what its list costs, not what its rows would: a table that grows by versions is never copied.
        """
        first = versions[0]
        if len(versions) == 1:
            return first
        names = pl.DataFrame([(ref.sha256, ref.rows) for ref in versions], schema=_LIST, orient="row")
        ref = self.write(names, stage=first.stage, sleeve=first.sleeve, key=(), part=first.part)
        return ref.model_copy(update={"rows": int(names["rows"].sum()), "form": "list"})

    def read(self, ref: DataRef, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the table, or those of its columns, after its bytes were held against the hash."""
        if ref.form == "list":
            return pl.concat([self._read_rows(version, columns) for version in self.versions(ref)])
        return self._read_rows(ref, columns)

    def versions(self, ref: DataRef) -> tuple[DataRef, ...]:
        """Return the versions a reference is made of: itself, or those its list names."""
        if ref.form == "rows":
            return (ref,)
        names = self._read_file(ref, None)
        if dict(names.schema) != _LIST or names["rows"].sum() != ref.rows:
            raise IntegrityError(f"{_named(ref)} is no list of versions with {ref.rows} rows.")
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
            raise IntegrityError(f"{_named(ref)} has {frame.height} rows, {ref.rows} were recorded.")
        return frame

    def _read_file(self, ref: DataRef, columns: Sequence[str] | None) -> pl.DataFrame:
        # One descriptor for both: what is hashed is what is read, and no name is taken for a pattern.
        with self._opened(ref) as stream:
            try:
                return pl.read_parquet(stream, columns=None if columns is None else list(columns), glob=False)
            except ColumnNotFoundError as error:
                stream.seek(0)
                known = pl.read_parquet_schema(stream)
                missing = next(name for name in columns or () if name not in known)
                raise UnknownNameError(f"column of {ref.stage}", missing, known) from error

    def verify(self, ref: DataRef) -> None:
        """Raise what `read` would if the bytes of a table are not there or not its own; nothing is decoded."""
        for version in self.versions(ref):
            with self._opened(version):
                pass

    @contextmanager
    def _opened(self, ref: DataRef) -> Iterator[BufferedReader]:
        """Open the file of a reference at its beginning, once its bytes were held against the hash."""
        try:
            with self._stream(ref) as stream:
                self._vouch(ref, stream)
                stream.seek(0)
                yield stream
        except FileNotFoundError as error:
            raise MissingVersionError(f"{_named(ref)} is not in {self.home}. {self._advice(ref)}") from error
        except (PolarsError, PanicException, OSError) as error:
            raise IntegrityError(f"{_named(ref)} cannot be read: {error}") from error

    def exists(self, ref: DataRef) -> bool:
        """Tell whether there is a file for `ref`; its bytes are checked by `read`."""
        try:
            self._stream(ref).close()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise IntegrityError(f"{_named(ref)} cannot be read: {error}") from error
        return True

    def sweep(self) -> tuple[Path, ...]:
        """Remove what killed writers left behind; return it."""
        return sweep(self.root)

    def _stream(self, ref: DataRef) -> BufferedReader:
        return os.fdopen(opened_below(self.root, PurePosixPath(ref.path).parts[1:]), "rb")

    def _holds(self, ref: DataRef) -> bool:
        try:
            with self._stream(ref) as stream:
                self._vouch(ref, stream)
        except (FileNotFoundError, IntegrityError):
            return False
        return True

    def _vouch(self, ref: DataRef, stream: BufferedReader) -> None:
        """Raise IntegrityError unless the open file hashes to its name; remembered while the file looks unchanged."""
        status = os.fstat(stream.fileno())
        look = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._vouched.get(ref.path) == (ref.sha256, *look):
            return
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if sha256 != ref.sha256:
            raise IntegrityError(
                f"{_named(ref)} has other bytes: they hash to {sha256[:12]}. Restore {self.home / ref.path}."
            )
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._vouched[ref.path] = (sha256, *look)


def _named(ref: DataRef) -> str:
    return f"{ref.stage} of {ref.sleeve} ({ref.part}, version {ref.sha256[:12]})"


class _Hashing:
    """What polars writes a table to: hashed on its way into the file, so that no byte is read back for it."""

    def __init__(self, stream: BufferedWriter) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.refusal: OSError | EvidenceError | None = None

    def write(self, piece: bytes) -> int:
        """Take a piece; remember why it was refused, of which polars keeps no more than the text."""
        try:
            reached("mid_write")
            self._stream.write(piece)
        except (OSError, EvidenceError) as error:
            self.refusal = error
            raise
        self.digest.update(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing: the file is flushed once, by name, when it is whole."""


def _written(frame: pl.DataFrame, path: Path) -> str:
    """Write a new file with every setting fixed that has a say in the bytes; return their SHA-256."""
    with path.open("xb") as stream:
        reached("after_temp_open")
        file = _Hashing(stream)
        try:
            frame.write_parquet(
                cast("IO[bytes]", file),
                compression="zstd",
                compression_level=1,
                statistics=True,
                row_group_size=ROW_GROUP,
                use_pyarrow=False,
            )
        except (PolarsError, PanicException) as error:
            if file.refusal is not None:
                raise file.refusal from error
            raise EvidenceError(f"cannot write a table into {path.parent}: {error}") from error
    return file.digest.hexdigest()


def _normalised(frame: pl.DataFrame, key: Sequence[str], *, name: str) -> pl.DataFrame:
    """Return the one form of all tables equal to `frame`: sorted, in one chunk, without negative zero."""
    if missing := [column for column in key if column not in frame.columns]:
        raise ContractError(f"{name}: key column {missing[0]!r} is not in the table. It has {frame.columns}.")
    floats = []
    for column, dtype in frame.schema.items():
        if dtype.is_nested() or dtype == pl.Object:
            raise ContractError(
                f"{name}: column {column!r} is {dtype}. A stored table is flat: give each value a column or row."
            )
        if dtype.is_float():
            floats.append(column)
    # Lazy, so that columns are looked through side by side; no answer is longer than one row.
    is_finite = frame.lazy().select(pl.col(floats).is_finite().all()).collect()
    for column in floats:
        if not is_finite[column].item():
            raise ContractError(
                f"{name}: column {column!r} holds NaN or infinity. What is not known is null in a table."
            )
    has_zero = frame.lazy().select((pl.col(floats) == 0).any()).collect()
    # Not `+ 0.0`: polars takes that for nothing to do, and the sign stays.
    frame = frame.with_columns(
        pl.when(pl.col(column) == 0).then(pl.lit(0.0, dtype=frame.schema[column])).otherwise(column).alias(column)
        for column in floats
        if has_zero[column].item()
    )
    # A stable sort keeps the order of what is sorted by the last column already: most tables come symbol by symbol.
    unsorted = list(key)
    while unsorted and frame[unsorted[-1]].is_sorted():
        unsorted.pop()
    if unsorted:
        frame = frame.sort(unsorted, maintain_order=True)
    return frame.rechunk()
