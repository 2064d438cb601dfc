"""Sessions on which the source had a price of each symbol, bar or not, as runs without a hole.

Lives and gaps both read it: what the holes between runs mean is said in lives.py and gaps.py, which rows are bars in
bars.py. Millions of rows become a few runs per symbol here, in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.errors import ContractError
from quant_core.ingest.cleaning.jumps_and_stalls import is_sign_of_life
from quant_core.market.arrays import Ints, Mask, run_starts
from quant_core.market.calendar import Calendar
from quant_core.market.identity import SYMBOL
from quant_core.market.sessions import places_of, sessions_of
from quant_core.market.text_codes import codes_of, order_of

NO_LIFE = -1
_MARGIN = 64
TOXIC, FAR_FUTURE = "toxic_bar", "far_future"
# Excluded rows in the series that decides on a jump.
_JUDGED = ("stalled", TOXIC)


@dataclass(frozen=True, eq=False)
class Presence:
    """Runs of sessions in a row on which the source had a price of one symbol, sorted by symbol and session.

    A run of bars belongs to one life. Sessions whose rows were all excluded are runs of their own, one each.

    Attributes
    ----------
    symbols : pl.Series [N]
        Names, sorted; `code` counts them.
    closes : DataFrame [S]
        date and available_at of each session of the sleeve's data; `first` and `last` count them.
    code, first, last : int64 [K]
        Symbol, first and last session of each run.
    life : int64 [K]
        Of the bars; NO_LIFE where there are none.
    is_judged : bool [K]
        Whether the rows are in the series that decides on a jump: bars, or excluded as stalled or toxic.
    is_toxic : bool [K]
    """

    symbols: pl.Series
    closes: pl.DataFrame
    code: Ints
    first: Ints
    last: Ints
    life: Ints
    is_judged: Mask
    is_toxic: Mask

    @property
    def final(self) -> int:
        """The last session of the sleeve's data."""
        return self.closes.height - 1

    @property
    def is_bar(self) -> Mask:
        """Which runs [K] are bars."""
        return np.not_equal(self.life, NO_LIFE)

    def code_of(self, symbols: pl.Series) -> Ints:
        """Return the code of each name; every one must be among `symbols`."""
        return symbols.cast(pl.Enum(self.symbols)).to_physical().to_numpy().astype(np.int64)

    def session_of(self, dates: pl.Series) -> Ints:
        """Return the session of each date; every date must be a session."""
        found: Ints = self.closes["date"].search_sorted(dates).to_numpy().astype(np.int64)
        return found

    def only(self, where: Mask) -> Presence:
        """Return the runs where `where` [K] is true."""
        code, first, last, life = (values[where] for values in (self.code, self.first, self.last, self.life))
        return Presence(self.symbols, self.closes, code, first, last, life, self.is_judged[where], self.is_toxic[where])

    def key(self, code: Ints, session: Ints) -> Ints:
        """Return one number per symbol and session that sorts like both; sessions may lie a few past the last."""
        return code * (self.closes.height + _MARGIN) + session

    def run_at(self, code: Ints, session: Ints) -> tuple[Ints, Mask]:
        """Return the run on or after each session of a symbol, and whether there is one."""
        if not self.code.size:
            return np.zeros(code.size, dtype=np.int64), np.zeros(code.size, dtype=np.bool_)
        run = np.searchsorted(self.key(self.code, self.last), self.key(code, session))
        is_within = run < self.code.size
        run = np.minimum(run, self.code.size - 1)
        return run, is_within & (self.code[run] == code)

    def is_second(self) -> Mask:
        """Return which runs [K] follow another one of their symbol."""
        return ~run_starts(self.code)

    def missed_after(self) -> Ints:
        """Return how many sessions [K] pass from each run to the symbol's next one, or to the end of the data."""
        following = np.full(self.code.size, self.final + 1)
        is_second = self.is_second()[1:]
        following[:-1][is_second] = self.first[1:][is_second]
        return following - self.last - 1

    def rows_before(self) -> Ints:
        """Return how many rows [K] precede each run."""
        length = self.last - self.first + 1
        before: Ints = np.cumsum(length) - length
        return before

    def session_after(self, runs: Ints, rows: Ints | int) -> Ints:
        """Return the session `rows` rows behind the first of each of `runs`, holes not counted; -1 past the symbol."""
        before = self.rows_before()
        row = before[runs] + rows
        there = np.searchsorted(before, row, side="right") - 1
        session: Ints = self.first[there] + row - before[there]
        session[(self.code[there] != self.code[runs]) | (session > self.last[there])] = -1
        return session


def presence_of(bars: pl.DataFrame, lost: pl.DataFrame, market: Calendar) -> Presence:
    """Find the runs of each symbol.

    Parameters
    ----------
    bars : DataFrame
        Under the contract Bars; fast when sorted as the store sorts it, right in any order.
    lost : DataFrame
        The exclusions of bars. A row excluded from them counts if it has a session and a price, and no bar is on
        its symbol and session; a malformed symbol counts nowhere. The data end with the last date of bars and
        exclusions, strays of a later time left aside.
    market : Calendar

    Raises
    ------
    ContractError
        A bar is dated on a day without a session.
    """
    told = lost.filter(pl.col("date").is_not_null() & (pl.col("rule") != FAR_FUTURE))
    sessions = sessions_of(pl.concat([bars["date"], told["date"]]), market)
    closes = sessions.filter("is_session").select("date", "available_at")
    signs = told.filter(is_sign_of_life() & pl.col("symbol").str.contains(SYMBOL))
    codes = codes_of(pl.concat([bars["symbol"], signs["symbol"]]))
    number = np.where(sessions["is_session"].to_numpy(), sessions["session"].to_numpy(), -1)
    session = number[places_of(pl.concat([bars["date"], signs["date"]]), sessions)]
    kept, lost_rows = slice(bars.height), slice(bars.height, None)
    if (session[kept] < 0).any():
        day = bars["date"][int(session[kept].argmin())]
        raise ContractError(f"Bars: {market.name} has no session on {day}; are bars and calendar of one sleeve?")
    # One number per symbol and session: neighbours differ by one, symbols by more.
    width = closes.height + 1
    keys = codes.code * np.int64(width) + session
    order = order_of(codes.code[kept], session[kept].astype(np.int32))
    first, last, life = _runs(keys[kept], bars["life"].to_numpy(), order)
    is_open = session[lost_rows] >= 0
    sign, is_judged, is_toxic = _signs(keys[lost_rows][is_open], signs["rule"].filter(pl.Series(is_open)), first, last)
    is_bar = np.ones(first.size, dtype=np.bool_)
    starts, ends = np.append(first, sign), np.append(last, sign)
    place = np.argsort(starts)
    code = starts[place] // width
    return Presence(
        codes.texts,
        closes,
        code,
        starts[place] - code * width,
        ends[place] - code * width,
        np.append(life, np.full(sign.size, NO_LIFE))[place],
        np.append(is_bar, is_judged)[place],
        np.append(~is_bar, is_toxic)[place],
    )


def _runs(keys: Ints, life: npt.NDArray[np.int32], order: Ints | None) -> tuple[Ints, Ints, Ints]:
    """Return first key, last key and life of each run of bars, sorted; `order` sorts the keys."""
    if order is not None:
        keys, life = keys[order], life[order]
    start = np.flatnonzero(run_starts(keys - np.arange(keys.size), life))
    stop = np.append(start[1:], keys.size)[: start.size]
    return keys[start], keys[stop - 1], life[start].astype(np.int64)


def _signs(keys: Ints, rules: pl.Series, first: Ints, last: Ints) -> tuple[Ints, Mask, Mask]:
    """Return the keys without a bar, sorted, each once, and whether a row on them is judged and is toxic."""
    before = np.searchsorted(first, keys, side="right") - 1
    has_bar = (before >= 0) & (keys <= np.append(last, 0)[before])
    found, place = np.unique(keys[~has_bar], return_inverse=True)
    rule = rules.filter(pl.Series(~has_bar))
    is_judged, is_toxic = np.zeros(found.size, dtype=np.bool_), np.zeros(found.size, dtype=np.bool_)
    is_judged[place[rule.is_in(_JUDGED).to_numpy()]] = True
    is_toxic[place[(rule == TOXIC).to_numpy()]] = True
    return found, is_judged, is_toxic
