"""Lands `bars` prices of one symbol, every tenth of them negative, and keeps the positive ones."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandera.polars as pa
import polars as pl
from pydantic import Field, JsonValue

from quant_core.errors import SourceError, UnavailableError
from quant_core.graph.compute import Compute
from quant_core.graph.landing import Landing
from quant_core.graph.stage import Params, TableRule, stage
from quant_core.market.contracts.split import contract


class _Landed(pa.DataFrameModel):
    """One price as it came."""

    row: pl.Int64 = pa.Field(ge=0, description="Order of arrival.")
    date: pl.Date = pa.Field(description="Day.")
    symbol: pl.String = pa.Field(description="Which.")
    close: pl.Float64 = pa.Field(description="Price.")


class _Kept(pa.DataFrameModel):
    """One price that can be one."""

    date: pl.Date = pa.Field(description="Day.")
    symbol: pl.String = pa.Field(description="Which.")
    close: pl.Float64 = pa.Field(gt=0, description="Price, in quote currency.")


Landed = contract(_Landed, key=("row",))
Kept = contract(_Kept, key=("date", "symbol"))


class RawParams(Params):
    """What the source is asked for."""

    kind: str = Field(default="", description="Which source.")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="Its own keys.")


class BarsParams(Params):
    """What a kept price is multiplied with."""

    scale: float = Field(default=1.0, gt=0.0, description="Factor on every price.")
    floor: float = Field(default=0.0, description="The gate: no price may be lower.")
    fault: str = Field(default="", description="What to do wrong.")


@stage("ingest.raw", output=Landed, takes="source")
def raw(*, params: RawParams, landing: Landing) -> pl.DataFrame:
    """Return a ramp of prices. With `tries`, a file that counts them, the first two do not get it."""
    _try(params.options.get("tries"), params.options.get("refuses", False))
    landing.tell("asking for a ramp")
    size = params.options.get("bars", 20)
    assert isinstance(size, int)
    row = pl.Series("row", range(size), dtype=pl.Int64)
    close = pl.Series("close", [-1.0 if i % 10 == 9 else 100.0 + i for i in range(size)], dtype=pl.Float64)
    days = pl.Series("date", [date(2024, 1, 1) + timedelta(days=i) for i in range(size)], dtype=pl.Date)
    return pl.DataFrame([row, days, pl.Series("symbol", ["X:A"] * size, dtype=pl.String), close])


def _try(path: JsonValue, refuses: JsonValue) -> None:
    if isinstance(path, str):
        tries = Path(path)
        with tries.open("a") as file:
            file.write("x")
        if refuses:
            raise SourceError("there is no such ramp.")
        if tries.stat().st_size < 3:
            raise UnavailableError("the ramp does not answer.")


def _no_low_price(frame: pl.DataFrame) -> str | None:
    """No price is 1."""
    return "a price is 1." if (frame["close"] == 1.0).any() else None


def _few(frame: pl.DataFrame) -> str | None:
    """There are at least 19 prices."""
    return None if frame.height >= 19 else f"only {frame.height} prices."


@stage(
    "ingest.bars",
    inputs={"landed": "ingest.raw"},
    output=Kept,
    conserves="landed",
    rules=[TableRule("no_low_price", _no_low_price), TableRule("few", _few, severity="warn")],
    budgets={"*": 0.5},
    metrics=lambda frame: {"bars.rows": float(frame.height)},
)
def bars(landed: pl.DataFrame, *, params: BarsParams, compute: Compute) -> pl.DataFrame:
    """Scale the prices and drop what cannot be one."""
    if params.fault == "source":
        raise SourceError("the tap is dry.")
    price = compute.map(_scaled, landed["close"].to_list(), shared=params.scale)
    frame = landed.select("date", "symbol").with_columns(pl.Series("close", price, dtype=pl.Float64))
    if params.fault == "gate":
        frame = frame.with_columns(pl.lit(1.0).alias("close"))
    if params.fault == "columns":
        frame = frame.rename({"close": "price"})
    return frame


def _scaled(price: float, scale: float) -> float:
    return price * scale
