"""A small market in a Parquet file, its sleeve, and one run of the whole graph on it, shared by the session."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings

SLEEVE = """
[sleeve]
name = "small"
calendar = "24/7"
[source]
kind = "parquet"
path = "bars.parquet"
[synthesis]
clusters = 4
top = 2
floor = 4
cap = 8
[allocation]
methods = ["equal_weight", "inverse_volatility", "hrp", "minimum_variance"]
headline = "hrp"
[backtest]
train = 200
test = 20
step = 20
"""
ALL_FAMILIES = """
[features]
families = ["trend", "volatility", "predictability", "liquidity", "tail", "ratings", "alpha158", "alpha101"]
"""


def up_to(*ids: str) -> set[str]:
    """Return these stages and all that they need."""
    specs = map(StageRegistry.load("quant_core").get, ids)
    return set(ids) | {id for spec in specs if spec.parents for id in up_to(*spec.parents)}


def market(symbols: int = 12, bars: int = 420, seed: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0003, 0.01, (bars, 1))
    returns = common + rng.normal(0.0002, 0.02, (bars, symbols))
    close = 100.0 * np.cumprod(1.0 + returns, axis=0)
    names = [f"SIM:S{j:02d}" for j in range(symbols)]
    dates = pl.date_range(dt.date(2022, 1, 1), dt.date(2022, 1, 1) + dt.timedelta(days=bars - 1), eager=True)
    spread = 1.0 + np.abs(rng.normal(0.0, 0.005, close.shape))
    columns = {"close": close, "open": close, "high": close * spread, "low": close / spread}
    columns["volume"] = rng.lognormal(12.0, 0.5, close.shape)
    return pl.DataFrame(
        {"date": np.repeat(dates.to_numpy(), symbols), "symbol": names * bars}
        | {name: values.ravel() for name, values in columns.items()}
    ).with_columns(pl.col("date").cast(pl.Date))


@dataclass(frozen=True)
class Place:
    """A folder with a sleeve file and its bars."""

    folder: Path
    home: Path

    @property
    def sleeve(self) -> Path:
        return self.folder / "small.toml"

    def write(self, bars: pl.DataFrame, text: str = SLEEVE) -> "Place":
        self.folder.mkdir(parents=True, exist_ok=True)
        bars.write_parquet(self.folder / "bars.parquet")
        self.sleeve.write_text(text)
        return self

    def run(self, **given: object) -> RunResult:
        return DAGRunner(Settings(home=self.home)).run(read_sleeve(self.sleeve), **given)  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "market", tmp_path / "home").write(market())


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, RunResult]:
    folder = tmp_path_factory.mktemp("small")
    where = Place(folder / "market", folder / "home").write(market(), SLEEVE + ALL_FAMILIES)
    return where, where.run()
