from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.finished import Finished
from quant_core.graph.judge import judge
from quant_core.graph.landing import Landing, utc_now
from quant_core.graph.stage import StageSpec
from quant_core.ingest.bars import bars
from quant_core.ingest.exclusions import exclusions
from quant_core.ingest.health import HealthParams, health
from quant_core.ingest.lives import lives
from quant_core.ingest.raw import RawParams, raw
from quant_core.ingest.returns import returns
from quant_core.ingest.universe import UniverseParams, universe
from quant_core.market.contracts.ingest import Actions, Raw
from quant_core.market.sleeves import Sleeve

Closes = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Ingested:
    """Every table of the room for one landing."""

    raw: pl.DataFrame
    bars: pl.DataFrame
    lost: pl.DataFrame
    lives: pl.DataFrame
    universe: pl.DataFrame
    returns: pl.DataFrame
    exclusions: pl.DataFrame

    def excluded(self) -> dict[str, int]:
        return dict(self.lost.group_by("rule").len().sort("rule").iter_rows())

    def events(self, symbol: str) -> list[tuple[str, date]]:
        return self.lives.filter(pl.col("symbol") == symbol).sort("date", "event").select("event", "date").rows()

    def return_at(self, symbol: str, day: date) -> float | None:
        return self.returns.row(by_predicate=(pl.col("symbol") == symbol) & (pl.col("date") == day), named=True)[
            "simple_return"
        ]


def _finished(spec: StageSpec, result: object, **rows_in: int) -> Finished:
    done = judge(spec, result, rows_in=rows_in)
    assert not done.broken
    return done


def _from_raw(
    landed: pl.DataFrame, sleeve: Sleeve, *, floor: int | None = None, sent: pl.DataFrame | None = None, **health_: Any
) -> Ingested:
    sent = Actions.empty() if sent is None else sent
    parted = _finished(bars, bars(landed, sent, sleeve=sleeve), raw=landed.height)
    kept, lost = parted.valid, parted.exclusions
    events = _finished(lives, lives(kept, lost, sleeve=sleeve)).valid
    verdicts = _finished(health, health(kept, lost, params=HealthParams(**health_), sleeve=sleeve)).valid
    params = UniverseParams(floor=floor)
    members = _finished(universe, universe(kept, events, verdicts, params=params, sleeve=sleeve)).valid
    changes = _finished(returns, returns(kept), bars=kept.height).valid
    reasons = _finished(exclusions, exclusions(lost.clear(), lost.clear(), lost)).valid
    return Ingested(landed, kept, lost, events, members, changes, reasons)


@pytest.fixture
def landing() -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Complete rows (date, symbol, close and whatever else) to a table under Raw, in the order given."""

    def made(rows: pl.DataFrame) -> pl.DataFrame:
        if "row" not in rows.columns:
            rows = rows.with_row_index("row")
        absent = {name: pl.lit(None) for name in Raw.dtypes if name not in rows.columns}
        return rows.with_columns(**absent).select(pl.col(name).cast(kind) for name, kind in Raw.dtypes.items())

    return made


@pytest.fixture
def closes_of(landing: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    """Land daily closes per symbol from a first day on; None is a day without a row."""

    def made(closes: Closes, start: date = date(2024, 1, 1)) -> pl.DataFrame:
        rows = [
            (start + timedelta(days=k), symbol, close)
            for symbol, path in closes.items()
            for k, close in enumerate(path)
            if close is not None
        ]
        return landing(pl.DataFrame(rows, schema=["date", "symbol", "close"], orient="row"))

    return made


@pytest.fixture
def ingest() -> Callable[..., Ingested]:
    """Run the room from a landed table on, each stage judged as the runner judges it."""

    def run(landed: pl.DataFrame, calendar: str = "24/7", **options: Any) -> Ingested:
        return _from_raw(landed, Sleeve(name="test", calendar=calendar), **options)

    return run


@pytest.fixture
def new_landing(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Landing]:
    """Open a run in a home, a new one unless given, and its landing."""

    def made(home: Path | None = None, *, at: datetime | None = None, sleeve: str = "test") -> Landing:
        evidence, run_id = Evidence(home or tmp_path_factory.mktemp("home")), uuid4().hex
        evidence.open_run(run_id, {})
        return Landing(evidence, sleeve, run_id, clock=(lambda: at) if at else utc_now)

    return made


@pytest.fixture
def ingest_source(new_landing: Callable[..., Landing]) -> Callable[..., Ingested]:
    """Run the room from a source on."""

    def run(
        kind: str, calendar: str = "24/7", *, as_of: str | None = None, floor: int | None = None, **options: object
    ) -> Ingested:
        sleeve = Sleeve(name="test", calendar=calendar)
        params = RawParams(kind=kind, options=options)
        read = _finished(raw, raw(params=params, sleeve=sleeve, as_of=as_of, landing=new_landing()))
        return _from_raw(read.valid, sleeve, floor=floor, sent=read.view.actions)

    return run
