"""Bounds on what comes from outside: how many bytes of a file are read, how deep values nest.

What a text means is its parser's business (market/sleeves.py, evidence/ledger/canonical.py, ingest/); archives are
unpacked in ingest/reading/unpacking.py.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_DEPTH = 64
_STEP = 1 << 20


def read_at_most(path: Path, largest: int, *, follow_links: bool = True) -> bytes:
    """Return the bytes of a file.

    Parameters
    ----------
    path : Path
    largest : int
        Largest size in bytes that is read; a larger file raises.
    follow_links : bool
        Whether the file may be a link.

    Raises
    ------
    OSError
        It cannot be opened, is larger (EFBIG), or is a folder, a pipe or a device (EINVAL).
    """
    # Opening a pipe nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
        if status.st_size > largest:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, at most {largest} are read", str(path))
        content = file.read(status.st_size + 1)  # memory is taken for the size asked, even if less is read
        while more := file.read(_STEP):  # it has grown meanwhile
            content += more
            if len(content) > largest:
                raise OSError(errno.EFBIG, f"it has more than the {largest} bytes that are read", str(path))
    return content


def is_deeper(value: Any, deepest: int = MAX_DEPTH) -> bool:
    """Return whether tables and lists nest more than `deepest` levels, without recursing into them."""
    level = [value]
    for _ in range(deepest):
        level = [item for outer in level for item in _inside(outer) if isinstance(item, Mapping | list | tuple)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()
