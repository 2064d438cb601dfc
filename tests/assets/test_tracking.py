import fcntl
import hashlib
import json
import math
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import polars as pl
import pytest

from quant_assets.resources import tracking
from quant_assets.resources.experiment import Experiment
from quant_assets.resources.tracking import MLflowTracker, create_store, dump, project, rebuild
from quant_core.evidence.ledger.canonical import canonical_bytes
from quant_core.evidence.runs.commits import Evidence, Outcome
from quant_core.evidence.runs.manifest import CodeFacts, Manifest, SleeveFileFacts, write_manifest

pytestmark = [
    # mlflow's own use of SQLAlchemy 2.1 and of its own older names.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

CODE = CodeFacts(
    git_commit="c" * 40,
    is_dirty=False,
    dirty_hash=None,
    git_reason=None,
    source_hash="e" * 64,
    lock_hash=None,
    packages={},
)


@pytest.fixture(scope="session")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("created")
    create_store(home)
    return home


@pytest.fixture
def home(created: Path, tmp_path: Path) -> Path:
    """A home with an empty ledger and a store as `create_store` makes it."""
    place_store(created, tmp_path / "home")
    return tmp_path / "home"


def place_store(created: Path, home: Path) -> str:
    database = home / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    shutil.copy(created / "mlflow" / "mlflow.db", database)
    with closing(sqlite3.connect(database)) as connection, connection:
        where = (home / "mlflow" / "artifacts").as_uri()
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'quant'", [where])
    return f"sqlite:///{database}"


def opened(home: Path, run_id: str, **facts: Any) -> Evidence:
    manifest = Manifest(
        run_id=run_id,
        sleeve="us",
        as_of=None,
        seed=7,
        code=CODE,
        sleeve_file=SleeveFileFacts(name="us.toml", sha256=None),
        params={"synthesis.selection": {"floor": 15, "weights": {"momentum": 1.0}}},
        origins={},
        inputs={},
        pins={},
    )
    _, sha256 = write_manifest(home, manifest)
    evidence = Evidence(home)
    evidence.open_run(run_id, {"sleeve": "us", "manifest": sha256, "code": CODE.model_dump(), **facts})
    return evidence


def committed(evidence: Evidence, run_id: str, stage: str, frame: pl.DataFrame, **metrics: float) -> None:
    parts = {
        part: evidence.store.write(table, stage=stage, sleeve="us", key=frame.columns[:1], part=part)
        for part, table in (("valid", frame), ("exclusions", frame.clear()))
    }
    facts = {"excluded": {"rule": 2}, "metrics": metrics, "parents": {}}
    evidence.commit(run_id=run_id, stage=stage, sleeve="us", facts=facts, **parts)


def whole_run(home: Path, run_id: str, outcome: Outcome | None = "ok", **facts: Any) -> None:
    evidence = opened(home, run_id, **facts)
    number = float(len(evidence.runs()))
    atoms = pl.DataFrame({"atom": [f"{run_id}:{k:02}" for k in range(50)]})
    committed(evidence, run_id, "inference.conviction", atoms, **{"inference.known": number})
    committed(evidence, run_id, "synthesis.atoms", atoms, **{"synthesis.atoms": 50.0})
    committed(evidence, run_id, "backtest.metrics", pl.DataFrame({"k": [number]}), sharpe=number / 3)
    if outcome:
        evidence.close_run(run_id, outcome, {"ok": ["synthesis.atoms"]})


def shown(home: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(dump(MLflowTracker(home).uri))
    return runs


def client_of(home: Path) -> Any:
    return tracking._door().mlflow.MlflowClient(MLflowTracker(home).uri)


def ledger_of(home: Path) -> bytes:
    return (home / "audit.jsonl").read_bytes()


def test_the_store_appears_whole_and_is_made_once(created: Path) -> None:
    folder = created / "mlflow"
    before = (folder / "mlflow.db").stat()
    assert create_store(created) == f"sqlite:///{folder / 'mlflow.db'}"
    after = (folder / "mlflow.db").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    client = tracking._door().mlflow.MlflowClient(create_store(created))
    assert client.get_experiment_by_name("quant").artifact_location == (folder / "artifacts").as_uri()


def test_an_empty_ledger_shows_nothing(tmp_path: Path) -> None:
    assert project(tmp_path).runs == 0
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_fifty_atoms_is_one_run(home: Path) -> None:
    whole_run(home, "a", parent_run="p", started_by="dagster")
    seen = project(home)
    assert (seen.state, seen.runs, seen.reason, seen.seq) == ("projected", 1, "", Evidence(home).last_seq())
    (run,) = shown(home)
    assert (run["name"], run["status"]) == ("a", "FINISHED")
    assert len(run["metrics"]) == 3 * 3 + 3
    assert {name: points[0][2] for name, points in run["metrics"].items() if "." not in name} == {"sharpe": 1 / 3}
    assert run["metrics"]["inference.known"][0][2] == 1.0
    assert run["metrics"]["rows.synthesis.atoms"][0][2] == 50.0
    assert run["params"] == {
        "sleeve": "us",
        "as_of": "null",
        "seed": "7",
        "synthesis.selection.floor": "15",
        "synthesis.selection.weights.momentum": "1.0",
    }
    assert [name for name, _ in run["artifacts"]] == [
        "manifest.json",
        "tables/backtest.metrics.parquet",
        "tables/synthesis.atoms.parquet",
    ]
    assert run["tags"]["quant.git_commit"] == "c" * 40
    assert run["tags"]["quant.parent_run"] == "p"


def test_files_in_the_store_of_artifacts_are_the_ledgers_bytes(home: Path) -> None:
    whole_run(home, "a")
    project(home)
    (commit,) = [record for record in Evidence(home).run("a").commits if record.data["stage"] == "backtest.metrics"]
    (file,) = (home / "mlflow" / "artifacts").rglob("backtest.metrics.parquet")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == commit.data["valid"]["sha256"]


def test_each_outcome_ends_as_it_should(home: Path) -> None:
    outcomes: dict[str, Outcome | None] = {
        "a": "ok",
        "b": "failed",
        "c": "cancelled",
        "d": "abandoned",
        "e": None,
    }
    for run_id, outcome in outcomes.items():
        whole_run(home, run_id, outcome)
    project(home, budget_s=60)
    runs = {run["name"]: run for run in shown(home)}
    assert [runs[name]["status"] for name in "abcde"] == ["FINISHED", "FAILED", "KILLED", "FAILED", "RUNNING"]
    assert (runs["e"]["end_time"], runs["e"]["metrics"], runs["e"]["params"]) == (None, {}, {})


def test_a_run_at_work_is_completed_later(home: Path) -> None:
    whole_run(home, "a", None)
    project(home)
    evidence = Evidence(home)
    outcome = evidence.close_run("a", "ok", {})
    assert project(home).runs == 1
    (run,) = shown(home)
    ended_ms = int(seconds_of(outcome.ts) * 1000)
    assert (run["status"], run["tags"]["quant.outcome"], len(run["metrics"])) == ("FINISHED", "ok", 12)
    assert run["end_time"] == pytest.approx(ended_ms, abs=1)


def seconds_of(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_an_alert_after_the_end_reaches_the_run(home: Path) -> None:
    whole_run(home, "a", "failed")
    project(home)
    Evidence(home).note("a", "alert", {"message": "look"})
    assert project(home).runs == 1
    (run,) = shown(home)
    assert (run["status"], run["tags"]["quant.notes"]) == ("FAILED", "alert")


def test_nothing_new_writes_nothing(home: Path) -> None:
    whole_run(home, "a")
    first = project(home)
    assert project(home) == tracking.Projection("projected", 0, "", first.seq)


def test_three_replays_leave_one_run_and_one_point(home: Path) -> None:
    whole_run(home, "a")
    whole_run(home, "b", "failed")
    project(home, budget_s=60)
    once, client = dump(MLflowTracker(home).uri), client_of(home)
    experiment = client.get_experiment_by_name("quant")
    (cursor,) = (tag for tag in experiment.tags if tag.startswith("quant.cursor."))
    for _ in range(3):
        client.set_experiment_tag(experiment.experiment_id, cursor, "-1")
        assert project(home, budget_s=60).runs == 2
    assert dump(MLflowTracker(home).uri) == once


@pytest.mark.parametrize(
    "survived", [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow), 2]
)
def test_a_projector_that_dies_in_between_loses_and_doubles_nothing(
    home: Path, created: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    for run_id in "abc":
        whole_run(home, run_id)
    written, write = [], Experiment._log_artifacts

    def dies(self: Experiment, mlflow_id: str, run: Any) -> dict[str, str]:
        if len(written) == survived:
            raise OSError("power cut")
        written.append(run.run_id)
        return write(self, mlflow_id, run)

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "_log_artifacts", dies)
        seen = project(home, budget_s=60)
    assert (seen.state, seen.reason, seen.seq) == ("deferred", "OSError: power cut", -1)
    assert project(home, budget_s=60).state == "projected"
    undisturbed = place_store(created, tmp_path / "undisturbed")
    project(home, undisturbed, budget_s=60)
    assert dump(MLflowTracker(home).uri) == dump(undisturbed)


def test_a_deleted_store_is_rebuilt_equal(home: Path, created: Path, tmp_path: Path) -> None:
    for run_id, outcome in (("a", "ok"), ("b", "failed"), ("c", None)):
        whole_run(home, run_id, outcome)  # type: ignore[arg-type]
    project(home, budget_s=60)
    Evidence(home).close_run("c", "cancelled", {})
    project(home, budget_s=60)
    anew = place_store(created, tmp_path / "anew")
    assert rebuild(home, anew).runs == 3
    assert dump(anew) == dump(MLflowTracker(home).uri)


def test_rebuilding_undoes_what_was_edited_by_hand(home: Path) -> None:
    whole_run(home, "a")
    whole_run(home, "b")
    project(home, budget_s=60)
    before, tracker, client = dump(MLflowTracker(home).uri), MLflowTracker(home), client_of(home)
    a, b = (str(tracker.mlflow_run_of(run_id)) for run_id in "ab")
    client.log_metric(a, "sharpe", 99.0)
    client.set_tag(a, "quant.outcome", "glorious")
    client.delete_run(b)
    client.create_run(client.get_experiment_by_name("quant").experiment_id, run_name="by hand")
    assert dump(tracker.uri) != before
    assert rebuild(home).runs == 2
    assert dump(tracker.uri) == before


def test_a_deleted_experiment_comes_back(home: Path) -> None:
    whole_run(home, "a")
    client = client_of(home)
    client.delete_experiment(client.get_experiment_by_name("quant").experiment_id)
    assert project(home).state == "projected"
    assert [run["name"] for run in shown(home)] == ["a"]


def test_two_homes_share_a_store_without_touching_each_other(home: Path, created: Path, tmp_path: Path) -> None:
    shared = place_store(created, tmp_path / "shared")
    whole_run(home, "a")
    whole_run(tmp_path / "other", "b")
    for place in (home, tmp_path / "other"):
        assert project(place, shared, budget_s=60).runs == 1
    before = dump(shared)
    assert rebuild(home, shared).runs == 1
    assert dump(shared) == before
    assert [run["name"] for run in json.loads(before)] == ["a", "b"]


def test_run_ids_lead_both_ways(home: Path) -> None:
    whole_run(home, "a")
    whole_run(home, "it's b")
    project(home, budget_s=60)
    tracker = MLflowTracker(home)
    for run_id in ("a", "it's b"):
        mlflow_id = tracker.mlflow_run_of(run_id)
        assert mlflow_id is not None
        assert tracker.run_of(mlflow_id) == run_id
    assert tracker.mlflow_run_of("c") is None


def test_a_replaced_file_is_left_out_and_told(home: Path) -> None:
    whole_run(home, "a")
    pickle = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
    for ref in (record.data["valid"] for record in Evidence(home).run("a").commits):
        (home / ref["path"]).write_bytes(pickle)
    (home / "runs" / "a" / "manifest.json").write_bytes(pickle)
    assert project(home).state == "projected"
    (run,) = shown(home)
    assert (run["artifacts"], run["params"], run["status"]) == ([], {}, "FINISHED")
    assert "backtest.metrics has other bytes" in run["tags"]["quant.artifacts_left_out"]
    assert "is not the manifest recorded" in run["tags"]["quant.manifest_fault"]


def view_of_store(home: Path) -> Experiment:
    return Experiment(Evidence(home), MLflowTracker(home).uri, tracking._door(), artifact_folder=None)


def test_no_run_stays_active(home: Path) -> None:
    for run_id in "ab":
        whole_run(home, run_id)
    assert view_of_store(home).catch_up(Evidence(home).runs(), math.inf).runs == 2
    assert tracking._door().mlflow.active_run() is None
    assert {run["name"]: len(run["metrics"]) for run in shown(home)} == {"a": 12, "b": 12}


def test_a_run_active_in_the_caller_is_none_of_the_projectors_business(home: Path) -> None:
    whole_run(home, "a")
    mlflow = tracking._door().mlflow
    mlflow.set_tracking_uri(MLflowTracker(home).uri)
    mlflow.set_experiment("quant")
    with mlflow.start_run(run_name="mine") as mine:
        assert project(home).runs == 1
        assert mlflow.active_run().info.run_id == mine.info.run_id
    a, other = shown(home)
    assert (a["name"], a["status"], len(a["metrics"])) == ("a", "FINISHED", 12)
    assert (other["name"], other["metrics"], other["params"]) == ("mine", {}, {})


def test_projectors_at_the_same_time_make_no_run_twice(home: Path) -> None:
    for run_id in "ab":
        whole_run(home, run_id)
    seen: list[tracking.Projection] = []
    threads = [threading.Thread(target=lambda: seen.append(project(home, budget_s=60))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(projection.runs for projection in seen) == [0, 0, 2]
    assert [run["name"] for run in shown(home)] == ["a", "b"]


def test_a_projector_at_work_elsewhere_is_not_waited_for_longer_than_the_budget(home: Path) -> None:
    whole_run(home, "a")
    with (home / "mlflow" / "projector.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seen = project(home, budget_s=1.0)
    assert (seen.state, seen.reason) == ("deferred", "TimeoutError: another projection of this home is at work")
    assert project(home).state == "projected"


def test_runs_there_is_no_time_for_are_caught_up_in_steps(home: Path) -> None:
    for run_id in "abc":
        whole_run(home, run_id)
    evidence, late = Evidence(home), -math.inf
    steps = [view_of_store(home).catch_up(evidence.runs(), late) for _ in "abc"]
    assert [step.state for step in steps] == ["deferred", "deferred", "projected"]
    assert [step.runs for step in steps] == [1, 1, 1]
    assert [step.seq for step in steps] == [run.outcome.seq for run in evidence.runs() if run.outcome]
    assert steps[0].reason == "2 more runs than there was time for"
    assert [run["name"] for run in shown(home)] == ["a", "b", "c"]


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[list[str], str]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield asked, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def deferred(home: Path, uri: str, *, budget_s: float = 5.0) -> str:
    """Project against a tracker that is down: nothing but the lock file may change. Return the reason."""
    before = ledger_of(home), sorted(home.rglob("*.parquet"))
    seen = project(home, uri, budget_s=budget_s)
    assert (seen.state, seen.runs, seen.seq) == ("deferred", 0, -1)
    assert (ledger_of(home), sorted(home.rglob("*.parquet"))) == before
    return seen.reason


def test_a_closed_port_defers_the_projection_before_mlflow_is_imported(tmp_path: Path) -> None:
    whole_run(tmp_path, "a")
    with listening() as (_, uri):
        pass
    assert "ConnectionRefusedError" in deferred(tmp_path, uri)
    code = (
        "import sys; from pathlib import Path; from quant_assets.resources.tracking import project\n"
        f"print(project(Path({str(tmp_path)!r}), {uri!r}).state, 'mlflow' in sys.modules, 'dagster' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.split() == ["deferred", "False", "False"]


def test_a_port_that_never_answers_is_asked_once(tmp_path: Path) -> None:
    whole_run(tmp_path, "a")
    with listening() as (server, uri):
        assert "timed out" in deferred(tmp_path, uri).lower()
        connections = 0
        server.settimeout(0.2)
        while True:
            try:
                server.accept()[0].close()
            except TimeoutError:
                break
            connections += 1
    assert connections == 2, "one probe, one request, no second try"


def test_a_server_in_trouble_is_asked_once(tmp_path: Path) -> None:
    whole_run(tmp_path, "a")
    with answering(lambda request: request.send_error(500)) as (asked, uri):
        assert "500" in deferred(tmp_path, uri)
    assert len(asked) == 1


def test_a_server_that_drips_is_given_up_at_the_end_of_the_budget(tmp_path: Path) -> None:
    whole_run(tmp_path, "a")
    released = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not released.wait(0.1):
            request.wfile.write(b" ")

    with answering(drip) as (_, uri):
        assert "no answer within" in deferred(tmp_path, uri, budget_s=1.0)
        released.set()


def test_a_password_in_the_address_is_not_told(tmp_path: Path) -> None:
    whole_run(tmp_path, "a")
    with answering(lambda request: request.send_error(500)) as (_, uri):
        assert "hunter2" not in deferred(tmp_path, uri.replace("http://", "http://desk:hunter2@"))


def test_what_was_deferred_is_made_up_for(home: Path) -> None:
    whole_run(home, "a")
    with listening() as (_, uri):
        pass
    deferred(home, uri)
    whole_run(home, "b", "failed")
    assert project(home, budget_s=60).runs == 2
    assert [(run["name"], run["status"]) for run in shown(home)] == [("a", "FINISHED"), ("b", "FAILED")]


def test_mlflow_never_loads_a_pickle_and_never_reports_home(home: Path) -> None:
    tracking._door()
    from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION, MLFLOW_HTTP_REQUEST_MAX_RETRIES
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get() is False
    assert MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 0
    assert is_telemetry_disabled()


def test_nothing_else_imports_mlflow() -> None:
    package = Path(tracking.__file__).parents[1]
    importers = {path.name for path in package.rglob("*.py") if "import mlflow" in path.read_text()}
    assert importers == {"tracking.py"}


@pytest.mark.slow
def test_a_central_server_shows_the_same_as_the_local_store(home: Path, created: Path, tmp_path: Path) -> None:
    for run_id, outcome in (("a", "ok"), ("b", "failed")):
        whole_run(home, run_id, outcome)  # type: ignore[arg-type]
    project(home, budget_s=60)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    backend = place_store(created, tmp_path / "server")
    with closing(sqlite3.connect(tmp_path / "server" / "mlflow" / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = 'mlflow-artifacts:/q' WHERE name = 'quant'")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", backend, "--artifacts-destination", str(tmp_path / "server" / "files")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: urlopen(f"{uri}/health", timeout=2).status == 200, deadline_s=90)
        for runs in (2, 0):
            assert project(home, uri, budget_s=60).runs == runs
        assert rebuild(home, uri).runs == 2
        assert dump(uri) == dump(MLflowTracker(home).uri)
    finally:
        server.terminate()
        server.wait(30)


def wait_for(is_so: Callable[[], bool], *, deadline_s: float) -> None:
    until = time.monotonic() + deadline_s
    while True:
        try:
            if is_so():
                return
        except OSError:
            if time.monotonic() > until:
                raise
        time.sleep(0.2)


def test_the_dump_is_canonical(home: Path) -> None:
    whole_run(home, "a")
    project(home)
    told = dump(MLflowTracker(home).uri)
    assert canonical_bytes(json.loads(told), indented=True).decode() == told
    assert str(MLflowTracker(home).mlflow_run_of("a")) not in told
