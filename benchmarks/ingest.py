"""The ingest room stage by stage: what validation takes of the time of each, on made prices and on real ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.contest import Contest, named, scaled, topic
from benchmarks.tables import labels
from quant_core.graph.compute import SerialCompute
from quant_core.graph.finished import Finished
from quant_core.graph.judge import judge
from quant_core.graph.registry import StageRegistry
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.ingest import Actions, Raw
from quant_core.market.contracts.split import EXCLUSION_SCHEMA, split, validate
from quant_core.market.sleeves import Sleeve

REAL = "us_eod_2017_1d"


@dataclass(frozen=True, eq=False)
class Room:
    """The stages after the landing, run once over a landed table.

    Attributes
    ----------
    sleeve : Sleeve
    stages : StageSpec, ...
        In an order in which each can run.
    frames : mapping
        What each stage read, by stage id and argument.
    results : mapping of stage id to Finished
    """

    sleeve: Sleeve
    stages: tuple[StageSpec, ...]
    frames: Mapping[str, Mapping[str, pl.DataFrame]]
    results: Mapping[str, Finished]

    def run(self, stages: tuple[StageSpec, ...]) -> int:
        """Run stages on what they read, judge their results and judge them again for the commit; return the rows."""
        return sum(
            validate(finished(spec, self.frames[spec.id], self.sleeve).valid, spec.output).height for spec in stages
        )

    def judge(self, stages: tuple[StageSpec, ...]) -> int:
        """Only judge the results, as often as a run does; return the rows."""
        rows = 0
        for spec in stages:
            valid = self.results[spec.id].valid
            rows += validate(split(valid, spec.output).valid, spec.output).height
        return rows


@topic("ingest")
def ingest(share: float) -> Iterator[Contest]:
    dates, symbols = scaled(2_520, share, least=300), scaled(1_000, share, least=20)
    tables = {"made": (landed(made_prices(dates, symbols)), "24/7")}
    path = Path(os.environ.get("QUANT_SHARED_DATA", ""), f"{REAL}.parquet")
    if share >= 1.0 and path.is_file():
        tables[REAL] = landed(pl.read_parquet(path)), "XNYS"
    for name, (raw, calendar) in tables.items():
        room = room_of(raw, Sleeve(name="bench", calendar=calendar))
        for stages in (*((spec,) for spec in room.stages), room.stages):
            what = "the room" if len(stages) > 1 else stages[0].id
            yield Contest(
                name=f"validation in {what}, {name}, {raw.height:,} rows",
                peer=f"the stage in all, {named('polars')}",
                ours=partial(room.judge, stages),
                theirs=partial(room.run, stages),
                agree=np.testing.assert_equal,
                moved=sum(int(room.results[spec.id].valid.estimated_size()) for spec in stages) or 1,
            )


def room_of(raw: pl.DataFrame, sleeve: Sleeve) -> Room:
    """Run the room over a landed table, each stage on the results of those before it."""
    nothing = pl.DataFrame(schema=EXCLUSION_SCHEMA)
    known = {"ingest.raw": raw, "ingest.raw#actions": Actions.empty(), "ingest.raw#exclusions": nothing}
    stages = tuple(
        spec for spec in StageRegistry.load("quant_core").order_stages() if spec.room == "ingest" and not spec.is_edge
    )
    frames, results = {}, {}
    for spec in stages:
        frames[spec.id] = {argument: known[source] for argument, source in spec.inputs.items()}
        results[spec.id] = finished(spec, frames[spec.id], sleeve)
        known |= {spec.id: results[spec.id].valid, f"{spec.id}#exclusions": results[spec.id].exclusions}
    return Room(sleeve, stages, frames, results)


def finished(spec: StageSpec, frames: Mapping[str, pl.DataFrame], sleeve: Sleeve) -> Finished:
    """Run one stage with its defaults and judge the result."""
    offered: dict[str, Any] = {
        "params": spec.params(),
        "compute": SerialCompute(),
        "sleeve": sleeve,
        "as_of": None,
        "contracts": spec.input_contracts,
    }
    result = spec.function(**frames, **{name: offered[name] for name in spec.wants})
    return judge(spec, result, rows_in={name: frame.height for name, frame in frames.items()})


def made_prices(dates: int, symbols: int) -> pl.DataFrame:
    """Return daily bars of a market without defects, by symbol and date."""
    rng = np.random.default_rng(6)
    close = 100.0 * np.cumprod(1.0 + rng.standard_t(5.0, (dates, symbols)) * 0.01, axis=0).ravel()
    spread = 1.0 + np.abs(rng.normal(0.0, 0.005, close.size))
    prices = {"open": close, "high": close * spread, "low": close / spread, "close": close}
    return (
        labels(dates, symbols)
        .with_columns(**prices, volume=rng.lognormal(12.0, 0.5, close.size))
        .sort("symbol", "date")
    )


def landed(prices: pl.DataFrame) -> pl.DataFrame:
    """Return prices as the landing keeps them."""
    numbered = prices.with_row_index("row").with_columns(known_at=pl.lit(None))
    return numbered.select(pl.col(name).cast(kind) for name, kind in Raw.dtypes.items())
