import os
import sys
from pathlib import Path

import dagster as dg
import pytest
from tiny_desk import TABLES, Desk
from tiny_location import pipeline

from quant_assets.sensors import finished_runs
from quant_core.evidence.runs.reader import ref_in
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings

HERE = Path(__file__).parent


@pytest.mark.slow
def test_a_process_per_step_writes_the_same_bytes_and_the_sensor_closes_the_run(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANT_EXECUTOR", "multiprocess")
    monkeypatch.chdir(HERE)  # where the steps look for the job
    loaded = set(sys.modules)
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        result = dg.execute_job(
            dg.reconstructable(pipeline),
            instance,
            tags={"dagster/partition": "tiny"},
            asset_selection=[dg.AssetKey(key.split("/")) for key in TABLES],
        )
        assert result.success
        run = desk.evidence.run(result.run_id)
        writers = {commit.writer.pid for commit in run.commits}
        assert len(writers) == len(run.commits) == 3
        assert run.genesis.data["owner"]["pid"] == os.getpid()
        assert os.getpid() not in writers
        assert run.outcome is None  # no step knows that it is the last
        assert desk.evidence.abandon_dead() == ()  # the process that started the steps lives
        dagster_run = instance.get_run_by_id(result.run_id)
        assert dagster_run is not None
        event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=dagster_run.job_name)
        finished_runs(
            dg.build_run_status_sensor_context(
                sensor_name="finished_runs", dagster_event=event, dagster_instance=instance, dagster_run=dagster_run
            )
        )
    closed = desk.evidence.run(result.run_id).outcome
    assert closed is not None
    assert closed.data["outcome"] == "ok"
    refs = DAGRunner(Settings(home=tmp_path / "script"), desk.stages).run(find_sleeve("tiny", desk.sleeves)).refs
    heads = {stage: ref_in(head).sha256 for (stage, _), head in desk.evidence.heads().items()}
    assert heads == {stage: ref.sha256 for stage, ref in refs.items()}
    assert "ray" not in set(sys.modules) - loaded
