import os
import subprocess
import sys
from pathlib import Path

import click
import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.instance.ref import InstanceRef
from tiny_desk import Desk, events_of

from quant_assets import commands
from quant_assets.home import dagster_home, dagster_yaml, prepare
from quant_assets.location import code_location, warn_without_home
from quant_core.errors import ConfigError, UnknownNameError, UsageError
from quant_core.evidence.files.writer import Writer, boot_id
from quant_core.settings import CHECKOUT


def test_the_checkout_keeps_dagster_below_its_quant_folder() -> None:
    assert (CHECKOUT / "dagster.yaml").read_text() == dagster_yaml(".quant/dagster")


def test_a_prepared_home_is_one_dagster_starts_with(desk: Desk, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "prepared")
    assert folder == tmp_path / "prepared" / "dagster"
    assert (tmp_path / "prepared" / "mlflow").is_dir()
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder))) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
    assert (folder / "storage").is_dir()
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    dagster_home(tmp_path / "prepared")
    assert (folder / "dagster.yaml").read_text().startswith("telemetry")


def test_a_relative_home_is_refused() -> None:
    with pytest.raises(UsageError, match="absolute"):
        prepare(Path("somewhere"))


@pytest.mark.parametrize(("name", "value"), [("QUANT_ENV", "staging"), ("QUANT_EXECUTOR", "threads")])
def test_an_unknown_choice_stops_the_load(desk: Desk, name: str, value: str) -> None:
    with pytest.raises((UnknownNameError, ConfigError), match=value):
        code_location({**desk.environ, name: value}, package="tiny_graph")


def test_a_broken_sleeve_file_stops_the_load_and_is_named(desk: Desk) -> None:
    (desk.sleeves / "broken.toml").write_text("[sleeve]\nname = 3\n[source]\n")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        desk.definitions()


def test_a_new_sleeve_is_a_new_file(desk: Desk) -> None:
    (desk.sleeves / "third.toml").write_text((desk.sleeves / "tiny.toml").read_text().replace("tiny", "third"))
    definitions = desk.definitions()
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey(["ingest", "raw"])).partitions_def.get_partition_keys() == ["other", "third", "tiny"]
    assert definitions.resolve_schedule_def("third_close").default_status == dg.DefaultScheduleStatus.STOPPED


def test_production_runs_only_where_it_is_told_to(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.environ = {**desk.environ, "QUANT_ENV": "production"}
    refused = desk.run()
    assert not refused.success
    assert not events_of(refused, "STEP_START")
    assert "QUANT_COMPUTE is not set" in str(events_of(refused, "PIPELINE_FAILURE")[0].event_specific_data)
    monkeypatch.setenv("QUANT_COMPUTE", "serial")
    assert desk.run().success


def test_two_sleeves_do_not_see_each_other(desk: Desk) -> None:
    (desk.sleeves / "other.toml").write_text((desk.sleeves / "other.toml").read_text().replace("30", "20"))
    assert desk.run().success
    assert desk.run(partition_key="other").success
    rows = {
        sleeve: record.data["valid"]["rows"]
        for (stage, sleeve), record in desk.evidence.heads().items()
        if stage == "ingest.raw"
    }
    assert rows == {"tiny": 30, "other": 20}


def test_a_run_whose_process_died_is_closed_by_the_next_one(desk: Desk) -> None:
    gone = Writer(pid=os.getpid(), boot_id=boot_id(), started=1)
    desk.evidence.open_run("dead", {"sleeve": "tiny"}, owner=gone)
    # Its genesis was written by this process, which lives: only a run of another process can be dead.
    child = f"""
from quant_core.evidence.runs.commits import Evidence
from pathlib import Path
Evidence(Path({str(desk.home)!r})).open_run("killed", {{"sleeve": "tiny"}})
"""
    subprocess.run([sys.executable, "-c", child], check=True, cwd=CHECKOUT)
    assert desk.evidence.run("killed").outcome is None
    assert desk.run().success
    outcome = desk.evidence.run("killed").outcome
    assert outcome is not None
    assert outcome.data["outcome"] == "abandoned"


def test_an_interrupted_run_is_cancelled_in_the_ledger(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiny_graph.ingest.stages._scaled", _interrupted)
    assert not desk.run().success
    (run,) = desk.evidence.runs()
    assert run.outcome is not None
    assert run.outcome.data["outcome"] == "cancelled"
    assert run.outcome.data["steps"]["cancelled"] == ["ingest.bars"]
    assert run.outcome.data["steps"]["ok"] == ["ingest.raw"]


def _interrupted(price: float, scale: float) -> float:
    raise KeyboardInterrupt


def test_a_missing_dagster_home_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match="DAGSTER_HOME"):
        warn_without_home({})
    warn_without_home({"DAGSTER_HOME": "/somewhere"})


def test_the_audit_finds_a_table_whose_bytes_changed(desk: Desk) -> None:
    first = desk.execute()
    path = desk.home / desk.evidence.heads()[("ingest.bars", "tiny")].data["valid"]["path"]
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(bytes(content))
    again = dg.ReexecutionOptions(parent_run_id=first.run_id, step_selection=["ingest__bars_audit"])
    result = desk.execute(reexecution_options=again)
    assert result.success  # an audit is no gate
    (found,) = [e.event_specific_data for e in result.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert not found.passed
    assert "has other bytes" in (found.description or "")


def test_the_ui_starts_dagster_on_this_machine_with_a_home_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(os, "execve", lambda path, command, environ: seen.append((command, environ)))
    done = CliRunner().invoke(commands.ui, ["--home", str(tmp_path / "ui"), "--port", "3999"])
    assert done.exception is None
    ((command, environ),) = seen
    assert " ".join(command[1:]) == f"-m dagster dev -m definitions -h 127.0.0.1 -p 3999 -d {CHECKOUT}"
    assert environ["DAGSTER_HOME"] == str(tmp_path / "ui" / "dagster")
    assert environ["QUANT_HOME"] == str(tmp_path / "ui")
    assert (tmp_path / "ui" / "dagster" / "dagster.yaml").is_file()


def test_the_tracker_is_made_anew_from_the_ledger(desk: Desk) -> None:
    assert isinstance(commands.mlflow, click.Command)
    done = CliRunner().invoke(commands.mlflow, ["--home", str(desk.home)])
    assert done.output == "projected: 3 runs\n"
    assert desk.projections == [desk.home]
