import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from quant_core.errors import MissingVersionError
from quant_core.evidence.files.kill_points import POINTS, watch_points
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.upkeep.scrub import scrub
from quant_core.evidence.verification.verify import verify_ledger
from tests.faults import committing
from tests.faults.committing import SLEEVE, STAGE, commit, table

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

KILLS = 15  # of each kind: 210 in all
OLD, NEW = 1, 2


def kill_commit(home: Path, number: int, point: str, nth: int) -> None:
    command = [sys.executable, committing.__file__, str(home), "killed", str(number), point, str(nth)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -9, done.stderr


def times(home: Path) -> dict[str, int]:
    """Return how often one commit reaches each point."""
    seen: list[str] = []
    with watch_points(seen.append):
        commit(Evidence(home), "counted", NEW)
    return {point: seen.count(point) for point in POINTS}


def value_of(evidence: Evidence):
    return evidence.store.read(evidence.resolve(STAGE, SLEEVE))


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "overwrite"])
@pytest.mark.parametrize("point", POINTS)
def test_a_writer_killed_anywhere_leaves_no_torn_version_and_the_old_one(tmp_path: Path, point: str, is_first: bool):
    often = times(tmp_path / "counted")
    rng = random.Random(f"{point}{is_first}")
    for kill in range(KILLS):
        home = tmp_path / str(kill)
        if not is_first:
            commit(Evidence(home), "before", OLD)
        kill_commit(home, NEW, point, rng.randint(1, often[point]))

        evidence = Evidence(home)
        found = scrub(evidence)
        assert found.sound == found.versions, found.findings
        assert {finding.kind for finding in found.findings} <= {"temp", "unreferenced"}
        for finding in found.of("unreferenced"):
            assert is_whole(home / finding.path)
        if point == "after_ledger":
            assert_frame_equal(value_of(evidence), table(NEW))
        elif is_first:
            with pytest.raises(MissingVersionError):
                evidence.resolve(STAGE, SLEEVE)
        else:
            assert_frame_equal(value_of(evidence), table(OLD))

        assert verify_ledger(evidence.ledger).verdict == "intact"
        assert len(evidence.sweep()) == len(found.of("temp")) <= 1
        commit(evidence, "again", NEW)
        assert_frame_equal(value_of(Evidence(home)), table(NEW))
        after = scrub(evidence)
        assert after.findings == ()
        assert [record.run_id for record in evidence.abandon_dead()] == ["killed"]


def is_whole(path: Path) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


@pytest.mark.parametrize("point", POINTS[:-1])
def test_a_writer_killed_while_it_heals_a_damaged_version_leaves_it_damaged_or_whole(tmp_path: Path, point: str):
    evidence = Evidence(tmp_path)
    ref = commit(evidence, "before", OLD)
    (tmp_path / ref.path).write_bytes(b"damaged")
    kill_commit(tmp_path, OLD, point, 1)
    found = scrub(evidence)
    is_healed = point in ("after_rename", "after_dirsync")
    assert [finding.path for finding in found.of("damaged")] == ([] if is_healed else [ref.path])
    commit(evidence, "again", OLD)
    evidence.sweep()
    assert scrub(evidence).findings == ()
