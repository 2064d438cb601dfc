"""Sensors: new raw files start runs; ended runs are closed in the ledger; conditions start what is stale.

How a run ended is read in outcomes.py; schedules.py starts runs after the market's close.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition  # a type only

from quant_assets.outcomes import close_run
from quant_assets.resources.run_settings import launch_values
from quant_core.evidence.runs.commits import Evidence
from quant_core.masking import mask_secrets
from quant_core.settings import Settings

ALERT = "alert"
# A file written to this recently may not be whole yet.
SETTLED_S = 10.0


def raw_files(paths: Mapping[str, Path], job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Return the sensor that starts a run when the raw files of a sleeve have new content.

    Parameters
    ----------
    paths : mapping of sleeve to file or folder
    job : UnresolvedAssetJobDefinition
    """

    @dg.sensor(
        name="raw_files",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Starts a sleeve's run when its raw files have other bytes than at the last run.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        known: dict[str, dict[str, str]] = json.loads(context.cursor or "{}")
        seen, requests = dict(known), []
        for sleeve, path in paths.items():
            before = known.get(sleeve, {})
            look = look_of(path)
            if look is None or look == before.get("look"):
                continue
            content = content_of(path)
            seen[sleeve] = {"look": look, "sha256": content}
            if content != before.get("sha256"):
                requests.append(dg.RunRequest(run_key=f"{sleeve}:{content}", partition_key=sleeve))
        if seen == known:
            return dg.SkipReason(f"no raw file of {', '.join(paths) or 'any sleeve'} has changed.")
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))

    return sensor


def look_of(path: Path) -> str | None:
    """Return a mark that changes if files may have changed, read from no file; None while one is missing or growing."""
    stats = [(str(file.relative_to(path.parent)), file.stat()) for file in _files(path)]
    if not stats or time.time() - max(stat.st_mtime for _, stat in stats) < SETTLED_S:
        return None
    return hashlib.sha256(repr([(name, s.st_size, s.st_mtime_ns) for name, s in stats]).encode()).hexdigest()


def content_of(path: Path) -> str:
    """Return one SHA-256 over names and bytes of a file, or of every file of a folder."""
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{file.relative_to(path.parent)}\0{content}\0".encode())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Closes a failed run in the ledger and records an alert.",
)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """Close the run, then record a note: without an outcome, the note of this process would make the run look alive."""
    evidence, run_id = _evidence(context.dagster_run), context.dagster_run.run_id
    was_opened = close_run(evidence, context.instance, run_id)
    if was_opened and any(note.kind == ALERT for note in evidence.run(run_id).notes):
        return
    message = mask_secrets(context.failure_event.message or "", os.environ)
    alert = {"job": context.dagster_run.job_name, "message": message, "opened": was_opened}
    evidence.note(run_id, ALERT, alert)


@dg.run_status_sensor(
    name="finished_runs",
    run_status=dg.DagsterRunStatus.SUCCESS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Closes a run in the ledger whose steps had processes of their own.",
)
def finished_runs(context: dg.RunStatusSensorContext) -> None:
    """Close the run unless it closed itself."""
    close_run(_evidence(context.dagster_run), context.instance, context.dagster_run.run_id)


@dg.run_status_sensor(
    name="canceled_runs",
    run_status=dg.DagsterRunStatus.CANCELED,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Closes a cancelled run in the ledger.",
)
def canceled_runs(context: dg.RunStatusSensorContext) -> None:
    """Close the run unless it closed itself."""
    close_run(_evidence(context.dagster_run), context.instance, context.dagster_run.run_id)


def stale_tables() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that materializes tables when their condition asks for it; it is off until switched on."""
    return dg.AutomationConditionSensorDefinition(
        "stale_tables",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        description="Materializes what is missing or older than its inputs.",
    )


def _evidence(run: dg.DagsterRun) -> Evidence:
    return Evidence(Settings.from_environment(os.environ, home=launch_values(run).get("home")).home)
