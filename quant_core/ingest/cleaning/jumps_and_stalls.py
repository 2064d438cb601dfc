"""Rules on the bars of a symbol that need more than one bar: stalls, provisional jumps, lives, flags.

The loops live in kernels/bar_defects.py, rules on single rows in the contract; excluded bars are handled in
bars.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.kernels.bar_defects import PROVISIONAL, TOXIC, classify_jumps, count_repeats, mark_volume_spikes
from quant_core.market.arrays import Floats, Ints, Mask, run_starts

STALL_FLAGGED, STALL_EXCLUDED = 5, 20
DEATH_SESSIONS = 20
JUMP = 1.0
# A row without a price is not evidence: wide files hold one per symbol and date, long after a delisting too. Nor is a
# row dated far ahead.
NO_SIGNS = ("off_session", "far_future", "close_not_known")
FLAGS = ("jump", "volume_spike", "stall", "unadjusted_split")
_FLAGS = pl.Series([",".join(name for k, name in enumerate(FLAGS) if code >> k & 1) for code in range(1 << len(FLAGS))])


@dataclass(frozen=True, eq=False)
class Sightings:
    """The rows that show a ticker was listed, sorted by symbol and session, and which of them are bars.

    Attributes
    ----------
    code : ndarray [S]
        A number per symbol.
    session : int64 [S]
        Ordinal of the row's session.
    bars : int64 [R]
        Which of the rows are bars, ascending, at most one per symbol and session.
    final_session : int
        Last session of the data; a symbol whose rows end DEATH_SESSIONS before it is dead.
    """

    code: npt.NDArray[np.int32]
    session: Ints
    bars: Ints
    final_session: int

    def stretch(self) -> Ints:
        """Return the stretch number of each row; a stretch is one symbol without a gap of DEATH_SESSIONS sessions."""
        is_new = run_starts(self.code)
        is_new[1:] |= np.diff(self.session) > DEATH_SESSIONS
        return np.cumsum(is_new) - 1


@dataclass(frozen=True, eq=False)
class SeriesVerdicts:
    """Verdicts on bars by comparison with their neighbours.

    Attributes
    ----------
    is_stalled, is_toxic : bool [R]
        Where a bar leaves.
    change : float64 [R]
        Of a toxic bar: its close over the last good one, less 1. NaN elsewhere.
    life : int32 [R]
    is_provisional : bool [R]
        A jump that the data end too early to confirm.
    is_stall : bool [R]
        Flagged, not excluded.
    """

    is_stalled: Mask
    is_toxic: Mask
    change: Floats
    life: npt.NDArray[np.int32]
    is_provisional: Mask
    is_stall: Mask

    @property
    def is_kept(self) -> Mask:
        """Whether each bar is kept."""
        return ~(self.is_stalled | self.is_toxic)


def judge_series(close: Floats, seen: Sightings) -> SeriesVerdicts:
    """Compare each symbol's bars with each other.

    The stall rule looks back only. Confirming a jump takes at most three later bars, and a jump that the data end too
    early to confirm is provisional, so data cut at any instant are judged by what was known then.

    Parameters
    ----------
    close : float64 [R]
        Of the bars among `seen`, in their order; positive.
    seen : Seen
    """
    stretches = seen.stretch()
    stretch = stretches[seen.bars]
    repeats = np.empty(close.size, dtype=np.int64)
    count_repeats(close, _offsets(stretch), repeats)
    is_stalled = repeats >= STALL_EXCLUDED
    trading = np.flatnonzero(~is_stalled)
    offsets = _offsets(stretch[trading])
    tried = stretch[trading][offsets[:-1]]
    # Rows that are not trading bars still show that the ticker lives on.
    ends = _offsets(stretches)
    symbol, last_session = seen.code[ends[:-1]], seen.session[ends[1:] - 1]
    is_followed = ~np.append(run_starts(symbol), True)[1:]
    is_over = is_followed | (seen.final_session - last_session >= DEATH_SESSIONS)
    first = symbol[tried]
    is_reborn = ~run_starts(first)
    verdict, life = np.zeros(close.size, dtype=np.int8), np.zeros(close.size, dtype=np.int32)
    tried_verdict, tried_life = np.empty(trading.size, dtype=np.int8), np.empty(trading.size, dtype=np.int32)
    session = seen.session[seen.bars[trading]]
    classify_jumps(close[trading], session, offsets, is_over[tried], is_reborn, tried_verdict, tried_life)
    verdict[trading], life[trading] = tried_verdict, tried_life
    is_toxic = verdict == TOXIC
    return SeriesVerdicts(
        is_stalled,
        is_toxic,
        _changes(close, is_toxic, is_toxic | is_stalled),
        life,
        verdict == PROVISIONAL,
        repeats >= STALL_FLAGGED,
    )


def _changes(close: Floats, is_toxic: Mask, is_out: Mask) -> Floats:
    """Return the close of each toxic bar over the last one kept, less 1. A stretch never begins with a toxic bar."""
    change = np.full(close.size, np.nan)
    at = np.flatnonzero(is_toxic)
    kept = np.flatnonzero(~is_out)
    if at.size:
        change[at] = close[at] / close[kept[np.searchsorted(kept, at) - 1]] - 1.0
    return change


def flags_of(bars: pl.DataFrame, code: npt.NDArray[np.int32], is_stall: Mask, is_split: Mask) -> pl.Series:
    """Return the names of the flags of each bar, comma-separated.

    Parameters
    ----------
    bars : DataFrame [R]
        Sorted by symbol and date: close, volume, life, is_provisional.
    code : ndarray [R]
        A number per symbol.
    is_stall, is_split : bool [R]
        Bars in a stall, and first bars on the terms of a split that was not reported.
    """
    close, life = bars["close"].to_numpy(), bars["life"].to_numpy()
    is_jump = ~run_starts(code, life)
    is_jump[1:] &= close[1:] / close[:-1] - 1.0 > JUMP
    is_jump &= ~bars["is_provisional"].to_numpy()
    volume = pl.col("volume")
    logs = bars.select(pl.when(volume > 0.0).then(volume.log()).otherwise(float("nan"))).to_series().to_numpy()
    is_spike = np.empty(close.size, dtype=np.bool_)
    mark_volume_spikes(logs, life, _offsets(code), is_spike)
    number = is_jump + (is_spike * np.uint8(2)) + (is_stall * np.uint8(4)) + (is_split * np.uint8(8))
    return _FLAGS.gather(pl.Series(number)).alias("flags")


def is_sign_of_life() -> pl.Expr:
    """Return which excluded rows show that the ticker was listed: rows on a session that hold a price."""
    return ~pl.col("rule").is_in(NO_SIGNS)


def bar_return() -> pl.Expr:
    """Return close over previous close less 1, of bars sorted by symbol and date.

    Null at the first bar of a life and at a provisional bar.
    """
    is_same_life = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("life") == pl.col("life").shift(1))
    change = pl.col("close") / pl.col("close").shift(1) - 1.0
    return pl.when(is_same_life & ~pl.col("is_provisional")).then(change)


def _offsets(numbers: npt.NDArray[np.integer]) -> Ints:
    """Return where each run of equal numbers starts, and where the last one ends."""
    return np.append(np.flatnonzero(run_starts(numbers)), numbers.size)
