import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.verification.verify import verify_ledger
from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings

Find = Callable[[str], Path]
INGEST = ("ingest.raw", "ingest.actions", "ingest.bars", "ingest.exclusions", "ingest.lives", "ingest.returns")
LUNA = "BINANCE:LUNAUSDT"


def sleeve_file(folder: Path, source: Path, calendar: str) -> Path:
    name = source.stem
    file = folder / f"{name}.toml"
    file.write_text(
        f'[sleeve]\nname = "{name}"\ncalendar = "{calendar}"\n[source]\nkind = "parquet"\npath = "{source}"\n'
    )
    return file


def ingested(folder: Path, source: Path, calendar: str) -> RunResult:
    file = sleeve_file(folder, source, calendar)
    return DAGRunner(Settings(home=folder / "home")).run(read_sleeve(file), only=INGEST)


def test_a_genuine_fall_of_half_stays_and_no_row_of_the_file_is_lost(tmp_path: Path, shared_data: Find) -> None:
    result = ingested(tmp_path, shared_data("us_wiki_1d"), "XNYS")
    assert result.excluded == {}
    assert result.refs["ingest.bars"].rows == result.refs["ingest.raw"].rows == 12_154
    fall = (pl.col("symbol") == "US:AAPL") & (pl.col("date") == date(2000, 9, 29))
    assert result.frame("ingest.returns").filter(fall)["simple_return"].item() == pytest.approx(-0.519, abs=1e-3)
    bar = result.frame("ingest.bars").filter(fall)
    assert bar.select("is_provisional", "life").row(0) == (False, 0)


def test_luna_falls_for_real_and_no_return_crosses_into_the_coin_after_it(tmp_path: Path, shared_data: Find) -> None:
    result = ingested(tmp_path, shared_data("crypto_binance_2021_2022_1d"), "24/7")
    assert result.excluded == {"ingest.bars/duplicate_row": 93}
    luna = pl.col("symbol") == LUNA
    bars = result.frame("ingest.bars").filter(luna)
    returns = result.frame("ingest.returns").filter(luna)
    reborn = date(2022, 5, 31)
    assert returns.filter(pl.col("date") == date(2022, 5, 12))["simple_return"].item() < -0.999
    assert bars.filter(pl.col("date") < reborn)["life"].unique().to_list() == [0]
    assert bars.filter(pl.col("date") >= reborn)["life"].unique().to_list() == [1]
    assert returns.filter(pl.col("date") == reborn)["simple_return"].item() is None
    first_of_life = returns.join(bars, on="date").group_by("life").agg(pl.col("simple_return").sort_by("date").first())
    assert first_of_life["simple_return"].to_list() == [None, None]
    events = result.frame("ingest.lives").filter(luna & (pl.col("life") == 1))
    assert events.filter(pl.col("date") == reborn)["event"].to_list() == ["genesis"]


def test_every_row_of_a_hundred_stocks_is_a_bar_or_an_exclusion(tmp_path: Path, shared_data: Find) -> None:
    result = ingested(tmp_path, shared_data("us_sp500_5yr_1d"), "XNYS")
    landed = result.refs["ingest.raw"].rows
    exclusions = result.frame("ingest.exclusions")
    assert landed == 121_855
    assert result.refs["ingest.bars"].rows + exclusions.height == landed
    assert exclusions.height == exclusions["row"].n_unique()
    source = pl.read_parquet(shared_data("us_sp500_5yr_1d")).with_row_index("row")
    low, high = pl.col("low"), pl.col("high")
    is_broken = (high < low) | ~pl.col("open").is_between(low, high) | ~pl.col("close").is_between(low, high)
    broken = source.filter(is_broken)
    assert broken.height == 4
    assert (
        exclusions.sort("row").select("row", "symbol", "date").rows() == broken.select("row", "symbol", "date").rows()
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_runs_five_hundred_perpetuals_from_file_to_report(tmp_path: Path, shared_data: Find) -> None:
    name = "crypto_binance_perp_1d"
    file = sleeve_file(tmp_path, shared_data(name), "24/7")
    file.write_text(
        file.read_text() + '[allocation]\nmethods = ["equal_weight", "inverse_volatility", "hrp", "minimum_variance"]\n'
    )
    quant = Path(sys.executable).with_name("quant")
    command = [str(quant), "run", name, "--config", str(file), "--home", str(tmp_path / "home"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    evidence = Evidence(tmp_path / "home")
    commits = {record.data["stage"]: record.data for record in evidence.run(said["run_id"]).commits}
    assert commits["ingest.raw"]["valid"]["rows"] == 269_098
    bars = commits["ingest.bars"]
    assert said["rows"] == bars["valid"]["rows"]
    assert bars["valid"]["rows"] + bars["exclusions"]["rows"] == 269_098
    assert commits["ingest.returns"]["valid"]["rows"] == said["rows"]
    assert said["metrics"]["bars.symbols"] == 538
    assert 1 <= len(said["selection"]) <= 25
    assert sum(row["weight"] for row in said["selection"]) <= 1.0 + 1e-9
    assert Path(said["report"]).is_file()
    assert verify_ledger(evidence.ledger).ok
