"""Raw prices put on the terms of the last one: backward adjustment, and factors from what vendors send.

Which actions are known when is decided in known_actions.py, who bore a ticker when in renames.py. An action nobody sent
is looked for in split_suspects.py.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from quant_core.errors import ConfigError, SourceError
from quant_core.ingest.corporate_actions.renames import next_events, owners
from quant_core.market.contracts.ingest import Actions
from quant_core.market.sleeves import Sleeve

PRICES = ("open", "high", "low", "close")
SENT = tuple(name for name in Actions.dtypes if name != "row")


def demand_factors(sleeve: Sleeve, actions: pl.DataFrame | None) -> None:
    """Refuse raw prices of a source that brings no table of actions. An empty one is fine: none is known so far.

    Raises
    ------
    ConfigError
        Says what to do.
    """
    if sleeve.adjustment == "raw" and actions is None:
        raise ConfigError(
            f'the sleeve {sleeve.name!r} declares adjustment = "raw", and its source sends no splits and dividends: '
            'name their file as [source] factors = "FILE", or adjust the prices and declare "total" or "split".'
        )


def adjusted(
    rows: pl.DataFrame, actions: pl.DataFrame, *, volume_unit: Literal["units", "value"] = "units"
) -> pl.DataFrame:
    """Put every price on the terms of its asset's last row, so that the last price is the market's.

    A row dated d is multiplied by the factors of all splits and dividends of its asset with an ex-date after d. An
    action dated after the asset's last close is not applied yet: the market still quotes the old terms. Ticker changes
    among the actions are followed, so it does not matter whether `renamed` comes before or after.

    Parameters
    ----------
    rows : DataFrame
        date, symbol, open, high, low, close, volume and whatever else, in any order.
    actions : DataFrame
        Under the contract Actions: of one symbol, date and kind one, as `ingest.actions` leaves them.
    volume_unit : "units" or "value"
        Units are divided by the factor, so that close x volume stays the traded value; a value stays as it is.

    Returns
    -------
    DataFrame
        `rows` in their order, with `adjustment`, the multiplier: exactly 1.0, and every value untouched, where nothing
        applies. Null stays null.

    Source: Center for Research in Security Prices, Data Descriptions Guide, factor to adjust price; backward as of the
    last row, both for splits and for distributions.
    """
    of_rows, of_actions = owners(rows, actions)
    terms = actions.select("date", "kind", "factor", symbol=of_actions).filter(pl.col("kind") != "rename")
    table = rows.select("date", symbol=of_rows)
    last = table.filter(rows["close"].is_not_null()).group_by("symbol").agg(last=pl.col("date").max())
    terms = (
        terms.join(last, on="symbol")
        .filter(pl.col("date") <= pl.col("last"))
        .sort("symbol", "date", "kind", "factor")
        .with_columns(pl.col("factor").cum_prod(reverse=True).over("symbol"))
    )
    multiplier = np.ones(rows.height)
    position = next_events(table, terms)
    is_before = position >= 0
    multiplier[is_before] = terms["factor"].to_numpy()[position[is_before]]
    given = rows.with_columns(pl.Series("adjustment", multiplier))
    volume = pl.col("volume") / pl.col("adjustment") if volume_unit == "units" else pl.col("volume")
    return given.with_columns(volume, *(pl.col(name) * pl.col("adjustment") for name in PRICES))


def actions_of_factors(factors: pl.DataFrame) -> pl.DataFrame:
    """Turn cumulative factors into actions.

    The table is that of LEAN's factor files: price_factor (dividends) and split_factor hold up to and including the
    row's date, the last row of a symbol being dated far in the future. Each ratio of a row's factor to the next row's
    is an action. Its ex-date is the day after the row's date, with no calendar asked: every row up to that date, and no
    later one, is then adjusted, whatever the calendar. On a day without trade an action has no effect before the next
    row.

    Parameters
    ----------
    factors : DataFrame
        date, symbol, price_factor and split_factor; further columns are not read.

    Returns
    -------
    DataFrame
        Columns of Actions without `row`, sorted by symbol, date and kind; `known_at` null: known from the ex-date on.

    Raises
    ------
    SourceError
        A symbol has two rows of one date, or a factor is not a positive number: the ratios beside it are not known.

    Source: QuantConnect LEAN, factor file format (Data/equity/usa/factor_files/readme.md).
    """
    names = {"dividend": "price_factor", "split": "split_factor"}
    ordered = factors.sort("symbol", "date")
    is_number = pl.all_horizontal(pl.col(name).is_finite() & (pl.col(name) > 0.0) for name in names.values())
    is_known = is_number & pl.col("date").is_not_null() & pl.col("symbol").is_not_null()
    unknown = ordered.filter(~is_known.fill_null(value=False))
    if unknown.height:
        raise SourceError(f"{unknown.height} rows of factors hold no positive number, such as {unknown.row(0)}.")
    again = ordered.filter(pl.struct("symbol", "date").is_duplicated())
    if again.height:
        raise SourceError(f"{again.height} rows of factors share symbol and date, such as {again.row(0)}.")
    kinds = [
        ordered.select(
            pl.col("date").dt.offset_by("1d"),
            "symbol",
            kind=pl.lit(kind),
            factor=pl.col(name) / pl.col(name).shift(-1).over("symbol"),
        )
        for kind, name in names.items()
    ]
    return _sent(pl.concat(kinds).filter(pl.col("factor") != 1.0)).sort("symbol", "date", "kind")


def _sent(found: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of Actions a source sends; absent ones are null."""
    absent = {name: pl.lit(None) for name in SENT if name not in found.columns}
    return found.with_columns(**absent).select(pl.col(name).cast(Actions.dtypes[name]) for name in SENT)
