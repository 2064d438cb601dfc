"""The conviction table: what each scorer says about each member and direction.

How a scorer combines is in log_mps.py; what a factor is worth is in alpha, whose table this room knows by its contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field

from quant_core.errors import ConfigError, UnknownNameError
from quant_core.graph.stage import Params, derived, stage
from quant_core.inference.catalogue import Array, catalogue
from quant_core.market.contracts.features import ValueColumn, store_contract
from quant_core.market.contracts.split import Contract


@dataclass(frozen=True)
class _Column:
    name: str
    is_directional: bool
    is_long_only: bool


def _columns(factors: Contract) -> tuple[_Column, ...]:
    """Return the factors of a factor table, with what their columns' facts say a short does with them."""
    return tuple(
        _Column(name, bool(column.metadata["directional"]), bool(column.metadata["is_long_only"]))
        for name, column in factors.schema.columns.items()
        if column.metadata
    )


def conviction_contract(factors: Contract) -> Contract:
    """Return the contract of the conviction table that goes with a factor table: one contribution per factor."""
    return store_contract(
        "Conviction",
        "The conviction of one scorer in one eligible member, in one direction, at one date.",
        (
            ValueColumn("conviction", "How strongly the scorer believes; null where too little is known.", 0.0, 1.0),
            ValueColumn("coverage", "Weight of the known factors over that of all factors.", 0.0, 1.0),
            *(
                ValueColumn(f"contribution_{column.name}", f"What {column.name} added; for log_mps to ln conviction.")
                for column in _columns(factors)
            ),
        ),
        labels=("direction", "scorer"),
    )


class ConvictionParams(Params):
    """Which scorers speak, and how much each factor weighs."""

    weights: dict[str, Annotated[float, Field(ge=0.0)]] = Field(
        default_factory=dict,
        description="Relative weight per factor; 1 where not named, 0 leaves a factor out, of the coverage too.",
    )
    scorers: tuple[str, ...] = Field(default=("log_mps",), min_length=1, description="Scorers that speak.")
    shorts: bool = Field(default=False, description="Whether the short side is scored too.")


def conviction_metrics(conviction: pl.DataFrame) -> Mapping[str, float]:
    """Return the number of rows and the share of them with a conviction."""
    known = conviction.height - conviction["conviction"].null_count()
    return {
        "inference.rows": float(conviction.height),
        **({"inference.known": known / conviction.height} if conviction.height else {}),
    }


@stage(
    "inference.conviction",
    inputs={"factors": "alpha.factors"},
    output=derived("alpha.factors", conviction_contract),
    metrics=conviction_metrics,
)
def conviction(factors: pl.DataFrame, *, params: ConvictionParams, contracts: Mapping[str, Contract]) -> pl.DataFrame:
    """Combine the factor probabilities of each date and symbol into one conviction per scorer and direction.

    A short has one minus the probability of a directional factor, the same probability of a quality factor, and none of
    a factor that speaks of the long side only.

    The coverage counts every factor of a weight above 0, also one that no symbol of the sleeve has or that is silent
    on shorts; a weight of 0 is how a sleeve declares that it does without.

    Raises
    ------
    UnknownNameError
        A weight names no factor, or a scorer is in no catalogue; lists the near matches.
    ConfigError
        Every factor has weight 0.
    """
    columns = _columns(contracts["factors"])
    output = conviction_contract(contracts["factors"])
    weights = _weights(params.weights, [column.name for column in columns])
    scorers = [catalogue()[name] for name in dict.fromkeys(params.scorers)]
    long_side = np.array([factors[column.name].cast(pl.Float64).to_numpy() for column in columns])
    tables = [output.empty()]
    for direction in ("LONG", "SHORT") if params.shorts else ("LONG",):
        probabilities = long_side if direction == "LONG" else _short_side(long_side, columns)
        for entry in scorers:
            scored = entry(probabilities, weights)
            values = {"conviction": scored.conviction, "coverage": scored.coverage} | {
                f"contribution_{column.name}": own for column, own in zip(columns, scored.contributions, strict=True)
            }
            tables.append(
                factors.select("date", "symbol", direction=pl.lit(direction), scorer=pl.lit(entry.name)).with_columns(
                    pl.Series(name, column).fill_nan(None) for name, column in values.items()
                )
            )
    return pl.concat(tables).select(*output.dtypes)


def _weights(given: Mapping[str, float], names: Sequence[str]) -> Array:
    for name in given:
        if name not in names:
            raise UnknownNameError("factor", name, names)
    weights = np.array([given.get(name, 1.0) for name in names])
    if not np.any(weights > 0.0):
        raise ConfigError("[inference.weights] gives every factor the weight 0; leave at least one above it.")
    return weights


def _short_side(long_side: Array, columns: Sequence[_Column]) -> Array:
    """Return the probabilities [K, R] of the short side."""
    short_side = long_side.copy()
    for own, column in zip(short_side, columns, strict=True):
        if column.is_long_only:
            own[:] = np.nan
        elif column.is_directional:
            own[:] = 1.0 - own
    return short_side
