"""`quant replay`, `quant diff`, `quant why`: recompute a past run, compare two runs, explain one decision.

Their results and texts are made in replay.py, diff.py, attribution.py and why.py.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from quant_core.evidence.runs.commits import Evidence
    from quant_core.evidence.runs.reader import EvidenceReader

_home = click.option("--home", type=click.Path(path_type=Path), help="Ledger, store and reports [default: QUANT_HOME].")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
_NAMES = (
    "Name a run by its id, the beginning of its id, SLEEVE (its newest finished run) or SLEEVE~N (N runs before that)."
)


@click.command(epilog=_NAMES)
@click.argument("run")
@_home
@_as_json
def replay(run: str, home: Path | None, *, as_json: bool) -> None:
    """Recompute RUN from its recorded inputs and compare hashes; exit 1 if any differs."""
    from quant_core.lifecycle.replay import describe_replay, replay_run

    evidence = _evidence(home)
    outcome = replay_run(evidence, run, progress=_report_stage)
    click.echo(outcome.model_dump_json() if as_json else describe_replay(outcome))
    outcome.raise_if_different()


@click.command(epilog=_NAMES)
@click.argument("first")
@click.argument("second")
@click.option("--attribute", is_flag=True, help="Recompute FIRST, swapping in SECOND's inputs one at a time.")
@_home
@_as_json
def diff(first: str, second: str, home: Path | None, *, attribute: bool, as_json: bool) -> None:
    """Compare two runs: parameters, code, data, features, scores, selection, weights and figures."""
    from quant_core.lifecycle.attribution import attribute_changes, describe_attribution
    from quant_core.lifecycle.diff import describe_diff, run_diff

    evidence = _reader(home)
    found = run_diff(evidence, first, second)
    causes = attribute_changes(evidence, first, second, progress=_report_stage) if attribute else None
    if as_json:
        document = found.model_dump(mode="json")
        click.echo(json.dumps(document | {"attribution": causes.model_dump(mode="json") if causes else None}))
        return
    click.echo(describe_diff(found))
    if causes is not None:
        click.echo("\n" + describe_attribution(causes))


@click.command(epilog=_NAMES)
@click.argument("symbol")
@click.argument("date", type=click.DateTime(["%Y-%m-%d"]), required=False)
@click.option("--sleeve", required=True, help="Sleeve of the decision.")
@click.option("--run", help="A run of the sleeve [default: its newest finished one].")
@_home
@_as_json
def why(symbol: str, date: datetime | None, sleeve: str, run: str | None, home: Path | None, *, as_json: bool) -> None:
    """Explain why SYMBOL was in or out at the last rebalance up to DATE, from raw row to weight, with hashes."""
    from quant_core.lifecycle.why import describe_decision, explain_decision

    evidence = _reader(home)
    found = explain_decision(evidence, symbol, sleeve=sleeve, date=None if date is None else date.date(), run=run)
    click.echo(found.model_dump_json() if as_json else describe_decision(found))


def _evidence(home: Path | None) -> Evidence:
    from quant_core.evidence.runs.commits import Evidence
    from quant_core.settings import Settings

    return Evidence(Settings.from_environment(os.environ, home=home).home)


def _reader(home: Path | None) -> EvidenceReader:
    from quant_core.evidence.runs.reader import EvidenceReader
    from quant_core.settings import Settings

    return EvidenceReader(Settings.from_environment(os.environ, home=home).home)


def _report_stage(what: str) -> None:
    click.echo(f"computing: {what}", err=True)
