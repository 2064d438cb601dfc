"""`python -m benchmarks [TOPIC ...]`: find the contests, measure each topic in a process of its own, print one table.

A process per topic, because a library's thread pool is sized once; `--write` puts the results into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchmarks.contest import Contest, Reading, Skipped, Topic, copy_bandwidth, measured, named
from benchmarks.report import Row, absent, aligned, page, row_of, rows_of, section, wrong
from quant_core.graph.catalog import Catalog, collect
from quant_core.settings import CHECKOUT

PAGE = CHECKOUT / "docs" / "benchmarks.md"
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""Memory once freed stays with the process: neither side pays for fresh pages, whoever allocates its answer."""

POOLS = ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def topics() -> Catalog[Topic]:
    """Return every topic by name; an unknown one is an error that lists the near matches."""
    return collect("benchmarks", Topic)


def rows(found: Topic, *, share: float, seconds: float) -> Iterator[Row]:
    """Yield the rows of a topic, as each contest is measured."""
    size = max(1 << 16, int((1 << 27) * min(share, 1.0)))
    for entry in found(share):
        load = os.getloadavg()[0]
        match entry:
            case Skipped():
                yield absent(entry)
            case Reading():
                yield from rows_of(entry, entry.take(), copy_bandwidth(size), load)
            case Contest():
                try:
                    yield row_of(measured(entry, seconds=seconds, size=size), load)
                except AssertionError as error:
                    yield wrong(entry.name, entry.peer, error)


def machine(share: float) -> str:
    """Return what the results of a topic were measured on."""
    libraries = ", ".join(named(name) for name in ("numpy", "numba", "polars", "pandas"))
    return f"Python {platform.python_version()}, {libraries}; {os.cpu_count()} CPUs; {share:g} of the full size."


def about(found: Topic) -> str:
    """Return what a topic's module says of it."""
    return inspect.getdoc(inspect.getmodule(found.function)) or ""


def in_child(found: Topic, pool: int, *, share: float, seconds: float) -> tuple[str, list[Row]]:
    """Measure a topic in a process of its own, telling each row on stderr; return the machine and the rows."""
    command = [sys.executable, "-m", "benchmarks", found.name, f"--share={share}", f"--seconds={seconds}", "--rows"]
    environment = os.environ | KEPT | dict.fromkeys(POOLS, str(pool))
    told, done = "", []
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if not line.startswith("{"):
                continue  # a peer that prints
            fact = json.loads(line)
            if "machine" in fact:
                told = fact["machine"]
                continue
            row = Row(**fact)
            print(f"{found.name}: {row.work} | {row.peer} | {row.faster or row.ours} {row.verdict}", file=sys.stderr)
            done.append(row)
    if child.returncode:
        done.append(wrong(found.name, "", AssertionError(f"the process ended with code {child.returncode}")))
    return told, done


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("topics", nargs="*", help="which topics [default: all that take seconds]")
    parser.add_argument("--share", type=float, default=1.0, help="share of the full size [default: 1]")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each contest [default: 2]")
    parser.add_argument("--heavy", action="store_true", help="also topics that take minutes or gigabytes")
    parser.add_argument("--write", action="store_true", help=f"put the results into {PAGE.relative_to(CHECKOUT)}")
    parser.add_argument("--rows", action="store_true", help="measure in this process, one JSON object a row")
    given = parser.parse_args(arguments)
    catalogue = topics()
    every = [name for name, found in catalogue.items() if given.heavy or not found.is_heavy]
    chosen = [catalogue[name] for name in given.topics or every]
    if given.rows:
        print(json.dumps({"machine": machine(given.share)}), flush=True)
        for found in chosen:
            for row in rows(found, share=given.share, seconds=given.seconds):
                print(json.dumps(asdict(row)), flush=True)
        return
    sections: dict[str, str] = {}
    table: list[Row] = []
    for found in chosen:
        done: list[Row] = []
        for pool in found.pools:
            told, more = in_child(found, pool, share=given.share, seconds=given.seconds)
            done += more
        sections[found.name] = section(found.name, about(found), told, done)
        table += [Row(**asdict(row) | {"work": f"{found.name}: {row.work}"}) for row in done]
        if given.write:
            PAGE.write_text(page(PAGE.read_text() if PAGE.exists() else "", sections))
    print(machine(given.share) + "\n")
    print("\n".join(aligned(table)))
    if any(row.verdict.startswith("**wrong**") for row in table):
        sys.exit("answers differ, or a topic broke off; see above")


if __name__ == "__main__":
    main()
