"""A real revision history: rows dated by the file they came in, with later files that revise earlier bars."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings

SLEEVE = """
[sleeve]
name = "vintages"
calendar = "XNYS"
[source]
kind = "parquet"
path = "bars.parquet"
[source.columns]
file_date = "known_at"
"""
ROOM = ("ingest.raw", "ingest.actions", "ingest.bars", "ingest.health", "ingest.lives", "ingest.universe")
# A file is known from the end of its date on, so this instant has seen that of the day before.
AS_OF, REVISED_UNTIL = "2015-12-31T23:00", "2016-06-30"


@pytest.fixture(scope="module")
def vintages(shared_data: Callable[[str], Path]) -> pl.DataFrame:
    rows = pl.read_parquet(shared_data("us_raw_vintages_1d"))
    few = rows["symbol"].unique().sort().head(60)
    return rows.filter(pl.col("symbol").is_in(few.implode()))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., RunResult]:
    """Write the file as given and run the room up to the universe."""
    (tmp_path / "vintages.toml").write_text(SLEEVE)

    def done(rows: pl.DataFrame, home: str, as_of: str | None) -> RunResult:
        rows.write_parquet(tmp_path / "bars.parquet")
        runner = DAGRunner(Settings(home=tmp_path / home, sleeves=tmp_path))
        return runner.run(read_sleeve(tmp_path / "vintages.toml"), as_of=as_of, only=ROOM)

    return done


def known_by(rows: pl.DataFrame, day: str) -> pl.DataFrame:
    return rows.filter(pl.col("file_date") <= pl.lit(day).str.to_date())


def test_an_old_read_is_equal_bytes_before_and_after_restatements_arrive(vintages: pl.DataFrame, run: Any) -> None:
    early = known_by(vintages, REVISED_UNTIL)
    before = run(early, "one", AS_OF)
    run(vintages, "one", None)
    after = run(vintages, "one", AS_OF)
    assert {stage: ref.sha256 for stage, ref in after.refs.items()} == {
        stage: ref.sha256 for stage, ref in before.refs.items()
    }
    # The stamps alone tell the same in a home that never saw the early file.
    fresh = run(vintages, "two", AS_OF)
    assert fresh.refs["ingest.bars"].sha256 == before.refs["ingest.bars"].sha256


def test_each_knowledge_time_sees_the_revision_that_was_the_last_by_then(vintages: pl.DataFrame, run: Any) -> None:
    key = ["symbol", "date"]
    newest = run(vintages, "one", None).frame("ingest.bars")
    older = run(vintages, "one", AS_OF).frame("ingest.bars")
    for bars, rows in ((newest, vintages), (older, known_by(vintages, "2015-12-30"))):
        last = rows.sort("file_date", maintain_order=True).unique(key, keep="last", maintain_order=True)
        both = bars.join(last, on=key, suffix="_sent")
        assert both.height == bars.height
        assert both["close"].equals(both["close_sent"].alias("close"))
        assert both["volume"].equals(both["volume_sent"].alias("volume"))
    both = older.join(newest, on=key, suffix="_now")
    assert both.filter(pl.col("volume") != pl.col("volume_now")).height > 0
