"""Stages synthesis.atoms and synthesis.atom_returns: winners as strategy atoms and the stream each of them earns.

An atom is a symbol, a logic and a direction. Logics are entries of logics.py; nothing here weighs.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field, field_validator

from quant_core.errors import ContractError
from quant_core.graph.stage import Params, TableRule, stage
from quant_core.market.contracts.synthesis import AtomReturns, Atoms
from quant_core.market.panel import axes_of
from quant_core.synthesis.logics import logics

_SIDE = pl.when(pl.col("direction") == "SHORT").then(-1.0).otherwise(1.0)
# In optimisation a short cannot lose more than everything in one bar; the simulator never caps a loss.
_SHORT_LOSS = 1.0


class AtomParams(Params):
    """The rule the winners follow."""

    logic: str = Field(default="trend", description="Rule that turns a winner into a position path.")

    @field_validator("logic")
    @classmethod
    def _check_logic(cls, name: str) -> str:
        return logics()[name].name


@stage("synthesis.atoms", inputs={"selection": "synthesis.selection"}, output=Atoms)
def atoms(selection: pl.DataFrame, *, params: AtomParams) -> pl.DataFrame:
    """Name the atom of every winner: `{symbol}_{logic}_{direction}`."""
    return selection.with_columns(
        pl.lit(params.logic).alias("logic"),
        pl.concat_str("symbol", pl.lit(params.logic), "direction", separator="_").alias("atom"),
    ).select(*Atoms.dtypes)


def find_excess_short_gains(table: pl.DataFrame) -> str | None:
    """No short stream earns more than 100 % in a bar: what it shorts cannot fall further."""
    wild = table.filter(pl.col("atom").str.ends_with("_SHORT") & (pl.col("atom_return") > 1.0))
    if wild.is_empty():
        return None
    return f"{wild.height} bars of short atoms above 1.0, such as {wild.row(0)}: a sign is wrong."


def atom_metrics(table: pl.DataFrame) -> Mapping[str, float]:
    """Return the number of distinct atoms ever selected."""
    return {"synthesis.atoms": float(table["atom"].n_unique())}


@stage(
    "synthesis.atom_returns",
    inputs={"atoms": "synthesis.atoms", "returns": "ingest.returns"},
    output=AtomReturns,
    rules=(TableRule("short_gain_bounded", find_excess_short_gains),),
    metrics=atom_metrics,
)
def atom_returns(atoms: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    """One stream per atom ever selected, over all dates on which its symbol's return is known.

    With exposure e = position of the logic x side, the stream is e r where e >= 0, else -|e| min(r, 1): synthetic-long,
    so that every atom is worth holding when its stream is positive.

    Raises
    ------
    ContractError
        A stream of a `trend` atom differs from the raw returns in sign or in bars.
    """
    distinct = atoms.select("atom", "symbol", "logic", "direction").unique().sort("atom")
    known = returns.filter(pl.col("simple_return").is_not_null() & pl.col("symbol").is_in(distinct["symbol"].implode()))
    streams = [AtomReturns.empty()]
    for name in distinct["logic"].unique().sort():
        own = distinct.filter(pl.col("logic") == name)
        rows = known.with_columns(_positions(returns, known, name)).drop_nulls("position")
        exposure = pl.col("position") * _SIDE
        earned = pl.col("simple_return").clip(upper_bound=pl.when(exposure < 0.0).then(_SHORT_LOSS)) * exposure
        streams.append(
            rows.join(own, on="symbol").with_columns(earned.alias("atom_return")).select(*AtomReturns.dtypes)
        )
    found = pl.concat(streams)
    faults = sign_faults(distinct, found, returns)
    if faults.height:
        raise ContractError(f"{faults.height} bars of trend atoms have the wrong sign, such as {faults.row(0)}.")
    return found


def _positions(returns: pl.DataFrame, rows: pl.DataFrame, logic: str) -> pl.Series:
    """Return the position of a logic at each of `rows`, null where it has none."""
    axes = axes_of(returns)
    path = logics()[logic](axes.panel(returns["simple_return"]))
    at = axes_of(rows, dates=axes.dates, symbols=axes.symbols)
    return at.gather(path, "position")


def sign_faults(atoms: pl.DataFrame, atom_returns: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    """Compare the streams of `trend` atoms with raw returns: long is r, short is -min(r, 1), without tolerance.

    Parameters
    ----------
    atoms, atom_returns, returns : DataFrame
        Under the contracts Atoms, AtomReturns, Returns.

    Returns
    -------
    DataFrame
        One row per fault: date, atom, fault (missing_stream, missing_return, long_mismatch, short_not_inverted),
        expected, found; sorted by date and atom. Empty when all signs are right.
    """
    owners = atoms.filter(pl.col("logic") == "trend").select("atom", "symbol", "direction").unique()
    r, is_short = pl.col("simple_return"), pl.col("direction") == "SHORT"
    right = pl.when(is_short).then(-pl.min_horizontal(r, 1.0)).otherwise(r)
    expected = (
        returns.drop_nulls("simple_return")
        .join(owners, on="symbol")
        .select("date", "atom", "direction", right.alias("expected"))
    )
    found = atom_returns.join(owners, on="atom", how="semi").rename({"atom_return": "found"})
    differs = pl.col("expected") != pl.col("found")
    faults = {
        "missing_stream": pl.col("found").is_null(),
        "missing_return": pl.col("expected").is_null(),
        "short_not_inverted": differs & is_short,
        "long_mismatch": differs,
    }
    fault = pl.coalesce(*(pl.when(seen).then(pl.lit(name)) for name, seen in faults.items()))
    return (
        expected.join(found, on=["date", "atom"], how="full", coalesce=True)
        .with_columns(fault.alias("fault"))
        .drop_nulls("fault")
        .select("date", "atom", "fault", "expected", "found")
        .sort("date", "atom")
    )
