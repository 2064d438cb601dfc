from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_core.errors import UnknownNameError, UsageError
from quant_core.features import catalogue, compute_features
from quant_core.features.catalogue import feature
from quant_core.features.families import FamilyParams, family_stage
from quant_core.graph.catalog import collect
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import validate
from quant_core.market.sleeves import Sleeve

STAGES = collect("quant_core.features", StageSpec)
SLEEVE = Sleeve(name="s", calendar="24/7", volume_unit="value")


def bars(days: int = 320) -> pl.DataFrame:
    rng = np.random.default_rng(31)
    close = 10.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, 2 * days)))
    dates = [date(2022, 1, 1) + timedelta(days=k) for k in range(days)]
    return pl.DataFrame(
        {
            "date": dates * 2,
            "symbol": ["X:A"] * days + ["X:B"] * days,
            "close": close,
            "volume": close * 1e4,
            "life": np.zeros(2 * days, dtype=np.int32),
            "is_provisional": [False] * (2 * days),
            "flags": [""] * (2 * days),
        }
    )


@feature(family="elsewhere", unit="none", warmup=0)
def stray(close: np.ndarray) -> np.ndarray:
    """Stand in the wrong file."""
    return close


def test_every_family_is_a_stage_of_bars() -> None:
    assert list(STAGES) == [f"features.{family}" for family in sorted({f.family for f in catalogue().values()})]
    for spec in STAGES.values():
        assert dict(spec.inputs) == {"bars": "ingest.bars"}
        assert spec.params is FamilyParams
        assert spec.wants == {"params", "sleeve"}
        assert spec.doc.startswith(f"Compute the {spec.name.partition('.')[2]} features of every bar")


@pytest.mark.parametrize("id", sorted(STAGES))
def test_a_family_s_table_keeps_its_contract_and_the_rows_of_bars(id: str) -> None:
    spec = STAGES[id]
    found = spec(bars(), params=FamilyParams(), sleeve=SLEEVE)
    names = [name for name, entry in catalogue().items() if f"features.{entry.family}" == id]
    assert list(spec.output.dtypes) == ["date", "symbol", *names]
    assert validate(found, spec.output).height == bars().height
    assert found.equals(compute_features(bars(), names, calendar="24/7", volume_unit="value"))
    assert all(found[name].count() > 0 for name in names)


def test_a_family_that_is_off_is_an_empty_table() -> None:
    found = STAGES["features.tail"](bars(), params=FamilyParams(families=("trend",)), sleeve=SLEEVE)
    assert validate(found, STAGES["features.tail"].output).is_empty()


def test_an_unknown_family_lists_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown feature family 'trends'\. Did you mean trend"):
        STAGES["features.trend"](bars(), params=FamilyParams(families=("trends",)), sleeve=SLEEVE)


def test_a_feature_in_another_family_s_file_is_refused() -> None:
    with pytest.raises(UsageError, match="feature 'stray' says family 'elsewhere'"):
        family_stage(__name__)
