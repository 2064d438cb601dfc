"""Results as text: rows of strings, the table on the screen, the page docs/benchmarks.md. Nothing is measured here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from benchmarks.contest import Figure, Measured, Reading, Skipped, Target

MET, MISSED, SKIPPED, WRONG = "met", "**missed**", "skipped", "**wrong**"

COLUMNS = (
    "work",
    "peer",
    "threads",
    "ours",
    "theirs",
    "times faster",
    "ns each",
    "copies",
    "target",
    "verdict",
    "copy GB/s",
    "load",
)

RULE = "---"

INTRODUCTION = f"""# Benchmarks

Written by `make bench` (`python -m benchmarks --write TOPIC ...` measures some topics and keeps the others' results);
not edited by hand. `--heavy` adds the topics that take minutes. `PEER_ROOT` names a checkout of the original
repository, `QUANT_SHARED_DATA` a folder of real prices; without them their contests say that they were skipped.

Both answers are compared before either is timed. Then the two are called in turn, in one process; a ratio is the median
over neighbouring calls, its quartiles behind it. Peers that take more than 20 seconds are called once, ours before and
after.

- *threads*: ours, then the peer's; both are told how many they may use.
- *ours*, *theirs*: median time of a call. *times faster*: theirs by ours.
- *ns each*: nanoseconds one of our cores spends on one number that comes out.
- *copies*: how often one thread could have copied, meanwhile, the bytes that must at least be read and written.
- *copy GB/s*, *load*: what the machine gave at that moment: bytes read and written by one copying thread, and the load
  average. Where others work on the machine, believe the ratios, not the times.
- *verdict*: `{MET}`, `{MISSED}`, `{SKIPPED}` with the reason, or `{WRONG}` where the answers differ.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table, one text per name of COLUMNS."""

    work: str
    peer: str = ""
    threads: str = ""
    ours: str = ""
    theirs: str = ""
    faster: str = ""
    each: str = ""
    copies: str = ""
    target: str = ""
    verdict: str = ""
    bandwidth: str = ""
    load: str = ""


def row_of(result: Measured, load: float) -> Row:
    """Return a measurement as a row."""
    contest = result.contest
    return Row(
        work=contest.name,
        peer=contest.peer,
        threads=" : ".join(map(str, contest.threads)),
        ours=clock(result.ours),
        theirs=clock(result.theirs),
        faster=f"{result.ratio:,.3g} ({result.lower:,.3g}-{result.upper:,.3g})",
        each=f"{result.nanoseconds:.3g}" if contest.elements else "",
        copies=f"{result.copies:.3g}",
        target="; ".join(target.text for target in contest.targets),
        verdict="; ".join(_verdict(target, result) for target in contest.targets),
        bandwidth=f"{result.bandwidth / 1e9:.1f}",
        load=f"{load:.1f}",
    )


def rows_of(reading: Reading, figures: Iterable[Figure], bandwidth: float, load: float) -> Iterator[Row]:
    """Yield one row per figure of a reading."""
    for figure in figures:
        yield Row(
            work=f"{reading.name}, {figure.name}" if figure.name else reading.name,
            threads=str(reading.threads),
            ours=figure.text,
            target=figure.target,
            verdict="" if figure.is_met is None else MET if figure.is_met else MISSED,
            bandwidth=f"{bandwidth / 1e9:.1f}",
            load=f"{load:.1f}",
        )


def absent(entry: Skipped) -> Row:
    """Return a contest that was not held as a row."""
    return Row(work=entry.name, peer=entry.peer, verdict=f"{SKIPPED}: {entry.reason}")


def wrong(work: str, peer: str, error: AssertionError) -> Row:
    """Return a contest whose answers differ as a row."""
    return Row(work=work, peer=peer, verdict=f"{WRONG}: {' '.join(str(error).split())[:160]}")


def _verdict(target: Target, result: Measured) -> str:
    return MET if target.is_met(result) else MISSED


def clock(seconds: float) -> str:
    """Return a time as text of three digits."""
    return f"{seconds:,.3g} s" if seconds >= 1.0 else f"{1e3 * seconds:.3g} ms"


def aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table: text to the left, numbers to the right."""
    table = [COLUMNS, *map(astuple, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (
            cell.ljust(width) if name in ("work", "peer", "target", "verdict") else cell.rjust(width)
            for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def section(topic: str, about: str, machine: str, rows: Iterable[Row]) -> str:
    """Return a topic's part of the page: what it is about, on what it was measured, its table."""
    lines = [f"## {topic}", "", about, "", machine, "", _line(COLUMNS), _line(RULE for _ in COLUMNS)]
    return "\n".join([*lines, *(_line(astuple(row)) for row in rows)]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def page(before: str, sections: Mapping[str, str]) -> str:
    """Return the page with these topics' sections in place of what it said of them before."""
    kept = {found[1]: found[0].rstrip() + "\n" for found in re.finditer(r"(?ms)^## (\S+)$.*?(?=^## |\Z)", before)}
    kept.pop("Targets", None)
    kept |= sections
    parts = [kept[name] for name in sorted(kept)]
    return "\n".join([INTRODUCTION, _summary(kept), *parts])


def _summary(sections: Mapping[str, str]) -> str:
    """Return how many targets were met, and every one that was not."""
    verdicts, missed = [], []
    for topic in sorted(sections):
        for row in _read(sections[topic]):
            for target, verdict in zip(row.target.split("; "), row.verdict.split("; "), strict=False):
                verdicts.append(verdict.partition(":")[0])
                if verdict == MISSED:
                    peer = f", {row.peer} ({row.threads} threads)" if row.peer else ""
                    missed.append(f"- {topic}: {row.work}{peer}: {target} asked, {_came_to(row, target)}")
    counts = ", ".join(f"{verdicts.count(kind)} {kind.strip('*')}" for kind in (MET, MISSED, SKIPPED, WRONG))
    return "\n".join(["## Targets", "", f"{counts}.", *(["", *missed] if missed else []), ""])


def _read(section: str) -> Iterator[Row]:
    """Yield the rows of a section's table."""
    for line in section.splitlines():
        cells = [cell.strip() for cell in line[1:-1].split("|")] if line.startswith("| ") else []
        if len(cells) == len(COLUMNS) and cells not in ([*COLUMNS], [RULE] * len(COLUMNS)):
            yield Row(*cells)


def _came_to(row: Row, target: str) -> str:
    """Return the figure of a row that its target is about."""
    if "ns an element" in target:
        return f"{row.each} ns"
    if "copying its bytes" in target:
        return f"{row.copies} copies"
    if "its time" in target:
        return f"{1.0 / float(row.faster.partition(' ')[0].replace(',', '')):.3g}x"
    return f"{row.faster} times faster" if row.faster else row.ours
