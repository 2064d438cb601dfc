from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from pydantic import Field

from quant_core.errors import ConfigError, UnknownNameError, UsageError
from quant_core.graph.compute import SerialCompute
from quant_core.graph.parameters import resolve_plan
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import execute_stage
from quant_core.graph.stage import Params, StageSpec, derive_contract, stage
from quant_core.market.contracts.features import ValueColumn, store_contract
from quant_core.market.contracts.ingest import Raw, ReturnsSchema
from quant_core.market.contracts.split import Contract
from quant_core.market.sleeves import Sleeve, SleeveFile


class RawParams(Params):
    kind: str = ""
    options: dict[str, str | int] = Field(default_factory=dict)


class ScoreParams(Params):
    top: int = Field(default=3, ge=1)
    weights: dict[str, float] = Field(default_factory=dict)
    methods: tuple[str, ...] = ("a",)


class PageParams(Params):
    top: int = Field(default=0, json_schema_extra={"from": "alpha.score.top"})


def raw(*, params: RawParams) -> pl.DataFrame:
    return Raw.empty()


def score(raw: pl.DataFrame, *, params: ScoreParams) -> pl.DataFrame:
    return ReturnsSchema.empty()


def page(score: pl.DataFrame, *, params: PageParams) -> pl.DataFrame:
    return ReturnsSchema.empty()


REGISTRY = StageRegistry(
    [
        stage("report.page", inputs={"score": "alpha.score"}, output=ReturnsSchema)(page),
        stage("alpha.score", inputs={"raw": "ingest.raw#exclusions"}, output=ReturnsSchema)(score),
        stage("ingest.raw", output=Raw, takes="source")(raw),
    ]
)


def sleeve(**rooms: dict[str, object]) -> SleeveFile:
    return SleeveFile(Sleeve(name="mine", calendar="24/7"), {"kind": "parquet", "path": "/x"}, rooms, "0" * 64)


def test_stages_come_after_their_inputs() -> None:
    assert [spec.id for spec in REGISTRY.order_stages()] == ["ingest.raw", "alpha.score", "report.page"]
    assert [spec.id for spec in REGISTRY.order_stages(["report.page", "ingest.raw"])] == ["ingest.raw", "report.page"]


def test_a_circle_of_stages_is_an_error() -> None:
    specs = [StageSpec("a.x", raw, {"b": "a.y"}, Raw), StageSpec("a.y", raw, {"b": "a.x"}, Raw)]
    with pytest.raises(UsageError, match="circle"):
        StageRegistry(specs).order_stages()


def test_an_unknown_stage_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"alpha\.score"):
        REGISTRY.get("alpha.scores")
    with pytest.raises(UnknownNameError, match=r"ingest\.raw"):
        StageRegistry([StageSpec("a.x", raw, {"b": "ingest.ra"}, Raw), REGISTRY["ingest.raw"]])


def test_flag_beats_environment_beats_sleeve_file_beats_default() -> None:
    environ = {"QUANT__ALPHA__TOP": "7", "QUANT__ALPHA__METHODS": '["b", "c"]'}
    file = sleeve(alpha={"top": 5, "weights": {"momentum": 2.0}})
    plain = resolve_plan(REGISTRY, file)
    assert plain.params["alpha.score"] == ScoreParams(top=5, weights={"momentum": 2.0})
    set_outside = resolve_plan(REGISTRY, file, environ=environ)
    assert set_outside.params["alpha.score"] == ScoreParams(top=7, weights={"momentum": 2.0}, methods=("b", "c"))
    given = resolve_plan(REGISTRY, file, environ=environ, overrides={"alpha.score": {"top": 9}})
    assert given.params["alpha.score"].model_dump()["top"] == 9
    assert given.origins["alpha.score"] == {"top": "flag", "weights": "sleeve file", "methods": "environment"}


def test_the_source_table_feeds_the_landing() -> None:
    assert resolve_plan(REGISTRY, sleeve()).params["ingest.raw"] == RawParams(kind="parquet", options={"path": "/x"})


def test_a_borrowed_field_follows_the_stage_it_names_unless_given() -> None:
    borrowed = resolve_plan(REGISTRY, sleeve(alpha={"top": 5}))
    assert borrowed.params["report.page"] == PageParams(top=5)
    assert borrowed.origins["report.page"]["top"] == "from alpha.score.top"
    assert resolve_plan(REGISTRY, sleeve(report={"top": 1})).params["report.page"] == PageParams(top=1)


@pytest.mark.parametrize(
    ("rooms", "said"),
    [({"alfa": {}}, "Did you mean alpha"), ({"alpha": {"tob": 1}}, "Did you mean top")],
)
def test_a_name_no_stage_has_lists_the_near_ones(rooms: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        resolve_plan(REGISTRY, sleeve(**rooms))


@pytest.mark.parametrize("value", [0, "three", 1.5, None])
def test_a_value_the_stage_refuses_is_a_config_error(value: object) -> None:
    with pytest.raises(ConfigError, match=r"parameters of alpha\.score: top"):
        resolve_plan(REGISTRY, sleeve(alpha={"top": value}))


def test_an_unknown_field_given_for_a_run_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="tob"):
        resolve_plan(REGISTRY, sleeve(), overrides={"alpha.score": {"tob": 1}})


def test_a_stage_whose_arguments_do_not_match_its_inputs_is_an_error() -> None:
    with pytest.raises(UsageError, match="do not match"):
        stage("alpha.score", inputs={"bars": "ingest.bars"}, output=ReturnsSchema)(score)


def doubled(contract: Contract) -> Contract:
    names = [name for name in contract.dtypes if name not in contract.key]
    return store_contract("Doubled", "Twice the input.", (ValueColumn(f"{name}_twice", "Twice.") for name in names))


def twice(own: pl.DataFrame, *, contracts: Mapping[str, Contract]) -> pl.DataFrame:
    return own.select("date", "symbol", (2 * pl.col(contracts["own"].schema.name.lower())).alias("simple_return_twice"))


def again(own: pl.DataFrame) -> pl.DataFrame:
    return own.rename({"simple_return_twice": "simple_return_twice_twice"})


RETURNS = store_contract("Simple_Return", "Returns.", [ValueColumn("simple_return", "Fraction.")])
TWICE = stage("beta.twice", inputs={"own": "alpha.own"}, output=derive_contract("alpha.own", doubled))(twice)


def derived_registry() -> StageRegistry:
    return StageRegistry(
        [
            stage("gamma.again", inputs={"own": "beta.twice"}, output=derive_contract("beta.twice", doubled))(again),
            TWICE,
            stage("alpha.own", output=RETURNS)(lambda: RETURNS.empty()),
        ]
    )


def test_a_derived_contract_follows_from_its_input_through_any_number_of_stages() -> None:
    registry = derived_registry()
    assert list(registry["beta.twice"].output.dtypes) == ["date", "symbol", "simple_return_twice"]
    assert list(registry["gamma.again"].output.dtypes) == ["date", "symbol", "simple_return_twice_twice"]
    assert registry["beta.twice"].output is registry["beta.twice"].output
    assert registry["beta.twice"].input_contracts == {"own": RETURNS}


def test_a_derived_contract_follows_another_registry_and_a_replaced_function() -> None:
    other = store_contract("Other", "Others.", [ValueColumn("level", "Level.")])
    changed = StageRegistry(
        [
            replace(derived_registry()["beta.twice"], function=again),
            stage("alpha.own", output=other)(lambda: other.empty()),
        ]
    )
    assert list(changed["beta.twice"].output.dtypes) == ["date", "symbol", "level_twice"]


def test_a_part_of_an_input_has_no_contract_to_offer() -> None:
    assert REGISTRY["alpha.score"].input_contracts == {}
    assert REGISTRY["report.page"].input_contracts == {"score": ReturnsSchema}


def test_outside_a_registry_a_derived_contract_is_not_known() -> None:
    with pytest.raises(UsageError, match=r"beta\.twice.*registry"):
        TWICE.output  # noqa: B018 - a property that raises


def test_a_contract_derives_from_the_valid_rows_of_an_input_only() -> None:
    for source in ("alpha.other", "alpha.own#exclusions"):
        with pytest.raises(UsageError, match="not an input"):
            stage("beta.twice", inputs={"own": "alpha.own"}, output=derive_contract(source, doubled))(twice)


def test_a_stage_that_names_contracts_is_given_those_of_its_inputs() -> None:
    registry = derived_registry()
    spec = registry["beta.twice"]
    assert spec.wants == {"contracts"}
    frame = pl.DataFrame({"date": [date(2024, 1, 1)], "symbol": ["X:A"], "simple_return": [0.1]})
    plan = resolve_plan(registry, sleeve())
    found = execute_stage(spec, {"own": frame}, plan, compute=SerialCompute(), as_of=None)
    assert found.valid["simple_return_twice"].to_list() == [0.2]


def test_a_stage_taken_from_its_module_joins_a_registry() -> None:
    joined = derived_registry().join_contracts(TWICE)
    assert list(joined.output.dtypes) == ["date", "symbol", "simple_return_twice"]
    assert joined.function is TWICE.function
