"""Contracts whose columns come from a catalogue: feature families, factors, conviction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from quant_core.market.contracts.columns import Column, Declaration, Statistics
from quant_core.market.contracts.split import Contract
from quant_core.market.identity import SYMBOL


@dataclass(frozen=True)
class ValueColumn:
    """A nullable float column: its name, one sentence about it, and its inclusive bounds where it has them.

    `facts` travel with the contract for stages that read the table: they are in the pandera column's metadata.
    """

    name: str
    description: str
    lower: float | None = None
    upper: float | None = None
    facts: Mapping[str, bool] = field(default_factory=dict)

    def column(self) -> Column:
        """Return the column of the contract."""
        checks: dict[str, Statistics] = {}
        if self.lower is not None:
            checks["greater_than_or_equal_to"] = {"min_value": self.lower}
        if self.upper is not None:
            checks["less_than_or_equal_to"] = {"max_value": self.upper}
        return Column(self.name, pl.Float64(), self.description, nullable=True, checks=checks, facts=self.facts)


def store_contract(
    name: str, doc: str, columns: Iterable[ValueColumn], *, labels: Sequence[str] = (), key: Sequence[str] = ()
) -> Contract:
    """Build a contract of date, symbol, further String labels and one nullable float per column.

    Parameters
    ----------
    name, doc : str
        Name of the contract and what one row is.
    columns : iterable of ValueColumn
    labels : sequence of str
        Further non-null String columns that belong to the key.
    key : sequence of str
        Default: date, symbol and the labels.
    """
    fixed = (
        Column("date", pl.Date(), "Date at whose close the values are known."),
        Column("symbol", pl.String(), "VENUE:TICKER.", checks={"str_matches": {"pattern": SYMBOL}}),
        *(Column(label, pl.String()) for label in labels),
    )
    declared = Declaration(name, doc, (*fixed, *(column.column() for column in columns)))
    return Contract(name, declared, tuple(key) or ("date", "symbol", *labels))


def FeatureStoreSchema(family: str, columns: Iterable[ValueColumn]) -> Contract:  # noqa: N802 - the plan's name
    """Build the contract of a feature family: date, symbol, one column per feature, null where unknown."""
    return store_contract(f"{family.title()}Features", f"The {family} features of one symbol at one date.", columns)
