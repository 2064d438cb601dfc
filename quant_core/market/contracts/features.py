"""Contracts whose columns come from a catalogue: feature families, factors, conviction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from quant_core.market.contracts.split import Contract
from quant_core.market.identity import SYMBOL

if TYPE_CHECKING:
    import pandera.polars as pa


@dataclass(frozen=True)
class ValueColumn:
    """A nullable float column: its name, one sentence about it, and its inclusive bounds where it has them.

    `facts` travel with the contract for stages that read the table: they stand in the pandera column's metadata.
    """

    name: str
    description: str
    lower: float | None = None
    upper: float | None = None
    facts: Mapping[str, bool] = field(default_factory=dict)

    def schema(self) -> pa.Column:
        """Return the pandera column."""
        import pandera.polars as pa

        checks = [pa.Check.ge(self.lower)] if self.lower is not None else []
        checks += [pa.Check.le(self.upper)] if self.upper is not None else []
        facts = dict(self.facts) or None
        return pa.Column(pl.Float64, checks=checks, nullable=True, description=self.description, metadata=facts)


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
    columns = tuple(columns)

    def schema() -> pa.DataFrameSchema:
        import pandera.polars as pa

        fixed = {
            "date": pa.Column(pl.Date, description="Date at whose close the values are known."),
            "symbol": pa.Column(pl.String, checks=pa.Check.str_matches(SYMBOL), description="VENUE:TICKER."),
            **{label: pa.Column(pl.String) for label in labels},
        }
        values = {column.name: column.schema() for column in columns}
        return pa.DataFrameSchema(fixed | values, name=name, description=doc, strict=True)

    names = ("date", "symbol", *labels)
    return Contract(name, schema, tuple(key) or names, listed=(*names, *(column.name for column in columns)))


def FeatureStoreSchema(family: str, columns: Iterable[ValueColumn]) -> Contract:  # noqa: N802 - the plan's name
    """Build the contract of a feature family: date, symbol, one column per feature, null where unknown."""
    return store_contract(f"{family.title()}Features", f"The {family} features of one symbol at one date.", columns)
