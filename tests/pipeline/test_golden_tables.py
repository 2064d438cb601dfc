"""Every table of both demo sleeves has the bytes it had: a difference is a decision, named where it is committed."""

import json
from pathlib import Path

import polars as pl
import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import CHECKOUT, Settings
from tests.golden.make_tables import GOLDEN, SLEEVES, hashes_of, made_with

RECORDED = json.loads(GOLDEN.read_text())
PICTURE = json.loads((CHECKOUT / "docs" / "images" / "tear_sheet.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("sleeve", SLEEVES)
def test_a_demo_sleeve_has_the_recorded_tables(sleeve: str, tmp_path: Path) -> None:
    if made_with() != RECORDED["made_with"]:
        pytest.skip("other versions of the libraries write other bytes")
    file = find_sleeve(sleeve, CHECKOUT / "config" / "sleeves")
    result = DAGRunner(Settings(home=tmp_path)).run(file)
    assert hashes_of(Evidence(tmp_path), result.run_id) == RECORDED["tables"][sleeve]
    if sleeve == "us_equities":
        metrics = result.frame("backtest.metrics").filter(pl.col("portfolio") == "hrp")
        shown = {name: metrics.filter(pl.col("metric") == name)["value"].item() for name in PICTURE["figures"]}
        assert shown == PICTURE["figures"]
