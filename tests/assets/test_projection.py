import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.resources import projection
from quant_assets.resources.projection import MOST_METRICS, STATUS, fit, truncate, view_of
from quant_core.evidence.runs.commits import Evidence, Outcome
from quant_core.evidence.runs.index import Run
from quant_core.evidence.runs.manifest import CodeFacts, Manifest, SleeveFileFacts

CODE = {"git_commit": "c" * 40, "is_dirty": True, "dirty_hash": "d" * 64, "git_reason": None}


def committed(evidence: Evidence, stage: str, facts: dict[str, Any], *, rows: int = 1, run_id: str = "r") -> None:
    parts = {
        part: evidence.store.write(pl.DataFrame({"k": range(n)}), stage=stage, sleeve="us", key=["k"], part=part)
        for part, n in (("valid", rows), ("exclusions", 0))
    }
    evidence.commit(run_id=run_id, stage=stage, sleeve="us", facts=facts, **parts)


def ended(home: Path, outcome: Outcome = "ok", **facts: dict[str, Any]) -> Run:
    evidence = Evidence(home)
    evidence.open_run("r", {"sleeve": "us", "manifest": "a" * 64, "code": CODE, "started_by": "script"})
    for stage, its in facts.items():
        committed(evidence, stage.replace("__", "."), its, rows=3)
    evidence.close_run("r", outcome, {"ok": list(facts), "failed": []})
    return evidence.run("r")


def manifest(params: dict[str, Any]) -> Manifest:
    code = CodeFacts(**CODE, source_hash="e" * 64, lock_hash=None, packages={})
    return Manifest(
        run_id="r",
        sleeve="us",
        as_of=None,
        seed=7,
        code=code,
        sleeve_file=SleeveFileFacts(name="us.toml", sha256=None),
        params=params,
        origins={},
        inputs={},
        pins={},
    )


@pytest.mark.parametrize(("outcome", "status"), STATUS.items())
def test_every_outcome_has_a_status(tmp_path: Path, outcome: Outcome, status: str) -> None:
    view = view_of(ended(tmp_path, outcome), None)
    assert (view.status, view.tags["quant.outcome"]) == (status, outcome)


def test_times_are_those_of_the_ledger(tmp_path: Path) -> None:
    run = ended(tmp_path, backtest__metrics={"metrics": {"sharpe": 1.0}})
    view = view_of(run, None)
    stamps = [run.genesis.ts, run.commits[0].ts, run.outcome.ts]
    milliseconds = [int(datetime.fromisoformat(stamp).astimezone(UTC).timestamp() * 1000) for stamp in stamps]
    assert [view.started_ms, view.metrics[0].at_ms, view.ended_ms] == pytest.approx(milliseconds, abs=1)


def test_a_run_at_work_is_shown_by_name_and_tags_only(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.open_run("r", {"sleeve": "us"})
    committed(evidence, "ingest.bars", {"metrics": {"rows": 3.0}})
    view = view_of(evidence.run("r"), manifest({"ingest.bars": {"a": 1}}))
    assert (view.status, view.ended_ms, view.params, view.metrics) == ("RUNNING", None, {}, ())
    assert view.tags["quant.outcome"] == "running"


def test_tags_lead_back_to_code_inputs_and_ledger(tmp_path: Path) -> None:
    run = ended(tmp_path)
    tags = view_of(run, None).tags
    assert tags["quant.run_id"] == tags["dagster_run_id"] == "r"
    assert tags["quant.git_commit"] == tags["mlflow.source.git.commit"] == "c" * 40
    assert (tags["quant.is_dirty"], tags["quant.manifest"], tags["quant.sleeve"]) == ("true", "a" * 64, "us")
    assert "quant.git_reason" not in tags
    assert "quant.parent_run" not in tags


def test_the_anchor_is_the_last_record_of_the_run(tmp_path: Path) -> None:
    run = ended(tmp_path)
    anchor = Evidence(tmp_path).ledger.anchor()
    assert view_of(run, None).tags["quant.anchor"] == f"{anchor.ledger_id}:{anchor.size}:{anchor.head}"


def test_a_refused_table_and_an_alert_are_told(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.open_run("r", {"parent_run": "p", "root_run": "q"})
    evidence.refuse("r", "ingest.bars", "us", ["budget: too many rows", "drift: 3 sd"])
    evidence.close_run("r", "failed", {"failed": ["ingest.bars"]})
    seq = evidence.note("r", "alert", {"message": "look"}).seq
    view = view_of(evidence.run("r"), None)
    assert view.seq == seq
    assert view.tags["quant.refused"] == "ingest.bars: budget: too many rows; drift: 3 sd"
    assert view.tags["quant.steps_failed"] == "ingest.bars"
    assert view.tags["quant.notes"] == "alert"
    assert (view.tags["quant.parent_run"], view.tags["quant.root_run"]) == ("p", "q")


def test_params_are_the_leaves_of_the_manifest(tmp_path: Path) -> None:
    given = {
        "inference.conviction": {"weights": {"momentum": 1.0}, "floor": 15, "name": "mps"},
        "features.tail": {"windows": [5, 20], "none": {}, "off": None},
    }
    assert dict(view_of(ended(tmp_path), manifest(given)).params) == {
        "sleeve": "us",
        "as_of": "null",
        "seed": "7",
        "features.tail.none": "{}",
        "features.tail.off": "null",
        "features.tail.windows": "[5,20]",
        "inference.conviction.floor": "15",
        "inference.conviction.name": "mps",
        "inference.conviction.weights.momentum": "1.0",
    }


def test_params_are_bounded_in_length_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MOST_PARAMS", 5)
    view = view_of(ended(tmp_path), manifest({"a.b": {"long": "x" * 9000, **{f"p{k}": k for k in range(9)}}}))
    assert len(view.params) == 5
    assert view.params["a.b.long"].startswith("xxx")
    assert max(map(len, view.params.values())) == 500
    assert view.tags["quant.params_left_out"] == "8"


def test_texts_that_differ_behind_the_cut_stay_different() -> None:
    assert truncate("x" * 500) == "x" * 500
    assert truncate("x" * 900 + "a") != truncate("x" * 900 + "b")


def test_names_are_made_fit_and_stay_apart() -> None:
    names = ["sharpe", "a:b", "a/b", "a%b", "größe", "x" * 300 + "1", "x" * 300 + "2"]
    fitted = [fit(name) for name in names]
    assert fitted[:2] == names[:2]
    assert all(re.fullmatch(r"[A-Za-z0-9_.:-]+", name) for name in fitted)
    assert len(set(fitted)) == len(names)
    assert max(map(len, fitted)) == 250


def test_metrics_are_rows_exclusions_and_aggregates_of_each_table(tmp_path: Path) -> None:
    facts = {"excluded": {"duplicate": 2, "off_range": 5}, "metrics": {"bars.symbols": 4.0}}
    view = view_of(ended(tmp_path, ingest__bars=facts), None)
    assert {point.name: point.value for point in view.metrics} == {
        "rows.ingest.bars": 3.0,
        "excluded.ingest.bars": 7.0,
        "excluded.ingest.bars.duplicate": 2.0,
        "excluded.ingest.bars.off_range": 5.0,
        "bars.symbols": 4.0,
    }


def test_metrics_are_bounded_per_table_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    crowd = {f"symbol.{k:03}": 1.0 for k in range(500)}
    view = view_of(ended(tmp_path, alpha__factors={"metrics": crowd}, backtest__metrics={"metrics": {"ir": 1.0}}), None)
    names = {point.name for point in view.metrics}
    assert len(names) == MOST_METRICS + 3
    assert "ir" in names
    assert view.tags["quant.metrics_left_out"] == str(502 - MOST_METRICS)


def test_what_is_no_finite_number_is_no_metric(tmp_path: Path) -> None:
    odd = {"nan": float("nan"), "inf": float("inf"), "flag": True, "word": "x", "fine": -0.5}
    view = view_of(ended(tmp_path, backtest__metrics={"metrics": odd}), None)
    assert {point.name for point in view.metrics} == {"rows.backtest.metrics", "excluded.backtest.metrics", "fine"}
    assert view.tags["quant.metrics_left_out"] == "4"


def test_of_a_retried_step_the_last_commit_counts(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.open_run("r", {})
    for rows, ic in ((1, 0.1), (2, 0.2)):
        committed(evidence, "alpha.factors", {"metrics": {"ic": ic}}, rows=rows)
    evidence.close_run("r", "ok", {})
    values = {point.name: point.value for point in view_of(evidence.run("r"), None).metrics}
    assert (values["ic"], values["rows.alpha.factors"]) == (0.2, 2.0)
