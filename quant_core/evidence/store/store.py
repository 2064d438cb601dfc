"""Writing table versions: immutable Parquet files named by their SHA-256. The head of a table: runs/commits.py."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import IO, cast

import polars as pl
from polars.exceptions import PanicException, PolarsError

from quant_core.errors import ContractError, EvidenceError, IntegrityError
from quant_core.evidence.files.documents import flush_path, sweep, temp_file
from quant_core.evidence.files.kill_points import reach_point
from quant_core.evidence.files.safe_paths import refuse_links
from quant_core.evidence.store.reader import LIST_SCHEMA, StoreReader
from quant_core.evidence.store.refs import DataRef, Part, version_path

ROW_GROUP = 131_072
# One table at a time: a write holds a sorted copy of the whole table.
_one_write = threading.Lock()


class Store(StoreReader):
    """The `store/` folder of a home, to read from and add to."""

    def write(
        self, frame: pl.DataFrame, *, stage: str, sleeve: str, key: Sequence[str], part: Part = "valid"
    ) -> DataRef:
        """Store a table; return its reference. Equal tables have equal bytes, hence one file.

        Parameters
        ----------
        frame : DataFrame
            Flat columns, no NaN or infinity.
        stage, sleeve : str
            The table.
        key : sequence of str
            Columns to sort by. Rows with equal keys keep their order; with an empty key all rows do.
        part : "valid", "exclusions" or "actions"
            All parts are stored in one folder.

        Raises
        ------
        ContractError
            A column is nested or not finite, or a key column is missing.
        EvidenceError
            The system cannot write the file; existing files are unchanged, and no new one is left behind.
        IntegrityError
            A folder of the store was replaced by a link.
        """
        folder = self.home / version_path(stage, sleeve, "").parent
        refuse_links(self.root, folder.relative_to(self.root).parts)
        with _one_write, temp_file(folder) as file:
            sha256 = _write_parquet(_normalise_frame(frame, key, name=f"{stage} of {sleeve}"), file.path)
            path = str(version_path(stage, sleeve, sha256))
            ref = DataRef(stage=stage, sleeve=sleeve, part=part, sha256=sha256, rows=frame.height, path=path)
            if self._holds(ref):
                # A new time stamp keeps a collection from deleting what is about to be committed. It fails for another
                # owner's file; then the commit checks that the file exists.
                with suppress(PermissionError):
                    os.utime(self.home / path)
                # The writer that published it may have died before its name was durable.
                flush_path(self.home / path)
                flush_path(folder)
            else:
                file.publish(f"{sha256}.parquet")
        return ref

    def write_list(self, versions: Sequence[DataRef]) -> DataRef:
        """Store a table as a list of stored versions, all of one part of one table; return its reference.

        Only the list is written, not the rows: a table that grows by versions is never copied.
        """
        first = versions[0]
        if len(versions) == 1:
            return first
        names = pl.DataFrame([(ref.sha256, ref.rows) for ref in versions], schema=LIST_SCHEMA, orient="row")
        ref = self.write(names, stage=first.stage, sleeve=first.sleeve, key=(), part=first.part)
        return ref.model_copy(update={"rows": int(names["rows"].sum()), "form": "list"})

    def sweep(self) -> tuple[Path, ...]:
        """Remove the temps of killed writers; return their paths."""
        return sweep(self.root)

    def _holds(self, ref: DataRef) -> bool:
        try:
            with self._stream(ref) as stream:
                self._vouch(ref, stream)
        except (FileNotFoundError, IntegrityError):
            return False
        return True


class _Hashing:
    """A file for polars to write to that hashes the bytes on their way, so that they are not read back."""

    def __init__(self, stream: BufferedWriter) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.refusal: OSError | EvidenceError | None = None

    def write(self, piece: bytes) -> int:
        """Write a piece; keep the error if it fails, because polars keeps only its text."""
        try:
            reach_point("mid_write")
            self._stream.write(piece)
        except (OSError, EvidenceError) as error:
            self.refusal = error
            raise
        self.digest.update(piece)
        return len(piece)

    def flush(self) -> None:
        """Do nothing: the file is flushed once, by name, when it is complete."""


def _write_parquet(frame: pl.DataFrame, path: Path) -> str:
    """Write a new Parquet file, with every setting fixed that affects its bytes; return their SHA-256."""
    with path.open("xb") as stream:
        reach_point("after_temp_open")
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


def _normalise_frame(frame: pl.DataFrame, key: Sequence[str], *, name: str) -> pl.DataFrame:
    """Return the normal form of `frame`: sorted, in one chunk, without negative zero."""
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
    # Lazy, so that polars checks the columns in parallel; each result has one row.
    is_finite = frame.lazy().select(pl.col(floats).is_finite().all()).collect()
    for column in floats:
        if not is_finite[column].item():
            raise ContractError(f"{name}: column {column!r} holds NaN or infinity. Store an unknown value as null.")
    has_zero = frame.lazy().select((pl.col(floats) == 0).any()).collect()
    # Not `+ 0.0`: polars optimises that away, and the sign stays.
    frame = frame.with_columns(
        pl.when(pl.col(column) == 0).then(pl.lit(0.0, dtype=frame.schema[column])).otherwise(column).alias(column)
        for column in floats
        if has_zero[column].item()
    )
    # A stable sort need not sort by a last column that is sorted already: most tables come symbol by symbol.
    unsorted = list(key)
    while unsorted and frame[unsorted[-1]].is_sorted():
        unsorted.pop()
    if unsorted:
        frame = frame.sort(unsorted, maintain_order=True)
    return frame.rechunk()
