"""Unpacks untrusted archives in memory within bounds. The sources decide which files are read.

Nothing is written to disk, so nothing can leave its folder; names are checked all the same, since an archive that
tries to escape its folder cannot be market data.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from pathlib import PurePosixPath

from quant_core.errors import SourceError

RATIO, FLOOR = 100, 16 << 20
"""Most bytes out per byte in, and the size up to which it is not checked: text shrinks to 1/20, zeros to 1/1000.
"""

_CHUNK = 1 << 14
# Files packed for random access have one member per 64 kB.
_MOST_MEMBERS = 40_000
_GZIP = 16 + zlib.MAX_WBITS
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


def unpack_gzip(content: bytes, *, largest: int, where: str) -> bytes:
    """Return the content of a gzip file, all its members joined.

    Parameters
    ----------
    content : bytes
    largest : int
        Bytes above which it is refused.
    where : str
        The file, for error messages.

    Raises
    ------
    SourceError
        It is damaged, breaks off, or unpacks to more than `largest` or more than 100 times its own size.
    """
    out, packed, at, members = io.BytesIO(), memoryview(content), 0, 0
    try:
        while at < len(packed):
            member, members = zlib.decompressobj(_GZIP), members + 1
            if members > _MOST_MEMBERS:
                raise SourceError(f"{where} has more than {_MOST_MEMBERS} members; refused.")
            while not member.eof:
                if at == len(packed):
                    raise SourceError(f"{where} cannot be read: it breaks off inside its packed data.")
                chunk = packed[at : at + _CHUNK]
                out.write(member.decompress(chunk))
                at += len(chunk) - len(member.unused_data)
                _check_size(out.tell(), at, largest, where)
            at = _after_padding(packed, at)
    except zlib.error as error:
        raise SourceError(f"{where} cannot be read: {error}") from error
    return out.getvalue()


def only_member(content: bytes, name: str, *, largest: int, where: str) -> bytes:
    """Return the one file a zip archive holds, which must be called `name`.

    Raises
    ------
    SourceError
        It is not a zip, is damaged or encrypted, holds another file or a second one, a link, a folder or a name that
        leads out of a folder, or unpacks to more than `largest` or more than 100 times its own size.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            for member in members:
                _check_name(member, where)
            if [member.filename for member in members] != [name]:
                raise SourceError(f"{where} holds {[member.filename for member in members[:3]]}, not just {name}.")
            if members[0].compress_type not in _METHODS:
                raise SourceError(f"{where} is packed by method {members[0].compress_type}; only deflate is read.")
            with archive.open(members[0]) as file:
                out = file.read(largest + 1)
        _check_size(len(out), len(content), largest, f"{name} in {where}")
    except _DAMAGED as error:
        raise SourceError(f"{where} cannot be read: {error}") from error
    return out


def _check_name(member: zipfile.ZipInfo, where: str) -> None:
    # The name as stored: zipfile puts "/" for the separator of the system and cuts at a NUL.
    name = member.orig_filename.replace("\\", "/")
    path, mode = PurePosixPath(name), member.external_attr >> 16
    is_outside = path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name
    if is_outside or member.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        kind = "a link" if stat.S_ISLNK(mode) else "a folder or device" if not is_outside else "a name that leads out"
        raise SourceError(f"{where} holds {member.filename[:80]!r}, {kind}; refused.")


def _check_size(unpacked: int, packed: int, largest: int, where: str) -> None:
    if unpacked > largest:
        raise SourceError(f"{where} has more than {largest} bytes; refused.")
    if unpacked > FLOOR and unpacked > RATIO * packed:
        raise SourceError(f"{where} unpacks to more than {RATIO} times its size; refused as no table.")


def _after_padding(packed: memoryview, at: int) -> int:
    """Return where the next member begins: members may be padded with zeros."""
    while at < len(packed):
        block = bytes(packed[at : at + _CHUNK])
        rest = block.lstrip(b"\0")
        at += len(block) - len(rest)
        if rest:
            break
    return at
