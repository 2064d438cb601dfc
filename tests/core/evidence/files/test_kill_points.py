import errno
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import EvidenceError
from quant_core.evidence.files.kill_points import POINTS, reach_point, watch_points
from quant_core.evidence.files.writer import boot_id, process_start, this_process
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.upkeep.scrub import scrub

TABLE = {"stage": "alpha.factors", "sleeve": "us"}


def commit(evidence: Evidence, run_id: str, value: int) -> DataRef:
    evidence.open_run(run_id, {})
    valid = evidence.store.write(pl.DataFrame({"k": [value]}), key=["k"], **TABLE)
    lost = evidence.store.write(pl.DataFrame({"k": [-1]}), key=["k"], part="exclusions", **TABLE)
    evidence.commit(run_id=run_id, valid=valid, exclusions=lost, facts={}, **TABLE)
    return valid


def value_of(evidence: Evidence) -> int:
    return evidence.store.read(evidence.resolve(**TABLE))["k"].item()


def test_a_commit_reaches_every_point_in_order(tmp_path: Path) -> None:
    seen: list[str] = []
    with watch_points(seen.append):
        commit(Evidence(tmp_path), "a", 1)
    reach_point("mid_write")
    assert list(dict.fromkeys(seen)) == list(POINTS)
    assert [seen.count(point) for point in POINTS[2:]] == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("point", POINTS[:-1])
def test_what_the_system_refuses_anywhere_leaves_the_old_version_and_a_re_run_goes_through(
    tmp_path: Path, point: str, number: int
) -> None:
    evidence = Evidence(tmp_path)
    commit(evidence, "before", 1)

    def refuse(at: str) -> None:
        if at == point:
            raise OSError(number, os.strerror(number))

    with watch_points(refuse), pytest.raises(EvidenceError, match=os.strerror(number)):
        commit(evidence, "refused", 2)
    assert value_of(Evidence(tmp_path)) == 1
    left = {finding.kind for finding in scrub(evidence).findings}
    assert left <= ({"unreferenced"} if point in ("after_rename", "after_dirsync") else set())
    commit(evidence, "again", 2)
    assert value_of(Evidence(tmp_path)) == 2
    assert scrub(evidence).findings == ()


def test_a_killed_writer_leaves_the_old_version_and_a_temp_for_the_sweep(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    commit(evidence, "before", 1)
    script = (
        "import os, sys; from pathlib import Path; import polars as pl\n"
        "from quant_core.evidence.files.kill_points import watch_points\n"
        "from quant_core.evidence.store.store import Store\n"
        "with watch_points(lambda point: os.kill(os.getpid(), 9) if point == 'before_fsync' else None):\n"
        "    Store(Path(sys.argv[1])).write(pl.DataFrame({'k': [2]}), stage='alpha.factors', sleeve='us', key=['k'])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert value_of(Evidence(tmp_path)) == 1
    (temp,) = scrub(evidence).of("temp")
    assert evidence.sweep() == (tmp_path / temp.path,)
    assert scrub(evidence).findings == ()


def test_the_temp_of_a_process_is_swept_when_that_very_process_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "alpha" / "factors" / "us"
    folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        owner = this_process().model_copy(update={"pid": child.pid, "started": process_start(child.pid)})
        names = {
            "alive": owner.token,
            "pid taken over": owner.model_copy(update={"started": owner.started - 1}).token,
            "other boot": owner.model_copy(update={"boot_id": boot_id() + "x"}).token,
        }
        paths = {name: folder / f".{token}-0.tmp" for name, token in names.items()}
        for path in paths.values():
            path.write_bytes(b"half")
        assert set(Evidence(tmp_path).sweep()) == {paths["pid taken over"], paths["other boot"]}
    assert Evidence(tmp_path).sweep() == (paths["alive"],)
    assert list(folder.iterdir()) == []
