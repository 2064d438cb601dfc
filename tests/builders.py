"""Tables, matrices and sets of stages that tests of several rooms put together."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from quant_core.graph.registry import StageRegistry
from quant_core.market.contracts.ingest import Universe

FOREVER = date(2100, 1, 1)


def up_to(*ids: str) -> set[str]:
    """Return these stages and all that they need."""
    specs = map(StageRegistry.load("quant_core").get, ids)
    return set(ids) | {id for spec in specs if spec.parents for id in up_to(*spec.parents)}


def column(*values: float) -> np.ndarray:
    """Return a matrix of one symbol."""
    return np.array(values, dtype=float)[:, None]


def intervals(rows: Sequence[tuple[str, date, date | None, bool, str]]) -> pl.DataFrame:
    """Return a Universe of (symbol, start, end, is_eligible, reason): each symbol an identity of its own."""
    names = ["symbol", "start", "end", "is_eligible", "reason"]
    given = pl.DataFrame(rows, schema={name: Universe.dtypes[name] for name in names}, orient="row")
    full = given.with_columns(
        seen_until=pl.col("end").fill_null(FOREVER), identity="symbol", sector=pl.lit(None, pl.String)
    )
    return full.select(*Universe.dtypes)
