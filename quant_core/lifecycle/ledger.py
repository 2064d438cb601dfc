"""`quant ledger`: verify the ledger and print its records. It loads neither polars nor the stages.

The checks are in evidence/verification/verify.py, the meaning of records in evidence/runs/. The results of a run:
summary.py.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quant_core.errors import MissingVersionError, UnknownNameError

if TYPE_CHECKING:
    from quant_core.evidence.ledger.anchors import Anchor
    from quant_core.evidence.ledger.chain import Record
    from quant_core.evidence.ledger.reader import LedgerReader
    from quant_core.evidence.verification.report import VerifyReport

HOME = "home"
"""The value of `--anchors` without a source: the anchors that MLflow and Dagster store in the home itself."""

_MOST_PROCESSES = 4
_WIDE = 100

_home = click.option("--home", type=click.Path(path_type=Path), help="Where the ledger is [default: QUANT_HOME].")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


@click.group()
def ledger() -> None:
    """Verify and print the ledger."""


@ledger.command()
@click.option(
    "--anchors",
    multiple=True,
    is_flag=False,
    flag_value=HOME,
    metavar="[SOURCE]",
    help="Also check the ledger against the anchors in a file, SQLite database or folder; without SOURCE, those "
    "that MLflow and Dagster store in the home. May be given more than once.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=0),
    help=f"Extra worker processes for sealed segments [default: one per CPU, up to {_MOST_PROCESSES}].",
)
@_home
@_as_json
def verify(anchors: tuple[str, ...], processes: int | None, home: Path | None, *, as_json: bool) -> None:
    """Check every record of the ledger; exit 1 if it was tampered with, 3 if only its tail is torn."""
    from quant_core.evidence.verification.verify import verify_ledger

    found = _ledger(home)
    kept = _anchors(anchors, found.path.parent)
    others = min(os.cpu_count() or 1, _MOST_PROCESSES) if processes is None else processes
    report = verify_ledger(found, kept, processes=others)
    click.echo(report.model_dump_json() if as_json else describe_report(report))
    report.raise_for_faults()


@ledger.command()
@click.argument("count", type=click.IntRange(min=1), default=10)
@_home
@_as_json
def tail(count: int, home: Path | None, *, as_json: bool) -> None:
    """Print the last COUNT records, the newest last."""
    for record in _ledger(home).last_records(count):
        click.echo(record.model_dump_json() if as_json else describe_record(record))


@ledger.command()
@click.argument("run_id", metavar="RUN")
@_home
@_as_json
def show(run_id: str, home: Path | None, *, as_json: bool) -> None:
    """Print every record of RUN, named by its id or the beginning of its id."""
    found = _ledger(home)
    records = run_records(found.records(), run_id)
    if as_json:
        click.echo("\n".join(record.model_dump_json() for record in records))
    else:
        click.echo(describe_run(records))


@ledger.command()
@_home
@_as_json
def stats(home: Path | None, *, as_json: bool) -> None:
    """Count the ledger's records by kind, its runs by outcome, its files and bytes; print its anchor."""
    facts = facts_of(_ledger(home))
    click.echo(json.dumps(facts) if as_json else describe_facts(facts))


def describe_report(report: VerifyReport) -> str:
    """Return a verification report as text, with one line per fault."""
    from quant_core.evidence.ledger.inspection import describe_fault

    counts = f"records={report.records} segments={report.segments} checkpoints={report.checkpoints}"
    first = f"ledger {report.verdict}: {counts} anchors={report.anchors} head={report.head} root={report.root}"
    return "\n".join([first, *(f"  {describe_fault(fault)}" for fault in report.faults)])


def describe_record(record: Record) -> str:
    """Return a record as one line: number, time, run, kind, and the beginning of its data."""
    data = json.dumps(record.data, ensure_ascii=False, separators=(",", ":"))
    cut = data if len(data) <= _WIDE else f"{data[:_WIDE]}..."
    return f"{record.seq:>8}  {record.ts}  {record.run_id or '-'}  {record.kind}  {cut}"


def run_records(records: Iterable[Record], run_id: str) -> list[Record]:
    """Return the records of the run whose id is, or begins with, `run_id`.

    Raises
    ------
    UnknownNameError
        No run has that id, or more than one id begins so.
    """
    by_run: dict[str, list[Record]] = {}
    for record in records:
        if record.run_id:
            by_run.setdefault(record.run_id, []).append(record)
    meant = [run_id] if run_id in by_run else [name for name in by_run if name.startswith(run_id)]
    if len(meant) != 1:
        raise UnknownNameError("run", run_id, meant or by_run)
    return by_run[meant[0]]


def describe_run(records: list[Record]) -> str:
    """Return the records of a run as text: one line each, with the full data of genesis, refusals and outcome."""
    lines = [f"run {records[0].run_id}: {len(records)} records, seq {records[0].seq} to {records[-1].seq}"]
    for record in records:
        lines.append(describe_record(record))
        if record.kind in {"genesis", "outcome", "refused"}:
            lines += [
                f"          {line}" for line in json.dumps(record.data, ensure_ascii=False, indent=2).splitlines()
            ]
    return "\n".join(lines)


def facts_of(found: LedgerReader) -> dict[str, Any]:
    """Return counts of a ledger: records by kind, runs by outcome, files, bytes, first and last time, anchor."""
    kinds: Counter[str] = Counter()
    runs: dict[str, str] = {}
    stamps: list[str] = []
    for record in found.records():
        kinds[record.kind] += 1
        stamps[1:] = [record.ts]
        if record.kind == "genesis":
            runs[record.run_id] = "open"
        elif record.kind == "outcome":
            runs[record.run_id] = str(record.data.get("outcome"))
    files = found.files()
    return {
        "path": str(found.path),
        "records": kinds.total(),
        "kinds": dict(sorted(kinds.items())),
        "runs": dict(sorted(Counter(runs.values()).items())),
        "segments": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "first": stamps[0] if stamps else None,
        "last": stamps[-1] if stamps else None,
        "anchor": str(found.anchor()) if stamps else None,
    }


def describe_facts(facts: dict[str, Any]) -> str:
    """Return the counts of a ledger as text."""
    return "\n".join(_lines(facts))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, dict):
            counts = ", ".join(f"{key} {count:,}" for key, count in value.items())
            yield f"{name:<9} {counts or '-'}"
        else:
            yield f"{name:<9} {f'{value:,}' if isinstance(value, int) else value or '-'}"


def _ledger(home: Path | None) -> LedgerReader:
    from quant_core.evidence.ledger.reader import FILE_NAME, LedgerReader
    from quant_core.settings import Settings

    path = Settings.from_environment(os.environ, home=home).home / FILE_NAME
    if not path.is_file():
        raise MissingVersionError(f"no ledger at {path}, so nothing can be verified. Check --home.")
    return LedgerReader(path)


def _anchors(sources: tuple[str, ...], home: Path) -> tuple[Anchor, ...]:
    """Return the anchors of all sources; a source without anchors is an error, for then nothing would be checked."""
    from quant_core.evidence.ledger.anchors import anchors_in, kept_anchors

    found: set[Anchor] = set()
    for source in sources:
        anchors = kept_anchors(home) if source == HOME else anchors_in(Path(source))
        if not anchors:
            where = f"{home}/mlflow and {home}/dagster" if source == HOME else source
            raise MissingVersionError(
                f"no anchors in {where}; without anchors a cut tail is not noticed. Name another source."
            )
        found.update(anchors)
    return tuple(sorted(found, key=lambda anchor: (anchor.size, str(anchor))))
