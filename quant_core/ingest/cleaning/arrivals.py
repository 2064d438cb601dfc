"""Which landed rows count: those of a session, of a time that has come, sound, and the last to arrive of their key.

What the bars then say of each other is judged in jumps_and_stalls.py; both are brought together in bars.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.ingest.cleaning.jumps_and_stalls import NO_SIGNS, Seen
from quant_core.ingest.corporate_actions.effects import follow_renames
from quant_core.market.arrays import Ints, Mask
from quant_core.market.codes import codes_of, order_of
from quant_core.market.contracts.ingest import Bars
from quant_core.market.contracts.verdicts import VERDICT_SCHEMA, verdicts
from quant_core.market.sessions import places_of

VALUES = ("open", "high", "low", "close", "volume")
FARTHEST = 20
THIN = 0.05

Places = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int32]
Verdicts = pl.DataFrame


@dataclass(frozen=True, eq=False)
class Arrivals:
    """The landed rows that may be bars, sorted by symbol and date, and verdicts on the others.

    Attributes
    ----------
    rows : int64 [R]
        Position of each in the landing.
    place : int32 [R]
        Row of the table of sessions it stands in.
    code : int32 [R]
        A number per symbol, in the order of symbols.
    symbols : pl.Series
        Of the landing: each row's symbol, renames followed.
    seen : Seen
        They, and the rows that are no bars yet show that their ticker was there.
    lost : DataFrame
        row (position in the landing), rule, detail.
    """

    rows: Ints
    place: Places
    code: Codes
    symbols: pl.Series
    seen: Seen
    lost: Verdicts


def arrivals_of(raw: pl.DataFrame, actions: pl.DataFrame, sessions: pl.DataFrame, calendar: str) -> Arrivals:
    """Sort out the rows of a landing.

    Parameters
    ----------
    raw, actions : DataFrame
        Under their contracts; `raw` is not empty.
    sessions : DataFrame
        Of the dates of `raw`, as `sessions_of` returns them.
    calendar : str
        Its name, for the reasons.
    """
    place = places_of(raw["date"], sessions)
    is_there = sessions["is_session"].to_numpy()[place]
    off = _verdicts(np.flatnonzero(~is_there), "off_session", f"{calendar} is closed on that date")
    codes = codes_of(raw["symbol"])
    far = _strays(raw, place, codes.code, is_there, sessions)
    is_there[far["row"].to_numpy()] = False
    rules = {name: holds for name, holds in Bars.holds.items() if set(holds.meta.root_names()) <= {*raw.columns}}
    broken = verdicts(raw, rules)
    broken = broken.filter(is_there[broken["row"].to_numpy()])
    is_sound = is_there.copy()
    is_sound[broken["row"].to_numpy()] = False
    symbols, early = _renamed(raw, actions, is_sound)
    if symbols is not None:
        codes = codes_of(symbols)
    is_sound[early["row"].to_numpy()] = False
    signs = broken.filter(~pl.col("rule").is_in(NO_SIGNS))["row"].to_numpy()
    is_seen = is_sound.copy()
    is_seen[signs] = is_seen[early["row"].to_numpy()] = True
    seen = _in_order_of_arrival(raw, is_seen)
    order = order_of(codes.code[seen], place[seen])
    seen = seen if order is None else seen[order]
    sound = np.flatnonzero(is_sound[seen])
    code, at = codes.code[seen], place[seen]
    is_last = np.ones(sound.size, dtype=np.bool_)
    is_last[:-1] = (code[sound[1:]] != code[sound[:-1]]) | (at[sound[1:]] != at[sound[:-1]])
    bars = sound[is_last]
    again = _superseded(raw, seen[sound[~is_last]], seen[bars[np.cumsum(is_last)[~is_last]]])
    session = sessions["session"].to_numpy()
    final = int(session[place[~_marked(far, raw.height)].max()])
    return Arrivals(
        seen[bars],
        at[bars],
        code[bars],
        raw["symbol"] if symbols is None else symbols,
        Seen(code, session[at], bars, final),
        pl.concat([off, far, broken, early, again]),
    )


def _verdicts(rows: Ints, rule: str, detail: str) -> Verdicts:
    return pl.DataFrame({"row": rows}, schema={"row": pl.Int64}).with_columns(rule=pl.lit(rule), detail=pl.lit(detail))


def _marked(verdict: Verdicts, size: int) -> Mask:
    marks = np.zeros(size, dtype=np.bool_)
    marks[verdict["row"].to_numpy()] = True
    return marks


def _strays(raw: pl.DataFrame, place: Places, code: Codes, is_there: Mask, sessions: pl.DataFrame) -> Verdicts:
    """Find rows of a time that had not come when they did: a mistyped year.

    A row with a stamp is one if its session is more than FARTHEST sessions after the stamp, whatever else is known. So
    is every row of a date more than FARTHEST sessions after the date before it in the whole table, if fewer than THIN
    of the symbols that had rows by then have one. Both look at earlier dates only. When the time of such a date comes
    and the sessions before it have filled, a row without a stamp is no stray any more, and is judged by its price.
    """
    session = sessions["session"].to_numpy()
    ahead = np.zeros(raw.height, dtype=np.int64)
    if raw["known_at"].null_count() < raw.height:
        days = sessions["date"].to_physical().to_numpy()
        came = raw["known_at"].dt.date().to_physical().fill_null(int(days[-1])).to_numpy()
        ahead = session[place] - np.append(-1, session)[np.searchsorted(days, came, side="right")]
    stamped = np.flatnonzero(is_there & (ahead > FARTHEST))
    is_open = is_there.copy()
    is_open[stamped] = False
    thin = _thin_dates(code, place, is_open, session)
    unstamped = np.flatnonzero(is_open & np.isin(place, list(thin))) if thin else np.empty(0, dtype=np.int64)
    leap = np.array([thin[int(at)] for at in place[unstamped]], dtype=np.int64)
    rows = pl.DataFrame({"row": np.append(stamped, unstamped), "ahead": np.append(ahead[stamped], leap)})
    is_stamped = pl.int_range(pl.len()) < stamped.size
    return rows.select(
        pl.col("row").cast(pl.Int64),
        rule=pl.lit("far_future"),
        detail=pl.when(is_stamped)
        .then(pl.format("the row came {} sessions before its date", "ahead"))
        .otherwise(pl.format("{} sessions after the date before it, and hardly any symbol has a row", "ahead")),
    )


def _thin_dates(code: Codes, place: Places, is_there: Mask, session: Ints) -> dict[int, int]:
    """Return the places of dates far after the one before, with few symbols, and how many sessions after."""
    dates = np.flatnonzero(np.bincount(place[is_there], minlength=session.size))
    leaps = np.flatnonzero(np.diff(session[dates]) > FARTHEST)
    if not leaps.size:
        return {}
    first = np.full(int(code.max()) + 1, session.size)
    np.minimum.at(first, code[is_there], place[is_there])
    known = np.searchsorted(np.sort(first), dates, side="right")
    later = is_there & (place > dates[leaps[0]])
    symbols = np.bincount(np.unique(place[later] * np.int64(first.size) + code[later]) // first.size)
    before, thin = int(dates[leaps[0]]), {}
    for at, seen in zip(dates[leaps[0] + 1 :].tolist(), known[leaps[0] + 1 :].tolist(), strict=True):
        ahead = int(session[at] - session[before])
        if ahead > FARTHEST and symbols[at] < THIN * seen:
            thin[at] = ahead
        else:
            before = at
    return thin


def _renamed(raw: pl.DataFrame, actions: pl.DataFrame, is_sound: Mask) -> tuple[pl.Series | None, Verdicts]:
    """Return the symbols after renames, if any, and verdicts on sound rows that bore a symbol before it was given."""
    if not (actions["kind"] == "rename").any():
        return None, pl.DataFrame(schema=VERDICT_SCHEMA)
    moved = follow_renames(raw.select("date", "symbol").with_row_index("row"), actions)
    symbols = raw["symbol"].to_frame().with_row_index("row").update(moved.valid.select("row", "symbol"), on="row")
    early = moved.exclusions.select(*VERDICT_SCHEMA)
    return symbols["symbol"], early.filter(is_sound[early["row"].to_numpy()])


def _in_order_of_arrival(raw: pl.DataFrame, is_there: Mask) -> Ints:
    """Return the positions of rows by `known_at`, then `row`; what has no stamp came first."""
    stamp, row = raw["known_at"].to_physical().fill_null(np.iinfo(np.int64).min).to_numpy(), raw["row"].to_numpy()
    if (stamp[1:] >= stamp[:-1]).all() and (row[1:] >= row[:-1]).all():
        return np.flatnonzero(is_there)
    order = np.lexsort((row, stamp))
    return order[is_there[order]]


def _superseded(raw: pl.DataFrame, rows: Ints, kept: Ints) -> Verdicts:
    """Tell rows that came again as they were from rows that came anew with other values."""
    early, late = raw[rows].select(*VALUES), raw[kept].select(*VALUES).rename(lambda name: f"{name}_kept")
    is_same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_kept")) for name in VALUES)
    return pl.concat([early, late], how="horizontal").select(
        pl.Series("row", rows, dtype=pl.Int64),
        rule=pl.when(is_same).then(pl.lit("duplicate_row")).otherwise(pl.lit("restated_row")),
        detail=pl.format("row {} has the same key and arrived later", raw["row"].gather(kept)),
    )
