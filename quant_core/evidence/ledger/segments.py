"""The files of one ledger: sealed segments and the open one. Line format: chain.py; sealing a segment: transaction.py.

`audit.jsonl` is always the open segment. A full one becomes `audit.0000.jsonl`, `audit.0001.jsonl` and so on; the first
record after it is its seal. The names give the order; the seals and the chain prove it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a ledger and how far it may be read; the open one has a stream, for it may be sealed meanwhile."""

    path: Path
    end: int
    stream: BinaryIO | None = None

    @property
    def is_open(self) -> bool:
        """Whether records may still be appended."""
        return self.stream is not None

    @contextmanager
    def open_stream(self) -> Iterator[BinaryIO]:
        """Yield the file to read from; the stream of the open segment stays open until `close`."""
        if self.stream is not None:
            yield self.stream
        else:
            with self.path.open("rb") as stream:
                yield stream

    def close(self) -> None:
        """Close the stream of the open segment; a sealed one has none."""
        if self.stream is not None:
            self.stream.close()


def file_identity(file: int | Path) -> tuple[int, int]:
    """Return the device and inode of a file, given by name or descriptor."""
    status = os.stat(file)
    return status.st_dev, status.st_ino


def release(descriptor: int) -> None:
    """Unlock and close a file."""
    # Unlocked explicitly: a child forked meanwhile still holds this descriptor.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def sealed_path(path: Path, index: int) -> Path:
    """Return the path that segment `index` of the ledger at `path` has once it is sealed."""
    return path.with_name(f"{path.stem}.{index:04d}{path.suffix}")


def sealed_segments(path: Path) -> list[Path]:
    """Return the sealed segments of the ledger at `path`, oldest first, up to the first missing number.

    A file that still is the open segment, too (a writer died while it sealed it), does not count as sealed.
    """
    form = re.compile(rf"{re.escape(path.stem)}\.(\d{{4,}}){re.escape(path.suffix)}")
    try:
        numbers = {int(match[1]) for file in path.parent.iterdir() if (match := form.fullmatch(file.name))}
    except FileNotFoundError:
        return []
    found: list[Path] = []
    while len(found) in numbers:
        found.append(sealed_path(path, len(found)))
    if found and path.exists() and found[-1].samefile(path):
        found.pop()
    return found
