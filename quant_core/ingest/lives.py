"""When each symbol began, paused, came back and ended, each event with the instant from which it was known.

Whether a symbol could be held is said in universe.py; which bars belong to one life, in judgement.py.
"""

from __future__ import annotations

import polars as pl

from quant_core.graph.stage import stage
from quant_core.ingest.judgement import DEATH_SESSIONS, is_sign_of_life, stretch_number
from quant_core.ingest.sessions import sessions_of
from quant_core.kernels.bars import TRIAL_BARS
from quant_core.market.contracts.ingest import Lives
from quant_core.market.sleeves import Sleeve

# Excluded rows that stand in the series a jump is tried by.
_JUDGED = ("stalled", "toxic_bar")


@stage("ingest.lives", inputs={"bars": "ingest.bars", "lost": "ingest.bars#exclusions"}, output=Lives)
def lives(bars: pl.DataFrame, lost: pl.DataFrame, *, sleeve: Sleeve) -> pl.DataFrame:
    """List genesis, halt, resume and death of every symbol.

    A halt begins with the first session without a bar; a death with the 20th in a row without any priced row of the
    symbol, a bar or not, counted up to the last date of the sleeve's data, so a file's end kills nobody. Both are known
    at that session's close. A life that a rise above 500 % began is known once the rise held for three bars.
    """
    if bars.is_empty():
        return Lives.empty()
    sessions = sessions_of(pl.concat([bars["date"], lost["date"].drop_nulls()]), sleeve.market)
    final = int(sessions["session"][-1])
    trading = _neighbours(bars.select("symbol", "date", "life"), sessions)
    present = _neighbours(_present(bars, lost), sessions).with_columns(
        pl.col("life").forward_fill().over("symbol"), stretch=stretch_number()
    )
    missed = pl.col("next_session").fill_null(final + 1) - pl.col("session") - 1
    halts = _events_at_session(trading.filter(missed >= 1), "halt", 1, sessions)
    ends = present.filter((missed >= DEATH_SESSIONS) & pl.col("life").is_not_null())
    # Rows that bring no bar do not revive a life, so it ends once.
    ends = ends.unique(["symbol", "life"], keep="first", maintain_order=True)
    deaths = _events_at_session(ends, "death", DEATH_SESSIONS, sessions)
    is_first = pl.col("life").ne_missing(pl.col("last_life"))
    has_paused = pl.col("session") - pl.col("last_session") > 1
    resumes = trading.filter(~is_first & has_paused).select(
        "symbol", "life", event=pl.lit("resume"), date="date", known_at="available_at"
    )
    geneses = _geneses(trading.filter(is_first), present)
    return pl.concat([geneses, halts, resumes, deaths]).select(*Lives.dtypes)


def _neighbours(rows: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return rows sorted by symbol and date with their session and those of the symbol's rows before and after."""
    ordered = rows.join(sessions.drop("is_session"), on="date", how="left").sort("symbol", "date")
    is_second = pl.col("symbol") == pl.col("symbol").shift(1)
    is_followed = pl.col("symbol") == pl.col("symbol").shift(-1)
    return ordered.with_columns(
        last_life=pl.when(is_second).then(pl.col("life").shift(1)),
        last_session=pl.when(is_second).then(pl.col("session").shift(1)),
        next_session=pl.when(is_followed).then(pl.col("session").shift(-1)),
    )


def _present(bars: pl.DataFrame, lost: pl.DataFrame) -> pl.DataFrame:
    """Return one row per symbol and date on which it was there; the life is null where no bar is."""
    signs = lost.filter(is_sign_of_life()).join(bars, on="symbol", how="semi")
    rows = pl.concat(
        [
            bars.select("symbol", "date", "life", is_judged=True),
            signs.select("symbol", "date", life=pl.lit(None, pl.Int32), is_judged=pl.col("rule").is_in(_JUDGED)),
        ]
    )
    ordered = rows.sort("symbol", "date", "is_judged", "life", descending=[False, False, True, False], nulls_last=True)
    return ordered.unique(["symbol", "date"], keep="first", maintain_order=True)


def _events_at_session(last: pl.DataFrame, event: str, after: int, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return an event `after` sessions behind each row, known at that session's close."""
    open_sessions = sessions.filter("is_session")
    at = open_sessions[last["session"] + after]
    return last.select("symbol", "life", event=pl.lit(event)).with_columns(
        at["date"], at["available_at"].alias("known_at")
    )


def _geneses(first: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """Return the beginnings; one without a death before it is a rise that had to hold first."""
    is_same = pl.col("symbol") == pl.col("symbol").shift(-TRIAL_BARS)
    trials = present.filter("is_judged").select(
        "symbol",
        "date",
        held_at=pl.when(is_same).then(pl.col("available_at").shift(-TRIAL_BARS)),
        is_rise=(pl.col("stretch") == pl.col("stretch").shift(1)).fill_null(value=False),
    )
    known_at = pl.when("is_rise").then("held_at").otherwise("available_at")
    return first.join(trials, on=["symbol", "date"], how="left").select(
        "symbol", "life", event=pl.lit("genesis"), date="date", known_at=known_at
    )
