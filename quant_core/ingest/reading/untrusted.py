"""Decodes untrusted Parquet files in a child process with bounds on memory, time and output.

A damaged or hostile file can make a decoder panic, run away or end its process. None of that happens here: it is a
SourceError that names the file. What the process does is said in parquet_child.py, which columns are wanted in
tabular.py. What the store keeps was hashed when it was written, and is read in place.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl

from quant_core.errors import SourceError
from quant_core.ingest.reading import parquet_child

MEMORY_BYTES, MEMORY_PER_BYTE = 6 << 30, 32
"""Address space the decoder may use: at least, and per byte of the file. Its libraries take about 1 GiB of it."""
SECONDS, BYTES_PER_SECOND = 60.0, 2 << 20
"""Time the decoder may take: at least, and how little of the file it may get through in a second beyond that."""

_THREADS = 4
# Sooner than the process ends by itself, so that a request never meets one that is about to.
_IDLE_SECONDS = parquet_child.IDLE_SECONDS / 2
# What an interpreter needs to start. Secrets in the environment are none of a decoder's business.
_PASSED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Limits:
    """Bounds on decoding one file.

    Attributes
    ----------
    memory : int
        Bytes of address space, and of the columns that are handed back.
    seconds : float
        Of processor time; of wall-clock time, three times as much.
    """

    memory: int
    seconds: float


def limits_for(size: int) -> Limits:
    """Return the bounds for a file of `size` bytes."""
    return Limits(MEMORY_BYTES + MEMORY_PER_BYTE * size, SECONDS + size / BYTES_PER_SECOND)


@dataclass(frozen=True)
class UntrustedParquet:
    """An open Parquet file. Both answers come from the same bytes, whatever becomes of its name meanwhile.

    Attributes
    ----------
    path : Path
        For messages.
    descriptor : int
    limits : Limits
    """

    path: Path
    descriptor: int
    limits: Limits

    def names(self) -> tuple[str, ...]:
        """Return the names of its columns.

        Raises
        ------
        SourceError
            The file is damaged, or the decoder ended, hung or asked for too much.
        """
        names = self._ask(None, ()).get("names")
        if not isinstance(names, list):
            raise self._foreign()
        return tuple(map(str, names))

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Return some of its columns. Raises as `names`."""
        with _empty_file() as out:
            rows = self._ask(list(names), (out.fileno(),)).get("rows")
            out.seek(0)
            try:
                table = pl.read_ipc(out.read())
            except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                raise self._foreign() from error
        if table.height != rows or sorted(table.columns) != sorted(names):
            raise self._foreign()
        return table.select(names)

    def _foreign(self) -> SourceError:
        """Stop a decoder after a malformed answer: the file may control it. The next file gets a new one."""
        close_decoder()
        return SourceError(f"{self.path} cannot be read: what was decoded of it is not what was asked for.")

    def _ask(self, columns: list[str] | None, out: tuple[int, ...]) -> Mapping[str, Any]:
        request = {"columns": columns, "memory": self.limits.memory, "seconds": self.limits.seconds}
        try:
            answer = _decoder.ask(request, (self.descriptor, *out), 3 * self.limits.seconds)
        except _EndedError as error:
            raise SourceError(f"{self.path} cannot be read: {error}") from error
        if "error" in answer:
            raise SourceError(f"{self.path} cannot be read: {answer['error']}")
        return answer


@contextmanager
def untrusted_parquet(
    path: Path, content: bytes | None = None, *, limits: Limits | None = None
) -> Iterator[UntrustedParquet]:
    """Open a Parquet file for a decoder in a process of its own, which is kept for the files that follow.

    Parameters
    ----------
    path : Path
        A regular file.
    content : bytes, optional
        What it holds, where it has been read already.
    limits : Limits, optional
        By default those for a file of its size.
    """
    with ExitStack() as stack:
        if content is None:
            file: IO[bytes] = stack.enter_context(path.open("rb"))
            size = os.fstat(file.fileno()).st_size
        else:
            file, size = stack.enter_context(_empty_file()), len(content)
            file.write(content)
            file.flush()
        yield UntrustedParquet(path, file.fileno(), limits or limits_for(size))


def _empty_file() -> IO[bytes]:
    """Return a file without a name: in memory where there is such a thing."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("parquet"), "w+b")
    return tempfile.TemporaryFile()


class _EndedError(Exception):
    """The decoder process died before answering; the message says why."""


class _Process:
    """One decoder and the socket to it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.used = time.monotonic()
        self.said = _empty_file()
        self.channel, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        environment["POLARS_MAX_THREADS"] = str(min(_THREADS, os.cpu_count() or 1))
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", parquet_child.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.said,
                env=environment,
            )

    def is_fit(self) -> bool:
        """Return whether it accepts requests: it runs, and is not about to end by itself."""
        return self.process.poll() is None and time.monotonic() - self.used < _IDLE_SECONDS

    def end(self, *, wait: float = 0.0) -> int:
        """End it, after `wait` seconds in which it may do so by itself; return how it ended."""
        self.channel.close()
        try:
            code = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return code

    def last_words(self) -> str:
        """Return the last line it wrote to its standard error."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        self.said.close()
        return lines[-1] if lines else ""


class _Decoder:
    """The decoder of this process: started when a file needs it, used by one thread at a time."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: _Process | None = None
        # Of the parent of a fork: not ours to end.
        self._foreign: list[_Process] = []

    def ask(self, request: Mapping[str, Any], descriptors: tuple[int, ...], seconds: float) -> dict[str, Any]:
        """Return the answer to a request; _EndedError if there is none within `seconds`."""
        with self._turn:
            process = self._fit()
            process.channel.settimeout(seconds)
            try:
                parquet_child.send(process.channel, dict(request), descriptors)
                answer, _ = parquet_child.receive(process.channel)
            except TimeoutError as error:
                self._end_process(process, wait=0.0)
                raise _EndedError(f"decoding it took longer than {seconds:.0f} s.") from error
            except (EOFError, OSError, ValueError) as error:
                raise _EndedError(self._end_process(process, wait=5.0)) from error
            except BaseException:
                self._end_process(process, wait=0.0)  # an answer nobody waits for must not meet the next question
                raise
            process.used = time.monotonic()
            return answer

    def close(self) -> None:
        """Stop the current process; a new one starts with the next file."""
        with self._turn:
            if self._process is not None and self._process.owner == os.getpid():
                self._end_process(self._process, wait=5.0)

    def forget(self) -> None:
        """Leave the process to the parent this one was forked from."""
        self._turn = threading.Lock()
        if self._process is not None:
            self._process.channel.close()
            self._foreign.append(self._process)
            self._process = None

    def _fit(self) -> _Process:
        if self._process is not None and not self._process.is_fit():
            self._end_process(self._process, wait=5.0)
        if self._process is None:
            self._process = _Process()
        return self._process

    def _end_process(self, process: _Process, *, wait: float) -> str:
        """Stop a process; return the message about it."""
        self._process = None
        code, words = process.end(wait=wait), process.last_words()
        how = f"was ended by a signal ({signal.strsignal(-code)})" if code < 0 else f"ended with {code}"
        said = f" ({words})" if words else ""
        return f"the process that decodes it {how}{said}; the file is damaged, or asks for more than it may have."


_decoder = _Decoder()
close_decoder = _decoder.close
"""End the decoder of this process, if there is one."""

atexit.register(_decoder.close)
os.register_at_fork(after_in_child=_decoder.forget)
