"""`quant store`: check every stored version, delete old ones, pin those of a run.

The checks are in evidence/upkeep/scrub.py; references.py decides what must stay, collect.py deletes.
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
    """Check and clean up the stored versions."""


@store.command()
@_home
@_as_json
def scrub(home: Path | None, *, as_json: bool) -> None:
    """Hash every version the ledger names; exit 1 if one is damaged or lost. A collected version is not lost."""
    from quant_core.evidence.upkeep.scrub import scrub as scrub_store

    report = scrub_store(_reader(home))
    click.echo(json.dumps(report.document()) if as_json else describe_scrub(report))
    report.raise_for_faults()


@store.command()
@click.option("--delete", is_flag=True, help="Delete; without this flag, only list what would be deleted.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Keep younger files: a running run may have written them but not committed them yet.",
)
@_home
@_as_json
def gc(older_than: float, home: Path | None, *, delete: bool, as_json: bool) -> None:
    """Delete old versions of features and factors that a replay can compute, and files that no record names.

    All other tables are kept for ever. Of features and factors, the last five versions of each table are kept, and all
    versions that open and pinned runs committed or read. Each deletion is recorded in the ledger.
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
@click.option("--release", is_flag=True, help="Undo the pin: versions that nothing else keeps may be deleted again.")
@_home
def pin(run_id: str, home: Path | None, *, release: bool) -> None:
    """Keep every version that RUN committed or read, however old."""
    from quant_core.evidence.upkeep.references import pin as pin_run

    record = pin_run(_evidence(home), run_id, release=release)
    click.echo(f"run {run_id} {record.kind}: seq={record.seq}")


def _reader(home: Path | None) -> EvidenceReader:
    from quant_core.evidence.runs.reader import EvidenceReader
    from quant_core.settings import Settings

    evidence = EvidenceReader(Settings.from_environment(os.environ, home=home).home)
    if not evidence.ledger.path.is_file():
        raise MissingVersionError(
            f"no ledger at {evidence.ledger.path}, so the versions of its store are not known. Check --home."
        )
    return evidence


def _evidence(home: Path | None) -> Evidence:
    from quant_core.evidence.runs.commits import Evidence

    return Evidence(_reader(home).home)


def describe_scrub(found: ScrubReport) -> str:
    """Return a scrub report as text; collected versions are only counted, all others are named."""
    counts = Counter(finding.kind for finding in found.findings)
    counted = " ".join(f"{kind}={counts[kind]:,}" for kind in sorted(counts))
    lines = [f"store: versions={found.versions:,} sound={found.sound:,} read={_size(found.bytes)} {counted}".rstrip()]
    named = [finding for finding in found.findings if finding.kind != "collected"]
    lines += [f"  {finding.kind} {finding.path}: {finding.detail}" for finding in named[:_SHOWN]]
    return "\n".join([*lines, *_more(len(named))])


def describe_collection(plan: Collection) -> str:
    """Return what a collection deleted, or would delete, as text."""
    verb = "deleted" if plan.is_done else "would delete"
    head = f"store: {verb} {len(plan.candidates):,} files, {_size(plan.bytes)}; kept={plan.kept:,} young={plan.young:,}"
    lines = [head + (f" temps={len(plan.temps):,}" if plan.temps else "")]
    lines += [f"  {_size(file.bytes):>10} {file.reason} {file.path}" for file in plan.candidates[:_SHOWN]]
    lines += _more(len(plan.candidates))
    if plan.candidates and not plan.is_done:
        lines.append("Nothing was deleted. Delete with --delete.")
    return "\n".join(lines)


def _more(count: int) -> list[str]:
    return [f"  ... and {count - _SHOWN:,} more; --json names all."] if count > _SHOWN else []


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
