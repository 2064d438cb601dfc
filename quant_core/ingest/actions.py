"""The corporate actions a run may use. corporate_actions/known_actions.py decides which ones."""

from __future__ import annotations

import polars as pl

from quant_core.graph.stage import stage
from quant_core.ingest.corporate_actions.known_actions import known_actions
from quant_core.ingest.rules import budgets_of, carried_rules
from quant_core.market.contracts.ingest import Actions
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve


@stage(
    "ingest.actions",
    inputs={"landed": "ingest.raw#actions"},
    output=Actions,
    budgets=budgets_of("ingest.actions"),
    carried=carried_rules("ingest.actions"),
)
def actions(landed: pl.DataFrame, *, sleeve: Sleeve, as_of: str | None) -> Split:
    """Keep the corporate actions known at `as_of`; unusable ones are excluded with their reasons."""
    return known_actions(landed, sleeve=sleeve, as_of=as_of)
