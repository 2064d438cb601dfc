"""Differences between two runs, from parameters to figures. Their causes: attribution.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quant_core.evidence.runs.code_change import CodeChange, changed_items, code_change, describe_code_change
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.graph.differences import OutcomeDiff, TableDiff
from quant_core.graph.registry import StageRegistry
from quant_core.lifecycle.compare.outcome import SECTIONS, outcome_diff, tables_diff
from quant_core.lifecycle.runs import RunTables, find_run, tables_of

_SHOWN = 8


class RunDiff(BaseModel):
    """The differences between two runs; all fields are empty if there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[str, str]
    sleeves: tuple[str, str]
    as_of: tuple[str | None, str | None] | None
    seed: tuple[int, int] | None
    params: dict[str, tuple[Any, Any]] = Field(description='"stage.field" to (first, second).')
    sleeve_fields: dict[str, tuple[Any, Any]]
    code: CodeChange
    tables: dict[str, dict[str, TableDiff]] = Field(
        description="Section to stage to its differences; equal tables left out."
    )
    missing: dict[str, str] = Field(description='Stage to why it was not compared: "only in first", "collected" ...')
    outcome: OutcomeDiff


def run_diff(evidence: EvidenceReader, first: str, second: str, *, registry: StageRegistry | None = None) -> RunDiff:
    """Compare two runs, named as `find_run` takes them.

    Raises
    ------
    UnknownNameError
        No run has that name.
    """
    registry = registry or StageRegistry.load("quant_core")
    a, b = (tables_of(evidence, find_run(evidence, name)) for name in (first, second))
    store = evidence.store
    tables, missing = tables_diff(registry, store.read, store.exists, a.parts, b.parts)
    python = tuple(run.run.python or "" for run in (a, b))
    return RunDiff(
        runs=(a.run.run_id, b.run.run_id),
        sleeves=(a.manifest.sleeve, b.manifest.sleeve),
        as_of=_pair(a.manifest.as_of, b.manifest.as_of),
        seed=_pair(a.manifest.seed, b.manifest.seed),
        params=param_changes(a, b),
        sleeve_fields=changed_items(a.manifest.sleeve_definition or {}, b.manifest.sleeve_definition or {}),
        code=code_change(a.manifest.code, b.manifest.code, python=(python[0], python[1])),
        tables=tables,
        missing=missing,
        outcome=outcome_diff(registry, store.read, a.parts, b.parts),
    )


def param_changes(a: RunTables, b: RunTables) -> dict[str, tuple[Any, Any]]:
    """Return "stage.field" to (first, second) of the parameters that differ."""
    then = {f"{stage}.{name}": value for stage, table in a.manifest.params.items() for name, value in table.items()}
    now = {f"{stage}.{name}": value for stage, table in b.manifest.params.items() for name, value in table.items()}
    return changed_items(then, now)


def describe_diff(diff: RunDiff) -> str:
    """Return a diff as lines of text."""
    lines = [f"first  {diff.runs[0]} of {diff.sleeves[0]}", f"second {diff.runs[1]} of {diff.sleeves[1]}", ""]
    lines += [f"{name}: {pair[0]} -> {pair[1]}" for name, pair in (("as of", diff.as_of), ("seed", diff.seed)) if pair]
    changes = {**diff.params, **{f"sleeve.{name}": pair for name, pair in diff.sleeve_fields.items()}}
    lines += [f"parameters: {len(changes) or 'none'} differ"]
    lines += [f"  {name}: {_short(then)} -> {_short(now)}" for name, (then, now) in changes.items()]
    lines += [f"code: {describe_code_change(diff.code)}"]
    for section in SECTIONS:
        found = diff.tables.get(section, {})
        lines.append(f"{section}: {'no table differs' if not found else ''}".rstrip())
        lines += [line for stage, table in found.items() for line in _table_lines(stage, table)]
    lines += [f"not compared: {stage}, {reason}" for stage, reason in diff.missing.items()]
    return "\n".join([*lines, "", *describe_outcome_diff(diff.outcome)])


def describe_outcome_diff(outcome: OutcomeDiff) -> list[str]:
    """Return how the outcomes of two runs differ, as lines of text."""
    if outcome.is_empty:
        return ["outcome: the same winners, weights and figures"]
    lines = [f"winners differ on {outcome.dates[0]} of {outcome.dates[1]} rebalances"]
    if outcome.selection is not None:
        came, went = ", ".join(outcome.selection.added), ", ".join(outcome.selection.removed)
        lines.append(
            f"last selection: added {came or 'nobody'}; removed {went or 'nobody'}; "
            f"{outcome.selection.kept} kept, Jaccard {outcome.selection.jaccard:.3f}"
        )
    for method, weights in outcome.weights.items():
        lines.append(f"weights, {method}: {weights.distance:.2%} of the book differs")
        largest = sorted(weights.changed.items(), key=lambda item: -abs(item[1][1] - item[1][0]))
        lines += [f"  {name:<24} {then:7.2%} -> {now:7.2%}" for name, (then, now) in largest[:_SHOWN]]
    lines.append(f"figures: {len(outcome.figures) or 'none'} differ")
    lines += [f"  {name:<40} {_short(then)} -> {_short(now)}" for name, (then, now) in _headlines(outcome.figures)]
    return lines


def describe_table_diff(table: TableDiff) -> str:
    """Return how two versions of a table differ, as one line."""
    if table.is_empty:
        return "no row differs"
    text = f"{table.added:,} rows added, {table.removed:,} removed, {table.changed:,} changed"
    return text + (f"; columns {', '.join(table.schema_change)} differ" if table.schema_change else "")


def _headlines(figures: Mapping[str, tuple[Any, Any]]) -> list[tuple[str, tuple[Any, Any]]]:
    wanted = ("sharpe", "annual_return", "cagr", "annual_volatility", "max_drawdown", "turnover")
    chosen = [(name, pair) for name, pair in figures.items() if name.partition("/")[2] in wanted]
    return (chosen or list(figures.items()))[: 2 * _SHOWN]


def _table_lines(stage: str, table: TableDiff) -> list[str]:
    lines = [f"  {stage:<34} {describe_table_diff(table)}"]
    for name, column in sorted(table.columns.items(), key=lambda item: -item[1].cells)[:_SHOWN]:
        largest = "" if column.largest is None else f", by up to {column.largest:.4g}"
        lines.append(f"    {name}: {column.cells:,} cells{largest}")
    return lines


def _pair(a: Any, b: Any) -> tuple[Any, Any] | None:
    return None if a == b else (a, b)


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
