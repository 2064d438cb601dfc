from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from quant_core.graph.judge import judge
from quant_core.ingest.actions import actions
from quant_core.ingest.bars import bars
from quant_core.ingest.exclusions import exclusions
from quant_core.ingest.raw import RawParams, raw
from quant_core.market.contracts.ingest import Actions
from quant_core.market.sleeves import Sleeve


def test_what_landing_and_bars_excluded_stands_in_one_table_by_landed_row(tmp_path: Path, new_landing: Any) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("date,symbol,close\n2024-01-01,A:X,bad\n2024-01-01,A:X,1\n2024-01-02,A:X,-1\n2024-01-03,A:X,1\n")
    sleeve = Sleeve(name="x", calendar="24/7")
    landed = raw(
        params=RawParams(kind="parquet", options={"path": str(path)}), sleeve=sleeve, as_of=None, landing=new_landing()
    )
    told_of = {"row": pl.lit(0, pl.Int64), "date": date(2024, 1, 2), "symbol": pl.lit("A:X"), "kind": pl.lit("split")}
    sent = Actions.empty().clear(1).with_columns(**told_of)
    told = actions(sent, sleeve=sleeve, as_of=None)
    kept = bars(landed.valid, sent, sleeve=sleeve)
    done = judge(exclusions, exclusions(landed.exclusions, told.exclusions, kept.exclusions), rows_in={})
    assert done.valid.select("stage", "row", "rule").rows() == [
        ("ingest.raw", 0, "close_not_a_number"),
        ("ingest.actions", 0, "factor_missing"),
        ("ingest.bars", 2, "close_not_positive"),
    ]
    assert done.exclusions.is_empty()


def test_without_exclusions_the_table_is_empty(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [1.0, 1.1]}))
    assert done.exclusions.is_empty()
    assert isinstance(done.exclusions, pl.DataFrame)
