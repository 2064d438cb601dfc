"""Bars from one Parquet or CSV file. How a file is read lives in reading/tabular.py, many files in folder.py.

Which rows make trustworthy bars is decided in ../bars.py.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from quant_core.ingest.reading.tabular import TableParams, file_rows, source_row_count
from quant_core.ingest.sources.source import Batch, source
from quant_core.market.sleeves import Sleeve


class ParquetParams(TableParams):
    """The `[source]` table of kind "parquet"."""

    path: str = Field(description="A .parquet, .csv or .csv.gz file; relative to the sleeve file.")
    factors: str | None = Field(
        default=None, description="A file of split and dividend factors for raw prices; relative to the sleeve file."
    )


@source("parquet", params=ParquetParams)
def parquet(params: ParquetParams, sleeve: Sleeve) -> Batch:
    """Return the rows of a Parquet or CSV file with one bar per row.

    The file has date, symbol and close; open, high, low, volume and known_at may be absent, further columns are not
    read. Bars within the day (`interval` below 1d) have timestamp in place of date and are put together to daily ones.

    A CSV is read as text and parsed value by value; blank lines are not rows. A line with too many or too few fields is
    excluded as `ragged_row`; a last line without a line end as `truncated_line`: what it lost, perhaps digits of its
    last number, cannot be seen.
    """
    path = Path(params.path)
    rows, facts = file_rows(path, params, sleeve.market)
    actions = None
    if params.factors is not None:
        from quant_core.ingest.corporate_actions.factor_file import read_factors

        actions = read_factors(Path(params.factors), venue=params.venue)
    return Batch(rows, request={"file": path.name, **facts}, actions=actions, made_of=source_row_count(facts))
