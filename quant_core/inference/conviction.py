"""The conviction table: the conviction of each scorer in each member and direction.

How a scorer combines is in log_mps.py; what a factor is worth is in alpha, known here by its table's contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from quant_core.errors import ConfigError, UnknownNameError
from quant_core.graph.stage import Params, derive_contract, stage
from quant_core.inference.catalogue import Array, Scored, Scorer, catalogue
from quant_core.market.contracts.features import ValueColumn, store_contract
from quant_core.market.contracts.split import Contract

# ln conviction of a symbol whose tradability factors are all at their worst falls by this much.
_TRADABILITY_COST = 0.25


@dataclass(frozen=True)
class _Column:
    name: str
    is_directional: bool
    is_long_only: bool
    is_tradability: bool
    is_off: bool


def _columns(factors: Contract) -> tuple[_Column, ...]:
    """Return the factors of a factor table with the facts of their columns."""
    facts = ("directional", "is_long_only", "is_tradability", "is_off")
    return tuple(
        _Column(name, *(bool(column.facts.get(fact, False)) for fact in facts))
        for name, column in factors.columns.items()
        if column.facts
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
    """Which scorers are used, and how much each factor weighs."""

    weights: dict[str, Annotated[float, Field(ge=0.0)]] = Field(
        default_factory=dict,
        description="Relative weight per factor; 1 where not named, 0 leaves a factor out, of the coverage too.",
    )
    scorers: tuple[str, ...] = Field(default=("log_mps",), min_length=1, description="Scorers that are used.")
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
    output=derive_contract("alpha.factors", conviction_contract),
    metrics=conviction_metrics,
)
def conviction(factors: pl.DataFrame, *, params: ConvictionParams, contracts: Mapping[str, Contract]) -> pl.DataFrame:
    """Combine the factor probabilities of each date and symbol into one conviction per scorer and direction.

    A short has one minus the probability of a directional factor, the same probability of a quality factor, and none of
    a factor that is known for the long side only.

    The coverage counts every factor of a weight above 0, also one that no symbol of the sleeve has or that is not
    known for shorts; a weight of 0 is how a sleeve leaves a factor out. A factor whose feature family the sleeve has
    switched off does not count.

    Tradability factors do not enter the score: they lower it, alike for both directions, see `lower_by_tradability`.

    Raises
    ------
    UnknownNameError
        A weight names an unknown factor, or a scorer is unknown; lists the near matches.
    ConfigError
        Every alpha factor has weight 0 or is switched off.
    """
    columns = _columns(contracts["factors"])
    output = conviction_contract(contracts["factors"])
    weights = _weights(params.weights, columns)
    scorers = [catalogue()[name] for name in dict.fromkeys(params.scorers)]
    if factors.is_empty():
        return output.empty()
    is_cost = np.array([column.is_tradability for column in columns])
    long_side = np.array([factors[column.name].cast(pl.Float64).to_numpy() for column in columns])
    tables = [output.empty()]
    for direction in ("LONG", "SHORT") if params.shorts else ("LONG",):
        probabilities = long_side if direction == "LONG" else _short_side(long_side, columns)
        for entry in scorers:
            scored = _score_rows(entry, probabilities, weights, is_cost)
            values = {"conviction": scored.conviction, "coverage": scored.coverage} | {
                f"contribution_{column.name}": own for column, own in zip(columns, scored.contributions, strict=True)
            }
            tables.append(
                factors.select("date", "symbol", direction=pl.lit(direction), scorer=pl.lit(entry.name)).with_columns(
                    pl.Series(name, column).fill_nan(None) for name, column in values.items()
                )
            )
    return pl.concat(tables).select(*output.dtypes)


def lower_by_tradability(scored: Scored, probabilities: Array) -> Scored:
    """Lower the score of symbols that are harder to trade.

    ln conviction falls by 0.25 (1 - mean p) over the tradability factors known of a row; the contribution of each is
    its share of that. Where none is known, nothing changes.

    Parameters
    ----------
    scored : Scored
        By the alpha factors alone; contributions [K, R] of all factors.
    probabilities : ndarray [K, R]
        Of the tradability factors; NaN elsewhere and where not known.
    """
    is_known = ~np.isnan(probabilities)
    known = is_known.sum(axis=0)
    shares = np.full(probabilities.shape, np.nan)
    np.divide(_TRADABILITY_COST * (probabilities - 1.0), known, out=shares, where=is_known)
    lowered = np.zeros(known.shape)
    for share in shares:
        lowered += np.where(np.isnan(share), 0.0, share)
    contributions = np.where(is_known, shares, scored.contributions)
    return Scored(scored.conviction * np.exp(lowered), scored.coverage, contributions)


def _score_rows(entry: Scorer, probabilities: Array, weights: Array, is_cost: NDArray[np.bool_]) -> Scored:
    scored = entry(probabilities, np.where(is_cost, 0.0, weights))
    if not is_cost.any():
        return scored
    counts = (is_cost & (weights > 0.0))[:, np.newaxis]
    return lower_by_tradability(scored, np.where(counts, probabilities, np.nan))


def _weights(given: Mapping[str, float], columns: Sequence[_Column]) -> Array:
    names = [column.name for column in columns]
    for name in given:
        if name not in names:
            raise UnknownNameError("factor", name, names)
    weights = np.array([0.0 if column.is_off else given.get(column.name, 1.0) for column in columns])
    if not any(given.get(column.name, 1.0) > 0.0 for column in columns if not column.is_tradability):
        raise ConfigError("[inference.weights] gives every factor the weight 0; leave at least one above it.")
    if all(column.is_off for column in columns if given.get(column.name, 1.0) > 0.0 and not column.is_tradability):
        raise ConfigError(
            "every factor with a weight above 0 reads a feature family that is switched off; "
            "add its family to [features] families."
        )
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
