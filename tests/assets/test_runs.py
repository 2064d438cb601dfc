import os
from pathlib import Path

import dagster as dg
import pytest
from tiny_desk import Desk, events_of

from quant_assets.outcomes import starter_of
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.manifest import read_manifest
from quant_core.evidence.runs.reader import ref_in
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings


def shas(desk: Desk) -> dict[str, tuple[str, str]]:
    heads = {stage: record for (stage, _), record in desk.evidence.heads().items()}
    return {id: (ref_in(head).sha256, ref_in(head, "exclusions").sha256) for id, head in heads.items()}


def test_a_run_commits_every_table_and_is_closed_in_the_ledger(desk: Desk) -> None:
    result = desk.run()
    assert result.success
    run = desk.evidence.run(result.run_id)
    assert [commit.data["stage"] for commit in run.commits] == ["ingest.raw", "ingest.bars", "report.counts"]
    assert run.outcome is not None
    assert run.outcome.data["outcome"] == "ok"
    assert {"ingest.raw", "ingest.bars", "report.counts"} <= set(run.outcome.data["steps"]["ok"])
    assert run.genesis.data["started_by"] == "dagster"
    assert run.genesis.data["dagster_run_id"] == result.run_id
    assert desk.frame("report.counts").rows() == [("excluded", 3), ("kept", 27), ("landed", 30)]
    assert len(desk.evidence.runs()) == 1


def test_the_graph_and_the_script_write_the_same_bytes(desk: Desk, tmp_path: Path) -> None:
    desk.run()
    settings = Settings(home=tmp_path / "script", sleeves=desk.sleeves)
    refs = DAGRunner(settings, desk.stages).run(find_sleeve("tiny", desk.sleeves)).refs
    assert {id: ref.sha256 for id, ref in refs.items()} == {id: valid for id, (valid, _) in shas(desk).items()}
    assert len(refs) == 3


def test_launch_config_beats_environment_beats_sleeve_file_and_the_manifest_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANT__INGEST__SCALE", "3.0")
    monkeypatch.setenv("QUANT__INGEST__FLOOR", "1.0")
    result = desk.run(config={"ingest__bars": {"scale": 2.0, "fault": None}})
    manifest = read_manifest(desk.home, result.run_id)
    assert manifest.params["ingest.bars"] == {"scale": 2.0, "floor": 1.0, "fault": ""}
    assert manifest.origins["ingest.bars"] == {"scale": "flag", "floor": "environment", "fault": "default"}
    assert manifest.params["ingest.raw"]["options"] == {"bars": 30}
    assert desk.frame("ingest.bars")["close"].min() == 200.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"config": {"ingest__bars": {"scale": -1.0}}}, "scale"),
        ({"config": {"ingest__raw": {"options": {"bars": 5}}}, "tags": {"quant/as_of": "yesterday"}}, "as_of"),
        ({"resources": {"plan": {"config": {"engine": "abacus"}}}}, "abacus"),
        ({"partition_key": None}, "--partition SLEEVE"),
    ],
)
def test_a_bad_launch_stops_before_any_step_and_leaves_no_run(desk: Desk, given: dict[str, object], said: str) -> None:
    result = desk.run(**given)  # type: ignore[arg-type]
    assert not result.success
    assert not events_of(result, "STEP_START")
    (failure,) = events_of(result, "PIPELINE_INIT_FAILURE") or events_of(result, "PIPELINE_FAILURE")
    assert said in str(failure.event_specific_data)
    assert desk.evidence.runs() == ()


def test_a_refused_result_commits_nothing_fails_its_check_and_stops_what_follows(desk: Desk) -> None:
    before = desk.run()
    heads = shas(desk)
    result = desk.run(config={"ingest__bars": {"fault": "gate"}})
    assert not result.success
    assert shas(desk) == heads
    run = desk.evidence.run(result.run_id)
    (refused,) = run.refused
    assert refused.data["stage"] == "ingest.bars"
    assert refused.data["reasons"] == ["no_low_price: a price is 1."]
    assert run.outcome is not None
    assert run.outcome.data["outcome"] == "failed"
    assert run.outcome.data["steps"]["failed"] == ["ingest.bars"]
    verdicts = {(c.asset_key.to_user_string(), c.check_name): c.passed for c in result.get_asset_check_evaluations()}
    assert verdicts[("ingest/bars", "contract")] is False
    assert verdicts[("ingest/raw", "contract")] is True
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert made == {"ingest/raw"}
    assert not events_of(result, "STEP_UP_FOR_RETRY")
    assert before.success


@pytest.mark.parametrize(("fault", "said"), [("source", "the tap is dry"), ("columns", "lacks close")])
def test_an_error_of_a_stage_fails_its_step_with_one_line(desk: Desk, fault: str, said: str) -> None:
    result = desk.run(config={"ingest__bars": {"fault": fault}})
    (failure,) = events_of(result, "STEP_FAILURE")
    assert said in failure.step_failure_data.user_failure_data.description
    assert "\n" not in failure.step_failure_data.user_failure_data.description
    outcome = desk.evidence.run(result.run_id).outcome
    assert outcome is not None
    assert outcome.data["outcome"] == "failed"


def test_a_warning_blocks_nothing_and_is_shown(desk: Desk) -> None:
    (desk.sleeves / "tiny.toml").write_text((desk.sleeves / "tiny.toml").read_text().replace("30", "12"))
    result = desk.run()
    assert result.success
    (check,) = [c for c in result.get_asset_check_evaluations() if c.asset_key == dg.AssetKey(["ingest", "bars"])][:1]
    assert check.passed
    assert "only 11 prices" in (check.description or "")


def test_a_launch_may_name_another_home_for_assets_and_tables_alike(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOTHER", str(tmp_path / "another"))
    config = {"home": {"env": "ANOTHER"}, "as_of": "2024-01-31"}
    result = desk.run(resources={"plan": {"config": config}})
    assert result.success
    assert not desk.home.exists()
    (run,) = Evidence(tmp_path / "another").runs()
    assert (run.genesis.data["as_of"], len(run.commits)) == ("2024-01-31", 3)


def test_a_partial_run_reads_what_was_committed_before(desk: Desk) -> None:
    desk.run()
    result = desk.run(only=("report/counts",))
    assert result.success
    assert [commit.data["stage"] for commit in desk.evidence.run(result.run_id).commits] == ["report.counts"]


def test_a_re_execution_reads_the_commits_of_the_run_it_repeats(desk: Desk) -> None:
    first = desk.execute(run_config={"ops": {"ingest__bars": {"config": {"scale": 5.0}}}})
    assert first.success
    assert desk.run(config={"ingest__bars": {"scale": 7.0}}).success  # another run moves the head
    again = dg.ReexecutionOptions(parent_run_id=first.run_id, step_selection=["ingest__bars_audit", "report__counts"])
    repeated = desk.execute(reexecution_options=again)
    assert repeated.success
    run = desk.evidence.run(repeated.run_id)
    assert run.genesis.data["parent_run"] == run.genesis.data["root_run"] == first.run_id
    (counts,) = run.commits
    commit = desk.evidence.run(first.run_id).commit_of("ingest.bars", "tiny")
    assert commit is not None
    assert counts.data["facts"]["parents"]["ingest.bars"] == commit.data["valid"]["sha256"]


def test_the_process_that_starts_the_steps_is_the_one_that_started_the_run(desk: Desk) -> None:
    # Also where that process has a parent of its own, as under a code server.
    result = desk.run()
    assert starter_of(desk.instance, result.run_id) == os.getpid()
    assert desk.evidence.run(result.run_id).genesis.data["owner"]["pid"] == os.getpid()
    waiting = desk.instance.create_run_for_job(desk.definitions().resolve_job_def("sleeve_pipeline"))
    assert starter_of(desk.instance, waiting.run_id) is None


def test_the_last_step_closes_the_run_before_it_is_projected(desk: Desk) -> None:
    result = desk.run(only=None)
    assert result.success
    assert desk.projections == [desk.home]
    run = desk.evidence.run(result.run_id)
    assert run.outcome is not None
    assert run.outcome.data["outcome"] == "ok"
    assert "tracking.mlflow" not in run.outcome.data["steps"]["ok"]
    (shown,) = [
        e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(["tracking", "mlflow"])
    ]
    assert shown.materialization.metadata["state"].value == "deferred"
