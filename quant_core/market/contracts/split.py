"""Filter and log: `split` separates rows that keep the contract from exclusions, each with its reason.

Pandera's own row dropping leaves duplicate keys behind and skips values of a wrong type, so rows are judged here by
expressions derived from the contract's checks, and what is kept is confirmed by pandera's model. How columns are
written down is in columns.py, how rows are judged fast in verdicts.py, the contracts of the rooms in the neighbour
files. pandera is loaded where a table is first confirmed: with the pandas it brings it takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from quant_core.errors import ContractError
from quant_core.market.contracts.columns import Column, Declaration, TableRow, columns_of, declaration_of
from quant_core.market.contracts.rule_names import defect_name
from quant_core.market.contracts.verdicts import verdicts
from quant_core.meter import count_validation

if TYPE_CHECKING:
    import pandera.polars as pa

EXCLUSION_SCHEMA: dict[str, Any] = {
    "rule": pl.String,
    "row": pl.Int64,
    "date": pl.Date,
    "symbol": pl.String,
    "detail": pl.String,
    "record": pl.String,
}
_SHOWN = 5
_LARGEST: dict[pl.DataType, float] = {
    pl.Float32(): float(np.finfo(np.float32).max),
    pl.Float64(): float(np.finfo(np.float64).max),
}


@dataclass(frozen=True)
class RowRule:
    """A named condition on one row that looks at several columns.

    Attributes
    ----------
    name : str
    holds : pl.Expr
        True where the row keeps the rule; null counts as kept.
    doc : str
        One sentence: what the rule demands.
    """

    name: str
    holds: pl.Expr
    doc: str


@dataclass(frozen=True, eq=False)
class Contract:
    """The promise of a table: columns with types and bounds, a key, and rules across columns.

    Attributes
    ----------
    name : str
    declared : Declaration, or pandera.polars.DataFrameSchema
        Columns in order; `schema` is pandera's model of them. Made by `contract` from a class, or by hand where columns
        come from a catalogue.
    key : tuple of str
        Columns that name a row; the store sorts by them.
    rules : RowRule, ...
    """

    name: str
    declared: Declaration | pa.DataFrameSchema
    key: tuple[str, ...]
    rules: tuple[RowRule, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self.columns)

    @cached_property
    def schema(self) -> pa.DataFrameSchema:
        """The pandera model, built on first use."""
        return self.declared.model() if isinstance(self.declared, Declaration) else self.declared

    @property
    def doc(self) -> str:
        """What one row of the table is."""
        if isinstance(self.declared, Declaration):
            return self.declared.doc
        return self.declared.description or ""

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns by name, in order."""
        given = self.declared
        columns = given.columns if isinstance(given, Declaration) else columns_of(given)
        return {column.name: column for column in columns}

    @cached_property
    def dtypes(self) -> dict[str, pl.DataType]:
        """Column name to polars type, in order."""
        return {name: column.kind for name, column in self.columns.items()}

    @cached_property
    def row_rules(self) -> tuple[RowRule, ...]:
        """Every condition on a single row, in the order in which a row is blamed."""
        own: list[RowRule] = []
        for name, column in self.columns.items():
            if not column.nullable:
                own.append(RowRule(defect_name(name, "known"), pl.col(name).is_not_null(), f"{name} is known."))
            if (largest := _LARGEST.get(self.dtypes[name])) is not None:
                # Four times as fast as `is_finite`, and NaN is in no range either.
                finite = pl.col(name).is_between(-largest, largest)
                own.append(RowRule(defect_name(name, "finite"), finite, f"{name} is a finite number."))
            own += _rules_of(column)
        rules = (*own, *self.rules)
        if len({rule.name for rule in rules}) < len(rules):
            raise ContractError(f"{self.name}: two rules on rows have one name.")
        return rules

    @cached_property
    def holds(self) -> dict[str, pl.Expr]:
        """Name to expression of every row rule, in the order of blame."""
        return {rule.name: rule.holds for rule in self.row_rules}

    def empty(self) -> pl.DataFrame:
        """Return a table of this contract without rows."""
        return pl.DataFrame(schema=self.dtypes)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows that keep a contract and the rows excluded, each with its reason.

    Attributes
    ----------
    valid : DataFrame
    exclusions : DataFrame
        rule (the first one broken), row (position in the table judged), date, symbol, detail (every rule broken, or
        what was seen), record (the whole row as JSON: nothing is lost).
    contract : Contract, optional
        The contract that `valid` was checked against, row by row: no second check is needed.
    """

    valid: pl.DataFrame
    exclusions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EXCLUSION_SCHEMA))
    contract: Contract | None = field(default=None, kw_only=True)

    @property
    def excluded(self) -> dict[str, int]:
        """Number of rows excluded per rule."""
        counts = self.exclusions.group_by("rule").len().sort("rule")
        return dict(counts.iter_rows())


def contract(row: type[Any], *, key: Sequence[str], rules: Sequence[RowRule] = ()) -> Contract:
    """Make a contract of a `TableRow`, or of a pandera model; the docstring of either says what one row is."""
    if issubclass(row, TableRow):
        declared = declaration_of(row)
        return Contract(declared.name, declared, tuple(key), tuple(rules))
    schema = row.to_schema()
    name = schema.name = row.__name__.removeprefix("_")
    schema.description = (row.__doc__ or "").strip().partition("\n")[0]
    schema.strict = True
    return Contract(name, schema, tuple(key), tuple(rules))


def excluded_rows(
    frame: pl.DataFrame, rule: str | pl.Series, detail: str | pl.Series, *, rows: pl.Series | None = None
) -> pl.DataFrame:
    """Turn rows of `frame` into exclusions.

    Parameters
    ----------
    frame : DataFrame
        The rows to exclude, with whatever columns they came with.
    rule, detail : str or Series
        One for all, or one each.
    rows : Series, optional
        Their positions; default: the column `row`, else the order they stand in. A column `row` taken as position is
        left out of the record.
    """
    has_own = rows is None and "row" in frame.columns
    if rows is None:
        rows = frame["row"] if has_own else pl.Series(range(frame.height), dtype=pl.Int64)
    told = [name for name in frame.columns if name != "row" or not has_own]
    return frame.select(
        (pl.lit(rule) if isinstance(rule, str) else rule).alias("rule"),
        rows.cast(pl.Int64).alias("row"),
        _day_of(frame).alias("date"),
        (pl.col("symbol") if "symbol" in frame.columns else pl.lit(None)).cast(pl.String).alias("symbol"),
        (pl.lit(detail) if isinstance(detail, str) else detail).alias("detail"),
        pl.struct(told or ["row"]).struct.json_encode().alias("record"),
    )


def _day_of(frame: pl.DataFrame) -> pl.Expr:
    """Return the date of each row as far as it is one."""
    if "date" not in frame.columns:
        return pl.lit(None, dtype=pl.Date)
    if frame.schema["date"] == pl.String:
        return pl.col("date").str.to_date(strict=False)
    return pl.col("date").cast(pl.Date, strict=False)


@count_validation
def split(frame: pl.DataFrame, contract: Contract) -> Split:
    """Split `frame` into rows that keep `contract` and exclusions.

    Of rows with one key the last is kept, the others are excluded under `duplicate_key`. A null passes every check but
    `known`; NaN and infinities never pass.

    Raises
    ------
    ContractError
        A column is missing, is too many or has another type: no row can be judged.
    """
    _check_structure(frame, contract)
    frame = frame.select(*contract.dtypes)
    found = verdicts(frame, contract.holds, contract.key)
    if found.is_empty():
        return Split(frame, contract=contract)
    is_lost = pl.repeat(value=False, n=frame.height, dtype=pl.Boolean, eager=True).scatter(found["row"], values=True)
    lost = excluded_rows(frame.filter(is_lost), found["rule"], found["detail"], rows=found["row"])
    return Split(frame.filter(~is_lost), lost, contract=contract)


@count_validation
def validate(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return `frame` if every row keeps `contract`: what `split` and what the model itself asks.

    Raises
    ------
    ContractError
        Naming the first broken rules with an example each.
    """
    _check_structure(frame, contract)
    found = verdicts(frame, contract.holds, contract.key)
    if found.height:
        few = found.head(_SHOWN)
        told = excluded_rows(frame[few["row"]], few["rule"], few["detail"], rows=few["row"])
        seen = told.select("rule", "date", "symbol", "detail").rows()
        raise ContractError(f"{contract.name}: {found.height} rows break it, such as {seen}.")
    return confirm(frame, contract)


@count_validation
def confirm(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return `frame` if the model itself keeps it, eager and in full depth: a second check after `split`.

    Raises
    ------
    ContractError
        With pandera's own words.
    """
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaError, SchemaErrors

    try:
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            contract.schema.validate(frame, lazy=True)
    except (SchemaError, SchemaErrors) as error:
        raise ContractError(f"{contract.name}: {str(error)[:600]}") from error
    return frame


def _check_structure(frame: pl.DataFrame, contract: Contract) -> None:
    faults = [f"lacks {name}" for name in contract.dtypes if name not in frame.columns]
    faults += [f"has the unknown column {name}" for name in frame.columns if name not in contract.dtypes]
    faults += [
        f"{name} is {frame.schema[name]}, not {kind}"
        for name, kind in contract.dtypes.items()
        if name in frame.columns and frame.schema[name] != kind
    ]
    if faults:
        raise ContractError(f"{contract.name}: the table {'; '.join(faults)}.")


_OPERATIONS: Mapping[str, Any] = {
    "greater_than": lambda column, s: column > s["min_value"],
    "greater_than_or_equal_to": lambda column, s: column >= s["min_value"],
    "less_than": lambda column, s: column < s["max_value"],
    "less_than_or_equal_to": lambda column, s: column <= s["max_value"],
    "isin": lambda column, s: column.is_in(list(s["allowed_values"])),
    "str_matches": lambda column, s: column.str.contains(s["pattern"]),
    "str_length": lambda column, s: column.str.len_chars().is_between(s["min_value"] or 0, s["max_value"] or 1 << 30),
    "in_range": lambda column, s: column.is_between(
        s["min_value"],
        s["max_value"],
        closed={(True, True): "both", (True, False): "left", (False, True): "right", (False, False): "none"}[
            (s["include_min"], s["include_max"])
        ],
    ),
}


def _rules_of(column: Column) -> list[RowRule]:
    """Derive the row expressions from a column's own checks, so that no bound is written twice."""
    made = []
    for check, shown in column.rendered_checks().items():
        if check not in _OPERATIONS:
            raise ContractError(f"{column.name}: no row expression for the check {check!r}; use a RowRule.")
        holds = _OPERATIONS[check](pl.col(column.name), column.checks[check])
        bound = column.checks[check].get("min_value", column.checks[check].get("max_value", 0))
        made.append(RowRule(defect_name(column.name, check, bound), holds, f"{column.name} {shown}."))
    return made
