"""What a first use costs, when every kernel has to be compiled, and what each later one does.

Both are a whole process: interpreter, imports, and every feature of the catalogue on a few symbols.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contest import Entry, Figure, Reading, topic
from benchmarks.market import bars, long_table
from quant_core.features import catalogue, compute_features
from quant_core.kernels._jit import use_cache_folder
from quant_core.kernels.threads import default_threads
from quant_core.settings import CHECKOUT

FIRST, WARM = 60.0, 2.0


@topic("start")
def start(share: float) -> Iterator[Entry]:
    names = list(catalogue())[: max(1, round(share * len(catalogue())))]
    cores = default_threads()
    with TemporaryDirectory() as folder:
        yield Reading(
            f"first use of {len(names)} features, nothing compiled", partial(seconds, folder, names, FIRST), cores
        )
        yield Reading(f"next use of {len(names)} features", partial(seconds, folder, names, WARM), cores)


def seconds(folder: str, names: list[str], limit: float) -> list[Figure]:
    """Return what a process takes that keeps machine code in `folder`."""
    begun = time.perf_counter()
    code = f"from benchmarks.start import use; use({folder!r}, {names!r})"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
    took = time.perf_counter() - begun
    return [Figure(f"{took:.1f} s", f"{limit:g} s", took <= limit)]


def use(folder: str, names: list[str]) -> None:
    """Compute features of a few symbols."""
    use_cache_folder(Path(folder))
    compute_features(long_table(bars(300, 40)), names, calendar="XNYS")
