"""Any feature of the catalogue can become a factor of a sleeve and reach its weights; a name nobody holds cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from quant_core import cli
from quant_core.alpha.catalogue import catalogue
from quant_core.errors import ConfigError, UnknownNameError, UsageError
from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.parameters import union_of_inputs
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.graph.stage import stage
from quant_core.market.contracts.features import FeatureStoreSchema, ValueColumn
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings
from tests.builders import up_to
from tests.markets import ALL_FAMILIES, SLEEVE

from .conftest import Place

REGISTRY = StageRegistry.load("quant_core")
ONE_OF_EACH = {"KMID": "alpha158", "alpha006": "alpha101", "recommend_all": "ratings", "mean_return_10": "short"}
LINE = '{name} = {{ map = "rank", role = "{role}", directional = {directional} }}\n'


def factor_lines(*names: str, role: str = "alpha") -> str:
    directional = "true" if role == "alpha" else "false"
    lines = (LINE.format(name=name, role=role, directional=directional) for name in names)
    return "[alpha.factors]\n" + "".join(lines)


def only_these_weigh(*names: str) -> str:
    return "[inference.weights]\n" + "".join(f"{name} = 0.0\n" for name in catalogue() if name not in names)


@stage(
    "features.short",
    inputs={"bars": "ingest.bars"},
    output=FeatureStoreSchema("short", [ValueColumn("mean_return_10", "Mean return of 10 bars.")]),
)
def short(bars: pl.DataFrame) -> pl.DataFrame:
    """Compute a family the core does not have."""
    mean = pl.col("close").pct_change().rolling_mean(10).over("symbol").alias("mean_return_10")
    return bars.sort("symbol", "date").select("date", "symbol", mean)


def run(place: Place, text: str, until: str) -> RunResult:
    place.sleeve.write_text(SLEEVE + text)
    return place.run(only={*up_to(until), "features.alpha158"})


def test_a_feature_of_any_family_reaches_the_weights_by_one_line(place: Place) -> None:
    registry = StageRegistry([*REGISTRY.values(), short])
    text = ALL_FAMILIES + factor_lines(*ONE_OF_EACH) + only_these_weigh(*ONE_OF_EACH)
    place.sleeve.write_text(SLEEVE + text)
    needed = {*up_to("allocation.weights"), *(f"features.{family}" for family in ONE_OF_EACH.values())}
    runner = DAGRunner(Settings(home=place.home), registry=registry)
    result = runner.run(read_sleeve(place.sleeve), only=needed)
    assert set(result.frame("alpha.factors").columns[-4:]) == set(ONE_OF_EACH)
    latest = result.frame("inference.conviction").filter(pl.col("date") == pl.col("date").max())
    for name in ONE_OF_EACH:
        assert result.frame("alpha.factors")[name].null_count() < result.refs["alpha.factors"].rows / 2
        assert latest[f"contribution_{name}"].null_count() == 0
    assert latest["conviction"].null_count() == 0
    assert result.refs["allocation.weights"].rows > 0
    assert result.warnings == ()


def test_a_sleeve_reads_and_records_only_the_tables_it_names(small_run: tuple[Place, RunResult], place: Place) -> None:
    plain = {"features.trend", "features.volatility", "features.predictability", "features.liquidity", "features.tail"}
    _, result = small_run
    [record] = [
        commit for commit in Evidence(result.home).run(result.run_id).commits if commit.data["stage"] == "alpha.factors"
    ]
    assert set(record.data["facts"]["parents"]) == {*plain, "ingest.universe"}
    place.sleeve.write_text(SLEEVE + ALL_FAMILIES + factor_lines("KMID"))
    union = union_of_inputs(REGISTRY, [read_sleeve(place.sleeve)])
    assert set(union["alpha.factors"]) == {*plain, "features.alpha158", "ingest.universe"}
    assert union["synthesis.decisions"] == REGISTRY["synthesis.decisions"].parents


def test_a_factor_of_a_sleeve_changes_no_other_sleeve(small_run: tuple[Place, RunResult], place: Place) -> None:
    _, result = small_run
    own = run(place, ALL_FAMILIES + factor_lines("KMID"), "alpha.factors")
    assert own.frame("alpha.factors").drop("KMID").equals(result.frame("alpha.factors"))
    assert own.refs["features.trend"].sha256 == result.refs["features.trend"].sha256
    assert "KMID" not in REGISTRY["alpha.factors"].output.names


@pytest.mark.parametrize(("typo", "near"), [("KMDI", "KMID"), ("recommend_al", "recommend_all")])
def test_a_misspelt_feature_stops_the_run_before_it_starts(place: Place, typo: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near) as caught:
        run(place, factor_lines(typo), "ingest.raw")
    assert caught.value.exit_code == 4
    assert f"factor {typo}" in str(caught.value)
    assert not (place.home / "audit.jsonl").exists()


@pytest.mark.parametrize("id", ["alpha.factors", "synthesis.decisions"])
def test_code_that_names_a_feature_nobody_computes_does_not_load(id: str) -> None:
    spec = replace(REGISTRY[id], names=lambda params: {"momentun": "factor typo"})
    with pytest.raises(UnknownNameError, match=r"factor typo.*momentum"):
        StageRegistry([*(other for other in REGISTRY.values() if other.id != id), spec])


def test_two_tables_with_a_column_of_one_name_are_refused() -> None:
    again = replace(short, id="features.again")
    with pytest.raises(UsageError, match="mean_return_10"):
        StageRegistry([*REGISTRY.values(), short, again])


def test_a_factor_whose_family_is_off_is_reported_and_not_counted(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = run(place, "", "inference.conviction").frame("inference.conviction")
    place.sleeve.write_text(SLEEVE + factor_lines("KMID"))
    arguments = ["quant", "run", "small", "--config", str(place.sleeve), "--home", str(place.home), "--json"]
    monkeypatch.setattr("sys.argv", arguments)
    cli.main()
    said = "factor KMID reads KMID, and features.alpha158 is switched off."
    assert said in capsys.readouterr().err
    evidence = Evidence(place.home)
    assert said in (evidence.home / "reports" / "small" / "tear_sheet.html").read_text()
    conviction = evidence.store.read(evidence.resolve("inference.conviction", "small"))
    assert conviction["coverage"].equals(base["coverage"])
    assert conviction["conviction"].equals(base["conviction"])
    assert conviction["contribution_KMID"].null_count() == conviction.height


def test_a_sleeve_without_any_family_its_factors_need_is_an_error(place: Place) -> None:
    with pytest.raises(ConfigError, match="switched off"):
        run(place, "[features]\nfamilies = []\n", "inference.conviction")


def test_a_tradability_factor_lowers_conviction_alike_for_both_sides(place: Place) -> None:
    plain = run(place, "[inference]\nshorts = true\n", "inference.conviction").frame("inference.conviction")
    name = "log_traded_value"
    text = "[inference]\nshorts = true\n" + factor_lines(name, role="tradability")
    own = run(place, text, "inference.conviction").frame("inference.conviction")
    both = plain.join(own, on=["date", "symbol", "direction", "scorer"], suffix="_own").drop_nulls("conviction")
    share = both[f"contribution_{name}"]
    assert share.is_between(-0.25, 0.0).all()
    assert (both["coverage"] == both["coverage_own"]).all()
    expected = both["conviction"] * share.exp()
    assert (expected - both["conviction_own"]).abs().max() < 1e-12
    sides = own.pivot(on="direction", index=["date", "symbol"], values=f"contribution_{name}")
    assert sides["LONG"].equals(sides["SHORT"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('momentum = { map = "rank", directional = true }', "in the catalogue"),
        ('KMID = { map = "rnk", directional = true }', "rank"),
        ('KMID = { map = "rank", directional = true, role = "trade" }', "role"),
        ('KMID = { map = "rank" }', "directional"),
        ('KMID = { map = "rank", directional = true, is_long_only = true }', "long only"),
        ('KMID = { map = "rank", directional = true, role = "tradability" }', "directional = false"),
    ],
)
def test_a_wrong_factor_line_is_refused_before_the_run_starts(place: Place, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(place, f"[alpha.factors]\n{line}\n", "ingest.raw")
    assert not Path(place.home / "audit.jsonl").exists()
