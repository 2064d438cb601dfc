"""Twenty US stocks, daily adjusted closes from 1990 to 2022, from the data file inside the skfolio package.

The file is found without importing skfolio: the only importer of the library is allocation/.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl

from quant_core.errors import SourceError
from quant_core.graph.stage import NoParams
from quant_core.ingest.sources.source import source
from quant_core.market.sleeves import Sleeve

VENUE = "US"


@source("skfolio_sp500", params=NoParams)
def skfolio_sp500(params: NoParams, sleeve: Sleeve) -> pl.DataFrame:
    """Return 20 large US stocks, closes adjusted for splits and dividends, 1990-01-02 to 2022-12-28.

    The file is wide. A cell without a price before a symbol's first price or after its last one is not a row; one
    between them is sent on without a close. The file as published has neither.

    All of them were chosen for being in the index at the end: their past is kinder than it was (survivorship).

    Source: skfolio (BSD 3-Clause), dataset `sp500_dataset`.
    """
    path = _dataset()
    try:
        wide = pl.read_csv(path, schema_overrides={"Date": pl.Date})
        long = wide.unpivot(index="Date", variable_name="symbol", value_name="close")
        rows = long.select(
            pl.col("Date").alias("date"),
            (f"{VENUE}:" + pl.col("symbol")).alias("symbol"),
            pl.col("close").cast(pl.Float64),
        )
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise SourceError(f"{path}: {error}") from error
    known = pl.col("close").is_not_null().cast(pl.Int64)
    is_listed = (known.cum_sum().over("symbol") > 0) & (known.cum_sum(reverse=True).over("symbol") > 0)
    return rows.filter(is_listed)


def _dataset() -> Path:
    """Return the path of the CSV; looking a package up does not run it."""
    found = importlib.util.find_spec("skfolio")
    if found is None or found.origin is None:
        raise SourceError("skfolio is not installed; it carries the data of this source: pip install skfolio.")
    return Path(found.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
