"""`quant store`: is every version there with its own bytes, which old ones may go, which runs keep theirs.

What is sound is judged in evidence/upkeep/scrub.py, what has to stay in references.py; collect.py deletes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quant_core.errors import MissingVersionError

if TYPE_CHECKING:
    from quant_core.evidence.runs.commits import Evidence
    from quant_core.evidence.runs.reader import EvidenceReader
    from quant_core.evidence.upkeep.collect import Collection
    from quant_core.evidence.upkeep.scrub import ScrubReport

_SHOWN = 20

_home = click.option("--home", type=click.Path(path_type=Path), help="Where the store is [default: QUANT_HOME].")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


@click.group()
def store() -> None:
    """Look after the stored versions."""


@store.command()
@_home
@_as_json
def scrub(home: Path | None, *, as_json: bool) -> None:
    """Hash every version the ledger names; exit 1 when one is damaged or lost. What was collected is not lost."""
    from quant_core.evidence.upkeep.scrub import scrub as scrub_store

    report = scrub_store(_reader(home))
    click.echo(json.dumps(report.document()) if as_json else describe_scrub(report))
    report.raise_for_faults()


@store.command()
@click.option("--delete", is_flag=True, help="Do it; without, only say what would be deleted.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Leave younger files: a run at work has not committed all it has written.",
)
@_home
@_as_json
def gc(older_than: float, home: Path | None, *, delete: bool, as_json: bool) -> None:
    """Delete old versions of features and factors that a replay makes again, and files no record names.

    Kept for ever: all other tables. Kept of features and factors: the last five versions of each table, and what open
    and pinned runs committed or were made from. Each deletion is recorded in the ledger.
    """
    from quant_core.evidence.upkeep.collect import collect, plan_collection
    from quant_core.graph.registry import StageRegistry

    recomputable = {id for id, spec in StageRegistry.load("quant_core").items() if spec.is_recomputable}
    margin = timedelta(hours=older_than)
    if delete:
        done = collect(_evidence(home), recomputable, margin=margin)
    else:
        done = plan_collection(_reader(home), recomputable, margin=margin)
    click.echo(json.dumps(done.document()) if as_json else describe_collection(done))


@store.command()
@click.argument("run_id", metavar="RUN")
@click.option("--release", is_flag=True, help="Take it back: what nothing else keeps may be collected again.")
@_home
def pin(run_id: str, home: Path | None, *, release: bool) -> None:
    """Keep every version RUN committed or was made from, however old."""
    from quant_core.evidence.upkeep.references import pin as pin_run

    record = pin_run(_evidence(home), run_id, release=release)
    click.echo(f"run {run_id} {record.kind}: seq={record.seq}")


def _reader(home: Path | None) -> EvidenceReader:
    from quant_core.evidence.runs.reader import EvidenceReader
    from quant_core.settings import Settings

    evidence = EvidenceReader(Settings.from_environment(os.environ, home=home).home)
    if not evidence.ledger.path.is_file():
        raise MissingVersionError(f"there is no ledger at {evidence.ledger.path}; nothing says what the store holds.")
    return evidence


def _evidence(home: Path | None) -> Evidence:
    from quant_core.evidence.runs.commits import Evidence

    return Evidence(_reader(home).home)


def describe_scrub(found: ScrubReport) -> str:
    """Say what a scrub found; what was collected is counted, everything else named."""
    counts = Counter(finding.kind for finding in found.findings)
    told = " ".join(f"{kind}={counts[kind]:,}" for kind in sorted(counts))
    lines = [f"store: versions={found.versions:,} sound={found.sound:,} read={_size(found.bytes)} {told}".rstrip()]
    named = [finding for finding in found.findings if finding.kind != "collected"]
    lines += [f"  {finding.kind} {finding.path}: {finding.detail}" for finding in named[:_SHOWN]]
    return "\n".join([*lines, *_more(len(named))])


def describe_collection(plan: Collection) -> str:
    """Say what was deleted, or what would be."""
    verb = "deleted" if plan.is_done else "would delete"
    head = f"store: {verb} {len(plan.candidates):,} files, {_size(plan.bytes)}; kept={plan.kept:,} young={plan.young:,}"
    lines = [head + (f" temps={len(plan.temps):,}" if plan.temps else "")]
    lines += [f"  {_size(file.bytes):>10} {file.reason} {file.path}" for file in plan.candidates[:_SHOWN]]
    lines += _more(len(plan.candidates))
    if plan.candidates and not plan.is_done:
        lines.append("Nothing was deleted; do it with --delete.")
    return "\n".join(lines)


def _more(count: int) -> list[str]:
    return [f"  ... and {count - _SHOWN:,} more; --json names all."] if count > _SHOWN else []


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
