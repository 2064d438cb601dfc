"""Defects of known number, planted into clean bars far enough apart that none hides another.

What ingest makes of them is decided in bars.py; this module only states what it must find.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from quant_core.errors import SourceError
from quant_core.graph.stage import Params

SLOT = 60  # bars of one symbol that hold at most one defect
STALE_CLOSES, STALE_LOST = 30, 11
SPIKE = 20.0
CALM = 0.35  # a spike is planted only where the honest price stays this near, so that it comes back
PRICES = ("open", "high", "low", "close")
Places = npt.NDArray[np.int64]


class Defects(Params):
    """How many defects of each kind the simulator plants."""

    duplicate_rows: int = Field(default=0, ge=0, description="Rows that arrive twice.")
    restated_rows: int = Field(default=0, ge=0, description="Rows that arrive first with another close and volume.")
    high_below_low: int = Field(default=0, ge=0, description="Bars whose high and low are swapped.")
    negative_prices: int = Field(default=0, ge=0, description="Closes with a wrong sign.")
    off_range: int = Field(default=0, ge=0, description="Closes above the high.")
    toxic_spikes: int = Field(default=0, ge=0, description="One or two bars at 20 times or a 20th of the price.")
    stale_runs: int = Field(default=0, ge=0, description="Runs of 30 equal closes.")


def plant_defects(
    rows: pl.DataFrame, defects: Defects, rng: np.random.Generator
) -> tuple[pl.DataFrame, Mapping[str, int]]:
    """Plant defects into clean bars.

    Parameters
    ----------
    rows : DataFrame
        Clean bars, sorted by date and symbol.
    defects : Defects
    rng : numpy Generator

    Returns
    -------
    rows : DataFrame
        In order of arrival.
    expected : mapping of rule to rows
        What ingest.bars must exclude, exactly.
    """
    table = rows.with_row_index("arrival").sort("symbol", "date")
    wanted = defects.model_dump()
    places = np.split(_places(table, sum(wanted.values()), rng), np.cumsum(list(wanted.values()))[:-1])
    at = dict(zip(wanted, places, strict=True))
    values = {name: table[name].to_numpy().copy() for name in (*PRICES, "volume")}
    twice = table[np.concatenate([at["duplicate_rows"], at["restated_rows"]])]
    is_restated = pl.int_range(pl.len()) >= at["duplicate_rows"].size
    first_sent = twice.with_columns(
        close=pl.when(is_restated).then("low").otherwise("close"),
        volume=pl.when(is_restated).then(pl.col("volume") * 0.9).otherwise("volume"),
    )
    swapped = at["high_below_low"]
    values["high"][swapped], values["low"][swapped] = values["low"][swapped], values["high"][swapped]
    values["close"][at["negative_prices"]] *= -1.0
    values["close"][at["off_range"]] = values["high"][at["off_range"]] * 1.1
    toxic = _plant_spikes(values, at["toxic_spikes"])
    _plant_stalls(values, at["stale_runs"])
    sent = pl.concat([first_sent, table.with_columns(pl.Series(name, column) for name, column in values.items())])
    expected = {
        "duplicate_row": defects.duplicate_rows,
        "restated_row": defects.restated_rows,
        "high_below_low": defects.high_below_low,
        "close_not_positive": defects.negative_prices,
        "close_outside_range": defects.off_range,
        "toxic_bar": toxic,
        "stalled": defects.stale_runs * STALE_LOST,
    }
    ordered = sent.sort("arrival", maintain_order=True).drop("arrival")
    return ordered, {rule: count for rule, count in expected.items() if count}


def _places(table: pl.DataFrame, wanted: int, rng: np.random.Generator) -> Places:
    """Return `wanted` rows, each in the first half of a slot of its own where the price stays calm around it."""
    number = table.select(pl.int_range(pl.len()).over("symbol"), size=pl.len().over("symbol"))
    position = number.to_numpy()
    starts = np.flatnonzero((position[:, 0] % SLOT == SLOT // 4) & (position[:, 0] + SLOT < position[:, 1]))
    close = table["close"].to_numpy()
    around = np.stack([close[starts + k] / close[starts - 1] for k in range(4)])
    calm = starts[np.all(np.abs(around - 1.0) < CALM, axis=0)]
    if wanted > calm.size:
        raise SourceError(f"{wanted} defects asked for; this market has room for {calm.size}. Plant fewer.")
    return rng.permutation(calm)[:wanted]


def _plant_spikes(values: Mapping[str, npt.NDArray[np.float64]], places: Places) -> int:
    """Multiply all prices of one or two bars by SPIKE or its inverse, in turn; return how many bars."""
    for turn, place in enumerate(places):
        bars = slice(place, place + 1 + turn // 2 % 2)
        for name in PRICES:
            values[name][bars] *= SPIKE if turn % 2 == 0 else 1.0 / SPIKE
    return sum(1 + turn // 2 % 2 for turn in range(places.size))


def _plant_stalls(values: Mapping[str, npt.NDArray[np.float64]], places: Places) -> None:
    for place in places:
        bars = slice(place, place + STALE_CLOSES)
        values["close"][bars] = values["close"][place]
        values["high"][bars] = np.maximum(values["high"][bars], values["close"][place])
        values["low"][bars] = np.minimum(values["low"][bars], values["close"][place])
