import json
import logging
import os
import socket
import sqlite3
import sys
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import dagster as dg
import polars as pl
import pytest
from dagster._core.instance.ref import InstanceRef
from leaky_graph.ingest import stages
from tiny_desk import Desk, events_of

from quant_assets import failures
from quant_assets.home import dagster_yaml
from quant_assets.location import code_location
from quant_assets.resources import tracking
from quant_assets.resources.artifacts import artifacts_of
from quant_assets.resources.projection import view_of
from quant_assets.sensors import failed_runs
from quant_core.errors import ConfigError, GateError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.manifest import read_manifest
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings
from tests.core.ingest.reading.fault_server import Fault, served

SECRETS = {
    "DB_PASSWORD": "pg/p@ss w+rd'7'",
    "VENDOR_API_KEY": "vk_9f31Qz-77c1e0",
    "FEED_URL": "feed+key%21-5150",
    "MIRROR_PASSWORD": "m!rr0r:pa55#w",
    "QUANT_MLFLOW_URI": "mlf10w-pa55word",
}


def looks_of(secret: str) -> set[bytes]:
    """Every way the secret may stand in a file; of base64, what does not depend on the bytes around it."""
    looks = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")}
    looks |= {quote_plus(secret), secret.replace("'", "''"), secret.encode().hex()}
    for before in range(3):
        for after in range(3):
            whole = b"." * before + secret.encode() + b"." * after
            for encode in (b64encode, urlsafe_b64encode):
                looks.add(encode(whole).decode().rstrip("=")[4 : 4 * (len(whole) // 3) - 4])
    return {look.encode() for look in looks}


def leaks(contents: Iterator[tuple[str, bytes]]) -> set[tuple[str, str]]:
    looks = {name: looks_of(secret) for name, secret in SECRETS.items()}
    return {
        (where, name) for where, content in contents for name in looks if any(look in content for look in looks[name])
    }


def contents_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Return the files below a folder, as they are and unpacked where they are packed."""
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        content, where = path.read_bytes(), str(path.relative_to(folder))
        yield where, content
        if path.suffix == ".parquet":
            yield where, pl.read_parquet(path).write_ndjson().encode()
        if content.startswith(b"SQLite format 3"):
            yield from ((where, cell) for cell in cells_of(path))


def cells_of(database: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    yield unpacked(cell) if isinstance(cell, bytes) else str(cell).encode()


def unpacked(cell: bytes) -> bytes:
    try:
        return zlib.decompress(cell)
    except zlib.error:
        return cell


class LeakyDesk(Desk):
    def definitions(self) -> dg.Definitions:
        return code_location(self.environ, package="leaky_graph")


@pytest.fixture
def leaky(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeakyDesk]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    values = dict(SECRETS)
    values["FEED_URL"] = f"https://feed.example/v1/bars?from=2024&api_key={quote_plus(SECRETS['FEED_URL'])}"
    values["QUANT_MLFLOW_URI"] = f"http://me:{SECRETS['QUANT_MLFLOW_URI']}@127.0.0.1:{closed}"
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "quant_assets.resources.tracking", tracking)
    for sleeve in desk.sleeves.iterdir():
        sleeve.write_text(sleeve.read_text().replace("bars = 30", ""))
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(dagster_yaml(str(folder)))
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder))) as instance:
        yield LeakyDesk(desk.home, desk.sleeves, instance, {**desk.environ})


def alerted(desk: Desk, result: dg.ExecuteInProcessResult) -> None:
    (event,) = events_of(result, "PIPELINE_FAILURE")
    failed_runs(
        dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=event,
            dagster_instance=desk.instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
    )


def shown_of(desk: Desk) -> Iterator[tuple[str, bytes]]:
    """Return what a tracker would be sent of every run."""
    for run in desk.evidence.runs():
        view = view_of(run, read_manifest(desk.home, run.run_id))
        kept, left_out = artifacts_of(desk.evidence, run)
        yield "tags", repr((view, left_out)).encode()
        yield from kept.items()


def test_what_looks_for_leaks_finds_them(tmp_path: Path) -> None:
    for k, secret in enumerate(SECRETS.values()):
        (tmp_path / f"{k}.txt").write_text(b64encode(f"user:{secret}".encode()).decode())
        with closing(sqlite3.connect(tmp_path / f"{k}.db")) as database, database:
            database.execute("CREATE TABLE t (body BLOB)")
            database.execute("INSERT INTO t VALUES (?)", [zlib.compress(repr(secret).encode())])
    assert len(leaks(contents_of(tmp_path))) == 10


def test_no_secret_of_the_environment_reaches_what_is_kept(
    leaky: LeakyDesk, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    failing = leaky.run(
        only=("ingest/raw", *(f"ingest/{name}" for name in ("unforeseen", "foreseen", "silent", "gated")))
    )
    alerted(leaky, failing)
    ended = {event.step_key: event.step_failure_data for event in events_of(failing, "STEP_FAILURE")}
    assert set(ended) == {"ingest__unforeseen", "ingest__foreseen", "ingest__silent", "ingest__gated"}
    assert ended["ingest__silent"].error.cause.cls_name == "UnavailableError"
    said = ended["ingest__unforeseen"].user_failure_data
    assert said.description == "ingest.unforeseen: RuntimeError: cannot log in with ***"
    # What went wrong, and where, is still told.
    stack = said.metadata["stack"].text
    assert all(part in stack for part in ("KeyError", "ConnectionError", "in _cause", "feed.example", "api_key=***"))
    assert ended["ingest__foreseen"].user_failure_data.metadata["stack"].text.endswith("\n")

    tracked = leaky.run(only=("ingest/raw", "tracking/mlflow"))
    assert tracked.success
    (seen,) = tracked.asset_materializations_for_node("tracking__mlflow")
    assert "refused" in str(seen.metadata["reason"].value)
    with served() as mirror:
        mirror.always = Fault(401, b"who are you")
        base = f"{mirror.url.replace('://', '://me:${MIRROR_PASSWORD}@')}/"
        options = {"kind": "mirror", "options": {"symbols": ["BTCUSDT"], "since": "2025-01-01", "base_url": base}}
        refused = leaky.run(only=("ingest/raw",), config={"ingest__raw": options})
        alerted(leaky, refused)
    (event,) = events_of(refused, "STEP_FAILURE")
    assert "refused with HTTP 401" in event.step_failure_data.user_failure_data.description

    assert [note.data["opened"] for run in leaky.evidence.runs() for note in run.notes] == [True] * 2
    texts = b"".join(content for _, content in contents_of(leaky.home))
    assert all(part in texts for part in (b'"kind":"refused"', b"api_key=***", b"${MIRROR_PASSWORD}"))
    logged = "\n".join([caplog.text, *capfd.readouterr()])
    kept = [*contents_of(tmp_path / "home"), *contents_of(tmp_path / "dagster"), *shown_of(leaky)]
    assert {where.partition("/")[0] for where, _ in kept} >= {
        "audit.jsonl",
        "runs",
        "store",
        "storage",
        "manifest.json",
    }
    assert leaks(iter([*kept, ("log", logged.encode())])) == set()


def test_an_error_without_a_secret_is_told_as_it_is(leaky: LeakyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "gossip", lambda: "nothing")
    monkeypatch.setenv("FEED_URL", "https://feed.example/v1")
    monkeypatch.setattr(stages, "_cause", lambda: (_ for _ in ()).throw(ConnectionError("no answer")))
    monkeypatch.setitem(os.environ, "DB_PASSWORD", "short")
    result = leaky.run(only=("ingest/raw", "ingest/unforeseen", "ingest/foreseen"))
    ended = {event.step_key: event.step_failure_data for event in events_of(result, "STEP_FAILURE")}
    error = ended["ingest__unforeseen"].error.cause
    assert (error.cls_name, error.cause.cls_name) == ("RuntimeError", "ConnectionError")
    assert ended["ingest__foreseen"].user_failure_data.description == "ingest.foreseen: nothing"
    assert ended["ingest__foreseen"].error.cause.cls_name == "SourceError"


def test_without_the_mask_the_canaries_would_be_found(
    leaky: LeakyDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "mask_secrets", lambda text, environ: text)
    leaky.run(only=("ingest/raw", "ingest/foreseen"))
    assert {name for _, name in leaks(contents_of(tmp_path / "dagster"))} == set(SECRETS)


def test_a_script_records_no_secret_either(leaky: LeakyDesk, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "script", sleeves=leaky.sleeves)
    runner = DAGRunner(settings, StageRegistry.load("leaky_graph"))
    with pytest.raises(GateError, match=r"\*\*\*"):
        runner.run(find_sleeve("tiny", leaky.sleeves), only=["ingest.raw", "ingest.gated"])
    assert [run.outcome is not None and len(run.refused) for run in Evidence(settings.home).runs()] == [1]
    assert leaks(contents_of(settings.home)) == set()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_no_secret_reaches_the_store_of_mlflow(leaky: LeakyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    leaky.run(only=("ingest/raw", "ingest/gated", "ingest/foreseen"))
    assert tracking.project(leaky.home, budget_s=60).state == "projected"
    texts = [content for _, content in contents_of(leaky.home / "mlflow")]
    assert any(b"quant.refused" in text for text in texts)
    assert leaks(contents_of(leaky.home)) == set()


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "{}"',
        'password = "{}"',
        'base_url = "https://me:{}@mirror.example"',
        'base_url = "https://mirror.example/?token={}"',
        'nested = [{{ url = "https://{}@mirror.example" }}]',
    ],
)
def test_a_secret_in_a_sleeve_file_is_refused_and_not_repeated(desk: Desk, line: str) -> None:
    path = desk.sleeves / "tiny.toml"
    path.write_text(path.read_text() + line.format("hunter2hunter2"))
    with pytest.raises(ConfigError, match=r"tiny\.toml.*environment variable") as caught:
        desk.definitions()
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_the_launch_configuration_stops_the_run_before_its_manifest(desk: Desk) -> None:
    result = desk.run(config={"ingest__raw": {"options": {"api_key": "hunter2hunter2"}}})
    assert not result.success
    assert not any(b"hunter2" in content for _, content in contents_of(desk.home))
