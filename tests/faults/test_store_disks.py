import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from quant_core.errors import EvidenceError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.upkeep.scrub import scrub
from quant_core.evidence.verification.verify import verify_ledger
from tests.faults.committing import SLEEVE, STAGE, commit, table

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

OLD, NEW = 1, 2
SIZE = 16 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A volume of its own, which only root may mount."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command: a full and a read-only disk cannot be had")
    if done.returncode:
        pytest.skip(f"a volume cannot be mounted here ({done.stderr.strip()}): run as root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def fill_disk(place: Path, left: int) -> Iterator[None]:
    """Leave no more than `left` bytes on the disk."""
    filler = place / "filler"
    status = os.statvfs(place)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - left)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Refuse what would make a file larger; python ignores the signal that goes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_old_then_new(home: Path, number: int) -> None:
    """The old version is there and nothing is torn; a plain re-run gives the new one."""
    evidence = Evidence(home)
    found = scrub(evidence)
    assert found.sound == found.versions
    assert {finding.kind for finding in found.findings} <= {"unreferenced"}
    assert verify_ledger(evidence.ledger).verdict == "intact"
    assert_frame_equal(evidence.store.read(evidence.resolve(STAGE, SLEEVE)), table(OLD))
    commit(evidence, "again", number)
    assert_frame_equal(evidence.store.read(evidence.resolve(STAGE, SLEEVE)), table(number))


def test_a_disk_that_fills_up_at_any_place_is_told_and_harms_nothing(small_disk: Path) -> None:
    for number, left in enumerate(range(0, 1_400_000, 100_000), start=NEW):
        home = small_disk / str(number)
        commit(Evidence(home), "before", OLD)
        with fill_disk(small_disk, left), pytest.raises(EvidenceError, match="space"):
            commit(Evidence(home), "full", number)
        assert_old_then_new(home, number)
        shutil.rmtree(home)


def test_a_file_size_limit_met_at_any_place_is_told_and_harms_nothing(tmp_path: Path) -> None:
    for number, size in enumerate(range(2_000, 1_100_000, 50_000), start=NEW):
        home = tmp_path / str(number)
        commit(Evidence(home), "before", OLD)
        with files_up_to(size), pytest.raises(EvidenceError, match=r"too large|fit into|Free some"):
            commit(Evidence(home), "limited", number)
        assert_old_then_new(home, number)


def test_a_read_only_disk_is_told_and_stays_readable(small_disk: Path) -> None:
    home = small_disk / "home"
    commit(Evidence(home), "before", OLD)
    evidence = Evidence(home)
    evidence.open_run("refused", {})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(EvidenceError, match=r"[Rr]ead-only"):
        evidence.store.write(table(NEW), stage=STAGE, sleeve=SLEEVE, key=["row"])
    assert_frame_equal(Evidence(home).store.read(evidence.resolve(STAGE, SLEEVE)), table(OLD))
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_old_then_new(home, NEW)


def test_a_folder_that_takes_no_files_is_told_and_stays_readable(tmp_path: Path) -> None:
    ref = commit(Evidence(tmp_path), "before", OLD)
    folder = (tmp_path / ref.path).parent
    folder.chmod(0o555)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("root writes into folders that take no files; the read-only disk stands for it")
        with pytest.raises(EvidenceError, match=r"[Pp]ermission"):
            Evidence(tmp_path).store.write(table(NEW), stage=STAGE, sleeve=SLEEVE, key=["row"])
    finally:
        folder.chmod(0o755)
    assert_old_then_new(tmp_path, NEW)
