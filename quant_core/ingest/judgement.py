"""Rules on the bars of a symbol that need more than one bar: stalls, jumps on trial, lives, flags.

The loops live in kernels/bars.py; rules on single rows are the contract's; what becomes of excluded bars is bars.py's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.kernels.bars import PROVISIONAL, TOXIC, count_repeats, judge_jumps, mark_volume_spikes

STALL_FLAGGED, STALL_EXCLUDED = 5, 20
DEATH_SESSIONS = 20
JUMP = 1.0
# A row without a price says nothing: wide files hold one per symbol and date, long after a delisting too.
_NO_SIGNS = ("off_session", "close:known")
_NAMES = ("jump", "volume_spike", "stall")
_FLAGS = pl.Series([",".join(name for k, name in enumerate(_NAMES) if code >> k & 1) for code in range(8)])
Verdicts = pl.DataFrame
VERDICT_SCHEMA = {"row": pl.Int64(), "rule": pl.String(), "detail": pl.String()}


def judged_series(frame: pl.DataFrame, signs: pl.DataFrame, final_session: int) -> tuple[pl.DataFrame, Verdicts]:
    """Judge each symbol's bars against each other.

    The stall and volume rules look back only. The trial of a jump looks at most three bars ahead, and a jump whose
    trial the data cut short is provisional, so data cut at any instant are judged by what was known then.

    Parameters
    ----------
    frame : DataFrame
        row, date, symbol, session, close, volume and whatever else, one row per (symbol, date).
    signs : DataFrame
        Rows of the same columns that are no bars, yet show that the ticker was still there.
    final_session : int
        Last session of the data; a symbol whose rows and signs end DEATH_SESSIONS before it is dead.

    Returns
    -------
    kept : DataFrame
        Sorted by symbol and date, with life, is_provisional and flags.
    verdicts : DataFrame
        row, rule (`stalled`, `toxic_bar`) and detail of the others.
    """
    seen = pl.concat([frame.with_columns(is_bar=True), signs.with_columns(is_bar=False)])
    seen = seen.sort("symbol", "date").with_columns(stretch=stretch_number())
    ordered = seen.filter("is_bar").drop("is_bar")
    repeats = np.empty(ordered.height, dtype=np.int64)
    count_repeats(_floats(ordered["close"]), _offsets(ordered, "stretch"), repeats)
    is_stalled = repeats >= STALL_EXCLUDED
    stalled = _verdicts(ordered, is_stalled, "stalled", f"{STALL_EXCLUDED} or more equal closes in a row")
    trading = ordered.filter(~is_stalled)
    verdict, life = _verdict_and_life(trading, seen, final_session)
    is_toxic = verdict == TOXIC
    toxic = _verdicts(trading, is_toxic, "toxic_bar", "the price jumped and the level did not hold for three bars")
    judged = trading.with_columns(
        pl.Series("life", life),
        pl.Series("is_provisional", verdict == PROVISIONAL),
        pl.Series("is_stall", repeats[~is_stalled] >= STALL_FLAGGED),
    ).filter(~is_toxic)
    return judged.with_columns(_flags(judged)).drop("is_stall", "stretch"), pl.concat([stalled, toxic])


def is_sign_of_life() -> pl.Expr:
    """Return which excluded rows show that the ticker was there: those of a session that hold a price."""
    return ~pl.col("rule").is_in(_NO_SIGNS)


def stretch_number() -> pl.Expr:
    """Return the number of the stretch a row is in: one symbol, nowhere DEATH_SESSIONS sessions missing."""
    is_new = pl.col("symbol") != pl.col("symbol").shift(1)
    is_reborn = pl.col("session") - pl.col("session").shift(1) > DEATH_SESSIONS
    return (is_new | is_reborn).cast(pl.Int64).fill_null(0).cum_sum()


def _verdict_and_life(
    trading: pl.DataFrame, seen: pl.DataFrame, final_session: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Return the verdict on each trading bar and its life; the other rows of `seen` show that the ticker lives on."""
    verdict, life = np.empty(trading.height, dtype=np.int8), np.empty(trading.height, dtype=np.int32)
    starts, offsets = _offsets(seen, "stretch"), _offsets(trading, "stretch")
    symbol, last_session = seen[starts[:-1]]["symbol"], seen[starts[1:] - 1]["session"].to_numpy()
    is_followed = (symbol == symbol.shift(-1)).fill_null(value=False).to_numpy()
    is_over = is_followed | (final_session - last_session >= DEATH_SESSIONS)
    traded = trading[offsets[:-1]]["stretch"].to_numpy()
    first = symbol.gather(traded)
    is_reborn = (first == first.shift(1)).fill_null(value=False).to_numpy()
    sessions = np.ascontiguousarray(trading["session"].to_numpy())
    judge_jumps(_floats(trading["close"]), sessions, offsets, is_over[traded], is_reborn, verdict, life)
    return verdict, life


def bar_return() -> pl.Expr:
    """Return close over previous close less 1, of bars sorted by symbol and date.

    Null at the first bar of a life and at a provisional bar.
    """
    is_same_life = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("life") == pl.col("life").shift(1))
    change = pl.col("close") / pl.col("close").shift(1) - 1.0
    return pl.when(is_same_life & ~pl.col("is_provisional")).then(change)


def _flags(judged: pl.DataFrame) -> pl.Series:
    """Return the names of the flags of each bar, comma-separated."""
    is_jump = judged.select((bar_return() > JUMP).fill_null(value=False)).to_series().to_numpy()
    volume = pl.col("volume")
    logs = judged.select(pl.when(volume > 0.0).then(volume.log())).to_series()
    is_spike = np.empty(judged.height, dtype=np.bool_)
    mark_volume_spikes(_floats(logs), judged["life"].to_numpy(), _offsets(judged, "symbol"), is_spike)
    code = is_jump.astype(np.int8) + 2 * is_spike + 4 * judged["is_stall"].to_numpy()
    return _FLAGS.gather(pl.Series(code)).alias("flags")


def _verdicts(frame: pl.DataFrame, where: npt.NDArray[np.bool_], rule: str, detail: str) -> Verdicts:
    return frame.filter(where).select("row", rule=pl.lit(rule), detail=pl.lit(detail))


def _offsets(ordered: pl.DataFrame, by: str) -> npt.NDArray[np.int64]:
    """Return where each run of equal `by` starts in a sorted table, and where the last one ends."""
    starts = ordered.select((pl.col(by) != pl.col(by).shift(1)).fill_null(value=True).arg_true()).to_series()
    return np.append(starts.to_numpy().astype(np.int64), ordered.height)


def _floats(values: pl.Series) -> npt.NDArray[np.float64]:
    return np.ascontiguousarray(values.to_numpy(), dtype=np.float64)
