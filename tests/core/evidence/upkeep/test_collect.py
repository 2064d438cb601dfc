import os
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import (
    IntegrityError,
    MissingVersionError,
    TamperedError,
    UnknownNameError,
    UsageError,
)
from quant_core.evidence.files.writer import this_process
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.upkeep.collect import collect, plan_collection
from quant_core.evidence.upkeep.references import KEPT_VERSIONS, pin
from quant_core.evidence.upkeep.scrub import scrub

NO_MARGIN = timedelta(0)
FEATURES = "features.trend"
RECOMPUTABLE = {FEATURES, "alpha.factors"}


def commit_version(
    evidence: Evidence, run_id: str, value: int, stage: str = FEATURES, *, parent: DataRef | None = None, **genesis: str
) -> DataRef:
    """Open a run, commit one table and close the run; each version has exclusions of its own."""
    evidence.open_run(run_id, genesis)
    write = evidence.store.write
    valid = write(pl.DataFrame({"k": [value]}), stage=stage, sleeve="us", key=["k"])
    lost = write(pl.DataFrame({"lost": [value]}), stage=stage, sleeve="us", key=[], part="exclusions")
    facts = {"parents": {} if parent is None else {parent.stage: parent.sha256}}
    evidence.commit(run_id=run_id, stage=stage, sleeve="us", valid=valid, exclusions=lost, facts=facts)
    evidence.close_run(run_id, "ok", {})
    return valid


def versions(evidence: Evidence, count: int, stage: str = FEATURES, first: int = 0, **genesis: str) -> list[DataRef]:
    return [commit_version(evidence, f"{stage}-{n}", n, stage, **genesis) for n in range(first, first + count)]


def there(evidence: Evidence, refs: list[DataRef]) -> list[bool]:
    return [evidence.store.exists(ref) for ref in refs]


def test_the_last_versions_of_features_stay_and_their_old_ones_go(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    refs = versions(evidence, KEPT_VERSIONS + 3)
    plan = plan_collection(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    assert {candidate.reason for candidate in plan.candidates} == {"old version"}
    assert len(plan.candidates) == 2 * 3
    assert there(evidence, refs) == [True] * len(refs)
    size = sum(os.path.getsize(tmp_path / candidate.path) for candidate in plan.candidates)
    done = collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    assert (done.bytes, done.kept, done.is_done) == (size, 2 * KEPT_VERSIONS, True)
    assert there(evidence, refs) == [False] * 3 + [True] * KEPT_VERSIONS
    assert collect(evidence, RECOMPUTABLE, margin=NO_MARGIN).candidates == ()


@pytest.mark.parametrize(
    "stage",
    ["ingest.raw", "ingest.bars", "synthesis.decisions", "allocation.weights", "backtest.equity", "alpha.other"],
)
def test_every_version_of_all_other_tables_stays(tmp_path: Path, stage: str) -> None:
    evidence = Evidence(tmp_path)
    versions(evidence, KEPT_VERSIONS + 2, stage)
    assert collect(evidence, RECOMPUTABLE, margin=NO_MARGIN).candidates == ()


def test_versions_are_counted_not_commits_and_looks_at_the_past_by_themselves(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    head = versions(evidence, 1)[0]
    for again in range(KEPT_VERSIONS + 2):
        commit_version(evidence, f"same-{again}", 0)
    past = versions(evidence, KEPT_VERSIONS + 1, first=10, as_of="2020-01-01")
    assert head.path not in {
        candidate.path for candidate in collect(evidence, RECOMPUTABLE, margin=NO_MARGIN).candidates
    }
    assert there(evidence, [head, *past]) == [True, False] + [True] * KEPT_VERSIONS


def test_what_open_pinned_and_promoted_runs_made_or_read_stays(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    refs = versions(evidence, 4)
    factors = commit_version(evidence, "pinned", 0, "alpha.factors", parent=refs[0])
    pin(evidence, "pinned")
    evidence.note("features.trend-1", "promoted", {})
    evidence.open_run("open", {})  # reads version 3, the head it is pinned to
    versions(evidence, KEPT_VERSIONS, first=10)
    versions(evidence, KEPT_VERSIONS, "alpha.factors", first=10)
    collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    assert there(evidence, [*refs, factors]) == [True, True, False, True, True]
    pin(evidence, "pinned", release=True)
    evidence.close_run("open", "failed", {})
    collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    assert there(evidence, [*refs, factors]) == [False, True, False, False, False]
    with pytest.raises(UnknownNameError, match="pinned"):
        pin(evidence, "pined")


def test_young_files_stay_and_writing_a_version_again_makes_it_young(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    refs = versions(evidence, KEPT_VERSIONS + 2)
    day = timedelta(days=1)
    assert (
        plan_collection(evidence, RECOMPUTABLE, margin=day).candidates,
        plan_collection(evidence, RECOMPUTABLE, margin=day).young,
    ) == ((), 4)
    for ref in refs:
        os.utime(tmp_path / ref.path, (0, 0))
    evidence.store.write(pl.DataFrame({"k": [0]}), stage=FEATURES, sleeve="us", key=["k"])
    collect(evidence, RECOMPUTABLE, margin=day)
    assert there(evidence, refs[:2]) == [True, False]


def test_files_no_record_names_go_and_those_of_living_writers_and_others_stay(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    versions(evidence, 1)
    orphan = evidence.store.write(pl.DataFrame({"k": [9]}), stage="ingest.bars", sleeve="us", key=["k"])
    folder = (tmp_path / orphan.path).parent
    alive, dead, other = (folder / name for name in (f".{this_process().token}-7.tmp", ".1-1-00000000-0.tmp", "notes"))
    for path in (alive, dead, other):
        path.write_bytes(b"x")
    done = collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    assert [(candidate.path, candidate.reason) for candidate in done.candidates] == [(orphan.path, "unreferenced")]
    assert done.temps == (dead.relative_to(tmp_path).as_posix(),)
    assert sorted(folder.iterdir()) == sorted([alive, other])
    assert {(finding.kind, finding.path) for finding in scrub(evidence).findings} == {
        ("temp", alive.relative_to(tmp_path).as_posix()),
        ("foreign", other.relative_to(tmp_path).as_posix()),
    }


def test_each_deletion_is_a_record_and_reading_says_which_run_to_replay(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    refs = versions(evidence, KEPT_VERSIONS + 1)
    collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    records = [record for record in evidence.ledger.records() if record.kind == "collected"]
    assert {record.data["path"] for record in records} >= {refs[0].path}
    assert all(set(record.data) == {"path", "sha256", "bytes", "reason", "runs"} for record in records)
    assert records[0].data["runs"] == ["features.trend-0"]
    with pytest.raises(MissingVersionError, match=r"It was collected .seq \d+.\. Replay run features\.trend-0"):
        Evidence(tmp_path).store.read(refs[0])
    (tmp_path / refs[1].path).unlink()
    with pytest.raises(MissingVersionError, match="it is lost"):
        evidence.store.read(refs[1])
    with pytest.raises(UsageError, match="method of its own"):
        evidence.note("", "collected", {})


def test_what_was_collected_comes_back_and_is_not_called_collected_again(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    old = versions(evidence, KEPT_VERSIONS + 1)[0]
    collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    assert commit_version(evidence, "back", 0) == old
    assert evidence.store.read(old)["k"].item() == 0
    (tmp_path / old.path).unlink()
    assert [finding.path for finding in scrub(evidence).of("missing")] == [old.path]


def test_a_commit_of_what_was_collected_since_it_was_written_is_refused(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    write = evidence.store.write
    valid = write(pl.DataFrame({"k": [1]}), stage=FEATURES, sleeve="us", key=["k"])
    lost = write(pl.DataFrame({"k": [2]}), stage=FEATURES, sleeve="us", key=["k"], part="exclusions")
    collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    with pytest.raises(MissingVersionError, match=r"Store\.write it before"):
        evidence.commit(run_id="a", stage=FEATURES, sleeve="us", valid=valid, exclusions=lost, facts={})


def test_versions_in_a_list_stay_and_a_list_that_cannot_be_read_stops_the_collection(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    write = evidence.store.write
    parts = [write(pl.DataFrame({"k": [n]}), stage=FEATURES, sleeve="us", key=["k"]) for n in range(3)]
    both = evidence.store.write_list(parts[:2])
    lost = write(pl.DataFrame({"x": [0]}), stage=FEATURES, sleeve="us", key=["x"], part="exclusions")
    evidence.commit(run_id="a", stage=FEATURES, sleeve="us", valid=both, exclusions=lost, facts={})
    assert [candidate.path for candidate in collect(evidence, RECOMPUTABLE, margin=NO_MARGIN).candidates] == [
        parts[2].path
    ]
    assert scrub(evidence).versions == 4
    (tmp_path / both.path).write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        collect(evidence, RECOMPUTABLE, margin=NO_MARGIN)
    assert there(evidence, parts[:2]) == [True, True]


@pytest.mark.parametrize("harm", ["gone", "tampered"])
def test_without_a_ledger_to_believe_nothing_is_deleted(tmp_path: Path, harm: str) -> None:
    evidence = Evidence(tmp_path)
    refs = versions(evidence, KEPT_VERSIONS + 1)
    ledger = evidence.ledger.path
    if harm == "gone":
        ledger.rename(tmp_path / "elsewhere")
    else:
        ledger.write_bytes(ledger.read_bytes().replace(b'"trend', b'"trent').replace(b"trend-3", b"trend-4"))
    for act in (collect, plan_collection):
        with pytest.raises(MissingVersionError if harm == "gone" else TamperedError):
            act(Evidence(tmp_path), RECOMPUTABLE, margin=NO_MARGIN)
    assert there(evidence, refs) == [True] * len(refs)
