import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import GateError, UnknownNameError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.manifest import read_manifest
from quant_core.evidence.verification.verify import verify_ledger
from quant_core.graph.context import SelectionContext
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import RunResult
from quant_core.lifecycle.summary import describe_summary, summary_of
from quant_core.settings import CHECKOUT
from tests.builders import up_to
from tests.markets import ALL_FAMILIES, SLEEVE, plain_market

from .conftest import Place

Small = tuple[Place, RunResult]


def test_every_stage_commits_one_table_under_its_contract(small_run: Small) -> None:
    _, result = small_run
    registry = StageRegistry.load("quant_core")
    assert set(result.refs) == set(registry)
    for stage, spec in registry.items():
        frame = result.frame(stage)
        assert frame.columns == list(spec.output.dtypes)
        assert frame.equals(frame.sort(spec.output.key, maintain_order=True))


def test_the_run_is_told_by_the_ledger_from_genesis_to_outcome(small_run: Small) -> None:
    _, result = small_run
    evidence = Evidence(result.home)
    run = evidence.run(result.run_id)
    assert run.outcome is not None
    assert run.outcome.data["outcome"] == "ok"
    assert len(run.commits) == len(result.refs)
    manifest = read_manifest(result.home, result.run_id, sha256=run.genesis.data["manifest"])
    assert manifest.origins["backtest.schedule"]["train"] == "sleeve file"
    assert verify_ledger(evidence.ledger).ok


def test_no_row_of_the_landing_is_lost(small_run: Small) -> None:
    _, result = small_run
    evidence = Evidence(result.home)
    bars = next(r for r in evidence.run(result.run_id).commits if r.data["stage"] == "ingest.bars")
    kept, excluded = bars.data["valid"]["rows"], bars.data["exclusions"]["rows"]
    assert kept + excluded == result.refs["ingest.raw"].rows
    assert result.frame("ingest.returns").height == kept


def test_a_second_run_of_equal_inputs_yields_equal_bytes(small_run: Small) -> None:
    place, result = small_run
    again = place.run()
    assert {k: r.sha256 for k, r in again.refs.items()} == {k: r.sha256 for k, r in result.refs.items()}
    assert again.run_id != result.run_id


@pytest.mark.slow  # the laws of leaks ask the same of bars cut at an earlier date
def test_appending_bars_changes_no_earlier_row_of_any_table(small_run: Small, tmp_path: Path) -> None:
    _, result = small_run
    cut = result.frame("ingest.raw")["date"].unique().sort()[-61]
    place = Place(tmp_path / "market", tmp_path / "home")
    shorter = place.write(plain_market().filter(pl.col("date") <= cut), SLEEVE + ALL_FAMILIES).run()
    undated = {"ingest.universe", "alpha.evaluation", "backtest.metrics", "backtest.schedule"}
    for stage in sorted(set(result.refs) - undated):
        early, whole = shorter.frame(stage), result.frame(stage)
        if "date" not in early.columns or stage.startswith("report."):
            continue
        # the last bars may still be provisional, the last forward returns are not complete
        sure = pl.col("date") < cut - pl.duration(days=25)
        assert early.filter(sure).equals(whole.filter(sure)), stage


def test_knowledge_time_cuts_the_landing(small_run: Small, tmp_path: Path) -> None:
    place, result = small_run
    cut = result.frame("ingest.raw")["date"].unique().sort()[-61]
    weights = up_to("allocation.weights")
    then = Place(place.folder, tmp_path / "home").run(as_of=str(cut), only=weights)
    cut_file = Place(tmp_path / "market", tmp_path / "other").write(plain_market().filter(pl.col("date") < cut))
    cut_file = cut_file.run(only=weights)
    assert then.frame("ingest.bars")["date"].max() == cut_file.frame("ingest.bars")["date"].max()
    assert then.frame("allocation.weights").equals(cut_file.frame("allocation.weights"))


def test_weights_never_exceed_wealth_or_their_caps(small_run: Small) -> None:
    _, result = small_run
    weights = result.frame("allocation.weights")
    totals = weights.group_by("date", "method").agg(pl.col("weight").sum())["weight"]
    assert totals.max() <= 1.0 + 1e-9  # type: ignore[operator]
    assert weights["weight"].max() <= 0.20 + 1e-9  # type: ignore[operator]


def test_the_report_is_published_beside_the_store(small_run: Small) -> None:
    _, result = small_run
    page = (result.home / "reports" / "small" / "tear_sheet.html").read_text()
    assert "<script" not in page
    assert "<svg" in page
    assert (result.home / "reports" / "small" / result.run_id / "tear_sheet.html").read_text() == page


def test_the_summary_names_the_headline_portfolio(small_run: Small) -> None:
    _, result = small_run
    summary = summary_of(Evidence(result.home), "small", run_id=result.run_id)
    assert json.loads(json.dumps(summary)) == summary
    assert summary["rows"] == result.refs["ingest.bars"].rows
    assert summary["refs"]["ingest.bars"] == result.refs["ingest.bars"].model_dump(include={"sha256", "rows", "path"})
    assert sum(row["weight"] for row in summary["selection"]) <= 1.0 + 1e-9
    assert summary["selection"][0]["symbol"] in describe_summary(summary)


def test_one_stage_can_be_executed_by_its_id_with_references_only(small_run: Small, tmp_path: Path) -> None:
    place, result = small_run
    context = SelectionContext(run_id="by-hand", sleeve="small", home=str(tmp_path), sleeve_path=str(place.sleeve))
    registry = StageRegistry.load("quant_core")
    after = registry.get("ingest.bars").execute(registry.get("ingest.raw").execute(context))
    assert after.refs["ingest.bars"].sha256 == result.refs["ingest.bars"].sha256
    assert len(after.model_dump_json()) < 64 * 1024
    assert after.diff(after).is_empty
    assert set(after.diff(context).refs) == {"ingest.raw", "ingest.bars"}


def test_a_refused_stage_commits_nothing_and_closes_the_run_as_failed(tmp_path: Path) -> None:
    bars = plain_market(bars=260)
    broken = bars.with_columns(high=pl.col("low") * 0.5)
    place = Place(tmp_path / "market", tmp_path / "home").write(broken)
    with pytest.raises(GateError, match="budget"):
        place.run()
    run = Evidence(tmp_path / "home").runs()[-1]
    assert run.outcome is not None
    assert run.outcome.data["outcome"] == "failed"
    assert run.outcome.data["steps"]["failed"] == ["ingest.bars"]
    assert [record.data["stage"] for record in run.refused] == ["ingest.bars"]
    assert "ingest.bars" not in {record.data["stage"] for record in run.commits}


def test_an_unknown_family_lists_the_near_ones(place: Place) -> None:
    place.sleeve.write_text(place.sleeve.read_text() + '[features]\nfamilies = ["trends"]\n')
    with pytest.raises(UnknownNameError, match="Did you mean trend"):
        place.run(only=["ingest.raw", "ingest.bars", "features.trend"])


def test_a_close_only_source_runs_with_liquidity_unknown(tmp_path: Path) -> None:
    place = Place(tmp_path / "market", tmp_path / "home").write(plain_market().select("date", "symbol", "close"))
    result = place.run()
    liquidity = result.frame("features.liquidity")
    assert liquidity["amihud"].null_count() == liquidity.height
    assert result.frame("synthesis.selection").height > 0


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"dagster", "mlflow", "ray", "dagster_mlflow", "dagster_pandera"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocker())
sys.argv = ["plain_script.py", "small"]
import runpy; runpy.run_path(%r, run_name="__main__")
"""


def test_the_plain_script_needs_no_orchestrator_and_yields_the_same_bytes(small_run: Small, tmp_path: Path) -> None:
    place, result = small_run
    code = BLOCKED % str(CHECKOUT / "examples" / "plain_script.py")
    environ = os.environ | {"QUANT_HOME": str(tmp_path), "QUANT_SLEEVES": str(place.folder)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heads = Evidence(tmp_path).heads()
    assert {stage: record.data["valid"]["sha256"] for (stage, _), record in heads.items()} == {
        stage: ref.sha256 for stage, ref in result.refs.items()
    }
