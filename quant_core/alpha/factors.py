"""The factor table: every factor of the catalogue at every date for every eligible member.

One factor is a function in trend.py, quality.py or tail.py; how well they predict is in information_coefficients.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from quant_core.alpha.catalogue import Factor, catalogue
from quant_core.graph.stage import stage
from quant_core.market.contracts.features import store_contract
from quant_core.market.panel import Axes, Mask, Panel, axes_of
from quant_core.market.universe import universe_mask

Factors = store_contract(
    "Factors",
    "The factor probabilities of one eligible member at one date, seen from the long side.",
    (entry.column for entry in catalogue().values()),
)


def factor_metrics(factors: pl.DataFrame) -> Mapping[str, float]:
    """Return the share of rows in which each factor is known."""
    if factors.is_empty():
        return {}
    known = factors.select(pl.col(*catalogue()).is_not_null().sum()).row(0)
    return {f"alpha.known.{name}": count / factors.height for name, count in zip(catalogue(), known, strict=True)}


@stage(
    "alpha.factors",
    inputs={
        "trend": "features.trend",
        "volatility": "features.volatility",
        "predictability": "features.predictability",
        "liquidity": "features.liquidity",
        "tail": "features.tail",
        "universe": "ingest.universe",
    },
    output=Factors,
    metrics=factor_metrics,
)
def factors(
    trend: pl.DataFrame,
    volatility: pl.DataFrame,
    predictability: pl.DataFrame,
    liquidity: pl.DataFrame,
    tail: pl.DataFrame,
    universe: pl.DataFrame,
) -> pl.DataFrame:
    """Map every factor to a probability across the eligible members of each date.

    The cross-section of a date is its eligible members with a row in any feature table; each of them is a row here. A
    member whose features are not known has null and takes no part in the ranking of the others, and neither has a
    factor whose feature family is off.

    Probabilities are those of a long. A short has one minus it for directional factors; tail factors are computed on
    minus the returns, which the columns' facts spell out (see tail.py). Inference applies it.
    """
    tables = (trend, volatility, predictability, liquidity, tail)
    filled = [table for table in tables if not table.is_empty()]
    if not filled:
        return Factors.empty()
    places = _places(filled)
    dates, symbols = places[0].dates, places[0].symbols
    members = universe_mask(universe, dates, symbols) & _present(places)
    row, column = np.nonzero(members)
    rows = Axes(dates, symbols, row, column)
    source = {
        name: (where, table[name])
        for where, table in zip(places, filled, strict=True)
        for name in table.columns
        if name not in ("date", "symbol")
    }
    labels = [dates.gather(row).alias("date"), pl.Series("symbol", symbols, dtype=pl.String).gather(column)]
    return pl.DataFrame([*labels, *(_probabilities(entry, source, rows, members) for entry in catalogue().values())])


def _probabilities(entry: Factor, source: Mapping[str, tuple[Axes, pl.Series]], rows: Axes, members: Mask) -> pl.Series:
    """Return one factor at the table's rows; null throughout where a feature has no table."""
    if not all(name in source for name in entry.inputs):
        return pl.repeat(None, rows.row.size, dtype=pl.Float64, eager=True).alias(entry.name)
    features = (where.panel(values).values for where, values in (source[name] for name in entry.inputs))
    raw = np.ascontiguousarray(entry(*features), dtype=np.float64)
    return rows.gather(Panel(entry.map(raw, members), rows.dates, rows.symbols), entry.name)


def _places(tables: Sequence[pl.DataFrame]) -> list[Axes]:
    """Return where the rows of each table lie on the dates and symbols of all; equal keys are looked up once."""
    dates = pl.concat([table["date"].unique() for table in tables]).unique().sort()
    symbols = pl.concat([table["symbol"].unique() for table in tables]).unique().sort().to_list()
    found = [axes_of(tables[0], dates=dates, symbols=symbols)]
    for before, table in pairwise(tables):
        is_same = table["date"].equals(before["date"]) and table["symbol"].equals(before["symbol"])
        found.append(found[-1] if is_same else axes_of(table, dates=dates, symbols=symbols))
    return found


def _present(places: Sequence[Axes]) -> Mask:
    mask = np.zeros((len(places[0].dates), len(places[0].symbols)), dtype=np.bool_)
    for where in places:
        mask[where.row, where.column] = True
    return mask
