"""Eligible members of the universe as intervals, by what was known at the time, each with its reason.

The events it rests on are found in lives.py and health.py; the mask over a Panel is made in market/universe.py; which
of several venues of one asset is held is decided in the selection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from quant_core.graph.stage import Params, TableRule, stage
from quant_core.ingest.cleaning.jumps_and_stalls import bar_return
from quant_core.ingest.membership.liquidity import is_liquid
from quant_core.ingest.membership.survivorship import survivorship, universe_metrics
from quant_core.kernels.bar_defects import LOWEST_RETURN, TRIAL_BARS
from quant_core.market.arrays import Ints, Mask, run_starts
from quant_core.market.contracts.ingest import Universe
from quant_core.market.identity import economic_identity
from quant_core.market.sessions import sessions_of
from quant_core.market.sleeves import Sleeve
from quant_core.market.text_codes import codes_of

Reasons = npt.NDArray[np.int8]

FLOOR_ALWAYS_OPEN, FLOOR_SESSIONS = 90, 252
# In order of precedence: of several reasons at one date the last one is recorded.
REASONS = (
    "member",
    "illiquid",
    "liquidity_unknown",
    "on_trial",
    "short_history",
    "unhealthy",
    "halted",
    "dead",
)
_CODE = {reason: np.int8(code) for code, reason in enumerate(REASONS)}
_PAUSES = {"halt": "halted", "death": "dead"}


class UniverseParams(Params):
    """Parameters that decide when a symbol may be held."""

    floor: int | None = Field(
        default=None, ge=1, description="Bars of the current life before membership; null: 90 on 24/7, 252 on sessions."
    )
    min_traded_value: float | None = Field(
        default=None,
        gt=0.0,
        description="Median traded value per bar, in quote currency, from which a symbol is a member; null: any.",
    )
    liquidity_bars: int = Field(default=20, ge=1, description="Trailing bars whose traded value is looked at.")


@stage(
    "ingest.universe",
    inputs={"bars": "ingest.bars", "lives": "ingest.lives", "health": "ingest.health"},
    output=Universe,
    rules=(TableRule("survivorship", survivorship, "warn"),),
    metrics=universe_metrics,
)
def universe(
    bars: pl.DataFrame, lives: pl.DataFrame, health: pl.DataFrame, *, params: UniverseParams, sleeve: Sleeve
) -> pl.DataFrame:
    """Cut each symbol's time from its genesis on into intervals of one reason.

    Only `member` is eligible. Of several reasons the first of these is recorded:

    - `dead`: from the 20th session in a row without a priced row, until bars come back.
    - `halted`: from the first session without a bar, until bars come back.
    - `unhealthy`: from the first close at or after a quarantine was known, until a re-test readmits the symbol.
    - `short_history`: before the bar that completes the floor of the current life.
    - `on_trial`: a jump is neither confirmed nor refuted.
    - `liquidity_unknown`: a floor of traded value is set, and the last `liquidity_bars` bars of this life are fewer, or
      more than half of them have no volume.
    - `illiquid`: the median traded value of those bars has not reached the floor, or has fallen below 0.8 of it since.
      In between a symbol stays what it was, so that intervals do not flap; after `liquidity_unknown` it enters again.

    Traded value is close times volume, or volume itself where the sleeve declares it a value. Prices a source adjusted
    for dividends understate it, the more the older the bar.

    The state at date t is the one known at the close of t: a later run over more data may name another reason, never
    another eligibility.
    """
    if bars.is_empty():
        return Universe.empty()
    series = _series(bars)
    floor = params.floor or (FLOOR_ALWAYS_OPEN if sleeve.market.is_always_open else FLOOR_SESSIONS)
    reason = np.zeros(series.rows.height, dtype=np.int8)
    _mark_illiquid(series, params, sleeve, reason)
    reason[_is_provisional(series, lives, sleeve)] = _CODE["on_trial"]
    reason[series.age < floor] = _CODE["short_history"]
    reason[_is_quarantined(series, health)] = _CODE["unhealthy"]
    found = _intervals(series, reason, _pauses(lives, series.names))
    return _name_intervals(found, series, sleeve).select(*Universe.dtypes)


@dataclass(frozen=True, eq=False)
class _Series:
    """The bars of each symbol in a row.

    Attributes
    ----------
    rows : DataFrame [R]
        Sorted by symbol and date; symbol is its number among `names`.
    names : pl.Series [N]
        Symbols, sorted.
    born : int64 [K]
        Row of the first bar of each life, and R.
    age : int64 [R]
        Bars of the life so far, this one included.
    """

    rows: pl.DataFrame
    names: pl.Series
    born: Ints
    age: Ints

    def of_symbol(self) -> Ints:
        """Return the row [N + 1] each symbol starts at, and R."""
        return np.searchsorted(self.rows["symbol"].to_numpy(), np.arange(len(self.names) + 1))


def _series(bars: pl.DataFrame) -> _Series:
    """Put the bars in order of symbol and date; in the order of the store one counting sort does it."""
    codes = codes_of(bars["symbol"])
    code = codes.code.astype(np.uint16) if len(codes.texts) <= np.iinfo(np.uint16).max else codes.code
    days = bars["date"]
    order = np.argsort(code, kind="stable") if days.is_sorted() else np.lexsort((days.to_physical().to_numpy(), code))
    columns = bars.select("date", "life", "close", "volume", "available_at", "is_provisional")
    rows = columns.with_columns(symbol=pl.Series(code))[order]
    is_new = pl.any_horizontal(_differs("symbol"), _differs("life"))
    born = rows.select(is_new.arg_true()).to_series().to_numpy().astype(np.int64)
    ends = np.append(born, rows.height)
    age = np.arange(1, rows.height + 1) - np.repeat(born, np.diff(ends))
    return _Series(rows, codes.texts, ends, age)


def _differs(name: str) -> pl.Expr:
    return (pl.col(name) != pl.col(name).shift(1)).fill_null(value=True)


def _mark_illiquid(series: _Series, params: UniverseParams, sleeve: Sleeve, reason: Reasons) -> None:
    """Write `illiquid` and `liquidity_unknown` into `reason` [R] where a floor of traded value is set."""
    if params.min_traded_value is None:
        return
    volume = pl.col("volume")
    value = series.rows.select(volume if sleeve.volume_unit == "value" else pl.col("close") * volume).to_series()
    liquid, known = is_liquid(value, series.age, floor=params.min_traded_value, bars=params.liquidity_bars)
    reason[~liquid] = _CODE["illiquid"]
    reason[~known] = _CODE["liquidity_unknown"]


def _is_provisional(series: _Series, lives: pl.DataFrame, sleeve: Sleeve) -> Mask:
    """Return where a jump was still provisional at the bar, even if later bars have settled it since."""
    rows = series.rows
    is_open: Mask = rows["is_provisional"].to_numpy().copy()
    falls = rows.select((bar_return() < LOWEST_RETURN).fill_null(value=False).arg_true()).to_series().to_numpy()
    if falls.size:
        days = rows["date"].to_physical().to_numpy()
        sessions = sessions_of(rows["date"], sleeve.market)
        known, number = sessions["date"].to_physical().to_numpy(), sessions["session"].to_numpy()
        end = series.born[np.searchsorted(series.born, falls, side="right")]
        fell = number[np.searchsorted(known, days[falls])]
        for k in range(TRIAL_BARS):
            later = np.minimum(falls + k, end - 1)
            is_open[later[number[np.searchsorted(known, days[later])] - fell < TRIAL_BARS]] = True
    return is_open | _is_unborn(series, lives)


def _is_unborn(series: _Series, lives: pl.DataFrame) -> Mask:
    """Return where the rise that began a life was not yet confirmed."""
    born = series.born[:-1]
    firsts = series.rows[born].select("life", "available_at", symbol=series.names.gather(series.rows["symbol"][born]))
    geneses = lives.filter(pl.col("event") == "genesis").select("symbol", "life", "known_at")
    begun = firsts.join(geneses, on=["symbol", "life"], how="left", maintain_order="left")
    known_at = begun["known_at"].fill_null(begun["available_at"]).to_physical().to_numpy()
    waited = np.repeat(known_at > begun["available_at"].to_physical().to_numpy(), np.diff(series.born))
    row = np.flatnonzero(waited)
    life = np.searchsorted(series.born, row, side="right") - 1
    waited[row] = series.rows["available_at"].gather(row).to_physical().to_numpy() < known_at[life]
    return waited


def _is_quarantined(series: _Series, health: pl.DataFrame) -> Mask:
    """Return where the last verdict known at the close was not a readmission."""
    is_out = np.zeros(series.rows.height, dtype=np.bool_)
    verdicts = health.join(_number_values(series.names), on="symbol").sort("known_at", "date")
    if verdicts.is_empty():
        return is_out
    suspects = np.zeros(len(series.names), dtype=np.bool_)
    suspects[verdicts["code"].to_numpy()] = True
    row = np.flatnonzero(np.repeat(suspects, np.diff(series.of_symbol())))
    bars = series.rows[row].select("available_at", code=pl.col("symbol").cast(pl.Int64), row=pl.Series(row))
    last = bars.sort("available_at").join_asof(
        verdicts.select("known_at", "event", "code"),
        left_on="available_at",
        right_on="known_at",
        by="code",
        check_sortedness=False,
    )
    is_out[last.filter(pl.col("event") != "readmitted")["row"].to_numpy()] = True
    return is_out


def _number_values(names: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"symbol": names, "code": pl.int_range(len(names), eager=True)})


def _pauses(lives: pl.DataFrame, names: pl.Series) -> pl.DataFrame:
    """Return code, date and reason of every halt and death."""
    return (
        lives.filter(pl.col("event").is_in(list(_PAUSES)))
        .join(_number_values(names), on="symbol")
        .select(
            "code",
            "date",
            reason=pl.col("event").replace_strict(
                {event: int(_CODE[reason]) for event, reason in _PAUSES.items()}, return_dtype=pl.Int8
            ),
        )
    )


def _intervals(series: _Series, reason: Reasons, pauses: pl.DataFrame) -> pl.DataFrame:
    """Join runs of one symbol and reason: code, start, reason, and end, the day before the next start.

    Only bars that may start a run are looked at: a symbol's first, those of another reason than the one before, and the
    first after a pause.
    """
    starts = series.of_symbol()[:-1]
    is_turn = run_starts(reason)
    is_turn[starts] = True
    place = _place(series.rows["symbol"], series.rows["date"])
    back = np.searchsorted(place, _place(pauses["code"], pauses["date"]))
    is_turn[back[back < reason.size]] = True
    turn = np.flatnonzero(is_turn)
    states = pl.DataFrame(
        {
            "code": series.rows["symbol"].gather(turn).cast(pl.Int64),
            "date": series.rows["date"].gather(turn),
            "reason": reason[turn],
        }
    )
    told = pl.concat([states, pauses]).sort("code", "date")
    runs = told.filter(_differs("code") | _differs("reason")).rename({"date": "start"})
    is_followed = pl.col("code") == pl.col("code").shift(-1)
    return runs.with_columns(end=pl.when(is_followed).then(pl.col("start").shift(-1).dt.offset_by("-1d")))


def _place(code: pl.Series, date: pl.Series) -> Ints:
    """Return one number per symbol and date, in their order; a date is a day within 2^31 of 1970."""
    return np.asarray((code.to_numpy().astype(np.int64) << 32) + date.to_physical().to_numpy())


def _name_intervals(intervals: pl.DataFrame, series: _Series, sleeve: Sleeve) -> pl.DataFrame:
    """Replace numbers by names, and add each symbol's identity and sector."""
    code, names = intervals["code"], series.names
    sector = pl.Series([sleeve.sectors.get(name) for name in names], dtype=pl.String)
    reason = intervals["reason"]
    return intervals.with_columns(
        symbol=names.gather(code),
        identity=economic_identity(names).gather(code),
        sector=sector.gather(code),
        is_eligible=reason == int(_CODE["member"]),
        reason=pl.Series(REASONS, dtype=pl.String).gather(reason.cast(pl.UInt32)),
        seen_until=pl.col("end").fill_null(series.rows["date"].max()),
    )
