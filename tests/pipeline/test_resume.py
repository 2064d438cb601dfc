"""A run that was stopped is resumed by a plain one: what was finished is taken over, the hashes are the undisturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.verification.verify import verify_ledger
from quant_core.graph.runner import DAGRunner
from quant_core.graph.stage import StageSpec
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import CHECKOUT, Settings
from tests.markets import plain_market

from .conftest import Place

BARS = 260
INGEST = ("ingest.raw", "ingest.actions", "ingest.bars", "ingest.exclusions", "ingest.returns")

# Runs the sleeve and kills itself as soon as the ledger holds so many records of the run.
KILLED = """
import os, signal, sys
from pathlib import Path
from quant_core.evidence.ledger import transaction
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings

left = int(sys.argv[3])
append = transaction.Transaction.append

def counted(self, *args, **given):
    global left
    record = append(self, *args, **given)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return record

transaction.Transaction.append = counted
DAGRunner(Settings(home=Path(sys.argv[2]))).run(read_sleeve(Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict[str, str]]:
    folder = tmp_path_factory.mktemp("resume")
    place = Place(folder / "market", folder / "home").write(plain_market(bars=BARS))
    return place, hashes(place.run().refs)


def hashes(refs: object) -> dict[str, str]:
    assert isinstance(refs, dict)
    return {stage: ref.sha256 for stage, ref in refs.items()}


def taken_over(home: Path, run_id: str) -> set[str]:
    return {r.data["stage"] for r in Evidence(home).run(run_id).commits if "taken_over" in r.data["facts"]}


def stopped_at(place: Place, stage: str, only: Iterable[str] | None = None) -> None:
    def progress(spec: StageSpec, event: str) -> None:
        if (spec.id, event) == (stage, "start"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DAGRunner(Settings(home=place.home), progress=progress).run(read_sleeve(place.sleeve), only=only)


def test_a_plain_run_takes_over_what_a_stopped_one_had_finished(
    undisturbed: tuple[Place, dict[str, str]], tmp_path: Path
) -> None:
    there, expected = undisturbed
    place = Place(there.folder, tmp_path / "home")
    stopped_at(place, "allocation.weights")
    before = {r.data["stage"] for r in Evidence(place.home).runs()[-1].commits}
    again = place.run()
    assert hashes(again.refs) == expected
    assert taken_over(place.home, again.run_id) == before - {"ingest.raw"}
    assert (place.home / "reports" / "small" / "tear_sheet.html").is_file()
    assert not taken_over(place.home, place.run(only=INGEST).run_id)  # the last run ended well: all is computed


def test_nothing_is_taken_over_when_parameters_or_data_differ(
    undisturbed: tuple[Place, dict[str, str]], tmp_path: Path
) -> None:
    place = Place(tmp_path / "market", tmp_path / "home").write(plain_market(bars=BARS))
    stopped_at(place, "ingest.returns", INGEST)
    assert not taken_over(place.home, place.run(overrides={"synthesis.decisions": {"floor": 3}}, only=INGEST).run_id)
    stopped_at(place, "ingest.returns", INGEST)
    place.write(plain_market(bars=BARS - 5))
    run = place.run(only=INGEST).run_id
    assert taken_over(place.home, run) <= {"ingest.actions", "ingest.exclusions"}  # empty, before and after


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_killed_at_every_record_of_the_ledger_a_plain_run_reaches_the_undisturbed_hashes(
    undisturbed: tuple[Place, dict[str, str]], tmp_path: Path
) -> None:
    there, expected = undisturbed
    boundaries = len(expected) + 2  # genesis, landed, one commit per stage; the outcome is beyond
    needless: dict[int, set[str]] = {}
    for boundary in range(1, boundaries + 1):
        place = Place(there.folder, tmp_path / str(boundary))
        command = [sys.executable, "-c", KILLED, str(place.sleeve), str(place.home), str(boundary)]
        killed = subprocess.run(command, cwd=CHECKOUT, env=dict(os.environ), capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        before = {r.data["stage"] for r in Evidence(place.home).runs()[-1].commits}
        again = place.run()
        assert hashes(again.refs) == expected, boundary
        assert verify_ledger(Evidence(place.home).ledger).ok
        assert Evidence(place.home).runs()[0].outcome is not None
        needless[boundary] = before - taken_over(place.home, again.run_id)
    assert all(len(stages) <= 1 for stages in needless.values()), json.dumps(
        {k: sorted(v) for k, v in needless.items()}
    )
