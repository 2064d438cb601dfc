import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from tiny_desk import Desk, events_of

from quant_assets.jobs import sleeve_pipeline
from quant_assets.schedules import close_schedule, crons_after, session_closed_at
from quant_assets.sensors import ALERT, canceled_runs, failed_runs, finished_runs, raw_files
from quant_core.evidence.files.writer import Writer, boot_id
from quant_core.evidence.ledger.chain import Position
from quant_core.market.calendar import calendar
from quant_core.market.sleeves import Sleeve, SleeveFile

LONG_AGO = 1_700_000_000


def landed(path: Path, content: bytes, at: int = LONG_AGO) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))


def tick(sensor: dg.SensorDefinition, cursor: str | None = None) -> tuple[list[str | None], str | None]:
    said = sensor(dg.build_sensor_context(cursor=cursor))
    if isinstance(said, dg.SkipReason):
        return [], cursor
    assert isinstance(said, dg.SensorResult)
    assert {request.partition_key for request in said.run_requests or []} <= {"mine"}
    return [request.run_key for request in said.run_requests or []], said.cursor


def test_new_content_starts_one_run_and_a_new_date_alone_none(tmp_path: Path) -> None:
    file = tmp_path / "in" / "bars.parquet"
    sensor = raw_files({"mine": file}, sleeve_pipeline())
    assert tick(sensor) == ([], None)  # nothing landed yet
    landed(file, b"one")
    (first,), cursor = tick(sensor)
    assert tick(sensor, cursor) == ([], cursor)
    landed(file, b"one", at=LONG_AGO + 60)  # touched
    requests, cursor = tick(sensor, cursor)
    assert requests == []
    landed(file, b"two", at=LONG_AGO + 120)
    (second,), cursor = tick(sensor, cursor)
    assert first != second
    assert {key.partition(":")[0] for key in (first or "", second or "")} == {"mine"}
    assert set(json.loads(cursor or "")) == {"mine"}


def test_a_folder_counts_as_a_whole_and_a_fresh_file_waits(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    sensor = raw_files({"mine": folder}, sleeve_pipeline())
    landed(folder / "a.csv", b"one")
    (_,), cursor = tick(sensor)
    (folder / "b.csv").write_bytes(b"half of a fi")
    assert tick(sensor, cursor) == ([], cursor)
    landed(folder / "b.csv", b"half of a file, and the other")
    (_,), _ = tick(sensor, cursor)


def opened_elsewhere(desk: Desk, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """Open a run as a step process does that is gone by now."""
    job = desk.definitions().resolve_job_def("sleeve_pipeline")
    run = desk.instance.create_run_for_job(job, status=status, tags={"dagster/partition": "tiny"})
    owner = Writer(pid=1, boot_id=boot_id(), started=0)
    desk.evidence.open_run(run.run_id, {"sleeve": "tiny", "started_by": "dagster"}, owner=owner)
    return run


@pytest.mark.parametrize(
    ("sensor", "kind", "status", "outcome"),
    [
        (finished_runs, dg.DagsterEventType.RUN_SUCCESS, dg.DagsterRunStatus.SUCCESS, "failed"),
        (canceled_runs, dg.DagsterEventType.RUN_CANCELED, dg.DagsterRunStatus.CANCELED, "cancelled"),
    ],
)
def test_a_run_that_could_not_close_itself_is_closed_once(
    desk: Desk,
    sensor: dg.SensorDefinition,
    kind: dg.DagsterEventType,
    status: dg.DagsterRunStatus,
    outcome: str,
) -> None:
    # A success that ran none of its steps is not one: the ledger believes the steps.
    run = opened_elsewhere(desk, status)
    event = dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name)
    for _ in range(2):
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name, dagster_event=event, dagster_instance=desk.instance, dagster_run=run
        )
        sensor(context)
    closed = desk.evidence.run(run.run_id).outcome
    assert closed is not None
    assert closed.data["outcome"] == outcome
    assert "ingest.raw" in closed.data["steps"]["unfinished"]


def test_without_sensors_the_next_run_closes_what_dagster_saw_the_end_of(desk: Desk) -> None:
    ended = opened_elsewhere(desk, dg.DagsterRunStatus.CANCELED)
    going_on = opened_elsewhere(desk, dg.DagsterRunStatus.STARTED)
    assert desk.run().success
    closed = desk.evidence.run(ended.run_id).outcome
    assert closed is not None
    assert closed.data["outcome"] == "cancelled"
    assert desk.evidence.run(going_on.run_id).outcome is None


def failure_context(desk: Desk, result: dg.ExecuteInProcessResult) -> dg.RunFailureSensorContext:
    (event,) = events_of(result, "PIPELINE_FAILURE")
    return dg.build_run_status_sensor_context(
        sensor_name="failed_runs",
        dagster_event=event,
        dagster_instance=desk.instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()


def test_a_failed_run_leaves_one_alert(desk: Desk) -> None:
    result = desk.run(config={"ingest__bars": {"fault": "source"}})
    for _ in range(2):
        failed_runs(failure_context(desk, result))
    (note,) = desk.evidence.run(result.run_id).notes
    assert note.kind == ALERT
    assert note.data["opened"] is True
    assert "ingest__bars" in note.data["message"]


def test_a_run_that_never_opened_leaves_an_alert_too(desk: Desk) -> None:
    result = desk.run(config={"ingest__bars": {"scale": -1.0}})
    failed_runs(failure_context(desk, result))
    records = [record for record, _ in desk.evidence.ledger.since(Position())]
    assert [record.kind for record in records] == [ALERT]
    assert records[0].data["opened"] is False


def sleeve(name: str) -> SleeveFile:
    return SleeveFile(Sleeve(name="mine", calendar=name), {})


@pytest.mark.parametrize(
    ("name", "crons"),
    [
        ("24/7", ["30 0 * * *"]),
        ("24/5", ["30 20 * * 1,2,3,4,5"]),
        ("XNYS", [f"30 {hour} * * 1,2,3,4,5" for hour in (17, 18, 20, 21)]),
    ],
)
def test_a_schedule_ticks_half_an_hour_after_every_close_of_its_calendar(name: str, crons: list[str]) -> None:
    closes = calendar(name).sessions(date(2025, 1, 1), date(2025, 12, 31))["closes_at"]
    assert crons_after(closes) == crons


@pytest.mark.parametrize(
    ("tick", "session"),
    [
        (datetime(2025, 1, 15, 21, 30, tzinfo=UTC), date(2025, 1, 15)),  # winter: 16:00 in New York is 21:00
        (datetime(2025, 7, 15, 20, 30, tzinfo=UTC), date(2025, 7, 15)),
        (datetime(2025, 7, 15, 21, 30, tzinfo=UTC), None),
        (datetime(2025, 11, 28, 18, 30, tzinfo=UTC), date(2025, 11, 28)),  # the short day after Thanksgiving
        (datetime(2025, 11, 27, 21, 30, tzinfo=UTC), None),  # Thanksgiving
        (datetime(2025, 1, 18, 21, 30, tzinfo=UTC), None),  # a Saturday
    ],
)
def test_a_schedule_runs_after_a_session_and_else_says_why_not(tick: datetime, session: date | None) -> None:
    schedule = close_schedule(sleeve("XNYS"), sleeve_pipeline(), today=date(2025, 12, 31))
    said = schedule(dg.build_schedule_context(scheduled_execution_time=tick))
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    if session is None:
        assert isinstance(said, dg.SkipReason)
        assert "no session of XNYS closed" in (said.skip_message or "")
    else:
        assert isinstance(said, dg.RunRequest)
        assert (said.partition_key, said.run_key) == ("mine", f"mine:{session}")


def test_a_day_of_an_always_open_market_closes_at_the_next_midnight() -> None:
    closed = session_closed_at(calendar("24/7"), datetime(2025, 3, 2, 0, 0, tzinfo=UTC))
    assert closed == date(2025, 3, 1)
    assert isinstance(crons_after(pl.Series("closes_at", [datetime(2025, 3, 2, tzinfo=UTC)])), list)
