"""Applies corporate actions to rows: one series per asset under its last symbol, prices on the terms of its last row.

Which actions are known when is decided in known_actions.py. A ticker that dies and comes back is found in
cleaning/jumps_and_stalls.py, and so is a split that nobody sent.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.market.contracts.split import Split, excluded_rows

Positions = npt.NDArray[np.int64]
PRICES = ("open", "high", "low", "close")
_DAY_BITS = 32


def follow_renames(rows: pl.DataFrame, actions: pl.DataFrame) -> Split:
    """Give an asset one series under its last symbol, from the ticker changes known.

    A row dated before a rename of its symbol goes by the new one, along chains (A to B, then B to C). A rename dated
    after the last of all rows has not happened yet, and one that is not among `actions` is not known yet: until then
    the old symbol is kept. A row that already bears the new symbol before the rename to it belongs to whoever held that
    ticker then, or is a copy; it would mix with the series moved in, so it leaves. Where no row moves in, because
    the source sends the whole history under the new symbol, nothing leaves.

    Parameters
    ----------
    rows : DataFrame
        date, symbol and whatever else, in any order.
    actions : DataFrame
        Under the contract Actions; other kinds than renames are not looked at.

    Returns
    -------
    Split
        Valid: `rows` in their order, with their last symbols. Exclusions: `precedes_rename`.
    """
    tickers = _Tickers(rows, actions)
    if tickers.is_unchanged:
        return Split(rows)
    end = tickers.ends(rows)
    is_out = tickers.is_arrival[end] & (end >= 0)
    moved = rows.with_columns(tickers.last_symbols(rows, end))
    lost = moved.filter(is_out)
    on = tickers.events["date"].gather(end[is_out])
    detail = lost.select(pl.format("{} was given to another asset's history on {}", "symbol", on)).to_series()
    return Split(moved.filter(~is_out), excluded_rows(lost, "precedes_rename", detail))


def owners(rows: pl.DataFrame, actions: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Name the asset each row and each action belongs to, whichever of its symbols they bear.

    Parameters
    ----------
    rows, actions : DataFrame
        As for `follow_renames`, before it or after it.

    Returns
    -------
    of_rows, of_actions : pl.Series of String
        The asset's last symbol; for one that lost its ticker to another, with the date it lost it. An action dated on
        the day of a rename belongs to the asset that changes its ticker, under either symbol.
    """
    tickers = _Tickers(rows, actions)
    if tickers.is_unchanged:
        return rows["symbol"], actions["symbol"]
    arrivals = tickers.events.filter(tickers.is_arrival).select("symbol", "date", is_new=True)
    terms = actions.select("date", "symbol").join(arrivals, on=["symbol", "date"], how="left", maintain_order="left")
    is_new = pl.col("is_new").fill_null(value=False)
    before = terms.select("symbol", date=pl.when(is_new).then("date").otherwise(pl.col("date").dt.offset_by("-1d")))
    return tickers.names(rows), tickers.names(before)


def adjust_prices(
    rows: pl.DataFrame, actions: pl.DataFrame, *, volume_unit: Literal["units", "value"] = "units"
) -> pl.DataFrame:
    """Put every price on the terms of its asset's last row, so that the last price is the market's.

    A row dated d is multiplied by the factors of all splits and dividends of its asset with an ex-date after d. An
    action dated after the asset's last close is not applied yet: the market still quotes the old terms. Ticker changes
    among the actions are followed, so it does not matter whether `follow_renames` comes before or after.

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


class _Tickers:
    """The renames that have happened, as departures from a ticker and arrivals at one.

    Attributes
    ----------
    events : DataFrame
        symbol, date, to (null: an arrival), sorted by symbol and date, a departure before an arrival.
    is_arrival : ndarray [E]
    """

    def __init__(self, rows: pl.DataFrame, actions: pl.DataFrame) -> None:
        today = pl.lit(rows["date"].max(), dtype=pl.Date)
        renames = actions.filter(pl.col("kind") == "rename", pl.col("date") <= today)
        departures = renames.select("symbol", "date", "to").sort("symbol", "date")
        # A ticker is lost to an asset only if that asset has rows to bring.
        brought = _walk_events(next_events(rows, departures), _events_after(departures))
        arrivals = departures[brought].select(pl.col("to").alias("symbol"), "date", to=pl.lit(None, pl.String))
        self.events = pl.concat([departures, arrivals]).sort("symbol", "date", "to", nulls_last=True)
        self.is_arrival = self.events["to"].is_null().to_numpy()
        self._end = np.arange(self.events.height)
        following = np.where(self.is_arrival, -1, _events_after(self.events))
        while (is_open := following[self._end] >= 0).any():
            self._end = np.where(is_open, following[self._end], self._end)

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing has been renamed."""
        return self.events.is_empty()

    def ends(self, table: pl.DataFrame) -> Positions:
        """Return the event at which the name of each row's asset ends; -1: the row's own symbol is the last."""
        first = next_events(table, self.events)
        return np.where(first >= 0, self._end[first], -1)

    def last_symbols(self, table: pl.DataFrame, end: Positions) -> pl.Series:
        """Return the last symbol of each row's asset, given `ends`."""
        last = self.events.select(pl.coalesce("to", "symbol")).to_series()
        return table.select(symbol=pl.when(pl.Series(end >= 0)).then(last.gather(end)).otherwise("symbol")).to_series()

    def names(self, table: pl.DataFrame) -> pl.Series:
        """Return the name of each row's asset: its last symbol, and the date it lost it, if it did."""
        end = self.ends(table)
        lost = pl.when(pl.Series(self.is_arrival[end] & (end >= 0))).then(self.events["date"].gather(end))
        last = self.last_symbols(table, end)
        # No symbol holds a space, so the name is nobody else's.
        return last.to_frame().select(pl.concat_str("symbol", pl.format(" until {}", lost).fill_null(""))).to_series()


def next_events(table: pl.DataFrame, events: pl.DataFrame) -> Positions:
    """Return the position of the first event of each row's symbol that is dated after the row.

    Parameters
    ----------
    table : DataFrame [R]
        date and symbol, in any order.
    events : DataFrame [E]
        date and symbol, sorted by symbol and date; of events on one date the first is meant.

    Returns
    -------
    ndarray [R]
        -1 where there is none, or the row's date or symbol is null.
    """
    if events.is_empty():
        return np.full(table.height, -1)
    codes = events.select("symbol").unique(maintain_order=True).with_row_index("code")
    found, known = _keys(table, codes), _keys(events, codes)
    position = np.searchsorted(known, found, side="right")
    is_same = known[np.minimum(position, known.size - 1)] >> _DAY_BITS == found >> _DAY_BITS
    return np.where(is_same & (position < known.size), position, -1)


def _keys(table: pl.DataFrame, codes: pl.DataFrame) -> Positions:
    """Return one integer per row that sorts like symbol and date; -1 where the symbol has no code."""
    coded = table.select("date", "symbol").join(codes, on="symbol", how="left", maintain_order="left")
    day = pl.col("date").to_physical().cast(pl.Int64) + (1 << (_DAY_BITS - 1))
    key = (pl.col("code").cast(pl.Int64) * (1 << _DAY_BITS) + day).fill_null(-1)
    return coded.select(key).to_series().to_numpy()


def _events_after(events: pl.DataFrame) -> Positions:
    """Return the next event of the symbol that each event gives."""
    return next_events(events.select("date", symbol="to"), events)


def _walk_events(first: Positions, following: Positions) -> Positions:
    """Return the events on the way from the `first` ones on, in order."""
    front = np.unique(first[first >= 0])
    reached = np.zeros(following.size, dtype=np.bool_)
    while front.size:
        reached[front] = True
        front = np.unique(following[front])
        front = front[front >= 0]
    return np.flatnonzero(reached)
