"""Replay, diff and why on a small market: two runs, the second with other data and another parameter."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import IntegrityError, MissingVersionError, ReplayError, UnknownNameError, UsageError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.manifest import code_facts, manifest_path
from quant_core.evidence.runs.reader import ref_in
from quant_core.graph.registry import StageRegistry
from quant_core.lifecycle.attribution import ALL, CODE, DATA, attribute_changes, describe_attribution
from quant_core.lifecycle.diff import describe_diff, run_diff
from quant_core.lifecycle.replay import describe_replay, replay_run
from quant_core.lifecycle.runs import find_run
from quant_core.lifecycle.why import describe_decision, explain_decision
from quant_core.settings import CHECKOUT
from tests.markets import SLEEVE, plain_market

from .conftest import Place

BARS = 282

FLOOR = "synthesis.decisions.floor"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home with two finished runs of one sleeve: `small~1`, then `small` after a restated price and another floor."""
    folder = tmp_path_factory.mktemp("history")
    made = Place(folder / "market", folder / "home").write(plain_market(bars=BARS))
    made.run()
    restated = plain_market(bars=BARS).with_columns(
        close=pl.when((pl.col("symbol") == "SIM:S03") & (pl.col("date") >= dt.date(2022, 6, 1)))
        .then(pl.col("close") * 1.02)
        .otherwise("close")
    )
    ranged = restated.with_columns(high=pl.max_horizontal("high", "close"), low=pl.min_horizontal("low", "close"))
    made.write(ranged, SLEEVE.replace("floor = 4", "floor = 6")).run()
    return made


@pytest.fixture
def evidence(place: Place) -> Evidence:
    return Evidence(place.home)


def test_a_run_replays_to_the_same_hashes_whatever_data_and_environment_are_now(
    evidence: Evidence, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANT__SYNTHESIS__FLOOR", "1")
    monkeypatch.setenv("QUANT_HOME", "/nowhere")
    heads = evidence.heads()
    outcome = replay_run(evidence, "small~1")
    assert outcome.is_same
    assert {stage.verdict for stage in outcome.stages} == {"same", "pinned"}
    assert [stage.stage for stage in outcome.stages if stage.verdict == "pinned"] == ["ingest.raw"]
    assert evidence.heads() == heads
    note = find_run(evidence, "small~1").notes[-1]
    assert (note.kind, note.data["is_same"]) == ("replayed", True)
    assert "same hashes" in describe_replay(outcome)


def test_comments_are_no_change_of_code_and_a_constant_is(tmp_path: Path) -> None:
    for name in ("quant_core", "locks"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_facts(tmp_path)
    file = tmp_path / "quant_core" / "synthesis" / "quotas.py"
    file.write_text("# A comment.\n\n" + file.read_text().replace('"""', '"""Another docstring. ', 1))
    commented = code_facts(tmp_path)
    assert commented.source_hash != before.source_hash
    assert commented.modules == before.modules
    file.write_text(file.read_text() + "\nONE_MORE = 1\n")
    changed = code_facts(tmp_path)
    assert before.modules is not None
    assert changed.modules is not None
    assert {name for name in changed.modules if changed.modules[name] != before.modules[name]} == {
        "quant_core.synthesis.quotas"
    }


def test_a_change_of_code_is_found_and_named(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = StageRegistry.load("quant_core")
    spec = registry["inference.conviction"]

    def other(factors: pl.DataFrame, *, params: object, contracts: object) -> pl.DataFrame:
        made = spec.function(factors, params=params, contracts=contracts)
        assert isinstance(made, pl.DataFrame)
        return made.with_columns(conviction=pl.col("conviction") * 0.5)

    changed = StageRegistry([replace(s, function=other) if s.id == spec.id else s for s in registry.values()])
    facts = code_facts(CHECKOUT)
    edited = {**(facts.modules or {}), "quant_core.inference.conviction": "0" * 16}
    monkeypatch.setattr(
        "quant_core.lifecycle.replay.code_facts", lambda root: facts.model_copy(update={"modules": edited})
    )
    outcome = replay_run(evidence, "small", registry=changed)
    assert not outcome.is_same
    assert [stage.stage for stage in outcome.stages if stage.verdict == "different"] == ["inference.conviction"]
    with pytest.raises(ReplayError, match=r"inference\.conviction.*quant_core\.inference\.conviction"):
        outcome.raise_if_different()


def test_versions_that_were_collected_are_computed_and_put_back(evidence: Evidence) -> None:
    commits = {record.data["stage"]: record for record in find_run(evidence, "small~1").commits}
    gone = [evidence.home / ref_in(commits[stage]).path for stage in ("features.trend", "alpha.factors")]
    held = [path.read_bytes() for path in gone]
    for path in gone:
        path.unlink()
    outcome = replay_run(evidence, "small~1")
    assert outcome.is_same
    assert [stage.stage for stage in outcome.stages if stage.is_restored] == ["features.trend", "alpha.factors"]
    assert [path.read_bytes() for path in gone] == held


def test_landed_bytes_that_are_gone_are_lost_and_said_so(evidence: Evidence) -> None:
    record = next(r for r in find_run(evidence, "small").commits if r.data["stage"] == "ingest.raw")
    path = evidence.home / ref_in(record).path
    content = path.read_bytes()
    path.unlink()
    try:
        outcome = replay_run(evidence, "small")
    finally:
        path.write_bytes(content)
    assert next(stage.verdict for stage in outcome.stages if stage.stage == "ingest.raw") == "lost"
    with pytest.raises(ReplayError, match=r"ingest\.raw"):
        outcome.raise_if_different()


def test_a_manifest_that_was_changed_is_no_basis_for_a_replay(evidence: Evidence) -> None:
    run = find_run(evidence, "small~1")
    path = manifest_path(evidence.home, run.run_id)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"floor": 4', b'"floor": 5'))
    try:
        with pytest.raises(IntegrityError, match="not the manifest recorded"):
            replay_run(evidence, "small~1")
    finally:
        path.write_bytes(content)


def test_runs_are_named_by_id_beginning_or_sleeve(evidence: Evidence) -> None:
    first, second = evidence.runs()
    assert find_run(evidence, first.run_id) == first
    assert find_run(evidence, "small") == second
    assert find_run(evidence, "small~1") == first
    assert find_run(evidence, second.run_id[:20]).run_id in {first.run_id, second.run_id}
    for name in ("small~2", "smal", first.run_id[:3]):
        with pytest.raises(UnknownNameError, match="run"):
            find_run(evidence, name)


def test_a_run_does_not_differ_from_itself(evidence: Evidence) -> None:
    diff = run_diff(evidence, "small", "small")
    assert not diff.params
    assert not diff.tables
    assert diff.outcome.is_empty
    assert diff.code.is_empty
    assert "the same winners" in describe_diff(diff)


def test_a_diff_finds_the_parameter_the_cells_and_what_became_of_them(evidence: Evidence) -> None:
    diff = run_diff(evidence, "small~1", "small")
    assert diff.params == {FLOOR: (4, 6)}
    raw = diff.tables["data"]["ingest.raw"]
    days = (dt.date(2022, 1, 1) + dt.timedelta(days=BARS - 1) - dt.date(2022, 6, 1)).days + 1
    assert (raw.added, raw.removed, raw.changed) == (0, 0, days)
    assert raw.columns["close"].cells == days
    assert set(diff.tables) == {"data", "features", "scores", "selection", "weights", "figures"}
    both = [
        evidence.store.read(ref_in(record))
        for run in evidence.runs()
        for record in run.commits
        if record.data["stage"] == "synthesis.selection"
    ]
    last = [set(frame.filter(pl.col("date") == pl.col("date").max())["symbol"]) for frame in both]
    assert diff.outcome.selection is not None
    assert {name.partition(" ")[0] for name in diff.outcome.selection.added} == last[1] - last[0]
    assert diff.outcome.selection.jaccard == len(last[0] & last[1]) / len(last[0] | last[1])
    assert FLOOR in describe_diff(diff)
    assert json.loads(diff.model_dump_json())["params"] == {FLOOR: [4, 6]}


def test_each_input_is_swapped_by_itself_and_together_they_explain_the_change(evidence: Evidence) -> None:
    found = attribute_changes(evidence, "small~1", "small")
    effects = {effect.input: effect for effect in found.effects}
    assert list(effects) == [CODE, DATA, FLOOR, ALL]
    assert effects[CODE].outcome.is_empty
    assert not effects[DATA].outcome.is_empty
    assert not effects[FLOOR].outcome.is_empty
    assert effects[FLOOR].change == (4, 6)
    assert found.unexplained.is_empty
    assert effects[ALL].outcome == run_diff(evidence, "small~1", "small").outcome
    assert FLOOR in describe_attribution(found)


def test_a_decision_is_walked_back_to_its_raw_row_with_hashes(evidence: Evidence) -> None:
    decisions = find_run(evidence, "small")
    record = next(r for r in decisions.commits if r.data["stage"] == "synthesis.decisions")
    table = evidence.store.read(ref_in(record))
    last = table.filter(pl.col("date") == table["date"].max())
    for is_selected in (True, False):
        row = last.filter(pl.col("is_selected") == is_selected).row(0, named=True)
        found = explain_decision(evidence, row["symbol"], sleeve="small")
        assert row["reason"] in found.verdict
        steps = {step.stage: step for step in reversed(found.steps)}
        assert steps["ingest.raw"].rows[0]["symbol"] == row["symbol"]
        assert steps["ingest.raw"].rows[0]["date"] == str(row["date"])
        assert steps["synthesis.decisions"].sha256 == ref_in(record).sha256
        assert bool(steps["allocation.weights"].rows) == is_selected
        for step in found.steps:
            stored = evidence.home / "store" / Path(*step.stage.split(".")) / "small" / f"{step.sha256}.parquet"
            assert stored.is_file(), step
        assert found.verdict in describe_decision(found)


def test_why_goes_by_the_last_rebalance_up_to_the_date_and_takes_a_bare_ticker(evidence: Evidence) -> None:
    found = explain_decision(evidence, "S01", sleeve="small", date=dt.date(2022, 9, 1), run="small~1")
    assert found.symbol == "SIM:S01"
    assert found.rebalance <= found.date == "2022-09-01"
    raw = next(step for step in found.steps if step.stage == "ingest.raw")
    assert {row["date"] for row in raw.rows} == {found.date, found.rebalance}
    with pytest.raises(UsageError, match="first rebalance"):
        explain_decision(evidence, "S01", sleeve="small", date=dt.date(2022, 1, 5))
    with pytest.raises(UnknownNameError, match="Did you mean SIM:S"):
        explain_decision(evidence, "SIM:S0", sleeve="small")


def test_commands_print_and_exit_by_what_they_found(
    place: Place, monkeypatch: pytest.MonkeyPatch, call_quant: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setenv("QUANT_HOME", str(place.home))
    code, out, _ = call_quant("diff", "small~1", "small", "--json")
    assert code == 0
    assert json.loads(out)["params"] == {FLOOR: [4, 6]}
    code, out, _ = call_quant("diff", "small", "small", "--attribute", "--json")
    assert code == 0
    assert [effect["input"] for effect in json.loads(out)["attribution"]["effects"]] == [CODE, ALL]
    code, out, _ = call_quant("why", "SIM:S01", "2022-09-01", "--sleeve", "small")
    assert (code, out.startswith("SIM:S01")) == (0, True)
    code, out, err = call_quant("replay", "small~7")
    assert (code, out) == (2, "")
    assert "unknown run" in err


def test_a_run_that_committed_nothing_cannot_be_replayed(tmp_path: Path) -> None:
    place = Place(tmp_path / "market", tmp_path / "home").write(plain_market(bars=60))
    with pytest.raises(MissingVersionError, match="no committed version"):
        place.run(only=["synthesis.selection"])
    evidence = Evidence(place.home)
    with pytest.raises(MissingVersionError, match="nothing to replay"):
        replay_run(evidence, evidence.runs()[-1].run_id)
