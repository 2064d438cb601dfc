"""Computes what a tracker shows of a run from the ledger's records alone. experiment.py writes it into MLflow.

Nothing here depends on when or how often it is computed: time stamps and steps are the ledger's, so to project a run
again changes nothing.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.canonical import canonical_bytes
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.index import Run
from quant_core.evidence.runs.manifest import Manifest
from quant_core.market.contracts.rule_names import current_counts

LONGEST = 500
LONGEST_NAME = 250
MOST_PARAMS = 1000
MOST_METRICS = 64
"""Metrics per table: a table with a figure per asset belongs in an artifact."""

RUNNING = "RUNNING"
STATUS = {"ok": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "abandoned": "FAILED"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNFIT = re.compile(r"[^A-Za-z0-9_.:\- ]")


@dataclass(frozen=True)
class Point:
    """One value of a metric, when it was committed."""

    name: str
    value: float
    at_ms: int


@dataclass(frozen=True)
class RunView:
    """One run as a tracker shows it.

    A run at work is shown by name and tags; params and metrics come when it has ended and cannot change any more.

    Attributes
    ----------
    run_id : str
    seq : int
        Last record of the run this view knows of.
    started_ms, ended_ms : int
        Milliseconds since 1970 by the ledger; None for a run at work.
    status : str
        RUNNING, FINISHED, FAILED or KILLED.
    tags, params : mapping of str to str
    metrics : tuple of Point
    """

    run_id: str
    seq: int
    started_ms: int
    ended_ms: int | None
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: tuple[Point, ...]


def view_of(run: Run, manifest: Manifest | None, anchor: Anchor | None = None) -> RunView:
    """Return the tracker's view of `run`; without a manifest it has no params.

    `anchor` is the ledger's at the last record of the run; the one that can be made of that record lacks the root.
    """
    last = last_record(run)
    anchor = anchor or Anchor(ledger_id=last.ledger_id, size=last.seq + 1, head=last.hash)
    tags = {**_tags(run), "quant.anchor": str(anchor)}
    if run.outcome is None:
        return RunView(run.run_id, last.seq, _ms(run.genesis), None, RUNNING, tags, {}, ())
    params, params_left_out = _params(manifest) if manifest else ({}, 0)
    metrics, metrics_left_out = _metrics(run)
    for name, count in (("params", params_left_out), ("metrics", metrics_left_out)):
        if count:
            tags[f"quant.{name}_left_out"] = str(count)
    status = STATUS[run.outcome.data["outcome"]]
    return RunView(run.run_id, last.seq, _ms(run.genesis), _ms(run.outcome), status, tags, params, tuple(metrics))


def last_record(run: Run) -> Record:
    """Return the newest record of a run."""
    ends = [run.genesis, *run.commits[-1:], *run.refused[-1:], *run.notes[-1:], *([run.outcome] if run.outcome else [])]
    return max(ends, key=lambda record: record.seq)


def truncate(text: str, longest: int = LONGEST) -> str:
    """Return `text`, or its beginning and a digest of the whole if it is longer than `longest`."""
    return text if len(text) <= longest else f"{text[: longest - 19]}...{_digest(text)}"


def fit(name: str) -> str:
    """Return a name MLflow takes; one that had to be changed ends in a digest, so that names stay apart."""
    taken = _UNFIT.sub("_", name)
    return truncate(taken if taken == name else f"{taken}:{_digest(name)}", LONGEST_NAME)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ms(record: Record) -> int:
    return (datetime.fromisoformat(record.ts) - _EPOCH) // timedelta(milliseconds=1)


def _tags(run: Run) -> dict[str, str]:
    opened = run.genesis.data
    known: dict[str, Any] = {
        "run_id": run.run_id,
        "ledger": run.genesis.ledger_id,
        "outcome": run.outcome.data["outcome"] if run.outcome else "running",
        **{name: opened.get(name) for name in ("sleeve", "as_of", "started_by", "compute", "parent_run", "root_run")},
        **(opened.get("code") or {}),
        "manifest": opened.get("manifest"),
    }
    if run.outcome:
        known |= {f"steps_{end}": ", ".join(names) for end, names in run.outcome.data["steps"].items() if names}
        known["reason"] = run.outcome.data.get("reason")
    if run.refused:
        refused = [f"{record.data['stage']}: {'; '.join(map(str, record.data['reasons']))}" for record in run.refused]
        known["refused"] = "\n".join(refused)
    if run.notes:
        known["notes"] = ", ".join(sorted({record.kind for record in run.notes}))
    tags = {f"quant.{name}": truncate(_text(value)) for name, value in known.items() if value is not None}
    # The one run id: Dagster's if Dagster started the run. dagster-mlflow finds runs by this tag.
    tags["dagster_run_id"] = run.run_id
    tags |= {"mlflow.user": "quant", "mlflow.source.name": "ledger"}
    if commit := tags.get("quant.git_commit"):
        tags["mlflow.source.git.commit"] = commit
    return tags


def _params(manifest: Manifest) -> tuple[dict[str, str], int]:
    values: dict[str, JsonValue] = {"sleeve": manifest.sleeve, "as_of": manifest.as_of, "seed": manifest.seed}
    leaves = [leaf for stage, params in manifest.params.items() for leaf in _leaves(stage, params)]
    texts = {fit(name): truncate(_text(value)) for name, value in [*values.items(), *sorted(leaves)]}
    kept = dict(list(texts.items())[:MOST_PARAMS])
    return kept, len(texts) - len(kept)


def _leaves(name: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Name every value of nested tables by its path; an empty table is a value."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    else:
        yield name, value


def _metrics(run: Run) -> tuple[list[Point], int]:
    """Return the aggregates of each table as committed last: a retried step commits twice."""
    points: list[Point] = []
    left_out = 0
    for commit in {record.data["stage"]: record for record in run.commits}.values():
        stage, facts = commit.data["stage"], commit.data["facts"]
        excluded = current_counts(facts.get("excluded") or {})
        named = {f"rows.{stage}": commit.data["valid"]["rows"], f"excluded.{stage}": sum(excluded.values())}
        named |= {f"excluded.{stage}.{rule}": count for rule, count in sorted(excluded.items())}
        named |= dict(sorted((facts.get("metrics") or {}).items()))
        # The ledger holds values that are not finite as text, and MLflow would show infinity as 1.8e308.
        numbers = {fit(name): float(value) for name, value in named.items() if type(value) in {int, float}}
        left_out += len(named) - min(len(numbers), MOST_METRICS)
        points += [Point(name, value, _ms(commit)) for name, value in list(numbers.items())[:MOST_METRICS]]
    return points, left_out


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else canonical_bytes(value).decode()
