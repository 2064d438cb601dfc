"""The ledger: a million records checked, one by one, and what an append costs alone, in groups and among writers.

Checking has no peer that does the same: every hash, the canonical form of every byte, every link, every Merkle root.
The command is run as users run it; it needs memory for its own work only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory

from benchmarks.contest import Entry, Figure, Reading, plain_environment, scaled, topic
from quant_core.cli import quant
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.reader import FILE_NAME
from quant_core.evidence.ledger.transaction import Entry as Recorded
from quant_core.evidence.verification.verify import verify_ledger
from quant_core.settings import CHECKOUT

SECONDS, MEGABYTES = 15.0, 100.0
DURABLE, GROUPED, P99_MS = 500.0, 10_000.0, 10.0
WRITERS, GROUP = 8, 100
STATUS = Path("/proc/self/status")
KINDS = ("progress", "progress", "progress", "commit")


@topic("ledger")
def ledger(share: float) -> Iterator[Entry]:
    count = scaled(1_000_000, share, least=2_000)
    with TemporaryDirectory() as folder:
        home = Path(folder, "long")
        filled(home, count)
        others = max(1, min(4, os.cpu_count() or 1))
        yield Reading(f"verify {count:,} records", partial(checked, home, count, 0))
        yield Reading(
            f"verify {count:,} records, sealed segments side by side", partial(checked, home, count, others), others
        )
        yield Reading("append, durable", partial(alone, Path(folder, "alone"), scaled(2_000, share, least=20)))
        yield Reading(
            "append, not waiting for the device",
            partial(progress, Path(folder, "cached"), scaled(20_000, share, least=200)),
        )
        yield Reading(
            f"append, groups of {GROUP}", partial(grouped, Path(folder, "group"), scaled(50_000, share, least=GROUP))
        )
        yield Reading(
            f"append, {WRITERS} processes, durable",
            partial(among, Path(folder, "among"), scaled(500, share, least=5)),
            WRITERS,
        )


def filled(home: Path, count: int) -> None:
    """Write records as runs leave them: of several kinds, with numbers and names."""
    written, found = 0, Ledger(home / FILE_NAME)
    while written < count:
        size = min(1_000, count - written)
        with found.lock() as turn:
            turn.append_all([record(written + number) for number in range(size)], durable=False)
        written += size


def record(number: int) -> Recorded:
    kind = KINDS[number % len(KINDS)]
    data = {"stage": "features.trend", "done": number, "share": number / 7, "sleeve": "us_equities"}
    return Recorded(kind, data, f"0198c0de-0000-7000-8000-{number // 50:012d}")


def checked(home: Path, count: int, processes: int) -> list[Figure]:
    """Run the command in a new process; starting Python and its imports count, too."""
    code = f"from benchmarks.ledger import check; check({str(home)!r}, {processes})"
    environment = plain_environment()
    begun = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    million = (time.perf_counter() - begun) * 1e6 / count
    megabytes = float(child.stdout.splitlines()[-1])
    return [
        Figure(f"{million:.2f} s a million", f"{SECONDS:g} s a million", million <= SECONDS, "time"),
        Figure(f"{megabytes:.0f} MB", f"{MEGABYTES:g} MB", megabytes <= MEGABYTES, "peak memory of a process"),
    ]


def check(home: str, processes: int) -> None:
    """Run `quant ledger verify`, then print the most memory that it or one of its processes has had, in MB."""
    quant.main(["ledger", "verify", f"--home={home}", f"--processes={processes}"], standalone_mode=False)
    peaks = [getrusage(RUSAGE_CHILDREN).ru_maxrss, getrusage(RUSAGE_SELF).ru_maxrss]
    if STATUS.exists():  # what was forked from a large process is not as large
        peaks[1] = int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    print(max(peaks) / 1024)


def alone(home: Path, count: int) -> list[Figure]:
    found, times = Ledger(home / FILE_NAME), []
    for number in range(count):
        begun = time.perf_counter()
        found.append("step", {"number": number}, run_id="r")
        times.append(time.perf_counter() - begun)
    rate, p99 = count / sum(times), 1e3 * sorted(times)[int(0.99 * (count - 1))]
    return [
        Figure(f"{rate:,.0f} a second", f"{DURABLE:,.0f} a second", rate >= DURABLE, "rate"),
        Figure(f"{p99:.2f} ms", f"{P99_MS:g} ms", p99 <= P99_MS, "99th percentile"),
    ]


def progress(home: Path, count: int) -> list[Figure]:
    found, begun = Ledger(home / FILE_NAME), time.perf_counter()
    for number in range(count):
        found.append("progress", {"number": number}, run_id="r", durable=False)
    return [Figure(f"{count / (time.perf_counter() - begun):,.0f} a second")]


def grouped(home: Path, count: int) -> list[Figure]:
    found, begun = Ledger(home / FILE_NAME), time.perf_counter()
    for first in range(0, count, GROUP):
        found.append_all([Recorded("progress", {"number": first + each}, "r") for each in range(GROUP)])
    rate = count / (time.perf_counter() - begun)
    return [Figure(f"{rate:,.0f} a second", f"{GROUPED:,.0f} a second", rate >= GROUPED)]


def among(home: Path, count: int) -> list[Figure]:
    """Have processes append at once; starting them does not count."""
    code = f"from benchmarks.ledger import append; append({str(home)!r}, {count})"
    command = [sys.executable, "-c", code]
    writers = [
        subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    begun = time.perf_counter()
    for writer in writers:
        writer.communicate(b"go\n")
    rate = WRITERS * count / (time.perf_counter() - begun)
    assert verify_ledger(Ledger(home / FILE_NAME)).records == WRITERS * count + WRITERS * count // 4096
    return [Figure(f"{rate:,.0f} a second", f"{DURABLE:,.0f} a second", rate >= DURABLE)]


def append(home: str, count: int) -> None:
    found = Ledger(Path(home) / FILE_NAME)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        found.append("step", {"number": number}, run_id=str(os.getpid()))
