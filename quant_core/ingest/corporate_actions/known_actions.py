"""Finds the corporate actions a run may use: the latest version of each one, known at the knowledge time.

How a vendor's factors become actions is said in factor_file.py, what actions do to rows in effects.py.
"""

from __future__ import annotations

import polars as pl

from quant_core.errors import ConfigError
from quant_core.market.calendar import Calendar, instant_of, next_midnight
from quant_core.market.contracts.ingest import EARLIEST, Actions
from quant_core.market.contracts.split import Split, excluded_rows, split
from quant_core.market.sessions import sessions_of
from quant_core.market.sleeves import Sleeve

SMALLEST, LARGEST = 1e-4, 1e4
KEY = ("symbol", "date", "kind")
_FACTOR, _IS_RENAME = pl.col("factor"), pl.col("kind") == "rename"
_RULES = {
    "factor_missing": ~_IS_RENAME & _FACTOR.is_null(),
    "factor_out_of_bounds": ~_IS_RENAME & ~_FACTOR.is_between(SMALLEST, LARGEST),
    "dividend_raises_price": (pl.col("kind") == "dividend") & (_FACTOR > 1.0),
    "rename_with_factor": _IS_RENAME & _FACTOR.is_not_null(),
    "rename_without_target": _IS_RENAME & (pl.col("to").is_null() | (pl.col("to") == pl.col("symbol"))),
}
_DETAILS = {
    "factor_missing": "a split or dividend needs a factor",
    "factor_out_of_bounds": f"a factor lies between {SMALLEST:g} and {LARGEST:g}",
    "dividend_raises_price": "a dividend lowers the earlier prices: its factor is at most 1",
    "rename_with_factor": "a rename changes no price: send a split beside it",
    "rename_without_target": "a rename needs another symbol",
}


def demand_factors(sleeve: Sleeve, actions: pl.DataFrame | None) -> None:
    """Refuse raw prices of a source that brings no table of actions. An empty one is fine: none is known so far.

    Raises
    ------
    ConfigError
        Says what to do.
    """
    if sleeve.adjustment == "raw" and actions is None:
        raise ConfigError(
            f'the sleeve {sleeve.name!r} declares adjustment = "raw", and its source sends no splits and dividends: '
            'name their file as [source] factors = "FILE", or adjust the prices and declare "total" or "split".'
        )


def known_actions(landed: pl.DataFrame, *, sleeve: Sleeve, as_of: str | None) -> Split:
    """Split landed actions into those to apply and exclusions with their reasons.

    An action is known from its own stamp `known_at`; without one from the close of its ex-date, which is 00:00 UTC of
    the next day if that is not a session. Later ones are not excluded: they do not exist yet for that run. Of actions
    of one symbol, date and kind the last to arrive counts, by `known_at`, then `row`: those without a stamp came with
    the first landing, before all stamped ones. The others leave as `duplicate_action` when nothing differs, else as
    `restated_action`.
    """
    known = landed if as_of is None else _known_at(landed, as_of, sleeve.market)
    shaped = split(known, Actions)
    unshaped = shaped.exclusions.with_columns(row=known["row"].gather(shaped.exclusions["row"]))
    rule = pl.coalesce(pl.when(is_broken).then(pl.lit(name)) for name, is_broken in _RULES.items())
    judged = shaped.valid.with_columns(rule=rule, detail=rule.replace_strict(_DETAILS, default=None))
    broken = judged.filter(pl.col("rule").is_not_null())
    kept, superseded = _last_word(judged.filter(pl.col("rule").is_null()).drop("rule", "detail"))
    lost = pl.concat([broken, superseded])
    excluded = excluded_rows(lost.drop("rule", "detail"), lost["rule"], lost["detail"])
    return Split(kept, pl.concat([unshaped, excluded]).sort("row"))


def _known_at(landed: pl.DataFrame, as_of: str, market: Calendar) -> pl.DataFrame:
    """Return the actions known at `as_of`, and those whose date is not known."""
    moment = instant_of(as_of)
    # The close of a later day is not known either, and the calendar need not reach there.
    days = landed.filter(pl.col("date").is_between(EARLIEST, moment.date()))["date"]
    closes = sessions_of(days, market).select("date", "available_at")
    is_future = pl.col("date") > moment.date()
    close = pl.when(~is_future).then(pl.coalesce("available_at", next_midnight()))
    known_from = pl.coalesce("known_at", pl.when(pl.col("date").is_null()).then(moment).otherwise(close))
    return (
        landed.join(closes, on="date", how="left", maintain_order="left")
        .filter(known_from <= moment)
        .select(landed.columns)
    )


def _last_word(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the last action to arrive of each symbol, date and kind, and the others with rule and detail."""
    arrived = frame.sort("known_at", "row", nulls_last=False)
    last = arrived.unique(KEY, keep="last", maintain_order=True)
    others = arrived.join(last.select("row"), on="row", how="anti", maintain_order="left").join(
        last, on=KEY, suffix="_kept", maintain_order="left"
    )
    is_same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_kept")) for name in ("factor", "to"))
    superseded = others.select(
        *frame.columns,
        rule=pl.when(is_same).then(pl.lit("duplicate_action")).otherwise(pl.lit("restated_action")),
        detail=pl.format("row {} tells of the same action and arrived later", "row_kept"),
    )
    return last.sort("row"), superseded
