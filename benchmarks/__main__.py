"""`python -m benchmarks [TOPIC ...]`: find the contests, measure them, print one table. Nothing is written anywhere."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator, Sequence

import polars as pl

from benchmarks.contest import Measured, Topic, copy_bandwidth, measured, named
from quant_core.graph.catalog import Catalog, collect

COLUMNS = ("contest", "peer", "ours ms", "peer ms", "ratio", "quartiles", "GB/s", "of copy", "repeats")


def topics() -> Catalog[Topic]:
    """Return every topic by name; an unknown one is an error that lists the near matches."""
    return collect("benchmarks", Topic)


def rows(found: Sequence[Topic], *, share: float, seconds: float, bandwidth: float) -> Iterator[tuple[str, ...]]:
    """Yield one row of text per contest, as each is measured."""
    for entry in found:
        for contest in entry(share):
            yield told(entry.name, measured(contest, seconds=seconds), bandwidth)


def told(topic: str, result: Measured, bandwidth: float) -> tuple[str, ...]:
    """Return a measurement as text under COLUMNS."""
    speed = result.contest.moved / result.ours
    return (
        f"{topic}: {result.contest.name}",
        result.contest.peer,
        f"{1e3 * result.ours:,.2f}",
        f"{1e3 * result.theirs:,.2f}",
        f"{result.ratio:.2f}",
        f"{result.lower:.2f}-{result.upper:.2f}",
        f"{speed / 1e9:.2f}",
        f"{speed / bandwidth:.0%}",
        f"{result.repeats}",
    )


def aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: text to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("topics", nargs="*", help="which topics [default: all]")
    parser.add_argument("--share", type=float, default=1.0, help="share of the full size [default: 1]")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each contest [default: 2]")
    given = parser.parse_args(arguments)
    catalogue = topics()
    found = [catalogue[name] for name in given.topics or catalogue]
    bandwidth = copy_bandwidth(max(1 << 16, int((1 << 27) * given.share)))
    machine = f"Python {platform.python_version()}, {named('numpy')}, {named('polars')}, {named('numba')}"
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{machine}; {os.cpu_count()} CPUs, load {load}, {pl.thread_pool_size()} polars threads, kernels on one")
    print(f"copying memory: {bandwidth / 1e9:.2f} GB/s read and written, one thread; size: {given.share:g} of full")
    print("ratio: ours / peer, median of neighbouring repeats, quartiles beside it; below 1 ours is faster\n")
    results = rows(found, share=given.share, seconds=given.seconds, bandwidth=bandwidth)
    print("\n".join(aligned([COLUMNS, *results])))


if __name__ == "__main__":
    main()
