"""Decodes an untrusted Parquet file in a child process. untrusted.py starts it and sets its limits.

It is run as a file of its own and imports nothing of this package: starting it costs an interpreter and polars. A
request is a JSON object with the file's descriptor and, for columns, that of an empty file the answer goes into as
Arrow IPC.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import struct
import sys
from typing import Any

HEAD = struct.Struct("!I")
LONGEST_MESSAGE = 1 << 23
IDLE_SECONDS = 60.0
# As of other archives (unpacking.py): a column of one value takes no room, whatever its length.
RATIO, FLOOR = 100, 64 << 20


def send(channel: socket.socket, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
    """Send one message; its descriptors go with its first bytes."""
    text = json.dumps(message).encode()
    socket.send_fds(channel, [HEAD.pack(len(text))], list(descriptors))
    channel.sendall(text)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the next message and its descriptors; EOFError if the other side is gone or sends none."""
    head, descriptors, _, _ = socket.recv_fds(channel, HEAD.size, 2)
    length = HEAD.unpack(_exactly(channel, HEAD.size, head))[0]
    if length > LONGEST_MESSAGE:
        raise EOFError(f"a message of {length} bytes")
    try:
        message = json.loads(_exactly(channel, length))
    except RecursionError as error:
        raise EOFError("a message nested too deep") from error
    if not isinstance(message, dict):
        raise EOFError(f"a message that is a {type(message).__name__}")
    return message, list(descriptors)


def _exactly(channel: socket.socket, length: int, head: bytes = b"") -> bytes:
    got = bytearray(head)
    while len(got) < length:
        piece = channel.recv(min(length - len(got), 1 << 20))
        if not piece:
            raise EOFError("the other side is gone")
        got += piece
    return bytes(got)


def _limit(memory: int, seconds: float, size: int) -> None:
    """Bound what this request may use; the hard limits stay, so that the next one can have other bounds."""
    used = sum(os.times()[:2])
    wanted = [(resource.RLIMIT_CPU, int(used + seconds) + 1), (resource.RLIMIT_FSIZE, size), (resource.RLIMIT_CORE, 0)]
    if sys.platform == "linux":
        wanted.append((resource.RLIMIT_AS, memory))
    for which, soft in wanted:
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _answer(request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    import polars as pl

    try:
        with os.fdopen(os.dup(descriptors[0]), "rb") as file:
            file.seek(0)
            if request["columns"] is None:
                return {"names": list(pl.read_parquet_schema(file))}
            rows, packed = pl.scan_parquet(file).select(pl.len()).collect().item(), os.fstat(file.fileno()).st_size
            if 8 * rows * len(request["columns"]) > max(FLOOR, RATIO * packed):
                return {"error": f"its {rows} rows unpack to more than {RATIO} times its size; refused as no table"}
            file.seek(0)
            table = pl.read_parquet(file, columns=request["columns"], glob=False)
        with os.fdopen(os.dup(descriptors[1]), "wb") as out:
            table.write_ipc(out, compression="uncompressed")
        return {"rows": table.height}
    except (OSError, MemoryError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return {"error": (str(error).strip() or type(error).__name__).partition("\n")[0]}


def main(channel: socket.socket) -> None:
    """Answer requests until the parent is gone, or sends none for a while."""
    while select.select([channel], [], [], IDLE_SECONDS)[0]:
        try:
            request, descriptors = receive(channel)
        except EOFError:
            return
        _limit(request["memory"], request["seconds"], request["memory"])
        try:
            send(channel, _answer(request, descriptors))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
