"""The identity of a writing process, different from that of a later process with the same pid. Appending: ledger.py."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Writer(BaseModel):
    """One process of one boot.

    `started` is in clock ticks since boot on Linux and in microseconds since 1970 elsewhere. The ticks
    are taken because psutil's start time moves when the wall clock is set, and would make a live
    process look dead.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    pid: int
    boot_id: str
    started: int

    @property
    def token(self) -> str:
        """Short form for file names: pid, start and a digest of the boot id."""
        return f"{self.pid}-{self.started}-{hashlib.sha256(self.boot_id.encode()).hexdigest()[:8]}"


def process_start(pid: int) -> int | None:
    """Return when process `pid` started, in the unit of `Writer.started`; None if it is gone or a zombie."""
    return _start_ticks(pid) if sys.platform == "linux" else _start_microseconds(pid)


@functools.cache
def boot_id() -> str:
    """Return an id of this boot of the machine."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return _BOOT_ID.read_text().strip()


def this_process() -> Writer:
    """Return the calling process; also correct right after a fork."""
    return _writer(os.getpid())


@functools.lru_cache(maxsize=1)
def _writer(pid: int) -> Writer:
    started = process_start(pid)
    assert started is not None
    return Writer(pid=pid, boot_id=boot_id(), started=started)


def is_alive(writer: Writer) -> bool:
    """Return whether that very process still runs; only valid on one machine and in one pid namespace."""
    return writer.boot_id == boot_id() and process_start(writer.pid) == writer.started


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name in parentheses may hold anything, so fields are counted after it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def _start_microseconds(pid: int) -> int | None:
    import psutil  # not needed on Linux

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1e6)
    except psutil.NoSuchProcess:
        return None
