import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import ConfigError, ConflictError, UnknownNameError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.verification.verify import verify_ledger
from quant_core.graph.context import SelectionContext
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner
from quant_core.lifecycle.summary import summary_of
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings

from .conftest import Place

FIRST = ["ingest.raw", "ingest.bars"]


def test_a_look_at_the_past_never_becomes_the_present(place: Place) -> None:
    now = place.run(only=FIRST)
    then = place.run(only=FIRST, as_of="2022-06-30")
    evidence = Evidence(place.home)
    assert then.refs["ingest.bars"].rows < now.refs["ingest.bars"].rows
    assert evidence.resolve("ingest.bars", "small") == now.refs["ingest.bars"]
    assert evidence.resolve("ingest.bars", "small", run_id=then.run_id) == then.refs["ingest.bars"]


@pytest.mark.parametrize("as_of", ["soon", "9999-12-31"])
def test_a_knowledge_time_that_is_none_opens_no_run(place: Place, as_of: str) -> None:
    with pytest.raises(ConfigError, match="as-of"):
        place.run(as_of=as_of)
    assert Evidence(place.home).runs() == ()


def test_a_run_of_an_unknown_stage_is_closed_as_failed(place: Place) -> None:
    with pytest.raises(UnknownNameError):
        place.run(only=["ingest.row"], run_id="one")
    outcome = Evidence(place.home).run("one").outcome
    assert outcome is not None
    assert outcome.data["outcome"] == "failed"


def test_one_run_id_keeps_one_plan(place: Place) -> None:
    place.run(only=["ingest.raw"], run_id="one")
    with pytest.raises(ConflictError, match="another plan"):
        place.run(only=["ingest.raw"], run_id="one", overrides={"backtest.schedule": {"train": 100}})


def test_a_reference_in_the_context_goes_before_the_head(place: Place) -> None:
    older = place.run(only=FIRST)
    place.write(pl.read_parquet(place.folder / "bars.parquet").head(3000))
    place.run(only=FIRST)
    context = SelectionContext(
        run_id="given",
        sleeve="small",
        home=str(place.home),
        sleeve_path=str(place.sleeve),
        refs={"ingest.raw": older.refs["ingest.raw"]},
    )
    after = StageRegistry.load("quant_core").get("ingest.bars").execute(context)
    assert after.refs["ingest.bars"].sha256 == older.refs["ingest.bars"].sha256


@pytest.mark.parametrize(("stop", "outcome"), [(KeyboardInterrupt, "cancelled"), (SystemExit, "failed")])
def test_a_run_that_is_stopped_says_so_and_where(place: Place, stop: type[BaseException], outcome: str) -> None:
    def progress(spec: object, event: str) -> None:
        if (getattr(spec, "id", ""), event) == ("ingest.bars", "start"):
            raise stop

    with pytest.raises(stop):
        DAGRunner(Settings(home=place.home), progress=progress).run(read_sleeve(place.sleeve))
    closed = Evidence(place.home).runs()[-1].outcome
    assert closed is not None
    steps = {"ok": ["ingest.raw", "ingest.actions"], "failed": ["ingest.bars"]}
    assert closed.data == {"outcome": outcome, "steps": steps}


SLOW_RUN = """
import sys, time
from quant_core.graph import runner
from quant_core import cli
first = runner.commit_result
def commit(reader, spec, finished):
    done = first(reader, spec, finished)
    print("committed", flush=True, file=sys.stderr)
    time.sleep(60)
    return done
runner.commit_result = commit
cli.main()
"""


def started(place: Place) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SLOW_RUN, "run", "small", "--config", str(place.sleeve), "--home", str(place.home)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stderr is not None
    while "committed" not in process.stderr.readline():
        assert process.poll() is None
    return process


def test_a_run_that_is_told_to_end_closes_itself_as_cancelled(place: Place) -> None:
    process = started(place)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    outcome = Evidence(place.home).runs()[-1].outcome
    assert outcome is not None
    assert outcome.data["outcome"] == "cancelled"


def test_a_killed_run_is_abandoned_by_the_next_and_leaves_nothing_torn(place: Place) -> None:
    process = started(place)
    process.kill()
    process.communicate(timeout=60)
    place.run(only=FIRST)
    evidence = Evidence(place.home)
    killed, later = evidence.runs()
    assert killed.outcome is not None
    assert killed.outcome.data["outcome"] == "abandoned"
    assert later.outcome is not None
    assert later.outcome.data["outcome"] == "ok"
    assert verify_ledger(evidence.ledger).ok
    assert not list(Path(place.home).rglob("*.tmp"))


def test_json_is_all_that_a_run_prints(place: Place) -> None:
    import json

    command = [sys.executable, "-m", "quant_core", "run", "small", "--config", str(place.sleeve), "--json"]
    done = subprocess.run(
        [*command, "--home", str(place.home)], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == summary_of(Evidence(place.home), "small")
    assert {"run_id", "sleeve", "rows", "excluded", "selection", "metrics", "refs"} <= set(printed)
    assert set(printed["selection"][0]) == {"symbol", "atom", "conviction", "weight"}
