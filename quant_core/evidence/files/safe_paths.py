"""Files below a root, reached without following a symbolic link. How a name becomes a path part: names.py."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from quant_core.errors import IntegrityError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe in the place of a file must not make the reader wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_below(root: Path, parts: Sequence[str]) -> int:
    """Open the file `root/parts...` for reading; return its descriptor, which the caller closes.

    Each part is opened in the folder before it, so what is checked is what is opened. The root itself may be a link.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    IntegrityError
        A part of the path is a symbolic link, a file where a folder belongs, or the last is not a regular file.
    OSError
        Any other system error.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    done = root
    try:
        for part in parts[:-1]:
            done = done / part
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        done = done / parts[-1]
        descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
            raise IntegrityError(f"{done} is a link or not a folder; no link is followed out of {root}.") from error
        raise
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IntegrityError(f"{done} is not a regular file. Remove it.")
    return descriptor


def refuse_links(root: Path, parts: Sequence[str]) -> None:
    """Check the existing folders of `root/parts...` before a file is written into the last of them.

    Raises
    ------
    IntegrityError
        One of them is a symbolic link or not a folder.
    """
    folder = root
    for part in parts:
        folder = folder / part
        try:
            mode = folder.lstat().st_mode
        except OSError:
            return  # it does not exist yet; the writer meets any other error when it writes
        if not stat.S_ISDIR(mode):
            raise IntegrityError(f"{folder} is a link or not a folder; nothing is written outside {root}.")
