"""Names as path parts: injective, safe on any disk. Which path uses which name: store/refs.py, runs/manifest.py."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

from quant_core.errors import UsageError

MAX_BYTES = 120

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-.")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
# Never part of an encoded name: every other "%" is followed by two hex digits.
_SHORTENED = "%-"


def _escape_byte(byte: int) -> str:
    return f"%{byte:02x}"


def encode_name(part: str) -> str:
    """Return one path part for any text: lower case, printable ASCII, at most `MAX_BYTES` long.

    Upper case is escaped too, so names that differ in case stay apart on a case-insensitive disk.
    A leading dot or dash, a trailing dot and Windows device names lose their meaning. A name
    that is too long keeps its beginning and ends in its SHA-256: still injective, but not decodable.

    Parameters
    ----------
    part : str
        Any text that is not empty and can be written as UTF-8.

    Returns
    -------
    str
        Over the alphabet `a-z 0-9 _ - . %`.
    """
    if not part:
        raise UsageError("an empty name cannot be part of a path. Give the sleeve, stage or run a name.")
    try:
        raw = part.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"name {part!r} holds a lone surrogate and has no UTF-8 form. Rename it.") from error
    pieces = [chr(byte) if byte in _PLAIN else _escape_byte(byte) for byte in raw]
    if pieces[0] in {".", "-"} or _DEVICE.match("".join(pieces)):
        pieces[0] = _escape_byte(raw[0])
    if pieces[-1] == ".":
        pieces[-1] = _escape_byte(raw[-1])
    name = "".join(pieces)
    if len(name) <= MAX_BYTES:
        return name
    ending = _SHORTENED + hashlib.sha256(raw).hexdigest()
    return name[: MAX_BYTES - len(ending)] + ending


def decode_name(name: str) -> str:
    """Return the text that `encode_name` encoded as `name`; UsageError for a name it cannot have returned."""
    if _SHORTENED in name:
        raise UsageError(f"{name!r} is a shortened name and cannot be decoded. Its full text is in the ledger.")
    try:
        part = unquote(name, encoding="utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name!r} is not an encoded name: it is not UTF-8.") from error
    if not part or encode_name(part) != name:
        raise UsageError(f"{name!r} is not an encoded name.")
    return part
