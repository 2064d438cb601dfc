"""Atomic file writes: a file appears whole or not at all. Its content is made in store.py and runs/manifest.py."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quant_core.errors import EvidenceError
from quant_core.evidence.files.kill_points import reach_point
from quant_core.evidence.files.writer import Writer, boot_id, is_alive, this_process

_TEMP = re.compile(r"\.(?P<pid>\d+)-(?P<started>\d+)-(?P<boot>[0-9a-f]{8})-\d+\.tmp")
_counter = itertools.count()


def flush(descriptor: int, *, data_only: bool = False) -> None:
    """Flush a file to the device. With `data_only` its time stamps may be missing there, but not its length."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif data_only:
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def flush_path(path: Path) -> None:
    """Flush a file or folder by name. A new, renamed or removed name is a change of its folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> Path:
    """Create `folder` and its missing parents so that their names survive a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        flush_path(path.parent)
    return folder


class TempFile:
    """A hidden file in the folder of its destination. Write to `path`, then call `publish`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f".{this_process().token}-{next(_counter)}.tmp"

    def publish(self, name: str, *, replace: bool = True) -> Path:
        """Make the bytes durable under `name` in the same folder: fsync, rename, fsync of the folder.

        With `replace=False` an existing file of that name is a FileExistsError and stays as it is.
        """
        final = self.path.with_name(name)
        reach_point("before_fsync")
        flush_path(self.path)
        reach_point("after_fsync")
        if replace:
            self.path.replace(final)
        else:
            final.hardlink_to(self.path)
        reach_point("after_rename")
        flush_path(final.parent)
        reach_point("after_dirsync")
        return final


@contextmanager
def temp_file(folder: Path) -> Iterator[TempFile]:
    """Yield a temp in `folder`: every file is written this way. Without `publish` the temp is removed.

    A process killed inside the block leaves its temp, named after it, for `sweep`. A system
    error becomes an EvidenceError; only a name that is taken stays a FileExistsError.
    """
    try:
        file = TempFile(make_folder(folder))
        try:
            yield file
        finally:
            file.path.unlink(missing_ok=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise EvidenceError(
            f"cannot write into {folder}: {error.strerror or error}. Existing files are unchanged."
        ) from error


def write_document(path: Path, content: bytes, *, replace: bool = True) -> Path:
    """Write `content` to `path`, durable on return. A reader sees the old bytes or the new, never a part."""
    with temp_file(path.parent) as file:
        file.path.write_bytes(content)
        return file.publish(path.name, replace=replace)


def sweep(root: Path, *, deep: bool = True) -> tuple[Path, ...]:
    """Remove the temps under `root` whose process has ended; return their paths. Those of live processes stay.

    Without `deep` it looks only in `root` itself, not in the folders below.
    """
    removed = []
    for folder, below, names in os.walk(root):
        if not deep:
            below.clear()
        for name in names:
            if (match := _TEMP.fullmatch(name)) and _is_orphan(match):
                path = Path(folder, name)
                path.unlink(missing_ok=True)
                removed.append(path)
    return tuple(sorted(removed))


def is_temp(name: str) -> bool:
    """Return whether a file's name is that of a temp, whether or not its writer is alive."""
    return _TEMP.fullmatch(name) is not None


def _is_orphan(match: re.Match[str]) -> bool:
    owner = Writer(pid=int(match["pid"]), boot_id=boot_id(), started=int(match["started"]))
    return not (owner.token.endswith(match["boot"]) and is_alive(owner))
