"""The factor table: every factor of the catalogue at every date for every eligible member.

One factor is a function in trend.py, quality.py or tail.py; how well they predict is in information_coefficients.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from quant_core.alpha.catalogue import Factor
from quant_core.alpha.sleeve_factors import FactorParams, factors_contract, factors_of, features_read
from quant_core.graph.stage import PerSleeve, stage
from quant_core.market.panel import Axes, Mask, Panel, axes_of
from quant_core.market.universe import universe_mask

LABELS = ("date", "symbol")
Factors = factors_contract(FactorParams())
"""The contract of a sleeve without factors of its own."""


def factor_metrics(factors: pl.DataFrame) -> Mapping[str, float]:
    """Return the share of rows in which each factor is known."""
    if factors.is_empty():
        return {}
    known = factors.select(pl.exclude(*LABELS).is_not_null().sum())
    return {f"alpha.known.{name}": count / factors.height for name, count in known.to_dicts()[0].items()}


@stage(
    "alpha.factors",
    inputs={"features": "features.*", "universe": "ingest.universe"},
    names=features_read,
    output=PerSleeve(Factors, factors_contract),
    metrics=factor_metrics,
    is_recomputable=True,
)
def factors(features: Mapping[str, pl.DataFrame], universe: pl.DataFrame, *, params: FactorParams) -> pl.DataFrame:
    """Map every factor to a probability across the eligible members of each date.

    The cross-section of a date is its eligible members with a row in any feature table; each of them is a row here. A
    member whose features are not known has null and takes no part in the ranking of the others, and neither has a
    factor whose feature family is off.

    Probabilities are those of a long. A short has one minus it for directional factors; tail factors are computed on
    minus the returns, which the columns' facts spell out (see tail.py). Inference applies it.
    """
    entries = factors_of(params)
    tables = [table for table in features.values() if not table.is_empty()]
    if not tables:
        return factors_contract(params).empty()
    places = _axes_of_tables(tables)
    dates, symbols = places[0].dates, places[0].symbols
    members = universe_mask(universe, dates, symbols) & _present_cells(places)
    row, column = np.nonzero(members)
    rows = Axes(dates, symbols, row, column)
    source = {
        name: (where, table[name])
        for where, table in zip(places, tables, strict=True)
        for name in table.columns
        if name not in LABELS
    }
    labels = [dates.gather(row).alias("date"), pl.Series("symbol", symbols, dtype=pl.String).gather(column)]
    return pl.DataFrame([*labels, *(_probabilities(entry, source, rows, members) for entry in entries)])


def _probabilities(entry: Factor, source: Mapping[str, tuple[Axes, pl.Series]], rows: Axes, members: Mask) -> pl.Series:
    """Return one factor at the table's rows; null in all rows if the family of a feature is off."""
    if not all(name in source for name in entry.inputs):
        return pl.repeat(None, rows.row.size, dtype=pl.Float64, eager=True).alias(entry.name)
    features = (where.panel(values).values for where, values in (source[name] for name in entry.inputs))
    raw = np.ascontiguousarray(entry(*features), dtype=np.float64)
    return rows.gather(Panel(entry.map(raw, members), rows.dates, rows.symbols), entry.name)


def _axes_of_tables(tables: Sequence[pl.DataFrame]) -> list[Axes]:
    """Return the place of each table's rows on the dates and symbols of all tables; equal keys are looked up once."""
    dates = pl.concat([table["date"].unique() for table in tables]).unique().sort()
    symbols = pl.concat([table["symbol"].unique() for table in tables]).unique().sort().to_list()
    found = [axes_of(tables[0], dates=dates, symbols=symbols)]
    for before, table in pairwise(tables):
        is_same = table["date"].equals(before["date"]) and table["symbol"].equals(before["symbol"])
        found.append(found[-1] if is_same else axes_of(table, dates=dates, symbols=symbols))
    return found


def _present_cells(places: Sequence[Axes]) -> Mask:
    mask = np.zeros((len(places[0].dates), len(places[0].symbols)), dtype=np.bool_)
    for where in places:
        mask[where.row, where.column] = True
    return mask
