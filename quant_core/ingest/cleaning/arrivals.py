"""Finds the landed rows that count: on a session, not in the future, sound, and the last to arrive of their key.

Neighbouring bars are compared in jumps_and_stalls.py; bars.py joins both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.ingest.cleaning.jumps_and_stalls import Sightings, is_sign_of_life
from quant_core.ingest.corporate_actions.effects import follow_renames
from quant_core.market.arrays import Ints, Mask
from quant_core.market.contracts.ingest import Bars
from quant_core.market.contracts.verdicts import verdicts
from quant_core.market.sessions import places_of
from quant_core.market.text_codes import codes_of, order_of

VALUES = ("open", "high", "low", "close", "volume")
FARTHEST = 20
THIN = 0.05

Places = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int32]


def arrivals_of(raw: pl.DataFrame, actions: pl.DataFrame, sessions: pl.DataFrame, calendar: str) -> pl.DataFrame:
    """Return every landed row with the first rule it breaks, if any.

    Parameters
    ----------
    raw, actions : DataFrame
        Under their contracts; `raw` is not empty.
    sessions : DataFrame
        Of the dates of `raw`, as `sessions_of` returns them.
    calendar : str
        Its name, for the reasons.

    Returns
    -------
    DataFrame
        Sorted by symbol, date and arrival: row (position in the landing), symbol (renames followed), code (a number per
        symbol, in their order), place (row of `sessions`), session (its ordinal), rule and detail (null: a bar so far).
    """
    place = places_of(raw["date"], sessions)
    code = codes_of(raw["symbol"]).code
    is_off = ~sessions["is_session"].to_numpy()[place]
    rows = pl.DataFrame([raw["symbol"], pl.Series("code", code), pl.Series("place", place)]).with_columns(
        row=pl.int_range(pl.len()),
        session=sessions["session"].gather(place),
        rule=pl.lit(None, dtype=pl.String),
        detail=pl.lit(None, dtype=pl.String),
    )
    closed = pl.lit(f"{calendar} is closed on that date").alias("detail")
    off = pl.DataFrame({"row": np.flatnonzero(is_off)})
    rows = _blame(rows, off.select("row", pl.lit("off_session").alias("rule"), closed))
    rows = _blame(rows, _find_strays(raw, place, code, rows["rule"].is_null().to_numpy(), sessions))
    rules = {name: holds for name, holds in Bars.holds.items() if set(holds.meta.root_names()) <= {*raw.columns}}
    rows = _blame(rows, verdicts(raw, rules))
    rows = _follow_renames(rows, raw, actions)
    rows = _sort_arrivals(rows, raw)
    return _supersede(rows, raw)


def sightings_of(rows: pl.DataFrame) -> Sightings:
    """Return the rows that show a ticker was listed, bars or not.

    Parameters
    ----------
    rows : DataFrame
        As `arrivals_of` returns them.
    """
    is_broken = rows["rule"].null_count() < rows.height
    timely = rows.filter(pl.col("rule").ne_missing("far_future")) if is_broken else rows
    final = timely.select(pl.col("session").max()).item()
    seen = rows.filter(is_sign_of_life().fill_null(value=True)) if is_broken else rows
    bars = seen["rule"].is_null().to_numpy()
    return Sightings(seen["code"].to_numpy(), seen["session"].to_numpy(), np.flatnonzero(bars), final)


def _blame(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Fill in rule and detail of the rows in `found` that break no earlier rule."""
    first = found.filter(rows["rule"].gather(found["row"]).is_null())
    if first.is_empty():
        return rows
    return rows.with_columns(rows[name].clone().scatter(first["row"], first[name]) for name in ("rule", "detail"))


def _find_strays(raw: pl.DataFrame, place: Places, code: Codes, is_there: Mask, sessions: pl.DataFrame) -> pl.DataFrame:
    """Find rows dated after they arrived, e.g. a mistyped year.

    A row with a stamp is one if its session is more than FARTHEST sessions after the stamp, whatever else is known. So
    is every row of a date more than FARTHEST sessions after the date before it in the whole table, if fewer than THIN
    of the symbols that had rows by then have one. Both look at earlier dates only. When the time of such a date comes
    and the sessions before it have filled, a row without a stamp stops being a stray, and is checked by its price.
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
    thin = _find_thin_dates(code, place, is_open, session)
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


def _find_thin_dates(code: Codes, place: Places, is_there: Mask, session: Ints) -> dict[int, int]:
    """Return dates far after the previous one with few symbols: their places, and how many sessions after."""
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


def _follow_renames(rows: pl.DataFrame, raw: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """Put rows under the last symbol of their asset; a row dated before its symbol was assigned breaks a rule."""
    if not (actions["kind"] == "rename").any():
        return rows
    moved = follow_renames(raw.select("date", "symbol").with_row_index("row"), actions)
    symbol = raw["symbol"].to_frame().with_row_index("row").update(moved.valid.select("row", "symbol"), on="row")
    symbols = symbol["symbol"]
    return _blame(rows, moved.exclusions).with_columns(symbols, pl.Series("code", codes_of(symbols).code))


def _sort_arrivals(rows: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by symbol and date, rows of one key by `known_at`, then `row`; rows without a stamp first."""
    stamp, row = raw["known_at"].to_physical().fill_null(np.iinfo(np.int64).min).to_numpy(), raw["row"].to_numpy()
    if not ((stamp[1:] >= stamp[:-1]).all() and (row[1:] >= row[:-1]).all()):
        rows = rows[np.lexsort((row, stamp))]
    order = order_of(rows["code"].to_numpy(), rows["place"].to_numpy())
    return rows if order is None else rows[order]


def _supersede(rows: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """Exclude each sound row that a later sound row with its key replaces, as a duplicate or a restatement."""
    is_sound = rows["rule"].is_null()
    sound = rows.select("row", "code", "place").with_row_index("at")
    sound = sound if is_sound.all() else sound.filter(is_sound)
    code, place = pl.col("code"), pl.col("place")
    is_early = sound.select((code == code.shift(-1)) & (place == place.shift(-1))).to_series().fill_null(value=False)
    if not is_early.any():
        return rows
    last = sound.select(pl.when(~is_early).then("row").backward_fill()).to_series().filter(is_early)
    again = sound.filter(is_early)
    early, late = (raw.select(*VALUES)[at] for at in (again["row"], last))
    is_same = pl.all_horizontal(pl.col(name).eq_missing(late[name]) for name in VALUES)
    found = early.select(
        again["at"].alias("row"),
        rule=pl.when(is_same).then(pl.lit("duplicate_row")).otherwise(pl.lit("restated_row")),
        detail=pl.format("row {} has the same key and arrived later", raw["row"].gather(last)),
    )
    return _blame(rows, found)
