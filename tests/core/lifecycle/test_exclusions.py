"""What was kept out, read back from a small home."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from quant_core.errors import MissingVersionError, UnknownNameError
from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner
from quant_core.graph.stage import Params, stage
from quant_core.lifecycle.exclusions import (
    ExclusionQuery,
    describe_exclusions,
    document_of,
    exclusion_counts,
    exclusion_rows,
)
from quant_core.market.contracts.split import Split, contract, excluded_rows
from quant_core.market.sleeves import SleeveFile, read_sleeve
from quant_core.settings import Settings

DAY = date(2024, 1, 1)
HELD_BACK = 4


class _Price(pa.DataFrameModel):
    """One price."""

    date: pl.Date = pa.Field(description="Day.")
    symbol: pl.String = pa.Field(description="Which.")
    close: pl.Float64 = pa.Field(gt=0, description="Price.")


Price = contract(_Price, key=("date", "symbol"))


class SizeParams(Params):
    """How many prices there are."""

    size: int = 10


def _prices(size: int) -> pl.DataFrame:
    days = [DAY + timedelta(days=k) for k in range(size)]
    close = [-1.0 if k % 5 == 3 else 1.0 + k for k in range(size)]
    return pl.DataFrame({"date": days, "symbol": ["X:A", "X:B"] * (size // 2), "close": close})


@stage("toy.prices", output=Price)
def prices(*, params: SizeParams) -> pl.DataFrame:
    """Return prices, those of every fifth day negative."""
    return _prices(params.size)


@stage("toy.kept", inputs={"prices": "toy.prices"}, output=Price, conserves="prices")
def kept(prices: pl.DataFrame) -> Split:
    """Hold back what is dear."""
    is_dear = prices["close"] > HELD_BACK
    return Split(
        prices.filter(~is_dear),
        excluded_rows(prices.filter(is_dear), "toxic_bar", "too dear", rows=is_dear.arg_true()),
    )


def sleeve(folder: Path, name: str) -> SleeveFile:
    path = folder / f"{name}.toml"
    path.write_text(f'[sleeve]\nname = "{name}"\ncalendar = "24/7"\n[source]\nkind = "none"\n')
    return read_sleeve(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, dict[str, str]]:
    """Two runs of one sleeve, ten prices and twenty, and one of another."""
    folder = tmp_path_factory.mktemp("home")
    runner = DAGRunner(Settings(home=folder / "home"), StageRegistry([prices, kept]))
    runs: dict[str, str] = {}
    for run, name, size in (("first", "a", 10), ("second", "a", 20), ("other", "b", 4)):
        result = runner.run(sleeve(folder, name), overrides={"toy.prices": {"size": size}})
        runs[run] = result.run_id
    return Evidence(folder / "home"), runs


def rows_of(frame: pl.DataFrame, *columns: str) -> list[Any]:
    return frame.select(columns).rows()


def test_the_newest_commits_are_counted_per_stage_and_rule(home: tuple[Evidence, dict[str, str]]) -> None:
    counts = exclusion_counts(home[0], ExclusionQuery("a"))
    # Negative: days 3, 8, 13, 18, of both symbols. Of the other 16 prices 1, 2 and 3 are not dear.
    assert counts.rows() == [
        ("a", "toy.kept", "toxic_bar", 13, 2, DAY + timedelta(days=4), DAY + timedelta(days=19), 13 / 16),
        ("a", "toy.prices", "close_not_positive", 4, 2, DAY + timedelta(days=3), DAY + timedelta(days=18), 4 / 20),
    ]


def test_without_a_sleeve_all_are_counted(home: tuple[Evidence, dict[str, str]]) -> None:
    counts = exclusion_counts(home[0], ExclusionQuery())
    assert rows_of(counts, "sleeve", "stage", "rows") == [
        ("a", "toy.kept", 13),
        ("a", "toy.prices", 4),
        ("b", "toy.prices", 1),
    ]


def test_a_run_shows_what_it_excluded_itself(home: tuple[Evidence, dict[str, str]]) -> None:
    evidence, runs = home
    first = exclusion_counts(evidence, ExclusionQuery(run_id=runs["first"]))
    assert rows_of(first, "rule", "rows", "share") == [("toxic_bar", 5, 5 / 8), ("close_not_positive", 2, 0.2)]
    with pytest.raises(MissingVersionError, match="sleeve b has no commit by run"):
        exclusion_counts(evidence, ExclusionQuery("b", run_id=runs["first"]))
    with pytest.raises(UnknownNameError, match="run"):
        exclusion_counts(evidence, ExclusionQuery(run_id="nobody"))


def test_rows_come_with_their_reason_and_the_row_itself(home: tuple[Evidence, dict[str, str]]) -> None:
    rows = exclusion_rows(home[0], ExclusionQuery("b"))
    assert rows.rows(named=True) == [
        {
            "sleeve": "b",
            "stage": "toy.prices",
            "rule": "close_not_positive",
            "row": 3,
            "date": DAY + timedelta(days=3),
            "symbol": "X:B",
            "detail": "close_not_positive",
            "record": '{"date":"2024-01-04","symbol":"X:B","close":-1.0}',
        }
    ]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (ExclusionQuery("a", stage="toy.kept"), 13),
        (ExclusionQuery("a", rule="close_not_positive"), 4),
        (ExclusionQuery("a", symbol="X:B", rule="close_not_positive"), 2),
        (ExclusionQuery("a", since=DAY + timedelta(days=18)), 2),
        (ExclusionQuery("a", symbol="X:NOBODY"), 0),
        (ExclusionQuery("a", rule="stalled"), 0),
    ],
)
def test_what_is_asked_for_is_counted_and_listed_alike(
    home: tuple[Evidence, dict[str, str]], wanted: ExclusionQuery, count: int
) -> None:
    counts, rows = exclusion_counts(home[0], wanted), exclusion_rows(home[0], wanted)
    assert counts["rows"].sum() == rows.height == count
    assert exclusion_rows(home[0], wanted, limit=1).height == min(1, count)


def test_the_share_is_of_all_rows_whatever_was_asked_for(home: tuple[Evidence, dict[str, str]]) -> None:
    counts = exclusion_counts(home[0], ExclusionQuery("a", symbol="X:B", rule="close_not_positive"))
    assert counts["share"].to_list() == [2 / 20]


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        (ExclusionQuery("a", stage="toy.price"), "toy.prices"),
        (ExclusionQuery("a", rule="close_not_positiv"), "close_not_positive"),
        (ExclusionQuery("a", rule="toxic_bars"), "toxic_bar"),
    ],
)
def test_a_name_nobody_knows_lists_the_near_ones(
    home: tuple[Evidence, dict[str, str]], wanted: ExclusionQuery, near: str
) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean {near}"):
        exclusion_counts(home[0], wanted)


def test_a_sleeve_or_a_home_without_commits_is_told(home: tuple[Evidence, dict[str, str]], tmp_path: Path) -> None:
    with pytest.raises(MissingVersionError, match=r"sleeve c has no commit in .*; a, b have"):
        exclusion_counts(home[0], ExclusionQuery("c"))
    with pytest.raises(MissingVersionError, match="quant run SLEEVE"):
        exclusion_counts(Evidence(tmp_path / "nothing"), ExclusionQuery())


def test_people_read_counts_first_and_then_rows(home: tuple[Evidence, dict[str, str]]) -> None:
    wanted = ExclusionQuery("a")
    lines = describe_exclusions(
        exclusion_counts(home[0], wanted), exclusion_rows(home[0], wanted, limit=2)
    ).splitlines()
    assert lines[0] == "a: 17 rows excluded"
    assert lines[1].split() == ["stage", "rule", "rows", "share", "symbols", "first", "last"]
    assert lines[2].split() == ["toy.kept", "toxic_bar", "13", "81.25%", "2", "2024-01-05", "2024-01-20"]
    assert lines[5:] == [
        "a toy.kept row 3: toxic_bar X:A 2024-01-05",
        "  too dear",
        '  {"date":"2024-01-05","symbol":"X:A","close":5.0}',
        "a toy.kept row 4: toxic_bar X:B 2024-01-06",
        "  too dear",
        '  {"date":"2024-01-06","symbol":"X:B","close":6.0}',
        "... and 15 more.",
    ]
    nothing = ExclusionQuery("a", symbol="X:NOBODY")
    assert (
        describe_exclusions(exclusion_counts(home[0], nothing), exclusion_rows(home[0], nothing))
        == "no row was excluded."
    )


def test_programs_read_one_json_object(home: tuple[Evidence, dict[str, str]]) -> None:
    wanted = ExclusionQuery("b")
    said = json.loads(json.dumps(document_of(exclusion_counts(home[0], wanted), exclusion_rows(home[0], wanted))))
    assert said["excluded"] == 1
    assert said["counts"][0] == {
        "sleeve": "b",
        "stage": "toy.prices",
        "rule": "close_not_positive",
        "rows": 1,
        "symbols": 1,
        "first": "2024-01-04",
        "last": "2024-01-04",
        "share": 0.25,
    }
    assert said["rows"][0]["date"] == "2024-01-04"
