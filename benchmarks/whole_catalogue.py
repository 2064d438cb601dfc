"""Every feature of the catalogue on the whole market, streamed to Parquet by a process of its own, for its own peak.

A family's files are deleted as soon as they are counted. GB/s are those of the numbers that come out, 8 bytes each.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benchmarks.contest import Entry, Figure, Reading, plain_environment, scaled, topic
from benchmarks.market import bars, long_table
from quant_core.features import catalogue
from quant_core.features.files import write_features
from quant_core.settings import CHECKOUT

PEAK = 8.0


@topic("whole_catalogue", pools=(2,), is_heavy=True)
def whole_catalogue(share: float) -> Iterator[Entry]:
    T, N = scaled(3_500, share, least=300), scaled(5_000, share, least=8)
    with TemporaryDirectory() as folder:
        table = long_table(bars(T, N, gaps=True))
        table.write_parquet(Path(folder, "bars.parquet"))
        name = f"{len(catalogue())} features, {N:,} x {T:,}, {table.height:,} rows"
        del table
        yield Reading(name, partial(figures, folder), threads=pl.thread_pool_size())


def figures(folder: str) -> list[Figure]:
    """Stream the catalogue in a process of its own and say what that came to."""
    code = "from benchmarks.whole_catalogue import stream; stream()"
    command = [sys.executable, "-c", code, folder, str(pl.thread_pool_size())]
    done = subprocess.run(command, cwd=CHECKOUT, env=plain_environment(), check=True, stdout=subprocess.PIPE, text=True)
    *families, peak = (json.loads(line) for line in done.stdout.splitlines())
    sums = {name: sum(family[name] for family in families) for name in ("features", "seconds", "numbers", "size")}
    told = [_told(**family) for family in (*families, {"family": "all families", **sums})]
    held = peak / 2**30
    return [*told, Figure(f"{held:.2f} GiB", f"{PEAK:g} GiB", held <= PEAK, name="peak")]


def _told(family: str, features: int, seconds: float, numbers: int, size: int) -> Figure:
    speed = 8.0 * numbers / seconds / 1e9
    text = f"{seconds:.1f} s, {speed:.2f} GB/s, {size / 1e9:.2f} GB on disk"
    return Figure(text, name=f"{family} ({features})")


def stream() -> None:
    """Stream the catalogue from the folder named on the command line into it; print what each family came to."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    families = sorted({entry.family for entry in catalogue().values()})
    begun = time.perf_counter()
    for written in write_features(folder / "bars.parquet", folder, calendar="XNYS", families=families, threads=threads):
        fact = {"family": written.family, "features": written.features, "seconds": time.perf_counter() - begun}
        print(json.dumps(fact | {"numbers": written.features * written.rows, "size": written.bytes}), flush=True)
        shutil.rmtree(folder / written.family)
        begun = time.perf_counter()
    print(peak())


def peak() -> int:
    """Return the most bytes this process has held; its resource usage would count what its parent held before."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return 1024 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
