"""Every stretch of sessions without a bar, typed by what was missing, and what to ask the source for again.

A diagnosis of the whole sample, for repair and for reading: no decision depends on it. What a decision may know of a
symbol at a date is in lives.py and universe.py; asking the source is the landing's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from quant_core.graph.stage import stage
from quant_core.ingest.cleaning.jumps_and_stalls import DEATH_SESSIONS
from quant_core.ingest.membership.presence import Presence, presence_of
from quant_core.market.arrays import Ints, Mask, run_starts
from quant_core.market.contracts.ingest import Gaps
from quant_core.market.sleeves import Sleeve

HALT_SESSIONS = 5
HOLE_SHARE = 0.5
REPAIRABLE = ("gap", "excluded")
_LISTED = ("gap", "excluded", "halted")


class _Stretches(NamedTuple):
    """Sessions in a row of one symbol: its code, the first and the last."""

    code: Ints
    first: Ints
    last: Ints

    def only(self, where: Mask) -> _Stretches:
        return _Stretches(self.code[where], self.first[where], self.last[where])


def gap_counts(gaps: pl.DataFrame) -> Mapping[str, float]:
    """Return stretches and sessions without a bar while listed (not before, not after), and how many can be asked for.

    A stretch can be asked for if it has a request.
    """
    listed = gaps.filter(pl.col("kind").is_in(_LISTED))
    return {
        "gaps.stretches": listed.height,
        "gaps.sessions": int(listed["sessions"].sum()),
        "gaps.repairable": gaps.height - gaps["request"].null_count(),
    }


@stage(
    "ingest.gaps",
    inputs={"bars": "ingest.bars", "lost": "ingest.bars#exclusions", "lives": "ingest.lives"},
    output=Gaps,
    metrics=gap_counts,
)
def gaps(bars: pl.DataFrame, lost: pl.DataFrame, lives: pl.DataFrame, *, sleeve: Sleeve) -> pl.DataFrame:
    """List the stretches of sessions, from the first to the last of the sleeve's data, on which a symbol has no bar.

    The kind of each session, the first that fits; a stretch splits where the kind changes:

    - `excluded`: rows with a price came, and none made a bar. To be asked for again.
    - `pre_listing`: before the symbol's first bar; for a symbol without any bar, always.
    - `delisted`: dead as lives.py says, from the first of at least 20 sessions without a row to the end or to the next
      life. A stretch of which fewer than 20 sessions brought a row of any symbol is the source's hole, not a death.
    - `gap`: at least half of the symbols listed on the session have no row either: the source has a hole. Or the symbol
      alone is missing for 1 to 4 sessions in a row. To be asked for again.
    - `halted`: the symbol alone is missing for 5 to 19 sessions in a row: as long as trading halts last, and longer
      than a source forgets one symbol. Not asked for.

    Days on which the market is closed are neither sessions nor rows. Earlier requests are not known
    here: a gap that the source cannot fill stays a gap.
    """
    there = presence_of(bars, lost, sleeve.market)
    holes = _holes(there)
    genesis = _geneses(there)
    is_early = holes.last < genesis[holes.code]
    dead = _dead_stretches(there, holes, lives)
    is_dead = _is_within(holes, dead, there) & ~is_early
    listed = holes.only(~is_early & ~is_dead)
    shared = _is_shared(there, genesis, dead)
    parts, kinds = _split(listed, shared)
    return _table(
        [
            (holes.only(is_early), "pre_listing"),
            (holes.only(is_dead), "delisted"),
            (_excluded_stretches(there), "excluded"),
            (parts.only(kinds), "halted"),
            (parts.only(~kinds), "gap"),
        ],
        there,
    )


def repair_requests(gaps: pl.DataFrame) -> pl.DataFrame:
    """Return what to request from the source again, newest first: symbol, start, end, sessions, kind, request."""
    asked = gaps.filter(pl.col("request").is_not_null())
    return asked.select("symbol", "start", "end", "sessions", "kind", "request").sort(
        "end", "start", "symbol", descending=[True, True, False]
    )


def _holes(there: Presence) -> _Stretches:
    """Return every stretch without a row: before a symbol's first run, between two runs, after its last."""
    is_second = there.is_second()
    start = np.zeros(there.code.size, dtype=np.int64)
    start[1:][is_second[1:]] = there.last[:-1][is_second[1:]] + 1
    ends = np.flatnonzero(np.append(~is_second[1:], True)[: there.code.size])
    holes = _Stretches(
        np.append(there.code, there.code[ends]),
        np.append(start, there.last[ends] + 1),
        np.append(there.first - 1, np.full(ends.size, there.final)),
    )
    holes = holes.only(holes.first <= holes.last)
    order = np.lexsort((holes.first, holes.code))
    return _Stretches(holes.code[order], holes.first[order], holes.last[order])


def _geneses(there: Presence) -> Ints:
    """Return the session [N] of each symbol's first bar; one past the last session where it has none."""
    genesis = np.full(len(there.symbols), there.final + 1)
    born = there.only(there.is_bar)
    np.minimum.at(genesis, born.code, born.first)
    return genesis


def _dead_stretches(there: Presence, holes: _Stretches, lives: pl.DataFrame) -> _Stretches:
    """Return the stretches in which symbols were dead, sorted, except those that began in a hole of the source."""
    ordered = lives.filter(pl.col("event").is_in(["death", "genesis"])).sort("symbol", "date")
    code, session = there.code_of(ordered["symbol"]), there.session_of(ordered["date"])
    is_death = (ordered["event"] == "death").to_numpy()
    is_followed = ~np.append(run_starts(code), True)[1:]
    end = np.where(is_followed, np.append(session[1:], 0)[: code.size] - 1, there.final)
    dead = _Stretches(code, session - DEATH_SESSIONS + 1, end).only(is_death)
    is_open = np.append(0, np.cumsum(_count(there, there.first, there.last) > 0))
    width = there.final + 2
    first_hole = np.searchsorted(holes.code * width + holes.first, dead.code * width + dead.first)
    alone = is_open[holes.last[first_hole] + 1] - is_open[dead.first]
    return dead.only(alone >= DEATH_SESSIONS)


def _is_within(inner: _Stretches, outer: _Stretches, there: Presence) -> Mask:
    """Return which of `inner` are within one of `outer`, which is sorted and disjoint."""
    if not outer.code.size:
        return np.zeros(inner.code.size, dtype=np.bool_)
    width = there.final + 2
    place = np.searchsorted(outer.code * width + outer.first, inner.code * width + inner.first, side="right") - 1
    near = np.maximum(place, 0)
    within: Mask = (place >= 0) & (outer.code[near] == inner.code) & (inner.last <= outer.last[near])
    return within


def _count(there: Presence, first: Ints, last: Ints) -> Ints:
    """Return how many of the stretches hold each session [S]."""
    steps = np.zeros(there.final + 2, dtype=np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    count: Ints = np.cumsum(steps[:-1])
    return count


def _is_shared(there: Presence, genesis: Ints, dead: _Stretches) -> Mask:
    """Return the sessions [S] on which at least HOLE_SHARE of the symbols listed have no row."""
    born = genesis[genesis <= there.final]
    listed = _count(there, born, np.full(born.size, there.final)) - _count(there, dead.first, dead.last)
    runs = _Stretches(there.code, there.first, there.last)
    seen = runs.only((runs.first >= genesis[runs.code]) & ~_is_within(runs, dead, there))
    missing = listed - _count(there, seen.first, seen.last)
    shared: Mask = (missing > 0) & (missing >= HOLE_SHARE * listed)
    return shared


def _split(listed: _Stretches, is_shared: Mask) -> tuple[_Stretches, Mask]:
    """Split stretches where the kind changes; return the parts and which of them are halts."""
    length = listed.last - listed.first + 1
    hole = np.repeat(np.arange(length.size), length)
    session = np.arange(hole.size) - np.repeat(np.cumsum(length) - length, length) + listed.first[hole]
    is_alone = ~is_shared[session]
    start, _ = _runs_of(hole, is_alone)
    size = np.diff(np.append(start, hole.size))
    is_halt = np.repeat(is_alone[start] & (size >= HALT_SESSIONS), size)
    start, stop = _runs_of(hole, is_halt)
    return _Stretches(listed.code[hole[start]], session[start], session[stop]), is_halt[start]


def _runs_of(hole: Ints, flag: Mask) -> tuple[Ints, Ints]:
    """Return first and last position of each run of one hole and one flag."""
    start = np.flatnonzero(run_starts(hole, flag))
    return start, np.append(start[1:], hole.size)[: start.size] - 1


def _excluded_stretches(there: Presence) -> _Stretches:
    """Return the stretches in which every session has an excluded row."""
    lost = there.only(~there.is_bar)
    # Each of these runs is one session.
    start = np.flatnonzero(run_starts(lost.code, lost.first - np.arange(lost.first.size)))
    stop = np.append(start[1:], lost.code.size)[: start.size] - 1
    return _Stretches(lost.code[start], lost.first[start], lost.last[stop])


def _table(kinds: list[tuple[_Stretches, str]], there: Presence) -> pl.DataFrame:
    first, last = (np.concatenate([getattr(part, end) for part, _ in kinds]) for end in ("first", "last"))
    days = there.closes["date"]
    frame = pl.DataFrame(
        {
            "symbol": there.symbols.gather(np.concatenate([part.code for part, _ in kinds])),
            "start": days.gather(first),
            "end": days.gather(last),
            "sessions": last - first + 1,
            "kind": pl.concat([pl.repeat(kind, part.code.size, dtype=pl.String, eager=True) for part, kind in kinds]),
        }
    )
    asked = pl.struct("symbol", pl.col("start", "end").dt.to_string("iso")).struct.json_encode()
    request = pl.when(pl.col("kind").is_in(REPAIRABLE)).then(asked)
    return frame.with_columns(request=request).sort("symbol", "start").select(*Gaps.dtypes)
