import datetime as dt
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from quant_assets.location import code_location
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings

SMALL = """
[sleeve]
name = "small"
calendar = "24/7"
[source]
kind = "parquet"
path = "bars.parquet"
[features]
families = ["trend", "volatility", "predictability", "liquidity", "tail", "alpha158"]
[alpha.factors]
KMID = { map = "rank", role = "alpha", directional = true }
[synthesis]
clusters = 4
top = 2
floor = 4
cap = 8
[allocation]
methods = ["equal_weight", "hrp"]
headline = "hrp"
[backtest]
train = 200
test = 20
step = 20
"""


def market(symbols: int = 12, bars: int = 420) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    returns = rng.normal(0.0003, 0.01, (bars, 1)) + rng.normal(0.0002, 0.02, (bars, symbols))
    days = [dt.date(2022, 1, 1) + dt.timedelta(days=i) for i in range(bars)]
    return pl.DataFrame(
        {
            "date": [day for day in days for _ in range(symbols)],
            "symbol": [f"SIM:S{j:02d}" for j in range(symbols)] * bars,
            "close": (100.0 * np.cumprod(1.0 + returns, axis=0)).ravel(),
            "volume": rng.lognormal(12.0, 0.5, bars * symbols),
        }
    )


def test_the_real_graph_and_the_script_write_the_same_bytes_of_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeves = tmp_path / "sleeves"
    sleeves.mkdir()
    market().write_parquet(sleeves / "bars.parquet")
    (sleeves / "small.toml").write_text(SMALL)
    monkeypatch.setenv("QUANT_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("QUANT_SLEEVES", str(sleeves))
    stages = StageRegistry.load("quant_core")
    job = code_location({"QUANT_SLEEVES": str(sleeves)}).resolve_job_def("sleeve_pipeline")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            partition_key="small",
            instance=instance,
            asset_selection=[dg.AssetKey(id.split(".")) for id in stages],
        )
    assert all(check.passed for check in result.get_asset_check_evaluations())
    factors = job.asset_layer.asset_graph.get(dg.AssetKey(["alpha", "factors"]))
    assert dg.AssetKey(["features", "alpha158"]) in factors.parent_keys
    [made] = [event for event in result.get_asset_materialization_events() if event.asset_key == factors.key]
    shown = made.step_materialization_data.materialization.metadata["dagster/column_schema"].value
    assert [column.name for column in shown.columns][-1] == "KMID"
    assert "KMID" not in [column.name for column in factors.metadata["dagster/column_schema"].columns]
    settings = Settings(home=tmp_path / "script", sleeves=sleeves)
    refs = DAGRunner(settings).run(find_sleeve("small", sleeves)).refs
    for stage, ref in refs.items():
        head = Evidence(tmp_path / "dagster").heads()[(stage, "small")]
        assert ref_in(head).sha256 == ref.sha256, stage
    exclusions = [
        {stage: ref_in(head, "exclusions").sha256 for (stage, _), head in Evidence(tmp_path / home).heads().items()}
        for home in ("dagster", "script")
    ]
    assert exclusions[0] == exclusions[1]
    assert set(refs) == set(stages)
