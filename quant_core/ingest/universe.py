"""Who was an eligible member when, by what was known then, as intervals.

The events it rests on are found in lives.py; the mask over a Panel is made in market/universe.py.
"""

from __future__ import annotations

import polars as pl
from pydantic import Field

from quant_core.graph.stage import Params, stage
from quant_core.ingest.judgement import bar_return
from quant_core.ingest.sessions import sessions_of
from quant_core.kernels.bars import LOWEST_RETURN, TRIAL_BARS
from quant_core.market.contracts.ingest import Universe
from quant_core.market.sleeves import Sleeve

FLOOR_ALWAYS_OPEN, FLOOR_SESSIONS = 90, 252


class UniverseParams(Params):
    """When a symbol may be held."""

    floor: int | None = Field(
        default=None, ge=1, description="Bars of the current life before membership; null: 90 on 24/7, 252 on sessions."
    )


@stage("ingest.universe", inputs={"bars": "ingest.bars", "lives": "ingest.lives"}, output=Universe)
def universe(bars: pl.DataFrame, lives: pl.DataFrame, *, params: UniverseParams, sleeve: Sleeve) -> pl.DataFrame:
    """Cut each symbol's time from its genesis on into intervals of one reason.

    `member` from the bar that completes the floor; `short_history` before; `on_trial` while a jump is neither
    confirmed nor refuted; `halted` from the first session without a bar, `dead` from the 20th, until bars come back.
    Only `member` is eligible. The state at date t is the one known at the close of t: a later run over more data may
    name another reason, never another eligibility.
    """
    floor = params.floor or (FLOOR_ALWAYS_OPEN if sleeve.market.is_always_open else FLOOR_SESSIONS)
    sessions = sessions_of(bars["date"], sleeve.market).select("date", "session")
    ordered = bars.sort("symbol", "date").join(sessions, on="date", how="left", maintain_order="left")
    is_first = _differs("symbol") | _differs("life")
    number = pl.int_range(pl.len()) - pl.when(is_first).then(pl.int_range(pl.len())).forward_fill()
    states = ordered.with_columns(_is_on_trial(ordered, lives, is_first)).select(
        "symbol",
        "date",
        reason=pl.when(number + 1 < floor)
        .then(pl.lit("short_history"))
        .when("is_on_trial")
        .then(pl.lit("on_trial"))
        .otherwise(pl.lit("member")),
    )
    pauses = lives.filter(pl.col("event").is_in(["halt", "death"])).select(
        "symbol",
        "date",
        reason=pl.col("event").replace_strict({"halt": "halted", "death": "dead"}, return_dtype=pl.String),
    )
    return _intervals(pl.concat([states, pauses]).sort("symbol", "date")).select(*Universe.dtypes)


def _is_on_trial(ordered: pl.DataFrame, lives: pl.DataFrame, is_first: pl.Expr) -> pl.Series:
    """Return where a jump was still open at the bar, also where later bars have settled it since."""
    geneses = lives.filter(pl.col("event") == "genesis").select("symbol", "life", born_at="known_at")
    begun = ordered.join(geneses, on=["symbol", "life"], how="left", maintain_order="left")
    fell_in = pl.when(bar_return() < LOWEST_RETURN).then("session")
    last_fall = pl.when(is_first).then(-TRIAL_BARS).otherwise(fell_in).forward_fill()
    is_falling = pl.col("session") - last_fall < TRIAL_BARS
    is_unborn = pl.col("available_at") < pl.col("born_at")
    return begun.select(is_on_trial=pl.col("is_provisional") | is_falling | is_unborn).to_series()


def _differs(name: str) -> pl.Expr:
    return (pl.col(name) != pl.col(name).shift(1)).fill_null(value=True)


def _intervals(states: pl.DataFrame) -> pl.DataFrame:
    """Join runs of one symbol and reason; each interval ends the day before the next, the last stays open."""
    starts = states.filter(_differs("symbol") | _differs("reason")).rename({"date": "start"})
    is_followed = pl.col("symbol") == pl.col("symbol").shift(-1)
    return starts.with_columns(
        end=pl.when(is_followed).then(pl.col("start").shift(-1).dt.offset_by("-1d")),
        is_eligible=pl.col("reason") == "member",
    )
