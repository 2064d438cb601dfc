"""Counts and lists the rows that stages excluded, for the command line. Reads evidence only.

The reasons for the rules are in docs/rules.md, which ingest/rules.py makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl

from quant_core.errors import MissingVersionError, UnknownNameError
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.reader import EvidenceReader, ref_in
from quant_core.ingest.rules import catalogue
from quant_core.market.contracts.rule_names import current_name, with_current_names

COUNTS_SCHEMA = {
    "sleeve": pl.String(),
    "stage": pl.String(),
    "rule": pl.String(),
    "rows": pl.Int64(),
    "symbols": pl.Int64(),
    "first": pl.Date(),
    "last": pl.Date(),
    "share": pl.Float64(),
}
ROWS_SCHEMA = {
    "sleeve": pl.String(),
    "stage": pl.String(),
    "rule": pl.String(),
    "row": pl.Int64(),
    "date": pl.Date(),
    "symbol": pl.String(),
    "detail": pl.String(),
    "record": pl.String(),
}
_HEADINGS = ("stage", "rule", "rows", "share", "symbols", "first", "last")


@dataclass(frozen=True)
class ExclusionQuery:
    """Filters for exclusions; None: no filter.

    Attributes
    ----------
    sleeve, stage, rule, symbol : str, optional
    since : date, optional
        Only rows of this date or later; rows without a date are left out.
    run_id : str, optional
        Only tables that run committed; None: the newest commit of each table.
    """

    sleeve: str | None = None
    stage: str | None = None
    rule: str | None = None
    symbol: str | None = None
    since: date | None = None
    run_id: str | None = None


def exclusion_counts(evidence: EvidenceReader, wanted: ExclusionQuery) -> pl.DataFrame:
    """Count the excluded rows per sleeve, stage and rule.

    Returns
    -------
    DataFrame
        sleeve, stage, rule, rows, symbols (number of different known ones), first and last (dates; null where none is
        known), share (of all rows the stage checked, before any filter). Commonest first within a stage.

    Raises
    ------
    MissingVersionError
        The sleeve or the run has no commit.
    UnknownNameError
        No such sleeve, stage, rule or run; lists the near matches.
    """
    parts = [
        rows.group_by("rule")
        .agg(
            rows=pl.len(),
            symbols=pl.col("symbol").drop_nulls().n_unique(),
            first=pl.col("date").min(),
            last=pl.col("date").max(),
        )
        .with_columns(
            sleeve=pl.lit(record.data["sleeve"]),
            stage=pl.lit(record.data["stage"]),
            share=pl.col("rows") / (record.data["valid"]["rows"] + record.data["exclusions"]["rows"]),
        )
        for record, rows in _exclusions(evidence, wanted, ("rule", "date", "symbol"))
    ]
    counts = pl.concat([pl.DataFrame(schema=COUNTS_SCHEMA), *(_cast_columns(part, COUNTS_SCHEMA) for part in parts)])
    return counts.sort("sleeve", "stage", "rows", "rule", descending=[False, False, True, False])


def exclusion_rows(evidence: EvidenceReader, wanted: ExclusionQuery, *, limit: int | None = None) -> pl.DataFrame:
    """Return the excluded rows: sleeve, stage, rule, row, date, symbol, detail and record (the row as JSON).

    Sorted by sleeve, stage, rule and position; the first `limit` of them. Raises as `exclusion_counts` does.
    """
    found = [
        _cast_columns(
            rows.with_columns(sleeve=pl.lit(record.data["sleeve"]), stage=pl.lit(record.data["stage"])), ROWS_SCHEMA
        )
        for record, rows in _exclusions(evidence, wanted, None)
    ]
    rows = pl.concat([pl.DataFrame(schema=ROWS_SCHEMA), *found]).sort("sleeve", "stage", "rule", "row")
    return rows if limit is None else rows.head(limit)


def document_of(counts: pl.DataFrame, rows: pl.DataFrame) -> dict[str, Any]:
    """Return counts and rows as the JSON object `quant exclusions --json` prints; fields are only ever added."""
    as_text = pl.col(pl.Date).dt.to_string("iso")
    return {
        "excluded": int(counts["rows"].sum()),
        "counts": counts.with_columns(as_text).to_dicts(),
        "rows": rows.with_columns(as_text).to_dicts(),
    }


def describe_exclusions(counts: pl.DataFrame, rows: pl.DataFrame) -> str:
    """Return counts and rows as lines of text."""
    if counts.is_empty():
        return "no row was excluded."
    lines: list[str] = []
    for (sleeve,), part in counts.group_by("sleeve", maintain_order=True):
        lines += [f"{sleeve}: {part['rows'].sum():,} rows excluded", _line(*_HEADINGS)]
        for row in part.iter_rows(named=True):
            numbers = f"{row['rows']:,}", f"{row['share']:.2%}", f"{row['symbols']:,}"
            days = (str(row[name] or "not known") for name in ("first", "last"))
            lines.append(_line(row["stage"], row["rule"], *numbers, *days))
        lines.append("")
    for row in rows.iter_rows(named=True):
        which = f"{row['sleeve']} {row['stage']} row {row['row']}"
        what = f"{row['rule']} {row['symbol'] or 'no symbol'} {row['date'] or 'no date'}"
        lines += [f"{which}: {what}", f"  {row['detail']}", f"  {row['record']}"]
    left = int(counts["rows"].sum()) - rows.height
    if rows.height and left:
        lines.append(f"... and {left:,} more.")
    return "\n".join(lines).rstrip()


def _line(stage: str, rule: str, rows: str, share: str, symbols: str, first: str, last: str) -> str:
    return f"  {stage:<22} {rule:<34} {rows:>10} {share:>8} {symbols:>8} {first:>11} {last:>11}"


def _exclusions(
    evidence: EvidenceReader, wanted: ExclusionQuery, columns: Sequence[str] | None
) -> list[tuple[Record, pl.DataFrame]]:
    """Return the commits the query is about, each with its exclusions that pass the filters."""
    tables = []
    seen: set[str] = set()
    if wanted.rule is not None:
        wanted = replace(wanted, rule=current_name(wanted.rule))
    for record in _commits(evidence, wanted):
        rows = with_current_names(evidence.store.read(ref_in(record, "exclusions"), columns))
        seen.update(rows["rule"].unique())
        tables.append((record, rows.filter(_is_wanted(wanted))))
    if wanted.rule is not None and wanted.rule not in seen:
        known = seen | {rule.rule for rule in catalogue().values()}
        if wanted.rule not in known:
            raise UnknownNameError("rule", wanted.rule, known)
    return tables


def _commits(evidence: EvidenceReader, wanted: ExclusionQuery) -> list[Record]:
    if wanted.run_id is not None:
        own = {(record.data["stage"], record.data["sleeve"]): record for record in evidence.run(wanted.run_id).commits}
        where = f"by run {wanted.run_id}"
    else:
        own, where = evidence.heads(), f"in {evidence.home}"
    if not own:
        raise MissingVersionError(f"nothing was committed {where}. Run a sleeve: quant run SLEEVE")
    sleeves = sorted({sleeve for _, sleeve in own})
    if wanted.sleeve is not None and wanted.sleeve not in sleeves:
        raise MissingVersionError(
            f"sleeve {wanted.sleeve} has no commit {where}; {', '.join(sleeves)} have. "
            f"Run it: quant run {wanted.sleeve}"
        )
    chosen = {table: record for table, record in own.items() if wanted.sleeve in (None, table[1])}
    stages = {stage for stage, _ in chosen}
    if wanted.stage is not None and wanted.stage not in stages:
        raise UnknownNameError("stage", wanted.stage, stages)
    return [record for (stage, _), record in sorted(chosen.items()) if wanted.stage in (None, stage)]


def _is_wanted(wanted: ExclusionQuery) -> pl.Expr:
    asked = [pl.lit(value=True)]
    if wanted.rule is not None:
        asked.append(pl.col("rule") == wanted.rule)
    if wanted.symbol is not None:
        asked.append(pl.col("symbol") == wanted.symbol)
    if wanted.since is not None:
        asked.append(pl.col("date") >= wanted.since)
    return pl.all_horizontal(asked)


def _cast_columns(frame: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
