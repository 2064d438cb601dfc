"""One stage per family file: `table = family_stage(__name__)` at its foot makes the table of the features above it.

No other code needs to know a family: its contract comes from its functions. Computing them lives in compute.py.
"""

from __future__ import annotations

import importlib
import pkgutil

import polars as pl
from pydantic import Field

from quant_core.errors import UsageError
from quant_core.features.catalogue import catalogue
from quant_core.features.compute import choose_features, compute_features
from quant_core.features.steps import DEFAULT_FAMILIES, Feature, FeatureCatalog, steps_of
from quant_core.graph.stage import Params, StageSpec, Switch, stage
from quant_core.market.contracts.features import FeatureStoreSchema
from quant_core.market.sleeves import Sleeve

MOST_NAMES = 30
"""Most features that a family's description names; beyond, it gives their number."""


class FamilyParams(Params):
    """The families a sleeve computes."""

    families: tuple[str, ...] = Field(
        default=DEFAULT_FAMILIES,
        description="Feature families the sleeve computes; the table of any other family stays empty.",
    )


def family_stage(module: str) -> StageSpec:
    """Make the stage `features.<family>` of the features defined so far in the module of that name.

    A family too long for one file goes on in files named after it, such as alpha101_volume.py.

    Raises
    ------
    UsageError
        A feature of the module names another family.
    """
    package, _, family = module.rpartition(".")
    found = [entry for name in _files(package, family) for entry in _features_of(name)]
    own = FeatureCatalog(found)
    strays = [entry.name for entry in own.values() if entry.family != family]
    if strays:
        raise UsageError(f"{module}: feature {strays[0]!r} is of family {own[strays[0]].family!r}, not {family!r}.")
    contract = FeatureStoreSchema(family, (entry.column for entry in own.values()))

    def table(bars: pl.DataFrame, *, params: FamilyParams, sleeve: Sleeve) -> pl.DataFrame:
        among = catalogue(package)
        choose_features(None, params.families, among)
        if family not in params.families:
            return contract.empty()
        return compute_features(bars, list(own), calendar=sleeve.market, volume_unit=sleeve.volume_unit, among=among)

    table.__name__ = table.__qualname__ = family
    listed = ", ".join(own) if len(own) <= MOST_NAMES else f"{len(own)} of them, listed in docs/features.md"
    table.__doc__ = f"Compute the {family} features of every bar: {listed}."
    switch = Switch(
        is_on=lambda params: family in params.families,
        remedy=f'Add "{family}" to families in [features] to compute it.',
    )
    return stage(
        f"features.{family}", inputs={"bars": "ingest.bars"}, output=contract, switch=switch, is_recomputable=True
    )(table)


def _files(package: str, family: str) -> list[str]:
    """Return the names of a family's modules: its file, and those whose names begin with its name and a `_`."""
    folder = getattr(importlib.import_module(package), "__path__", []) if package else []
    more = sorted(info.name for info in pkgutil.iter_modules(folder) if info.name.startswith(f"{family}_"))
    return [f"{package}.{name}" if package else name for name in (family, *more)]


def _features_of(module: str) -> list[Feature]:
    steps = steps_of(vars(importlib.import_module(module)).values())
    return [step for step in steps if isinstance(step, Feature) and step.function.__module__ == module]
