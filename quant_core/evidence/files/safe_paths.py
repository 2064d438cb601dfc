"""Files below a root, reached without following a symbolic link. How a name becomes a path part: names.py."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from quant_core.errors import IntegrityError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for whoever might write into a pipe that took the place of a file.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_below(root: Path, parts: Sequence[str]) -> int:
    """Open the file `root/parts...` for reading; return its descriptor, which the caller closes.

    Each part is opened in the folder before it, so what is checked is what is opened. The root itself may be a link.

    Raises
    ------
    FileNotFoundError
        It is not there.
    IntegrityError
        Something on the way is a symbolic link, a file where a folder belongs, or it is no regular file.
    OSError
        The system refuses otherwise.
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
            raise IntegrityError(f"{done} is a link or no folder; nothing is followed out of {root}.") from error
        raise
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IntegrityError(f"{done} is no regular file. Remove it.")
    return descriptor


def refuse_links(root: Path, parts: Sequence[str]) -> None:
    """Look at the folders of `root/parts...` there are, before something is written into the last of them.

    Raises
    ------
    IntegrityError
        One of them is a symbolic link or no folder.
    """
    folder = root
    for part in parts:
        folder = folder / part
        try:
            mode = folder.lstat().st_mode
        except OSError:
            return  # not there yet; of any other refusal the writer is told by its own attempt
        if not stat.S_ISDIR(mode):
            raise IntegrityError(f"{folder} is a link or no folder; nothing is written out of {root}.")
