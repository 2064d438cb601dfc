"""One stage per family file: `table = family_stage(__name__)` at its foot makes the table of the features above it.

Nothing else has to know a family: its contract comes from its functions. Computing them lives in compute.py.
"""

from __future__ import annotations

import importlib

import polars as pl
from pydantic import Field

from quant_core.errors import UnknownNameError, UsageError
from quant_core.features.catalogue import Feature, catalogue
from quant_core.features.compute import compute_features
from quant_core.graph.catalog import Catalog
from quant_core.graph.stage import Params, StageSpec, stage
from quant_core.market.contracts.features import FeatureStoreSchema
from quant_core.market.sleeves import Sleeve


class FamilyParams(Params):
    """Which families a sleeve computes."""

    families: tuple[str, ...] = Field(
        default=("trend", "volatility", "predictability", "liquidity", "tail"),
        description="Feature families the sleeve computes; the table of any other family stays empty.",
    )


def family_stage(module: str) -> StageSpec:
    """Make the stage `features.<family>` of the features defined so far in the module of that name.

    Raises
    ------
    UsageError
        A feature of the module says it belongs to another family.
    """
    family = module.rpartition(".")[2]
    found = [entry for entry in vars(importlib.import_module(module)).values() if isinstance(entry, Feature)]
    own = Catalog("feature", {entry.name: entry for entry in found if entry.function.__module__ == module})
    strays = [entry.name for entry in own.values() if entry.family != family]
    if strays:
        raise UsageError(f"{module}: feature {strays[0]!r} says family {own[strays[0]].family!r}, its file {family!r}.")
    contract = FeatureStoreSchema(family, (entry.column for entry in own.values()))

    def table(bars: pl.DataFrame, *, params: FamilyParams, sleeve: Sleeve) -> pl.DataFrame:
        among = catalogue(module.rpartition(".")[0])
        known = {entry.family for entry in among.values()}
        for name in params.families:
            if name not in known:
                raise UnknownNameError("feature family", name, known)
        if family not in params.families:
            return contract.empty()
        return compute_features(bars, list(own), calendar=sleeve.market, volume_unit=sleeve.volume_unit, among=among)

    table.__name__ = table.__qualname__ = family
    table.__doc__ = f"Compute the {family} features of every bar: {', '.join(own)}."
    return stage(f"features.{family}", inputs={"bars": "ingest.bars"}, output=contract)(table)
