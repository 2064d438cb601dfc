import os
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import IntegrityError, MissingVersionError, TamperedError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.upkeep.scrub import scrub


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path)


def commit_version(evidence: Evidence, value: int, stage: str = "ingest.bars") -> DataRef:
    run_id = f"{stage}-{value}"
    evidence.open_run(run_id, {})
    valid = evidence.store.write(pl.DataFrame({"k": [value]}), stage=stage, sleeve="us", key=["k"])
    lost = evidence.store.write(pl.DataFrame({"k": [-1]}), stage=stage, sleeve="us", key=["k"], part="exclusions")
    evidence.commit(run_id=run_id, stage=stage, sleeve="us", valid=valid, exclusions=lost, facts={})
    return valid


def test_a_sound_store_has_no_findings(evidence: Evidence) -> None:
    assert scrub(evidence).document() == {"versions": 0, "sound": 0, "bytes": 0, "findings": []}
    refs = [commit_version(evidence, value) for value in range(3)]
    found = scrub(evidence)
    assert (found.versions, found.sound, found.findings) == (4, 4, ())
    assert found.bytes == sum(path.stat().st_size for path in (evidence.home / refs[0].path).parent.iterdir())
    found.raise_for_faults()


def test_bytes_that_changed_under_an_unchanged_look_are_found(evidence: Evidence) -> None:
    ref = commit_version(evidence, 1)
    path = evidence.home / ref.path
    os.utime(path, ns=(10**18, 10**18))
    evidence.store.read(ref)
    status = path.stat()
    evidence.store._vouched = {
        name: (sha256, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        for name, (sha256, *_) in evidence.store._vouched.items()
    }
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = scrub(evidence)
    (damaged,) = found.of("damaged")
    assert (damaged.path, damaged.runs, found.sound) == (ref.path, ("ingest.bars-1",), 1)
    with pytest.raises(IntegrityError, match=f"other bytes than were recorded: {ref.path}"):
        found.raise_for_faults()


def test_missing_versions_links_and_folders_in_their_place_are_told_apart(evidence: Evidence, tmp_path: Path) -> None:
    gone, linked, folder = (commit_version(evidence, value) for value in range(3))
    for ref in (gone, linked, folder):
        (tmp_path / ref.path).rename(tmp_path / f"copy-{ref.sha256}")
    (tmp_path / linked.path).symlink_to(tmp_path / f"copy-{linked.sha256}")
    (tmp_path / folder.path).mkdir()
    found = scrub(evidence)
    assert [finding.path for finding in found.of("missing")] == [gone.path]
    assert {finding.path for finding in found.of("damaged")} == {linked.path, folder.path}
    assert [finding.path for finding in found.of("foreign")] == [linked.path]
    with pytest.raises(IntegrityError):
        found.raise_for_faults()
    for ref in (linked, folder):
        path = tmp_path / ref.path
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        (tmp_path / f"copy-{ref.sha256}").rename(path)
    with pytest.raises(MissingVersionError, match=f"lost, missing and never collected: {gone.path}"):
        scrub(evidence).raise_for_faults()


def test_what_no_record_names_is_told_and_no_fault(evidence: Evidence, tmp_path: Path) -> None:
    commit_version(evidence, 1)
    orphan = evidence.store.write(pl.DataFrame({"k": [9]}), stage="ingest.bars", sleeve="eu", key=["k"])
    found = scrub(evidence)
    assert [(finding.kind, finding.path) for finding in found.findings] == [("unreferenced", orphan.path)]
    found.raise_for_faults()


def test_landed_batches_and_the_versions_in_lists_are_hashed_too(evidence: Evidence, tmp_path: Path) -> None:
    evidence.open_run("a", {})
    table = {"stage": "ingest.raw", "sleeve": "us"}
    write = evidence.store.write
    parts = [write(pl.DataFrame({"k": [n]}), key=["k"], **table) for n in range(2)]
    lost = write(pl.DataFrame({"k": [9]}), key=["k"], part="exclusions", **table)
    acts = write(pl.DataFrame({"k": [8]}), key=["k"], part="actions", **table)
    evidence.land(run_id="a", valid=parts[0], exclusions=lost, actions=acts, after=-1, facts={}, **table)
    both = evidence.store.write_list(parts)
    evidence.commit(run_id="a", valid=both, exclusions=lost, actions=acts, facts={}, **table)
    assert scrub(evidence).versions == 5
    for ref in (acts, parts[1]):
        (tmp_path / ref.path).write_bytes(b"other")
    assert {finding.path for finding in scrub(evidence).of("damaged")} == {acts.path, parts[1].path}
    (tmp_path / both.path).write_bytes(b"other")
    assert {finding.path for finding in scrub(evidence).of("damaged")} == {acts.path, both.path}


def test_a_ledger_that_breaks_off_vouches_for_nothing(evidence: Evidence) -> None:
    commit_version(evidence, 1)
    path = evidence.ledger.path
    path.write_bytes(path.read_bytes().replace(b'"rows":1', b'"rows":2', 1))
    with pytest.raises(TamperedError):
        scrub(Evidence(evidence.home))
