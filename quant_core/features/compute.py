"""`compute_features` and `compute_panel`: any features of any bars, in one pass over blocks of symbols.

Which features there are is catalogue.py's business; a sleeve's tables of them are families.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from quant_core.errors import PanelError, UnknownNameError, UsageError
from quant_core.features.catalogue import catalogue
from quant_core.features.engine import Job, run
from quant_core.features.step_order import FeaturePlan, plan_of
from quant_core.features.steps import BAR_COLUMNS, DEFAULT_FAMILIES, Feature
from quant_core.features.tiles import MARKS, SortedBars, sorted_bars
from quant_core.graph.catalog import Catalog
from quant_core.kernels.scatter import Column
from quant_core.kernels.threads import run_parts
from quant_core.market.calendar import Calendar
from quant_core.market.calendar import calendar as calendar_of
from quant_core.market.panel import Mask, Panel, axes_of, panels_of, table_of

VolumeUnit = Literal["units", "value"]


def compute_features(
    bars: pl.DataFrame | Path,
    features: Sequence[str] | None = None,
    *,
    calendar: Calendar | str,
    families: Sequence[str] | None = None,
    volume_unit: VolumeUnit = "units",
    threads: int | None = None,
    among: Catalog[Feature] | None = None,
) -> pl.DataFrame:
    """Compute features at every bar.

    Parameters
    ----------
    bars : DataFrame or Path
        date (Date or Datetime) and symbol, and of open, high, low, close, volume, vwap, life, is_provisional what there
        is; of a Parquet file only the columns the features read are loaded.
    features : sequence of str, optional
        Names; default: all of the families.
    calendar : Calendar or str
        Its periods per year annualise.
    families : sequence of str, optional
        Default: those on by default, or all of `among`.
    volume_unit : "units" or "value"
        What volume counts.
    threads : int, optional
        Default: all processors. The bits are the same at any number.
    among : Catalog of Feature, optional
        Default: `catalogue()`.

    Returns
    -------
    DataFrame
        The rows of `bars` by symbol and date: date, symbol, one Float64 column per feature in the order asked for.

    NaN: null where a window holds too few known bars, where an input is absent, and where a value overflows.

    Raises
    ------
    UnknownNameError
        An unknown feature, family, calendar or input; lists the near matches.
    SourceError, ContractError, PanelError
        The file cannot be read, or the table not as bars.
    """
    plan = plan_of(choose_features(features, families, among), catalogue() if among is None else among)
    context = context_of(calendar, volume_unit)
    return compute_table(sorted_bars(bars, plan.reads), plan, context, threads=threads)


def compute_table(
    table: SortedBars, plan: FeaturePlan, context: Mapping[str, Any], *, threads: int | None = None
) -> pl.DataFrame:
    """Return the labels of a table and the features of a plan."""
    columns = {name: np.empty(table.row.size) for name in plan.names}
    known = {name: np.empty(table.row.size, dtype=np.bool_) for name in plan.names}
    run(Job(table, plan, context, np.zeros(table.n_symbols, dtype=np.int64), columns, known), threads=threads)
    return features_table(table.labels, columns, known, threads=threads)


def choose_features(
    features: Sequence[str] | None, families: Sequence[str] | None, among: Catalog[Feature] | None
) -> list[str]:
    """Return the names of the features asked for; see `compute_features`."""
    known = catalogue() if among is None else among
    if features is not None:
        if families is not None:
            raise UsageError("name features or families, not both.")
        return list(features)
    if families is None:
        families = DEFAULT_FAMILIES if among is None else sorted(families_of(known))
    for name in families:
        if name not in families_of(known):
            raise UnknownNameError("feature family", name, families_of(known))
    return [name for name, entry in known.items() if entry.family in families]


def families_of(known: Catalog[Feature]) -> set[str]:
    """Return the names of the families of some features."""
    return {entry.family for entry in known.values()}


def context_of(calendar: Calendar | str, volume_unit: VolumeUnit) -> dict[str, Any]:
    """Return the values a step may name as keyword-only parameters beside its own settings."""
    market = calendar_of(calendar) if isinstance(calendar, str) else calendar
    return {"periods_per_year": market.periods_per_year, "volume_unit": volume_unit}


def features_table(
    labels: pl.DataFrame, columns: Mapping[str, Column], known: Mapping[str, Mask], *, threads: int | None = None
) -> pl.DataFrame:
    """Return the labels with one column per feature, null where it is not known; no number is copied."""
    found: dict[str, pl.Series] = {}
    run_parts(lambda name: found.update({name: _series(name, columns[name], known[name])}), [*columns], threads=threads)
    return labels.with_columns(found[name] for name in columns)


def compute_panel(
    bars: pl.DataFrame | Mapping[str, Panel],
    features: Sequence[str] | None = None,
    *,
    calendar: Calendar | str,
    volume_unit: VolumeUnit = "units",
    threads: int | None = None,
    among: Catalog[Feature] | None = None,
) -> dict[str, Panel]:
    """Compute features as Panels; see `compute_features`.

    Parameters
    ----------
    bars : DataFrame or mapping of bar column to Panel
        Panels share their labels, and so does the answer.

    Returns
    -------
    dict of feature name to Panel
        NaN also at every cell without a bar.
    """
    table = bars if isinstance(bars, pl.DataFrame) else _bars_of(bars)
    found = compute_features(table, features, calendar=calendar, volume_unit=volume_unit, threads=threads, among=among)
    axes = axes_of(found)
    if not isinstance(bars, pl.DataFrame):
        first = next(iter(bars.values()))
        axes = axes_of(found, dates=first.dates, symbols=first.symbols)
    return panels_of(found, found.columns[2:], axes=axes)


def _bars_of(panels: Mapping[str, Panel]) -> pl.DataFrame:
    """Melt Panels of bar columns into a table with a row wherever any of them is known."""
    for name in panels:
        if name not in (*BAR_COLUMNS, *MARKS):
            raise UnknownNameError("bar column", name, [*BAR_COLUMNS, *MARKS])
    known = [panel for name, panel in panels.items() if name in BAR_COLUMNS]
    if not known:
        raise PanelError(f"no Panel of bars; got {', '.join(panels) or 'none'}, need any of {', '.join(BAR_COLUMNS)}.")
    for panel in panels.values():
        if panel.symbols != known[0].symbols or not panel.dates.equals(known[0].dates):
            raise PanelError("the Panels of bars differ in their labels; align them first.")
    return table_of(panels, where=np.any([~np.isnan(panel.values) for panel in known], axis=0))


def _series(name: str, column: Column, known: Mask) -> pl.Series:
    # Most columns begin with unknown values, so `all` stops early; polars counts nulls when asked.
    import pyarrow as pa

    bits = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pl.Series(name, pa.Array.from_buffers(pa.float64(), column.size, [bits, pa.py_buffer(column)]))
