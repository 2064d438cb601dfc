"""`compute_features` and `compute_panel`: any features of any bars, in one pass over blocks of symbols.

Which features there are is catalogue.py's business; a sleeve's tables of them are families.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from quant_core.errors import PanelError, UnknownNameError
from quant_core.features.bars import MARKS, SortedBars, sorted_bars
from quant_core.features.catalogue import BAR_COLUMNS, Feature, catalogue, in_order
from quant_core.graph.catalog import Catalog
from quant_core.kernels._blocks import run_blocks
from quant_core.market.calendar import Calendar
from quant_core.market.calendar import calendar as calendar_of
from quant_core.market.panel import Matrix, Panel, axes_of, panels_of, table_of

VolumeUnit = Literal["units", "value"]


def compute_features(
    bars: pl.DataFrame,
    features: Sequence[str] | None = None,
    *,
    calendar: Calendar | str,
    volume_unit: VolumeUnit = "units",
    threads: int | None = None,
    among: Catalog[Feature] | None = None,
) -> pl.DataFrame:
    """Compute features at every bar.

    Parameters
    ----------
    bars : DataFrame
        date (Date or Datetime) and symbol, and of open, high, low, close, volume, life, is_provisional what there is.
    features : sequence of str, optional
        Names; default: all of the catalogue.
    calendar : Calendar or str
        Its periods per year annualise.
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
        A feature, calendar or input nobody knows; lists the near matches.
    ContractError, PanelError
        The table cannot be read as bars.
    """
    known = catalogue() if among is None else among
    names = list(dict.fromkeys(known if features is None else features))
    steps = in_order(names, known)
    market = calendar_of(calendar) if isinstance(calendar, str) else calendar
    # What a feature may name as keyword-only parameter beside its own settings.
    context = {"periods_per_year": market.periods_per_year, "volume_unit": volume_unit}
    table = sorted_bars(bars)
    columns = _columns(table, steps, names, context, threads)
    return table.labels.with_columns(pl.Series(name, column).fill_nan(None) for name, column in columns.items())


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


def _columns(
    table: SortedBars, steps: Sequence[Feature], names: Sequence[str], context: Mapping[str, Any], threads: int | None
) -> dict[str, Matrix]:
    """Return one array [rows] per name, each block of symbols computed on its own."""
    columns = {name: np.empty(table.labels.height) for name in names}

    def compute_block(part: slice) -> None:
        block = table.block(part)
        matrices = table.inputs(block)
        for step in steps:
            given = {name: context[name] for name in step.parameters if name in context}
            # Overflow and 0 / 0 are IEEE's business here: what is not finite is not known.
            with np.errstate(all="ignore"):
                matrices[step.name] = step(*(matrices[name] for name in step.inputs), **given)
        for name, column in columns.items():
            values = matrices[name][block.row, block.column]
            column[block.rows] = np.where(np.isfinite(values), values, np.nan)

    run_blocks(compute_block, table.n_symbols, threads=threads)
    return columns
