from __future__ import annotations

import numpy as np
import pytest

from quant_core.errors import UnknownNameError, UsageError
from quant_core.features import catalogue, compute_features
from quant_core.features.catalogue import feature
from quant_core.features.families import FamilyParams, family_stage
from quant_core.graph.catalog import collect
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import validate
from quant_core.market.sleeves import Sleeve
from tests.markets import market

# The first call of each kernel compiles it.
pytestmark = pytest.mark.timeout(900)
STAGES = collect("quant_core.features", StageSpec)
SLEEVE = Sleeve(name="s", calendar="24/7", volume_unit="value")


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
    spec, family, bars = STAGES[id], id.partition(".")[2], market()
    found = spec(bars, params=FamilyParams(families=(family,)), sleeve=SLEEVE)
    names = [name for name, entry in catalogue().items() if entry.family == family]
    assert list(spec.output.dtypes) == ["date", "symbol", *names]
    assert validate(found, spec.output).height == bars.height
    assert found.equals(compute_features(bars, names, calendar="24/7", volume_unit="value"))
    assert [name for name in names if found[name].count() == 0] == []


def test_a_family_that_is_off_is_an_empty_table() -> None:
    found = STAGES["features.tail"](market(), params=FamilyParams(families=("trend",)), sleeve=SLEEVE)
    assert validate(found, STAGES["features.tail"].output).is_empty()


def test_the_big_families_are_off_by_default() -> None:
    known = {entry.family for entry in catalogue().values()}
    assert known - set(FamilyParams().families) >= {"alpha101", "alpha158"}


def test_an_unknown_family_lists_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown feature family 'trends'\. Did you mean trend"):
        STAGES["features.trend"](market(), params=FamilyParams(families=("trends",)), sleeve=SLEEVE)


def test_a_feature_in_another_family_s_file_is_refused() -> None:
    with pytest.raises(UsageError, match="feature 'stray' is of family 'elsewhere'"):
        family_stage(__name__)
