from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from tiny_desk import TABLES, Desk, events_of

from quant_assets.environments import resources_of
from quant_assets.io_managers import key_of
from quant_core.graph.parameters import resolve_plan
from quant_core.graph.runner import open_run
from quant_core.market.sleeves import find_sleeve


def asset_that_returns(value: Any, desk: Desk) -> dg.AssetsDefinition:
    sleeves = dg.StaticPartitionsDefinition(["tiny", "other"])

    @dg.asset(key=key_of("ingest.bars"), partitions_def=sleeves, deps=[key_of("ingest.raw")])
    def ingest__bars() -> Any:
        return value

    return ingest__bars


def written(desk: Desk, value: Any) -> dg.ExecuteInProcessResult:
    desk.run(only=("ingest/raw",))
    return dg.materialize(
        [asset_that_returns(value, desk)],
        resources=resources_of("local", package="tiny_graph"),
        partition_key="tiny",
        instance=desk.instance,
        raise_on_error=False,
    )


def bars(rows: int, **columns: Any) -> pl.DataFrame:
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, rows), eager=True).alias("date")
    frame = pl.DataFrame([days]).with_columns(pl.lit("X:A").alias("symbol"), pl.lit(2.0).alias("close"))
    return frame.with_columns(**columns)


def test_a_plain_table_is_judged_and_committed_as_a_stage_would(desk: Desk) -> None:
    result = written(desk, bars(30))
    assert result.success
    assert desk.frame("ingest.bars").height == 30


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (bars(30).rename({"close": "price"}), "lacks close"),
        (bars(30, close=pl.lit(2, dtype=pl.Int64)), "close is Int64, not Float64"),
        (bars(30, extra=pl.lit(1)), "unknown column extra"),
        (bars(29), "conservation: 30 rows in"),
        (bars(30, close=pl.lit(-2.0)), "budget: * excluded 30 of 30 rows"),
        (bars(30, close=pl.lit(1.0)), "no_low_price"),
    ],
)
def test_a_wrong_table_is_refused_on_write_and_nothing_is_committed(desk: Desk, wrong: pl.DataFrame, said: str) -> None:
    result = written(desk, wrong)
    (failure,) = events_of(result, "STEP_FAILURE")
    assert said in str(failure.step_failure_data.error.cause or failure.step_failure_data.error)
    assert ("ingest.bars", "tiny") not in desk.evidence.heads()


def forged(desk: Desk, frame: pl.DataFrame) -> None:
    """Commit a table past every gate, as only a faulty program could."""
    place = {"stage": "ingest.bars", "sleeve": "tiny"}
    evidence = desk.evidence
    plan = resolve_plan(desk.stages, find_sleeve("tiny", desk.sleeves))
    open_run(evidence, plan, run_id="forger", as_of=None, compute="serial", facts={})
    refs = [
        evidence.store.write(frame, key=("symbol",), **place),
        evidence.store.write(frame.clear(), key=(), part="exclusions", **place),
    ]
    evidence.commit(run_id="forger", valid=refs[0], exclusions=refs[1], facts={}, **place)
    evidence.close_run("forger", "ok", {})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (bars(30).drop("close"), "lacks close"),
        (bars(30, close=pl.lit(-2.0)), "not_positive"),
    ],
)
def test_a_wrong_table_is_refused_on_read(desk: Desk, wrong: pl.DataFrame, said: str) -> None:
    desk.run(only=("ingest/raw",))
    forged(desk, wrong)
    result = desk.run(only=("report/counts",))
    (failure,) = events_of(result, "STEP_FAILURE")
    assert said in str(failure.step_failure_data.error.cause or failure.step_failure_data.error)
    assert ("report.counts", "tiny") not in desk.evidence.heads()


def test_a_changed_byte_is_refused_on_read(desk: Desk) -> None:
    desk.run()
    path = desk.home / desk.evidence.heads()[("ingest.bars", "tiny")].data["valid"]["path"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    result = desk.run(only=("report/counts",))
    (failure,) = events_of(result, "STEP_FAILURE")
    assert "has other bytes" in str(failure.step_failure_data.error)


def test_each_table_shows_its_version_its_rows_and_what_was_left_out(desk: Desk) -> None:
    result = desk.run()
    shown = {e.asset_key.to_user_string(): e.materialization for e in result.get_asset_materialization_events()}
    assert sorted(shown) == sorted(TABLES)
    head = desk.evidence.heads()[("ingest.bars", "tiny")]
    seen = {name: value.value for name, value in shown["ingest/bars"].metadata.items()}
    assert seen["sha256"] == head.data["valid"]["sha256"]
    assert seen["ledger_seq"] == head.seq
    assert Path(seen["path"]).is_file()
    assert seen["size_bytes"] == Path(seen["path"]).stat().st_size
    assert (seen["dagster/row_count"], seen["excluded_rows"]) == (27, 3)
    assert (seen["first_date"], seen["last_date"]) == ("2024-01-01", "2024-01-29")
    (excluded,) = shown["ingest/bars"].metadata["excluded"].records
    assert excluded.data == {"rule": "close_not_positive", "rows": 3}
    assert seen["preview"].splitlines()[0] == "| date | symbol | close |"
    assert seen["metrics"] == {"bars.rows": 27.0}
    assert seen["chart"].startswith("![ingest.bars](data:image/png;base64,")
    assert shown["ingest/bars"].tags["dagster/data_version"] == head.data["valid"]["sha256"]


def test_outside_a_run_the_newest_table_is_loaded(desk: Desk) -> None:
    desk.run()
    definitions = desk.definitions()
    loaded = definitions.load_asset_value(
        dg.AssetKey(["ingest", "bars"]), partition_key="tiny", instance=desk.instance, python_type=pl.DataFrame
    )
    assert loaded.equals(desk.frame("ingest.bars"))
    assert len(desk.evidence.runs()) == 1


def test_each_table_shows_what_differs_from_the_previous_run(desk: Desk) -> None:
    def shown(**given: object) -> dict[str, dict[str, object]]:
        result = desk.run(**given)  # type: ignore[arg-type]
        return {
            event.asset_key.to_user_string(): {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }

    assert not any("changes" in table for table in shown().values())
    first = desk.evidence.runs()[-1].run_id
    assert shown()["ingest/bars"]["changes"] == f"none since run {first[:13]}"
    changed = shown(config={"ingest__bars": {"scale": 2.0}})
    assert str(changed["ingest/bars"]["changes"]).startswith("0 rows added, 0 removed, 27 changed")
    detail = changed["ingest/bars"]["changes_detail"]
    assert isinstance(detail, dict)
    assert detail["table"]["columns"]["close"] == {"cells": 27, "largest": 128.0}
    assert detail["members"]["jaccard"] == 1.0
