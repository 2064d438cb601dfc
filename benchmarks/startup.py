"""What commands cost before they compute: their wall time as a multiple of importing polars, in turn, each a process.

The whole run of the demo sleeve is measured too: most of a short run is loading of libraries.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contest import Entry, Figure, Reading, topic
from quant_core.settings import CHECKOUT

ROUNDS = 9
QUANT = ("-m", "quant_core")
POLARS = ("-c", "import polars")
REGISTRY = ("-c", "from quant_core.graph.registry import StageRegistry; StageRegistry.load('quant_core')")


@topic("startup")
def startup(share: float) -> Iterator[Entry]:
    with TemporaryDirectory() as home:
        yield Reading("quant run us_equities, kernels compiled", partial(whole_run, home))
        summary = (*QUANT, "summary", "us_equities", "--home", home)
        for name, command, limit in (
            ("quant --help", (*QUANT, "--help"), 1.0),
            ("quant summary", summary, 2.0),
            ("loading all stages", REGISTRY, 3.0),
        ):
            yield Reading(name, partial(against_polars, command, limit, max(2, round(ROUNDS * min(share, 1.0)))))


def against_polars(command: Sequence[str], limit: float, rounds: int) -> list[Figure]:
    """Return how often polars could have been imported while the command ran."""
    ratios = [seconds(command) / seconds(POLARS) for _ in range(rounds)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    text = f"{middle:.2f} ({low:.2f}-{high:.2f}) imports of polars"
    return [Figure(text, f"{limit:g} imports of polars", middle <= limit)]


def whole_run(home: str) -> list[Figure]:
    """Return wall and processor time of a run, and how much of it was loading; a first run compiles the kernels."""
    command = (*QUANT, "run", "us_equities", "--home", home, "--json")
    output_of(command)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    summary = json.loads(output_of(command))
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    parts = ", ".join(f"{name} {spent:.1f}" for name, spent in summary["seconds"].items())
    return [Figure(f"{wall:.1f} s (user {user:.1f}, system {system:.1f}; inside stages: {parts})")]


def seconds(command: Sequence[str]) -> float:
    """Return the wall time of a Python process."""
    begun = time.perf_counter()
    output_of(command)
    return time.perf_counter() - begun


def output_of(command: Sequence[str]) -> str:
    """Run a Python process and return what it prints."""
    done = subprocess.run([sys.executable, *command], cwd=Path(CHECKOUT), check=True, capture_output=True, text=True)
    return done.stdout
