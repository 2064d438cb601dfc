"""Factors a sleeve adds: one feature of any family becomes a factor by one line of the sleeve file.

    [alpha.factors]
    KMID = { map = "rank", role = "alpha", directional = true }

Factors every sleeve has are functions in trend.py, quality.py and tail.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field, field_validator

from quant_core.alpha.catalogue import Factor, Role, catalogue, find_side_fault
from quant_core.alpha.score_maps import SCORE_MAPS
from quant_core.errors import ConfigError, UnknownKeyError
from quant_core.graph.stage import Params
from quant_core.market.contracts.features import store_contract
from quant_core.market.contracts.split import Contract
from quant_core.market.panel import Matrix


class FactorSetting(Params):
    """How one feature becomes a factor: the facts a factor's decorator states."""

    map: str = Field(description="Score map, such as rank (larger is better) or rank_desc (smaller is better).")
    directional: bool = Field(description="Whether a short wants the other end.")
    role: Role = Field(default="alpha", description="alpha: which way; tradability: how easily it can be traded.")
    is_long_only: bool = Field(default=False, description="Whether it is not known for a short.")

    @field_validator("map")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in SCORE_MAPS:
            raise UnknownKeyError("score map", name, SCORE_MAPS)
        return name


class FactorParams(Params):
    """The factors a sleeve adds to those of the catalogue."""

    factors: dict[str, FactorSetting] = Field(
        default_factory=dict, description="Features of any family that are factors of this sleeve, by column."
    )

    @field_validator("factors")
    @classmethod
    def _is_new(cls, settings: dict[str, FactorSetting]) -> dict[str, FactorSetting]:
        for name, setting in settings.items():
            if name in catalogue():
                raise ConfigError(
                    f"[alpha.factors] {name}: a factor of that name is in the catalogue. "
                    f"Set its weight with [inference.weights] {name}, or leave the line out."
                )
            facts = setting.model_dump(include={"directional", "is_long_only", "role"})
            if fault := find_side_fault(**facts):
                raise ConfigError(f"[alpha.factors] {name}: {fault}")
        return settings


def factors_of(params: FactorParams, descriptions: Mapping[str, str] | None = None) -> tuple[Factor, ...]:
    """Return the catalogue's factors and then the sleeve's own, by name.

    Parameters
    ----------
    params : FactorParams
    descriptions : mapping of feature to sentence, optional
        Descriptions of the sleeve's own factors.
    """
    own = (
        Factor(
            name=name,
            inputs=(name,),
            description=(descriptions or {}).get(name, f"The feature {name}."),
            function=_as_it_is,
            map=SCORE_MAPS[setting.map],
            directional=setting.directional,
            is_long_only=setting.is_long_only,
            role=setting.role,
        )
        for name, setting in sorted(params.factors.items())
    )
    return (*catalogue().values(), *own)


def features_read(params: FactorParams) -> dict[str, str]:
    """Return the features all factors of a sleeve read, each with the factor that names it first."""
    found: dict[str, str] = {}
    for entry in factors_of(params):
        for name in entry.inputs:
            found.setdefault(name, f"factor {entry.name}")
    return found


def factors_contract(
    params: FactorParams, features: Mapping[str, Contract] | None = None, off: Collection[str] = ()
) -> Contract:
    """Return the contract of a sleeve's factor table: the catalogue's columns, then the sleeve's own.

    Parameters
    ----------
    params : FactorParams
    features : mapping of argument to Contract, optional
        Contracts of the feature tables, for the descriptions of the sleeve's own factors.
    off : collection of str
        Features whose family the sleeve has switched off.
    """
    named = set(params.factors)
    descriptions = {
        name: contract.columns[name].description
        for contract in (features or {}).values()
        for name in named & set(contract.names)
    }
    return store_contract(
        "Factors",
        "The factor probabilities of one eligible member at one date, seen from the long side.",
        (entry.column(is_off=any(name in off for name in entry.inputs)) for entry in factors_of(params, descriptions)),
    )


def _as_it_is(feature: Matrix) -> Matrix:
    return feature
