"""Shows the ledger in MLflow. The only importer of mlflow and dagster_mlflow.

The ledger is the truth and MLflow a view of it, written after the fact: a tracker that is down defers the projection
and changes nothing else. projection.py and artifacts.py decide what is shown of a run; experiment.py writes it.
"""

import fcntl
import logging
import math
import multiprocessing
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Event
from typing import TextIO, TypeVar
from urllib.parse import urlsplit

from quant_assets.resources.experiment import EXPERIMENT, Door, Experiment, Projection, dump_experiment, find_mlflow_run
from quant_assets.resources.projection import truncate
from quant_core.evidence.files.documents import make_folder, temp_file
from quant_core.evidence.runs.commits import Evidence
from quant_core.masking import mask_secrets

T = TypeVar("T")

DATABASE = "mlflow.db"
# Set before mlflow is imported, for the whole process. This project loads no pickled models.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
_PROBE_S = 1.0


def create_store(home: Path) -> str:
    """Create the local store of a home with its experiment, unless it is there; return its URI.

    MLflow needs about ten seconds for a new database, so it is made before the first run; it appears whole or not
    at all.
    """
    folder = make_folder(home.absolute() / "mlflow")
    if not (folder / DATABASE).exists():
        with temp_file(folder) as file:
            client = _door().mlflow.MlflowClient(_sqlite(file.path))
            client.create_experiment(EXPERIMENT, artifact_location=_artifact_folder(home))
            with suppress(FileExistsError):  # another process was first
                file.publish(DATABASE, replace=False)
    return _sqlite(folder / DATABASE)


def project(home: Path, uri: str | None = None, *, budget_s: float = 5.0) -> Projection:
    """Show in MLflow every run of a home with records it does not show yet.

    Parameters
    ----------
    home : Path
    uri : str, optional
        Tracking server or database. Default: the local store of the home.
    budget_s : float
        Seconds this may take, beyond importing mlflow and creating the local store.
    """
    return MLflowTracker(home, uri).project(budget_s=budget_s)


def rebuild(home: Path, uri: str | None = None) -> Projection:
    """Delete the MLflow view of a home and rebuild it from the ledger."""
    return MLflowTracker(home, uri).rebuild()


def dump(uri: str) -> str:
    """Return the contents of a store as canonical JSON, without MLflow's own ids: equal views give equal text."""
    return dump_experiment(_door().mlflow.MlflowClient(uri))


class MLflowTracker:
    """Projects the ledger of one home into one MLflow store: one flat run per run id.

    Attributes
    ----------
    evidence : Evidence
        The home.
    uri : str
        The store; by default the local one of the home.
    """

    def __init__(self, home: Path, uri: str | None = None) -> None:
        self.evidence = Evidence(home)
        self.is_local = not uri
        self.uri = uri or _sqlite(self.evidence.home / "mlflow" / DATABASE)

    def project(self, *, budget_s: float = 5.0) -> Projection:
        """Show every run with records the store does not show yet."""
        runs = self.evidence.runs()
        if not runs:
            return Projection("projected", 0, "", -1)
        return self._run_alone(lambda experiment, deadline: experiment.catch_up(runs, deadline), budget_s)

    def rebuild(self) -> Projection:
        """Delete the runs the store shows of this home and project all of them again, however long it takes.

        The local store has no other home to care for, so all of its runs go. Deleted runs stay in MLflow's trash
        until `mlflow gc`.
        """
        runs = self.evidence.runs()

        def work(experiment: Experiment, deadline: float) -> Projection:
            experiment.clear(runs, everything=self.is_local)
            return experiment.catch_up(runs, deadline)

        return self._run_alone(work, math.inf) if runs else Projection("projected", 0, "", -1)

    def mlflow_run_of(self, run_id: str) -> str | None:
        """Return MLflow's id of a run; None if it is not shown."""
        return find_mlflow_run(_door().mlflow.MlflowClient(self.uri), run_id)

    def run_of(self, mlflow_run_id: str) -> str | None:
        """Return the run id behind one of MLflow's; None if it is not of this project."""
        tags: dict[str, str] = _door().mlflow.MlflowClient(self.uri).get_run(mlflow_run_id).data.tags
        return tags.get("quant.run_id")

    def _run_alone(self, work: "Callable[[Experiment, float], Projection]", budget_s: float) -> Projection:
        """Do `work` as the home's only projector, until the first failure or the end of the budget."""
        started = time.monotonic()
        try:
            _within(_PROBE_S, lambda: _probe(self.uri))
        except (OSError, ValueError) as error:  # ValueError: no address, such as one whose password has a bare / or @
            return self._defer(error)
        left_s = budget_s - (time.monotonic() - started)
        door = _door()
        from sqlalchemy.exc import SQLAlchemyError  # comes with mlflow, which lets some of them through

        is_over = Event()
        try:
            folder = self._open_local_store(door)
            # Between two runs there is time to keep what was done; inside a call only the budget ends it.
            deadline = time.monotonic() + 0.7 * left_s

            def alone() -> Projection:
                with _sole_projector(self.evidence.home, deadline, is_over):
                    return work(Experiment(self.evidence, self.uri, door, artifact_folder=folder), deadline)

            return _within(left_s, alone)
        except (door.mlflow.exceptions.MlflowException, SQLAlchemyError, OSError) as error:
            return self._defer(error)
        finally:
            is_over.set()

    def _open_local_store(self, door: Door) -> str | None:
        """Do the slow local preparation once, without network; return where the local store keeps files."""
        if self.is_local:
            create_store(self.evidence.home)
        if urlsplit(self.uri).scheme == "sqlite":
            door.mlflow.MlflowClient(self.uri)  # imports mlflow's database layer
        return _artifact_folder(self.evidence.home) if self.is_local else None

    def _defer(self, error: Exception) -> Projection:
        environ = {**os.environ, "QUANT_MLFLOW_URI": self.uri}
        return Projection("deferred", 0, truncate(mask_secrets(f"{type(error).__name__}: {error}", environ)), -1)


def _door() -> Door:
    """Return mlflow and dagster-mlflow; the first call imports them, which takes seconds."""
    os.environ.update(ENVIRONMENT)
    from dagster import BetaWarning

    # The version is pinned: a beta cannot change under us.
    warnings.filterwarnings(
        "ignore", message=".*`(MlFlow|mlflow_tracking|_create_mlflow_run_hook)`", category=BetaWarning
    )
    import mlflow
    import mlflow.exceptions
    from dagster_mlflow.resources import MlFlow

    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return Door(mlflow, MlFlow)


def _artifact_folder(home: Path) -> str:
    return (home.absolute() / "mlflow" / "artifacts").as_uri()


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path}"


def _probe(uri: str) -> None:
    """Raise OSError if the host in `uri` does not answer; a file has no host."""
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=_PROBE_S).close()


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Return the result of `work`; raise TimeoutError if it takes longer.

    It works in a thread that blocks nothing, not even the end of the process, and a run that is active in the
    calling thread is none of its business.
    """
    with ThreadPool(1) as pool:
        try:
            return pool.apply_async(work).get(None if math.isinf(seconds) else max(seconds, 0.0))
        except multiprocessing.TimeoutError as error:
            raise TimeoutError(f"no answer within {seconds:.1f} s") from error


@contextmanager
def _sole_projector(home: Path, deadline: float, is_over: Event) -> Iterator[None]:
    """Keep other projectors of this home out: creating a run in MLflow is not atomic."""
    path = make_folder(home / "mlflow") / "projector.lock"
    with path.open("w") as lock:
        while not _is_locked(lock):
            if is_over.wait(0.05) or time.monotonic() > deadline:
                raise TimeoutError("another projection of this home is at work")
        yield


def _is_locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
