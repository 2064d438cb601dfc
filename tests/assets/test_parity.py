from pathlib import Path

import dagster as dg
import pytest

from quant_assets.location import code_location
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings
from tests.markets import SLEEVE, plain_market

SMALL = f"""{SLEEVE}
[features]
families = ["trend", "volatility", "predictability", "liquidity", "tail", "alpha158"]
[alpha.factors]
KMID = {{ map = "rank", role = "alpha", directional = true }}
"""


def test_the_real_graph_and_the_script_write_the_same_bytes_of_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeves = tmp_path / "sleeves"
    sleeves.mkdir()
    plain_market().write_parquet(sleeves / "bars.parquet")
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
