import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import ConflictError, IntegrityError, MissingVersionError, UnknownNameError, UsageError
from quant_core.evidence.files.writer import Writer, process_start, this_process
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.store.refs import DataRef

ROOT = Path(__file__).parents[4]
STAGE = "alpha.factors"

RUNNER = """
import sys
from pathlib import Path
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.files.writer import Writer
evidence = Evidence(Path(sys.argv[1]))
owner = Writer.model_validate_json(sys.argv[3]) if sys.argv[3:] else None
print(evidence.open_run(sys.argv[2], {"by": "child"}, owner=owner).hash, flush=True)
sys.stdin.read()
"""


def runner(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUNNER, str(home), *arguments]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    child.stdout.readline()
    return child


def store_value(evidence: Evidence, value: int, part: str = "valid", stage: str = STAGE, sleeve: str = "us") -> DataRef:
    return evidence.store.write(pl.DataFrame({"k": [value]}), stage=stage, sleeve=sleeve, key=["k"], part=part)


def commit_value(evidence: Evidence, run_id: str, value: int, stage: str = STAGE, sleeve: str = "us"):
    return evidence.commit(
        run_id=run_id,
        stage=stage,
        sleeve=sleeve,
        valid=store_value(evidence, value, stage=stage, sleeve=sleeve),
        exclusions=store_value(evidence, -1, "exclusions", stage=stage, sleeve=sleeve),
        facts={"rows": 1, "excluded": {}, "parents": {}},
    )


def value_of(evidence: Evidence, ref: DataRef) -> int:
    return evidence.store.read(ref)["k"].item()


def test_a_home_is_made_by_its_first_record(tmp_path):
    evidence = Evidence(tmp_path / "home")
    assert (evidence.heads(), evidence.runs(), evidence.last_seq(), evidence.abandon_dead()) == ({}, (), -1, ())
    assert not evidence.home.exists()
    evidence.open_run("a", {})
    assert [path.name for path in evidence.home.iterdir()] == ["audit.jsonl"]


def test_a_run_has_one_genesis_with_its_pins(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.note("", "alert", {"text": "before"})
    first = evidence.open_run("a", {"seed": 7})
    assert first.data["pins"] == {"seq": 0, "champions": [], "trials": {}}
    assert first.data["seed"] == 7
    assert evidence.open_run("a", {"seed": 8}) == first
    assert Evidence(tmp_path).open_run("a", {}) == first
    given = evidence.open_run("b", {"pins": {"seq": -1, "trials": {"hrp": 3}}})
    assert given.data["pins"] == {"seq": -1, "champions": [], "trials": {"hrp": 3}}
    assert evidence.last_seq() == 2


def test_processes_that_open_one_run_at_once_get_one_genesis(tmp_path):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(tmp_path), "a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        for _ in range(3)
    ]
    hashes = {child.communicate(timeout=60)[0] for child in children}
    assert len(hashes) == 1
    assert Evidence(tmp_path).last_seq() == 0


def test_a_commit_is_the_head_and_names_both_parts(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    record = commit_value(evidence, "a", 1)
    assert Evidence(tmp_path).heads() == {(STAGE, "us"): record}
    assert value_of(evidence, evidence.resolve(STAGE, "us")) == 1
    assert value_of(evidence, evidence.resolve(STAGE, "us", part="exclusions")) == -1
    assert record.data["facts"] == {"rows": 1, "excluded": {}, "parents": {}}
    assert set(record.data["valid"]) == {"sha256", "rows", "path"}


def test_the_second_of_two_runs_from_one_head_loses_and_is_told_both(tmp_path):
    mine, theirs = Evidence(tmp_path), Evidence(tmp_path)
    mine.open_run("a", {})
    theirs.open_run("b", {})
    won = commit_value(theirs, "b", 2)
    with pytest.raises(ConflictError, match=rf"{won.data['valid']['sha256'][:12]}.*run b.*run a started from nothing"):
        commit_value(mine, "a", 1)
    assert mine.heads() == {(STAGE, "us"): won}
    commit_value(mine, "a", 1, sleeve="eu")
    mine.open_run("c", {})
    assert commit_value(mine, "c", 1).seq == mine.last_seq()


def test_a_run_cannot_take_over_a_head_that_came_and_was_followed_by_its_own(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    own = commit_value(evidence, "a", 1)
    evidence.open_run("b", {})
    commit_value(evidence, "b", 2)
    assert commit_value(evidence, "a", 1) == own
    with pytest.raises(ConflictError, match="run b"):
        commit_value(evidence, "a", 3)


def test_a_retried_step_adds_no_record_and_may_correct_itself(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    first = commit_value(evidence, "a", 1)
    assert commit_value(Evidence(tmp_path), "a", 1) == first
    second = commit_value(evidence, "a", 2)
    assert evidence.heads()[STAGE, "us"] == second
    third = commit_value(evidence, "a", 1)
    assert third.seq > second.seq
    assert value_of(evidence, evidence.resolve(STAGE, "us", run_id="a")) == 1


def test_a_reader_gets_its_own_then_its_parents_then_the_pinned_then_the_newest_version(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("old", {})
    commit_value(evidence, "old", 1)
    evidence.open_run("parent", {})
    evidence.open_run("reader", {})
    evidence.open_run("late", {})

    def read(run_id: str | None = None, *parents: str) -> int:
        return value_of(evidence, evidence.resolve(STAGE, "us", run_id=run_id, parents=parents))

    commit_value(evidence, "late", 2)
    assert (read(), read("reader"), read("reader", "parent", "absent")) == (2, 1, 1)
    assert (read("reader", "parent", "late"), read("reader", "old", "late")) == (2, 1)
    evidence.open_run("after", {})
    commit_value(evidence, "after", 3)
    assert (read("after"), read("after", "late"), read("late"), read("reader")) == (3, 3, 2, 1)


def test_a_version_that_is_not_there_is_told_with_those_that_are(tmp_path):
    evidence = Evidence(tmp_path)
    with pytest.raises(MissingVersionError, match="nothing"):
        evidence.resolve(STAGE, "us")
    evidence.open_run("early", {})
    evidence.open_run("a", {})
    commit_value(evidence, "a", 1)
    with pytest.raises(MissingVersionError, match=r"alpha\.factors of us"):
        evidence.resolve(STAGE, "eu")
    with pytest.raises(MissingVersionError, match="run early may read"):
        evidence.resolve(STAGE, "us", run_id="early")
    with pytest.raises(UnknownNameError, match="early"):
        evidence.resolve(STAGE, "us", run_id="earlyy")


def test_a_run_never_opened_cannot_write(tmp_path):
    evidence = Evidence(tmp_path)
    for act in (
        lambda: commit_value(evidence, "a", 1),
        lambda: evidence.close_run("a", "ok", {}),
        lambda: evidence.refuse("a", STAGE, "us", ["late"]),
    ):
        with pytest.raises(UnknownNameError):
            act()
    assert evidence.last_seq() == -1
    with pytest.raises(UsageError):
        evidence.open_run("", {})


def test_a_commit_of_what_is_not_stored_or_not_its_own_is_refused(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    valid, exclusions = store_value(evidence, 1), store_value(evidence, 2, "exclusions")
    given = {"run_id": "a", "stage": STAGE, "sleeve": "us", "valid": valid, "exclusions": exclusions, "facts": {}}
    for change in ({"stage": "alpha.other"}, {"sleeve": "eu"}, {"valid": exclusions}, {"exclusions": valid}):
        with pytest.raises(UsageError):
            evidence.commit(**{**given, **change})
    (tmp_path / exclusions.path).unlink()
    with pytest.raises(MissingVersionError):
        evidence.commit(**given)
    assert evidence.heads() == {}


def test_a_run_is_closed_once_and_commits_nothing_new_after(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    commit = commit_value(evidence, "a", 1)
    first = evidence.close_run("a", "ok", {"ok": [STAGE]})
    assert evidence.close_run("a", "failed", {}) == first
    assert Evidence(tmp_path).close_run("a", "ok", {}) == first
    assert commit_value(evidence, "a", 1) == commit
    with pytest.raises(ConflictError, match="closed as ok"):
        commit_value(evidence, "a", 2)
    with pytest.raises(UsageError, match="done"):
        evidence.close_run("a", "done", {})


def test_a_refusal_leaves_the_head_and_stands_in_the_run(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    head = commit_value(evidence, "a", 1)
    refused = evidence.refuse("a", STAGE, "us", [{"rule": "drift", "rows": 3}])
    alert = evidence.note("a", "alert", {"text": "drift"})
    run = evidence.run("a")
    assert evidence.heads() == {(STAGE, "us"): head}
    assert (run.commits, run.refused, run.notes, run.outcome) == ((head,), (refused,), (alert,), None)
    assert refused.data == {"stage": STAGE, "sleeve": "us", "reasons": [{"rule": "drift", "rows": 3}]}
    with pytest.raises(UsageError):
        evidence.note("a", "commit", {})


def test_runs_are_listed_as_they_were_opened(tmp_path):
    evidence = Evidence(tmp_path)
    for run_id in ("b", "a", "c"):
        evidence.open_run(run_id, {})
    evidence.close_run("a", "cancelled", {})
    assert [(run.run_id, run.outcome is None) for run in Evidence(tmp_path).runs()] == [
        ("b", True),
        ("a", False),
        ("c", True),
    ]


def test_only_runs_whose_processes_are_gone_are_abandoned(tmp_path):
    evidence = Evidence(tmp_path)
    gone, alive, retried, closed = (runner(tmp_path, name) for name in ("gone", "alive", "retried", "closed"))
    evidence.close_run("closed", "ok", {})
    commit_value(evidence, "retried", 1)
    evidence.note("gone", "alert", {"by": "a daemon that lives on"})
    evidence.open_run("mine", {})
    for child in (gone, retried, closed):
        child.communicate(timeout=60)
    assert [record.run_id for record in evidence.abandon_dead()] == ["gone"]
    assert evidence.run("gone").outcome.data["outcome"] == "abandoned"
    assert Evidence(tmp_path).abandon_dead() == ()
    alive.communicate(timeout=60)
    assert [record.run_id for record in evidence.abandon_dead()] == ["alive"]


def test_a_run_opened_by_a_step_lives_as_long_as_the_process_it_names(tmp_path):
    evidence = Evidence(tmp_path)
    parent = runner(tmp_path, "parent")
    owner = Writer(pid=parent.pid, boot_id=this_process().boot_id, started=process_start(parent.pid))
    runner(tmp_path, "stepped", owner.model_dump_json()).communicate(timeout=60)
    assert evidence.run("stepped").genesis.data["owner"] == owner.model_dump()
    assert evidence.abandon_dead() == ()
    parent.communicate(timeout=60)
    assert [record.run_id for record in evidence.abandon_dead()] == ["parent", "stepped"]


def test_a_record_that_points_outside_the_store_is_no_reference(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    record = commit_value(evidence, "a", 1)
    for change in ({"path": "../../etc/passwd"}, {"sha256": "0" * 64}):
        forged = record.model_copy(update={"data": {**record.data, "valid": {**record.data["valid"], **change}}})
        with pytest.raises(IntegrityError):
            ref_in(forged)


def test_the_index_reads_each_record_once(tmp_path, monkeypatch):
    evidence = Evidence(tmp_path)
    evidence.open_run("a", {})
    taken = []
    since = evidence.ledger.since
    monkeypatch.setattr(
        evidence.ledger, "since", lambda place: (taken.append(item[0].seq) or item for item in since(place))
    )
    for value in range(3):
        commit_value(evidence, "a", value)
        evidence.heads()
    assert taken == sorted(set(taken)) == [0, 1, 2, 3]


def land(evidence: Evidence, run_id: str, value: int, after: int):
    parts = {part: store_value(evidence, value, part) for part in ("valid", "exclusions", "actions")}
    facts = {"marks": {"day": str(value)}}
    return evidence.land(run_id=run_id, stage=STAGE, sleeve="us", after=after, facts=facts, **parts)


def test_landed_batches_are_told_in_order_and_are_no_heads(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("one", {})
    first = land(evidence, "one", 1, -1)
    second = land(evidence, "one", 2, first.seq)
    assert Evidence(tmp_path).landed_batches(STAGE, "us") == (first, second)
    assert Evidence(tmp_path).landed_batches(STAGE, "eu") == ()
    assert evidence.heads() == {}
    assert value_of(evidence, ref_in(second, "actions")) == 2
    assert evidence.last_commit(STAGE, "us") == -1


def test_a_batch_of_a_run_that_does_not_know_the_last_one_is_a_conflict(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("one", {})
    evidence.open_run("two", {})
    first = land(evidence, "one", 1, -1)
    with pytest.raises(ConflictError, match=f"run one landed a batch of us meanwhile .seq {first.seq}."):
        land(evidence, "two", 2, -1)
    assert land(evidence, "two", 2, first.seq).seq > first.seq


def test_a_batch_needs_an_open_run_and_bytes_in_the_store(tmp_path):
    evidence = Evidence(tmp_path)
    with pytest.raises(UnknownNameError, match="run"):
        land(evidence, "nobody", 1, -1)
    evidence.open_run("one", {})
    gone = {part: store_value(evidence, 5, part) for part in ("valid", "exclusions", "actions")}
    (tmp_path / gone["actions"].path).unlink()
    with pytest.raises(MissingVersionError, match="is not in"):
        evidence.land(run_id="one", stage=STAGE, sleeve="us", after=-1, facts={}, **gone)


def test_the_last_commit_of_a_table_counts_looks_at_the_past_too(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("past", {"as_of": "2020-01-01"})
    record = commit_value(evidence, "past", 1)
    assert evidence.heads() == {}
    assert evidence.last_commit(STAGE, "us") == record.seq


def test_a_part_a_commit_came_without_is_told_from_one_that_is_lost(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("one", {})
    record = commit_value(evidence, "one", 1)
    with pytest.raises(MissingVersionError, match=f"came without actions .seq {record.seq}."):
        ref_in(record, "actions")


def test_a_run_with_a_knowledge_time_reads_no_head_but_what_the_same_time_committed(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.open_run("now", {})
    commit_value(evidence, "now", 1)
    evidence.close_run("now", "ok", {})
    evidence.open_run("then", {"as_of": "2020-01-01"})
    with pytest.raises(MissingVersionError, match="that run then may read"):
        evidence.resolve(STAGE, "us", run_id="then")
    commit_value(evidence, "then", 2)
    evidence.open_run("again", {"as_of": "2020-01-01"})
    evidence.open_run("other", {"as_of": "2020-01-02"})
    assert value_of(evidence, evidence.resolve(STAGE, "us", run_id="again")) == 2
    with pytest.raises(MissingVersionError):
        evidence.resolve(STAGE, "us", run_id="other")
