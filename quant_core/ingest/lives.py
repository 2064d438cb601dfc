"""Lists when each symbol began, paused, resumed and ended, and when each event was known.

Whether a symbol could be held is in universe.py; which bars belong to one life, in cleaning/jumps_and_stalls.py;
what to ask the source for where bars are missing, in gaps.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from quant_core.graph.stage import stage
from quant_core.ingest.cleaning.jumps_and_stalls import DEATH_SESSIONS, bar_return
from quant_core.ingest.membership.presence import Presence, presence_of
from quant_core.kernels.bar_defects import LOWEST_RETURN, TRIAL_BARS
from quant_core.market.arrays import Ints, run_starts
from quant_core.market.contracts.ingest import Lives
from quant_core.market.sleeves import Sleeve


class _Events(NamedTuple):
    """Events of one kind: symbol, life, session, and the session from whose close on each was known."""

    event: str
    code: Ints
    life: Ints
    session: Ints
    known: Ints


@stage("ingest.lives", inputs={"bars": "ingest.bars", "lost": "ingest.bars#exclusions"}, output=Lives)
def lives(bars: pl.DataFrame, lost: pl.DataFrame, *, sleeve: Sleeve) -> pl.DataFrame:
    """List genesis, halt, resume and death of every symbol.

    A halt begins with the first session without a bar; a death with the 20th in a row without any priced row of the
    symbol, a bar or not, counted up to the last date of the sleeve's data, so a file's end kills nobody. Both are known
    at that session's close, except two events a trial stands before: a halt that begins with a toxic bar was known once
    the bar was found toxic (see `_date_toxic_halts`), a life that a rise above 500 % began once the rise held for three
    bars. The life an event names is the one the whole sample gives it.
    """
    if bars.is_empty():
        return Lives.empty()
    there = presence_of(bars, lost, sleeve.market)
    trading = there.only(there.is_bar)
    is_same = ~run_starts(trading.code, trading.life)
    back = trading.only(is_same)  # a run that goes on with its life comes after a pause
    resumes = _Events("resume", back.code, back.life, back.first, back.first)
    geneses = _geneses(there, trading, np.flatnonzero(~is_same))
    halts = _halts(trading)
    if there.is_toxic.any():
        halts = _date_toxic_halts(halts, there, _confirmed_jumps(there, bars, geneses))
    return _table([geneses, halts, resumes, _deaths(there)], there)


def _halts(trading: Presence) -> _Events:
    """Return each first session without a bar, known at its close."""
    last = trading.only(trading.missed_after() >= 1)
    return _Events("halt", last.code, last.life, last.last + 1, last.last + 1)


def _date_toxic_halts(halts: _Events, there: Presence, jumps: _Events) -> _Events:
    """Return the halts; a halt that begins with a toxic bar is known once that bar is found toxic.

    It is by a later bar that leaves its level: the next one that is kept or, where several trials follow upon each
    other, one before it, and never later than TRIAL_BARS bars after the toxic one. The earlier of both bounds is the
    end of a single trial and at most two bars late for the first of several, never early. Where a jump that held was
    still provisional by then, the verdict waited for that.
    """
    tried = there.only(there.is_bar | there.is_toxic)
    run, is_there = tried.run_at(halts.code, halts.session)
    is_toxic = is_there & tried.is_toxic[run] & (tried.first[run] == halts.session)
    run, code, session = run[is_toxic], halts.code[is_toxic], halts.session[is_toxic]
    row, kept = tried.rows_before(), np.flatnonzero(tried.is_bar)
    next_kept = kept[np.minimum(np.searchsorted(kept, run), kept.size - 1)]
    verdict = tried.session_after(run, np.minimum(row[next_kept] - row[run], TRIAL_BARS))
    before = np.searchsorted(there.key(jumps.code, jumps.session), there.key(code, session))
    for back in range(1, TRIAL_BARS) if jumps.code.size else ():  # the trial of a third jump before would be over
        jump = np.maximum(before - back, 0)
        waits = (before >= back) & (jumps.code[jump] == code)
        verdict = np.where(waits, np.maximum(verdict, jumps.known[jump]), verdict)
    known = halts.known.copy()
    known[is_toxic] = verdict
    return halts._replace(known=known)


def _confirmed_jumps(there: Presence, bars: pl.DataFrame, geneses: _Events) -> _Events:
    """Return the confirmed rises and falls, sorted, each known when it was confirmed.

    That of a fall is with the first bar three sessions later or with the death before it. Falls are looked for where
    there are toxic bars only.
    """
    names = there.symbols.gather(np.unique(there.code[there.is_toxic]))
    series = bars.filter(pl.col("symbol").is_in(names.implode())).sort("symbol", "date")
    fell = series.filter(bar_return() < LOWEST_RETURN)
    code, session = there.code_of(fell["symbol"]), there.session_of(fell["date"])
    tried, ends = there.only(there.is_bar | there.is_toxic), there.only(there.missed_after() >= DEATH_SESSIONS)
    run, is_tried = tried.run_at(code, session + TRIAL_BARS)
    known = np.where(is_tried, np.maximum(tried.first[run], session + TRIAL_BARS), there.final)
    end, is_over = ends.run_at(code, session)
    if ends.code.size:
        known = np.where(is_over, np.minimum(known, ends.last[end] + DEATH_SESSIONS), known)
    is_rise = geneses.known > geneses.session
    code, session = np.append(code, geneses.code[is_rise]), np.append(session, geneses.session[is_rise])
    life, known = np.append(fell["life"].to_numpy(), geneses.life[is_rise]), np.append(known, geneses.known[is_rise])
    order = np.argsort(there.key(code, session))
    return _Events("jump", code[order], life[order], session[order], known[order])


def _deaths(there: Presence) -> _Events:
    """Return the 20th session of each hole of so many; rows without a bar do not revive a life: it ends once."""
    end = np.flatnonzero(there.missed_after() >= DEATH_SESSIONS)
    bar = _last_bar(there, end)
    end, bar = end[bar >= 0], bar[bar >= 0]
    is_first = run_starts(there.code[bar], there.life[bar])
    end, bar = end[is_first], bar[is_first]
    session = there.last[end] + DEATH_SESSIONS
    return _Events("death", there.code[end], there.life[bar], session, session)


def _last_bar(there: Presence, runs: Ints) -> Ints:
    """Return the symbol's last run of bars at or before each of `runs`; -1 where it had none yet."""
    bars = np.flatnonzero(there.is_bar)
    before = np.searchsorted(bars, runs, side="right") - 1
    bar = bars[np.maximum(before, 0)]
    return np.where((before >= 0) & (there.code[bar] == there.code[runs]), bar, -1)


def _geneses(there: Presence, trading: Presence, born: Ints) -> _Events:
    """Return the beginnings; one without a death before it is a rise, known once it was confirmed."""
    judged = np.flatnonzero(there.is_judged)
    run = np.flatnonzero(there.is_bar)[born]
    place = np.searchsorted(judged, run)
    before = judged[np.maximum(place - 1, 0)]
    has_lived = (place > 0) & (there.code[before] == there.code[run])
    holes = np.flatnonzero(there.missed_after() >= DEATH_SESSIONS)
    is_rise = has_lived & (np.searchsorted(holes, before) == np.searchsorted(holes, run))
    session = trading.first[born]
    held = there.only(there.is_judged).session_after(place, TRIAL_BARS)
    return _Events("genesis", trading.code[born], trading.life[born], session, np.where(is_rise, held, session))


def _table(events: list[_Events], there: Presence) -> pl.DataFrame:
    """Return the events under the contract, kind after kind."""
    known = pl.Series(np.concatenate([kind.known for kind in events]))
    columns = {
        "symbol": there.symbols.gather(np.concatenate([kind.code for kind in events])),
        "life": pl.Series(np.concatenate([kind.life for kind in events]), dtype=pl.Int32),
        "event": pl.concat([pl.repeat(kind.event, kind.code.size, eager=True) for kind in events]),
        "date": there.closes["date"].gather(np.concatenate([kind.session for kind in events])),
        "known_at": there.closes["available_at"].gather(known.set(known < 0, None)),
    }
    return pl.DataFrame(columns).select(*Lives.dtypes)
