"""Writes runs into MLflow, and reads them back, through the client it is given. It imports no mlflow: tracking.py does.

projection.py and artifacts.py decide what is written of a run.
"""

import logging
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from quant_assets.resources.artifacts import artifacts_of
from quant_assets.resources.projection import Point, RunView, last_record, truncate, view_of
from quant_core.errors import EvidenceError
from quant_core.evidence.ledger.canonical import canonical_bytes
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.index import Run
from quant_core.evidence.runs.manifest import Manifest, read_manifest

EXPERIMENT = "quant"
_BATCH = 500


@dataclass(frozen=True)
class Door:
    """The modules tracking.py has imported: the module mlflow, and dagster-mlflow's class MlFlow."""

    mlflow: Any
    adopt: Any


@dataclass(frozen=True)
class Projection:
    """The result of a projection.

    Attributes
    ----------
    state : "projected" or "deferred"
        Deferred: a later projection makes up for it.
    runs : int
        Runs written by this one.
    reason : str
        Why it is deferred.
    seq : int
        Last record of the ledger the store is known to show; -1 where that is not known.
    """

    state: Literal["projected", "deferred"]
    runs: int
    reason: str
    seq: int


class Experiment:
    """The experiment of one store, written by one projector at a time."""

    def __init__(self, evidence: Evidence, uri: str, door: Door, *, artifact_folder: str | None) -> None:
        self._evidence, self._uri, self._door = evidence, uri, door
        self._client = door.mlflow.MlflowClient(uri)
        self._experiment = self._open_experiment(artifact_folder)

    def catch_up(self, runs: Sequence[Run], deadline: float) -> Projection:
        """Write the runs with records behind the cursor, one at least, and move it; stop early at the deadline.

        The cursor is kept in the store itself, so a deleted store is filled from the start. A projector killed before
        it moved the cursor leaves runs that are written again: that changes nothing.
        """
        cursor = _cursor_of(runs)
        seq = known = _position(self._experiment.tags.get(cursor, "-1"))
        waiting = sorted((run for run in runs if last_record(run).seq > known), key=lambda run: last_record(run).seq)
        written = 0
        for run in waiting:
            if written and time.monotonic() > deadline:
                break
            self._write(run)
            seq, written = last_record(run).seq, written + 1
        if seq > known:
            self._client.set_experiment_tag(self._experiment.experiment_id, cursor, seq)
        if left := len(waiting) - written:
            return Projection("deferred", written, f"{left} more runs than there was time for", seq)
        return Projection("projected", written, "", seq)

    def clear(self, runs: Sequence[Run], *, everything: bool) -> None:
        """Delete the runs shown of this ledger, or every run. The cursor goes first: a kill between loses nothing."""
        experiment_id = self._experiment.experiment_id
        self._client.set_experiment_tag(experiment_id, _cursor_of(runs), -1)
        self._experiment = self._client.get_experiment(experiment_id)
        which = "" if everything else f"tags.`quant.ledger` = '{runs[0].genesis.ledger_id}'"
        for run in list(_search_runs(self._client, experiment_id, which)):
            self._client.delete_run(run.info.run_id)

    def _open_experiment(self, artifact_folder: str | None) -> Any:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            new = self._client.create_experiment(EXPERIMENT, artifact_location=artifact_folder)
            return self._client.get_experiment(new)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return found

    def _write(self, run: Run) -> None:
        manifest, fault = _manifest_of(self._evidence, run)
        view = view_of(run, manifest, self._evidence.ledger.anchor(last_record(run).seq + 1))
        tags = {**view.tags, **({"quant.manifest_fault": fault} if fault else {})}
        mlflow_id = _find_in(self._client, self._experiment.experiment_id, run.run_id)
        if mlflow_id is None:
            new = self._client.create_run(
                self._experiment.experiment_id, start_time=view.started_ms, tags=tags, run_name=run.run_id
            )
            mlflow_id = str(new.info.run_id)
        if view.ended_ms is None:
            self._log(mlflow_id, tags, ())
            return
        with self._adopt_run(mlflow_id, view) as tracked:
            tracked.log_params(dict(view.params))
            self._log(mlflow_id, tags | self._log_artifacts(mlflow_id, run), view.metrics)
        self._client.set_terminated(mlflow_id, status=view.status, end_time=view.ended_ms)

    @contextmanager
    def _adopt_run(self, mlflow_id: str, view: RunView) -> Iterator[Any]:
        """Have dagster-mlflow take over a run that exists: left to itself it creates one, without a lock."""
        config = {
            "experiment_name": EXPERIMENT,
            "mlflow_tracking_uri": self._uri,
            "mlflow_run_id": mlflow_id,
            "env": {},
            "extra_tags": {},
        }
        context = SimpleNamespace(
            log=logging.getLogger(__name__),
            run_id=view.run_id,
            dagster_run=SimpleNamespace(job_name=view.run_id),
            resource_config=config,
        )
        tracked = self._door.adopt(context)
        try:
            yield tracked
        finally:
            tracked.end_run(view.status)  # else the next one logs into this run

    def _log(self, mlflow_id: str, tags: Mapping[str, str], points: Sequence[Point]) -> None:
        entities = self._door.mlflow.entities
        self._client.log_batch(mlflow_id, tags=[entities.RunTag(*tag) for tag in tags.items()])
        for first in range(0, len(points), _BATCH):
            batch = points[first : first + _BATCH]
            self._client.log_batch(
                mlflow_id, metrics=[entities.Metric(point.name, point.value, point.at_ms, 0) for point in batch]
            )

    def _log_artifacts(self, mlflow_id: str, run: Run) -> dict[str, str]:
        """Send the files that may be shown; return the tag that names the others."""
        kept, left_out = artifacts_of(self._evidence, run)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in kept.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            if kept:
                self._client.log_artifacts(mlflow_id, folder)
        return {"quant.artifacts_left_out": truncate("; ".join(left_out.values()))} if left_out else {}


def dump_experiment(client: Any) -> str:
    """Return the shown experiment as canonical JSON, without MLflow's own ids."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = _search_runs(client, experiment.experiment_id, "") if experiment else ()
    shown = sorted((_as_plain(client, run) for run in runs), key=lambda run: (run["name"], run["start_time"]))
    return canonical_bytes(shown, indented=True).decode()


def find_mlflow_run(client: Any, run_id: str) -> str | None:
    """Return MLflow's id of a run; None if it is not shown."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return _find_in(client, experiment.experiment_id, run_id) if experiment else None


def _manifest_of(evidence: Evidence, run: Run) -> tuple[Manifest | None, str]:
    """Return the manifest of a run, or what is wrong with it; a run may have none."""
    sha256 = run.genesis.data.get("manifest")
    if sha256 is None:
        return None, ""
    try:
        return read_manifest(evidence.home, run.run_id, sha256=sha256), ""
    except EvidenceError as error:
        return None, truncate(str(error))


def _cursor_of(runs: Sequence[Run]) -> str:
    return f"quant.cursor.{runs[0].genesis.ledger_id}"


def _position(tag: str) -> int:
    """Return the position in a cursor; one written by hand counts as not known."""
    return int(tag) if re.fullmatch(r"\d{1,18}", tag) else -1


def _search_runs(client: Any, experiment_id: str, which: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment_id], which, max_results=_BATCH, page_token=token)
        yield from page
        if not (token := page.token):
            return


def _as_plain(client: Any, run: Any) -> dict[str, Any]:
    points = {name: client.get_metric_history(run.info.run_id, name) for name in sorted(run.data.metrics)}
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "start_time": run.info.start_time,
        "end_time": run.info.end_time,
        "tags": {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")},
        "params": run.data.params,
        "metrics": {name: sorted([p.step, p.timestamp, p.value] for p in history) for name, history in points.items()},
        "artifacts": sorted(_list_artifacts(client, run.info.run_id, None)),
    }


def _list_artifacts(client: Any, mlflow_id: str, folder: str | None) -> Iterator[list[Any]]:
    for file in client.list_artifacts(mlflow_id, folder):
        if file.is_dir:
            yield from _list_artifacts(client, mlflow_id, file.path)
        else:
            yield [file.path, file.file_size]


def _find_in(client: Any, experiment_id: str, run_id: str) -> str | None:
    quote = '"' if "'" in run_id else "'"
    found = client.search_runs([experiment_id], f"tags.`quant.run_id` = {quote}{run_id}{quote}", max_results=1)
    return str(found[0].info.run_id) if found else None
