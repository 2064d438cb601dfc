"""The results of a run, read from its committed tables, for the command line and the demo. Reads evidence only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from quant_core.errors import MissingVersionError
from quant_core.evidence.files.names import encode_name
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.manifest import read_manifest
from quant_core.evidence.runs.reader import EvidenceReader, ref_in
from quant_core.market.contracts.rule_names import current_counts, current_text

_FIGURES = ("portfolio", "metric", "value", "lower", "upper")


def summary_of(evidence: EvidenceReader, sleeve: str, *, run_id: str | None = None) -> dict[str, Any]:
    """Return the results of a run as the JSON object that `quant run --json` prints; fields are only ever added.

    Parameters
    ----------
    evidence : EvidenceReader
    sleeve : str
    run_id : str, optional
        Default: the run that committed the sleeve's newest portfolio.

    Returns
    -------
    dict
        run_id, sleeve, rows (bars read), excluded ({rule: rows}), selection (last rebalance, headline method), metrics,
        refs ({stage: {sha256, rows, path}}), warnings, headline, figures (of all portfolios), seconds (by stage,
        validation, loading of libraries by validation, write), report.

    Raises
    ------
    MissingVersionError
        The sleeve has no committed portfolio.
    """
    if run_id is None:
        run_id = _head(evidence, "report.portfolio", sleeve).run_id
    commits = {record.data["stage"]: record for record in evidence.run(run_id).commits}
    needed = ("ingest.bars", "report.portfolio", "backtest.metrics")
    records = {stage: commits.get(stage) or _head(evidence, stage, sleeve) for stage in needed}
    frames = {stage: evidence.store.read(ref_in(record)) for stage, record in records.items() if stage != "ingest.bars"}
    excluded: Counter[str] = Counter()
    for record in commits.values():
        excluded.update(current_counts(record.data["facts"]["excluded"]))
    headline = _headline(evidence.home, run_id)
    held = (
        frames["report.portfolio"]
        .filter(pl.col("method") == headline)
        .sort("weight", "symbol", descending=[True, False])
    )
    seconds: Counter[str] = Counter()
    for record in commits.values():
        seconds.update(record.data["facts"].get("seconds", {}))
    return {
        "run_id": run_id,
        "sleeve": sleeve,
        "rows": records["ingest.bars"].data["valid"]["rows"],
        "excluded": dict(sorted(excluded.items())),
        "selection": held.select("symbol", "atom", "conviction", "weight").to_dicts(),
        "metrics": {
            name: value for record in commits.values() for name, value in record.data["facts"]["metrics"].items()
        },
        "refs": {stage: dict(record.data["valid"]) for stage, record in commits.items()},
        "warnings": [
            f"{stage}: {current_text(warning)}"
            for stage, record in commits.items()
            for warning in record.data["facts"]["warnings"]
        ],
        "headline": headline,
        "figures": frames["backtest.metrics"].select(_FIGURES).to_dicts(),
        "seconds": {name: round(spent, 3) for name, spent in sorted(seconds.items())},
        "report": str(evidence.home / "reports" / encode_name(sleeve) / "tear_sheet.html"),
    }


def describe_summary(summary: dict[str, Any]) -> str:
    """Return a summary as lines of text."""
    lines = [f"{summary['sleeve']}: {summary['rows']:,} bars, run {summary['run_id']}"]
    lines += [f"  excluded {count:>9,} {rule}" for rule, count in summary["excluded"].items()]
    lines += ["", f"selection of the last rebalance, {summary['headline']}:"]
    lines += [
        f"  {row['symbol']:<24} weight {row['weight']:7.2%}  conviction {_number(row['conviction'])}"
        for row in summary["selection"]
    ]
    lines += ["", f"walk-forward figures of {summary['headline']} (with 95 % interval if known):"]
    for figure in summary["figures"]:
        if figure["portfolio"] == summary["headline"]:
            lower, upper = figure["lower"], figure["upper"]
            interval = "" if lower is None else f"  [{_number(lower)}, {_number(upper)}]"
            lines.append(f"  {figure['metric']:<24} {_number(figure['value'])}{interval}")
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    seconds = summary["seconds"]
    if total := sum(seconds.values()):
        lines += ["", f"validation took {seconds['validation'] / total:.1%} of {total:.1f} s"]
    return "\n".join([*lines, "", f"report: {summary['report']}"])


def _headline(home: Path, run_id: str) -> str:
    params = read_manifest(home, run_id).params["allocation.weights"]
    methods = params["methods"]
    return str(params["headline"] or (methods[0] if isinstance(methods, list) else methods))


def _head(evidence: EvidenceReader, stage: str, sleeve: str) -> Record:
    found = evidence.heads().get((stage, sleeve))
    if found is None:
        raise MissingVersionError(f"{stage} of {sleeve} has no committed version. Run it: quant run {sleeve}")
    return found


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"
