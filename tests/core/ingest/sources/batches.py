"""What tests of sources read from a list of batches."""

import polars as pl

from quant_core.ingest.sources.source import Batch


def rows_of(batches: list[Batch]) -> pl.DataFrame:
    return pl.concat(batch.rows.valid for batch in batches)


def marks_of(batches: list[Batch]) -> dict[str, str]:
    return {name: mark for batch in batches for name, mark in batch.marks.items()}
