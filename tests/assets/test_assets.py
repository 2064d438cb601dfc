from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import polars as pl
import pytest
from pydantic import BaseModel, Field, JsonValue
from tiny_desk import Desk
from tiny_graph.ingest.stages import Kept

from quant_assets.assets.code import _imported_files, reaches, room_version
from quant_assets.assets.factory import polars_type
from quant_assets.assets.shell import shell
from quant_assets.metadata import preview
from quant_assets.resources.run_settings import launch_params


class Inner(BaseModel):
    rank: int = 1


class Outer(BaseModel):
    size: int = Field(default=3, ge=1, description="How many.")
    share: float | None = None
    name: str = "a"
    kind: Literal["x", "y"] = "x"
    day: date = date(2024, 1, 1)
    price: Decimal = Decimal("1.5")
    lookbacks: tuple[int, ...] = (1, 2)
    limits: dict[str, float] = Field(default_factory=dict)
    options: dict[str, JsonValue] = Field(default_factory=dict)
    either: int | str = 1
    inner: Inner = Inner()


def accepted(config: dict[str, Any]) -> Any:
    """Return what an op is given for `config`."""
    seen: list[Any] = []

    @dg.op
    def taking(config: shell(Outer)) -> None:  # type: ignore[valid-type]
        seen.append(config)

    @dg.job
    def job() -> None:
        taking()

    job.execute_in_process(run_config={"ops": {"taking": {"config": config}}})
    return seen[0].model_dump()


def test_every_field_may_be_left_out() -> None:
    given = accepted({})
    assert given.pop("inner") == {"rank": None}
    assert set(given.values()) == {None}


@pytest.mark.parametrize(
    "config",
    [
        {"size": 4, "share": 0.5, "name": "b"},
        {"kind": "y", "day": "2024-02-01", "price": "2.5"},
        {"lookbacks": [5, 6], "limits": {"a": 1.0}, "inner": {"rank": 2}},
        {"options": {"path": "a", "bars": 3, "nested": {"deep": [1, None]}}},
        {"either": "text"},
        {"either": 2},
    ],
)
def test_a_launch_gives_what_a_params_model_takes(config: dict[str, Any]) -> None:
    given = accepted(config)
    assert {name: given[name] for name in config} == config
    Outer.model_validate(config)


@pytest.mark.parametrize("config", [{"sise": 4}, {"size": "many"}, {"inner": {"rank": "first"}}])
def test_what_a_launch_cannot_mean_is_refused_while_it_is_typed(config: dict[str, Any]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        accepted(config)


def test_a_field_shows_its_description_and_default() -> None:
    assert shell(Outer).model_fields["size"].description == "How many. Default: 3."


def test_nulls_are_not_given_and_an_empty_table_is(desk: Desk) -> None:
    ops = {
        "ingest__bars": {"config": {"scale": None, "nested": {"a": None, "b": 1}, "gone": {"a": None}, "kept": {}}},
        "ingest__raw": {"config": {"kind": None}},
        "ingest__bars_audit": {"config": {"x": 1}},
        "report__counts": {},
    }
    assert launch_params(desk.stages, {"ops": ops}) == {"ingest.bars": {"nested": {"b": 1}, "kept": {}}}
    assert launch_params(desk.stages, {}) == {}


def test_an_asset_says_what_it_is_before_it_ever_ran(desk: Desk) -> None:
    graph = desk.definitions().resolve_asset_graph()
    bars = graph.get(dg.AssetKey(["ingest", "bars"]))
    assert bars.group_name == "ingest"
    assert list(bars.owners) == ["team:quant"]
    assert bars.kinds == {"parquet", "polars"}
    assert bars.description.startswith("Scale the prices")
    assert bars.partitions_def.get_partition_keys() == ["other", "tiny"]
    columns = {column.name: column for column in bars.metadata["dagster/column_schema"].columns}
    assert columns["close"].description == "Price, in quote currency."
    assert bars.parent_keys == {dg.AssetKey(["ingest", "raw"])}
    assert graph.get(dg.AssetKey(["report", "counts"])).parent_keys == {
        dg.AssetKey(["ingest", "raw"]),
        dg.AssetKey(["ingest", "bars"]),
    }
    gate = graph.get(dg.AssetCheckKey(dg.AssetKey(["ingest", "bars"]), "contract"))
    assert gate.blocking
    assert gate.partitions_def == bars.partitions_def
    assert not graph.get(dg.AssetCheckKey(dg.AssetKey(["ingest", "bars"]), "audit")).blocking


def test_the_tracker_comes_after_whatever_nothing_else_reads(desk: Desk) -> None:
    graph = desk.definitions().resolve_asset_graph()
    assert graph.get(dg.AssetKey(["tracking", "mlflow"])).parent_keys == {dg.AssetKey(["report", "counts"])}


def test_a_room_has_a_new_version_when_anything_it_is_made_of_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "__init__.py": "",
        "ingest/__init__.py": "",
        "ingest/raw.py": "from grown_graph.market.prices import price",
        "ingest/page.html": "one",
        "market/__init__.py": "",
        "market/prices.py": "def f():\n    import grown_graph.kernels.sums",
        "kernels/sums.py": "1",
        "report/__init__.py": "",
    }

    def version(**changed: str) -> str:
        for name, text in (files | {name.replace("__", "/", 1): text for name, text in changed.items()}).items():
            (tmp_path / "grown_graph" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "grown_graph" / name).write_text(text)
        room_version.cache_clear()
        _imported_files.cache_clear()
        return room_version("grown_graph.ingest")

    first = version()
    assert version() == first
    assert version(**{"report____init__.py": "2"}) == first
    others = [version(**{name: text}) for name, text in [("ingest__page.html", "two"), ("kernels__sums.py", "2")]]
    assert len({first, *others}) == 3


def test_only_stages_that_end_in_a_kernel_are_called_compiled() -> None:
    assert reaches("quant_core.ingest.bars", "kernels")
    assert not reaches("quant_core.report.orders", "kernels")


def test_one_contract_is_one_type() -> None:
    assert polars_type(Kept) is polars_type(Kept)
    assert polars_type(Kept).unique_name == "Kept"


def test_a_preview_stays_a_table_whatever_stands_in_a_cell() -> None:
    frame = Kept.empty().clear(1).with_columns(symbol=pl.lit("X:<b>|`\n" + "y" * 99))
    lines = preview(frame).splitlines()
    assert len(lines) == 3
    assert lines[2].count("|") - lines[2].count("\\|") == 4
    assert "\\<b\\>" in lines[2]
    assert lines[2].count("y") < 60
