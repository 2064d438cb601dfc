"""Metadata of a committed table for the UI: figures, exclusions per rule, first rows, the room's chart."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.ledger.reader import FILE_NAME, LedgerReader
from quant_core.graph.commit import Committed
from quant_core.graph.finished import Finished
from quant_core.lifecycle.compare.changes import Changes
from quant_core.market.contracts.split import Contract

_PREVIEW_ROWS = 5
_PREVIEW_WIDTH = 60
_EXCLUDED = dg.TableSchema(columns=[dg.TableColumn("rule", "string"), dg.TableColumn("rows", "int")])


def table_metadata(
    committed: Committed, finished: Finished, home: Path, changes: Changes | None = None
) -> dict[str, Any]:
    """Return the metadata of one materialization.

    Parameters
    ----------
    committed : Committed
        Where the version is stored and which ledger record made it current.
    finished : Finished
        The rows themselves and the findings of the rules.
    home : Path
    changes : Changes, optional
        Against the version of the sleeve's previous run.
    """
    frame, path = finished.valid, home / committed.ref.path
    shown: dict[str, Any] = {
        "sha256": committed.ref.sha256,
        "ledger_seq": committed.record.seq,
        "ledger_anchor": anchor_of(committed.record, home),
        "path": dg.MetadataValue.path(path),
        "size_bytes": path.stat().st_size,
        "dagster/row_count": committed.ref.rows,
        "excluded_rows": committed.exclusions.rows,
        "excluded": excluded_table(finished.excluded),
        "preview": dg.MetadataValue.md(preview(frame)),
    }
    if "date" in frame.columns and frame.height:
        first, last = frame.select(pl.col("date").min().alias("first"), pl.col("date").max().alias("last")).row(0)
        shown |= {"first_date": str(first), "last_date": str(last)}
    if finished.metrics:
        shown["metrics"] = dg.MetadataValue.json(dict(finished.metrics))
    if finished.warnings:
        shown["warnings"] = dg.MetadataValue.json(list(finished.warnings))
    if changes is not None:
        shown |= {
            "changes": describe_changes(changes),
            "changes_detail": dg.MetadataValue.json(changes.model_dump(mode="json")),
        }
    chart = chart_of(committed.ref.stage, frame)
    return shown if chart is None else shown | {"chart": chart}


def describe_changes(changes: Changes) -> str:
    """Describe in one line what differs from the version before."""
    table, since = changes.table, f"since run {changes.run_id[:13]}"
    if table is None:
        return f"not known: its bytes {since} cannot be read"
    if table.is_empty:
        return f"none {since}"
    text = f"{table.added} rows added, {table.removed} removed, {table.changed} changed {since}"
    members = changes.members
    if members is not None and (members.added or members.removed):
        came, went = (", ".join(names[:_PREVIEW_ROWS]) or "nobody" for names in (members.added, members.removed))
        text += f"; on the last date came {came}; went {went}; Jaccard {members.jaccard:.2f}"
    return text


def column_schema(contract: Contract) -> dg.TableSchemaMetadataValue:
    """Return the columns of a contract, as the UI shows them: those of one sleeve can be more than the definition's."""
    return dg.MetadataValue.table_schema(
        dg.TableSchema(
            columns=[
                dg.TableColumn(name, str(column.kind), description=column.description)
                for name, column in contract.columns.items()
            ]
        )
    )


def anchor_of(record: Record, home: Path) -> str:
    """Return the anchor of the ledger up to a record, kept outside it; `quant ledger verify --anchors` reads it."""
    return str(LedgerReader(home / FILE_NAME).anchor(record.seq + 1))


def excluded_table(excluded: Mapping[str, int]) -> dg.TableMetadataValue:
    """Return rows excluded per rule as a table."""
    records = [dg.TableRecord({"rule": rule, "rows": count}) for rule, count in sorted(excluded.items())]
    return dg.MetadataValue.table(records, schema=_EXCLUDED)


def preview(frame: pl.DataFrame) -> str:
    """Return the first rows as a Markdown table; long texts are cut."""
    lines = [_line(frame.columns), _line(["---"] * frame.width)]
    return "\n".join([*lines, *(_line([_cell(value) for value in row]) for row in frame.head(_PREVIEW_ROWS).rows())])


def chart_of(stage: str, frame: pl.DataFrame) -> dg.MarkdownMetadataValue | None:
    """Return the chart of a stage's table as an inline image, None where it has none."""
    from quant_core.report.charts import room_chart  # loads matplotlib: only where something is drawn

    png = room_chart(stage, frame)
    if png is None:
        return None
    return dg.MetadataValue.md(f"![{stage}](data:image/png;base64,{base64.b64encode(png).decode()})")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    text = text if len(text) <= _PREVIEW_WIDTH else f"{text[:_PREVIEW_WIDTH]}..."
    return "".join(f"\\{mark}" if mark in r"\|<>`*_[]!" else mark for mark in text)
