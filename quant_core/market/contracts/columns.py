"""How the columns of a contract are written down: one class per row of a table, one `column` per field, no pandera.

Types, bounds and descriptions are read from here without a library; pandera's model is built from the same lines when
a table is first validated by it. What a contract does with its columns is split.py's business.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from quant_core.errors import ContractError

if TYPE_CHECKING:
    import pandera.polars as pa

Statistics = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of a contract.

    Attributes
    ----------
    name : str
    kind : pl.DataType
    description : str
    nullable : bool
    checks : mapping of pandera's name of a check to its arguments
        In the order in which a row is blamed.
    facts : mapping
        Travel with the contract for stages that read the table: the metadata of the pandera column.
    """

    name: str
    kind: pl.DataType
    description: str = ""
    nullable: bool = False
    checks: Mapping[str, Statistics] = field(default_factory=dict)
    facts: Mapping[str, bool] = field(default_factory=dict)

    def rendered_checks(self) -> dict[str, str]:
        """Return each check as pandera writes it in an error: "greater_than(0)"."""
        return {name: f"{name}({', '.join(_arguments(name, given))})" for name, given in self.checks.items()}

    def model(self) -> pa.Column:
        """Return the pandera column."""
        import pandera.polars as pa

        return pa.Column(
            self.kind,
            checks=[getattr(pa.Check, name)(**given) for name, given in self.checks.items()],
            nullable=self.nullable,
            description=self.description or None,
            metadata=dict(self.facts) or None,
        )


@dataclass(frozen=True, eq=False)
class Declaration:
    """The columns of a table, in order, and what one row of it is."""

    name: str
    doc: str
    columns: tuple[Column, ...]

    def model(self) -> pa.DataFrameSchema:
        """Return pandera's model of the table."""
        import pandera.polars as pa

        columns = {column.name: column.model() for column in self.columns}
        return pa.DataFrameSchema(columns, name=self.name, description=self.doc, strict=True)


class TableRow:
    """Root of the classes that declare a table: annotated with polars types, each field made by `column`.

    The docstring says what one row is. `Annotated[pl.Datetime, "us", "UTC"]` gives a type its arguments.
    """


@dataclass(frozen=True)
class _Field:
    description: str
    nullable: bool
    checks: Mapping[str, Statistics]


_BOUNDS = {
    "gt": ("greater_than", "min_value"),
    "ge": ("greater_than_or_equal_to", "min_value"),
    "lt": ("less_than", "max_value"),
    "le": ("less_than_or_equal_to", "max_value"),
    "isin": ("isin", "allowed_values"),
    "str_matches": ("str_matches", "pattern"),
}


def column(*, description: str, nullable: bool = False, within: tuple[Any, Any] | None = None, **bounds: Any) -> Any:
    """Declare a column of a `TableRow`.

    Parameters
    ----------
    description : str
    nullable : bool
    within : (lowest, highest), optional
        Inclusive bounds, judged as one rule.
    **bounds
        `gt`, `ge`, `lt`, `le`, `isin` or `str_matches`, each a rule of its own.
    """
    checks: dict[str, Statistics] = {}
    for key, value in bounds.items():
        if key not in _BOUNDS:
            raise ContractError(f"a column knows no bound {key!r}; there are within, {', '.join(_BOUNDS)}.")
        name, argument = _BOUNDS[key]
        checks[name] = {argument: value}
    if within is not None:
        ends = {"include_min": True, "include_max": True}
        checks["in_range"] = {"min_value": within[0], "max_value": within[1], **ends}
    return _Field(description, nullable, checks)


def declaration_of(row: type[TableRow]) -> Declaration:
    """Return what a class declares, inherited columns first; a leading underscore is not part of its name."""
    hints = typing.get_type_hints(row, include_extras=True)
    names = [name for kind in reversed(row.__mro__) for name in vars(kind).get("__annotations__", {})]
    columns = []
    for name in dict.fromkeys(names):
        declared: _Field = getattr(row, name)
        columns.append(Column(name, _data_type(hints[name]), declared.description, declared.nullable, declared.checks))
    doc = (row.__doc__ or "").strip().partition("\n")[0]
    return Declaration(row.__name__.removeprefix("_"), doc, tuple(columns))


def columns_of(schema: pa.DataFrameSchema) -> tuple[Column, ...]:
    """Return the columns of a pandera model that was written by hand."""
    return tuple(
        Column(
            name,
            given.dtype.type,
            given.description or "",
            given.nullable,
            {check.name: check.statistics for check in given.checks},
            given.metadata or {},
        )
        for name, given in schema.columns.items()
    )


def _data_type(hint: Any) -> pl.DataType:
    kind, *arguments = typing.get_args(hint) or (hint,)
    made: pl.DataType = kind(*arguments)
    return made


def _arguments(name: str, given: Statistics) -> list[str]:
    """Return the arguments of a check as pandera shows them: a pattern in quotes, of a range its two ends."""
    if name == "str_matches":
        return [f"'{given['pattern']}'"]
    return [str(value) for key, value in given.items() if not key.startswith("include_")]
