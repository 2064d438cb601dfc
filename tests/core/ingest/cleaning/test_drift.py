import gc
import weakref
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_core.ingest.cleaning.drift import (
    bar_numbers,
    drift,
    drift_numbers,
    history_alignment,
    missingness_drift,
    size_drift,
    staleness,
    volume_drift,
    volume_drift_numbers,
)
from quant_core.ingest.cleaning.jumps_and_stalls import bar_return
from quant_core.market.contracts.ingest import Bars

DAY = date(2022, 1, 3)


def market(days: int = 400, symbols: int = 20, *, seed: int = 1) -> pl.DataFrame:
    """Bars of symbols that share a market's move, sorted by symbol and date."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0.0, 0.02, (days, 1)) + rng.normal(0.0, 0.02, (days, symbols))
    close = 100.0 * np.cumprod(1.0 + moves, axis=0)
    frame = pl.DataFrame(
        {
            "date": [DAY + timedelta(days=k) for k in range(days)] * symbols,
            "symbol": np.repeat([f"X:S{j:02d}" for j in range(symbols)], days),
            "close": close.T.ravel(),
            "volume": rng.lognormal(10.0, 0.5, close.size),
        }
    )
    given = frame.with_columns(open="close", high="close", low="close", life=0, is_provisional=False)
    absent = {name: pl.lit(None) for name in Bars.dtypes if name not in given.columns}
    return given.with_columns(**absent).select(pl.col(name).cast(kind) for name, kind in Bars.dtypes.items())


def returns_of(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.select("date", "symbol", simple_return=bar_return())


def newest(days: int = 60, of: int = 400) -> pl.Expr:
    return pl.col("date") > DAY + timedelta(days=of - 1 - days)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_said_of_a_market_that_goes_on_as_before(seed: int) -> None:
    bars = market(seed=seed)
    said = [rule(bars) for rule in (volume_drift, missingness_drift, size_drift, staleness, history_alignment)]
    assert [drift(returns_of(bars)), *said] == [None] * 6


def test_rule_and_metrics_share_one_answer_and_do_not_keep_the_table(monkeypatch):
    asked = []
    monkeypatch.setattr("quant_core.ingest.cleaning.drift.measure_shift", lambda *given: asked.append(1))
    table = returns_of(market())
    assert (drift(table), drift_numbers(table)) == (None, {})
    assert len(asked) == 1
    drift(table.clone())
    assert len(asked) == 2
    lives = weakref.ref(table)
    drift(table)
    del table
    gc.collect()
    assert lives() is None


def test_a_market_wide_crash_is_no_drift_of_the_data() -> None:
    returns = returns_of(market()).with_columns(
        pl.when(newest()).then(pl.col("simple_return") - 0.05).otherwise("simple_return").alias("simple_return")
    )
    assert drift(returns) is None


def test_returns_in_another_unit_are_drift() -> None:
    returns = returns_of(market())
    percent = returns.with_columns(
        pl.when(newest()).then(pl.col("simple_return") * 100.0).otherwise("simple_return").alias("simple_return")
    )
    said = drift(percent)
    assert said is not None
    assert said.startswith("returns of the newest 60 dates differ from those of the 250 before: PSI ")
    assert drift_numbers(percent)["drift.returns_psi"] > 1.0
    assert drift_numbers(returns)["drift.returns_psi"] < 0.1


def test_volume_that_is_copied_from_the_day_before_is_drift() -> None:
    bars = market()
    assert volume_drift(bars) is None
    frozen = bars.with_columns(volume=pl.when(newest()).then(7.0).otherwise("volume"))
    assert "log volume changes" in (volume_drift(frozen) or "")
    assert volume_drift_numbers(frozen)["drift.volume_ks"] > 0.4


def test_what_is_not_known_is_no_number_and_no_warning() -> None:
    short = market(days=309)
    assert drift(returns_of(short)) is None
    assert drift_numbers(returns_of(short)) == {}
    assert (missingness_drift(short), size_drift(short)) == (None, None)
    silent = market().with_columns(volume=pl.lit(None, pl.Float64))
    assert volume_drift(silent) is None
    assert volume_drift_numbers(silent) == {}
    empty = Bars.empty()
    assert bar_numbers(empty) == {}
    for rule in (volume_drift, missingness_drift, size_drift, staleness, history_alignment):
        assert rule(empty) is None
    assert drift(returns_of(empty)) is None


def test_values_that_go_missing_and_bars_that_go_missing_are_told_apart() -> None:
    bars = market()
    no_volume = bars.with_columns(volume=pl.when(~newest()).then("volume"))
    assert missingness_drift(no_volume) == (
        "more is missing in the newest 60 dates than in the 250 before: volume 0.0% -> 100.0%."
    )
    # 15 of the newest 60 dates, days 351, 354, ... 393, lack half of their bars.
    number = (pl.col("date") - DAY).dt.total_days()
    is_lost = newest(50) & (number % 3 == 0) & (number < 395) & (pl.col("symbol") < "X:S10")
    assert "bars 0.0% -> 12.5%" in (missingness_drift(bars.filter(~is_lost)) or "")


def test_a_symbol_that_ends_or_begins_misses_no_bars() -> None:
    bars = market().filter((pl.col("symbol") > "X:S03") | ~newest(30))
    assert missingness_drift(bars) is None
    numbers = bar_numbers(bars)
    assert numbers["missing.bars"] == numbers["missing.bars_before"] == 0.0


@pytest.mark.parametrize(("kept", "is_said"), [(15, True), (16, False)])
def test_a_cross_section_that_shrinks_by_more_than_a_fifth_is_told(kept: int, is_said: bool) -> None:
    said = size_drift(market().filter((pl.col("symbol") < f"X:S{kept:02d}") | ~newest(45)))
    assert (said is not None) == is_said


def test_a_cross_section_that_grows_by_half_is_told() -> None:
    said = size_drift(market().filter((pl.col("symbol") < "X:S12") | newest()))
    assert said == "a date of the newest 60 has 20 symbols, one of the 250 before had 12 (medians)."


@pytest.mark.parametrize(("lag", "is_said"), [(3, False), (4, True), (19, True), (20, False)])
def test_symbols_that_lag_are_stale_from_the_fourth_session_until_they_are_dead(lag: int, is_said: bool) -> None:
    said = staleness(market().filter((pl.col("symbol") > "X:S01") | ~newest(lag)))
    assert (said is not None) == is_said
    if said is not None:
        assert said.startswith("2 of 20 symbols")


def test_histories_cut_at_one_date_are_told_and_listings_are_not() -> None:
    bars = market()
    cut = bars.filter((pl.col("symbol") < "X:S15") | newest(100))
    assert history_alignment(cut) == (
        "5 of 20 symbols begin on 2022-10-30, which is not the first date: histories were cut there."
    )
    assert bar_numbers(cut)["history.full_share"] == 0.75
    number = pl.col("symbol").str.slice(3).cast(pl.Int64)
    listed = bars.filter((number < 10) | (pl.col("date") >= DAY + pl.duration(days=number * 7)))
    assert history_alignment(listed) is None


def test_the_order_of_rows_changes_no_number() -> None:
    bars = market()
    shuffled = bars.sample(fraction=1.0, shuffle=True, seed=3)
    assert volume_drift_numbers(shuffled) == volume_drift_numbers(bars)
    assert bar_numbers(shuffled) == bar_numbers(bars)
    returns = returns_of(bars)
    assert drift_numbers(returns[::-1]) == drift_numbers(returns)
