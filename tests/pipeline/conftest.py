"""A small market in a Parquet file, its sleeve, and one run of the whole graph on it, shared by the session."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings
from tests.markets import ALL_FAMILIES, SLEEVE, plain_market


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
    return Place(tmp_path / "market", tmp_path / "home").write(plain_market())


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, RunResult]:
    folder = tmp_path_factory.mktemp("small")
    where = Place(folder / "market", folder / "home").write(plain_market(), SLEEVE + ALL_FAMILIES)
    return where, where.run()
