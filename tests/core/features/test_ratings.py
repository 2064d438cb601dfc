from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest

from quant_core.features import catalogue, compute_features
from quant_core.features.levels import AVERAGES
from tests.golden.technical.make import BARS, FOLDER

PRICES = ("open", "high", "low", "close")
RATINGS = ("recommend_ma", "recommend_other", "recommend_all")


def table(columns: dict[str, np.ndarray]) -> pl.DataFrame:
    size = len(next(iter(columns.values())))
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(size)]
    return pl.DataFrame({"date": days, "symbol": ["X:A"] * size} | columns)


def rated(bars: pl.DataFrame, *names: str) -> dict[str, np.ndarray]:
    found = compute_features(bars, names or RATINGS, calendar="24/7")
    return {name: found[name].fill_null(np.nan).to_numpy() for name in names or RATINGS}


@cache
def goldens() -> tuple[pl.DataFrame, pl.DataFrame]:
    given, expected = (pl.read_csv(FOLDER / name, infer_schema_length=None) for name in ("bars.csv", "talib.csv"))
    numbers = {name: given[name].cast(pl.Float64).to_numpy() for name in BARS}
    return table(numbers), expected.select(pl.all().cast(pl.Float64).fill_null(np.nan))


def steady(step: float, rows: int = 260) -> pl.DataFrame:
    close = 80.0 + step * np.arange(rows)
    return table({"high": close * 1.01, "low": close * 0.99, "close": close, "volume": np.full(rows, 10.0)})


def exponential(close: np.ndarray, window: int) -> np.ndarray:
    mean = np.full(len(close), np.nan)
    if window <= len(close):
        mean[window - 1] = close[:window].mean()
    for t in range(window, len(close)):
        mean[t] = mean[t - 1] + 2.0 / (window + 1.0) * (close[t] - mean[t - 1])
    return mean


def either(is_bought: np.ndarray, is_sold: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(known), np.nan, is_bought.astype(float) - is_sold)


def growing(x: np.ndarray) -> np.ndarray:
    before = np.concatenate([[np.nan], x[:-1]])
    return either((x > 0.0) & (x > before), (x < 0.0) & (x < before), before)


def test_the_rating_by_averages_is_the_mean_vote_of_averages_others_computed() -> None:
    bars, expected = goldens()
    close = bars["close"].to_numpy()
    votes = []
    for window in AVERAGES:
        least = -(-9 * window // 10)
        votes.append(np.sign(close - pd.Series(close).rolling(window, min_periods=least).mean().to_numpy()))
        votes.append(np.sign(close - exponential(close, window)))
    votes += [np.sign(expected[f"distance_to_{name}"].to_numpy()) for name in ("vwma_20", "hull_9", "cloud")]
    cast = (~np.isnan(votes)).sum(axis=0)
    total = np.nansum(votes, axis=0)
    found = rated(bars, "recommend_ma")["recommend_ma"]
    np.testing.assert_allclose(found[90:], total[90:] / cast[90:], rtol=1e-12)
    assert set(cast[90:]) == {12, 13}
    assert np.isnan(found[:72]).all()
    assert len(set(np.round(found[90:], 6))) > 8


def test_the_rating_by_oscillators_is_the_mean_vote_of_what_ta_lib_says() -> None:
    bars, expected = goldens()
    close = bars["close"].to_numpy()
    x = {name: expected[name].to_numpy() for name in expected.columns}
    k, d = x["stochastic_k"], x["stochastic_d"]
    votes = [
        either(x["rsi_14"] < 30, x["rsi_14"] > 70, x["rsi_14"]),
        either((k < 20) & (k > d), (k > 80) & (k < d), d),
        either(x["cci_20"] < -100, x["cci_20"] > 100, x["cci_20"]),
        np.where(x["adx_14"] > 20, np.sign(x["plus_di_14"] - x["minus_di_14"]), x["adx_14"] * 0.0),
        growing(x["awesome_oscillator"] * close),
        np.sign(x["roc_10"]),
        np.sign(x["macd_histogram"]),
        either(x["stochastic_rsi_14"] < 20, x["stochastic_rsi_14"] > 80, x["stochastic_rsi_14"]),
        either(x["williams_r_14"] < -80, x["williams_r_14"] > -20, x["williams_r_14"]),
        growing(x["bull_bear_power_13"] * close),
        either(x["ultimate_oscillator"] < 30, x["ultimate_oscillator"] > 70, x["ultimate_oscillator"]),
    ]
    found = rated(bars, "recommend_other")["recommend_other"]
    np.testing.assert_allclose(found[35:], np.mean(votes, axis=0)[35:], rtol=1e-12, atol=1e-15)
    assert all(len(set(vote[35:])) > 1 for vote in votes)


def test_the_overall_rating_is_the_mean_of_both_and_needs_both() -> None:
    found = rated(goldens()[0])
    np.testing.assert_array_equal(found["recommend_all"], 0.5 * (found["recommend_ma"] + found["recommend_other"]))
    assert np.isfinite(found["recommend_other"][27:72]).any()
    assert np.isnan(found["recommend_all"][:72]).all()


@pytest.mark.parametrize(("step", "vote"), [(0.25, 1.0), (-0.25, -1.0)])
def test_every_average_votes_for_a_straight_line_but_hulls_which_does_not_lag(step: float, vote: float) -> None:
    found = rated(steady(step))["recommend_ma"]
    np.testing.assert_allclose(found[199:], vote * 14.0 / 15.0, rtol=1e-15)
    np.testing.assert_allclose(found[72], vote * 10.0 / 11.0, rtol=1e-15)


def test_prices_that_stand_still_are_neutral_whatever_their_averages_are_rounded_to() -> None:
    still = steady(0.0).with_columns(pl.col("close") * 0.1 / 3.0)
    still = still.with_columns(high=pl.col("close"), low=pl.col("close"))
    found = rated(still)
    assert (found["recommend_ma"][72:] == 0.0).all()
    # Ranges, gains and deviations are zero: seven of eleven have nothing to say.
    assert np.isnan(found["recommend_other"]).all()


def test_what_is_not_known_does_not_vote() -> None:
    rising = steady(0.25)
    without = rated(rising.drop("volume", "high", "low"))
    assert np.isnan(without["recommend_ma"][:89]).all()
    np.testing.assert_allclose(without["recommend_ma"][199:], 12.0 / 13.0, rtol=1e-15)
    assert np.isnan(without["recommend_other"]).all()
    assert np.isnan(without["recommend_all"]).all()


def test_a_bar_that_contradicts_itself_is_not_known() -> None:
    bars = goldens()[0]
    day = date(2020, 1, 1) + timedelta(days=120)
    broken = bars.with_columns(high=pl.when(pl.col("date") == day).then(pl.col("low") * 0.9).otherwise(pl.col("high")))
    left, right = (rated(frame, "adx_14", "atr_14", "williams_r_14") for frame in (broken, bars))
    for name, found in left.items():
        assert np.isnan(found[120])
        np.testing.assert_array_equal(found[:120], right[name][:120])
        assert np.isfinite(found[121:]).all()


def two_lives() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return bars whose ticker means another asset from row 300 on, and the bars of that asset alone."""
    rng = np.random.default_rng(3)
    close = 40.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, 640)))
    close[300:] *= 1e4
    spread = np.abs(rng.normal(0.0, 0.01, (2, 640)))
    volume = np.exp(rng.normal(9.0, 1.0, 640))
    columns = {"high": close * (1.0 + spread[0]), "low": close * (1.0 - spread[1]), "close": close, "volume": volume}
    bars = table(columns).with_columns(life=(pl.int_range(pl.len()) >= 300).cast(pl.Int32))
    return bars, bars[300:]


TECHNICAL = sorted(
    name
    for name, entry in catalogue().items()
    if entry.family == "ratings" or (entry.family in ("trend", "volatility") and "returns" not in entry.inputs)
)


@pytest.mark.parametrize("name", [*TECHNICAL, "roc_10"])
def test_nothing_is_carried_from_one_life_of_a_ticker_into_the_next(name: str) -> None:
    bars, alone = two_lives()
    found, expected = rated(bars, name)[name][300:], rated(alone, name)[name]
    known = np.isfinite(found)
    # Nearly all of a window lies in the new life before all of it does; recursive columns wait for nothing.
    waits = 0 if name.endswith(("_di_14", "adx_14", "rsi_14", "atr_14", "macd_histogram", "trend_duration")) else 21
    assert known.sum() >= np.isfinite(expected).sum() - waits
    if name in RATINGS:
        # Windows that wait do not vote meanwhile.
        whole = 40 if name == "recommend_other" else 200
        np.testing.assert_array_equal(found[whole:], expected[whole:])
    elif name == "cross_duration":
        assert (np.abs(found[known]) <= np.abs(expected[known])).all()
    else:
        np.testing.assert_allclose(found[known], expected[known], rtol=1e-12, atol=1e-15)


def test_durations_count_bars_since_the_sign_changed() -> None:
    close = np.concatenate([np.linspace(50.0, 60.0, 80), np.linspace(59.0, 30.0, 20)])
    found = rated(table({"close": close}), "trend_duration")["trend_duration"]
    mean = exponential(close, 50)
    crossed = int(np.flatnonzero(close[80:] < mean[80:])[0]) + 80
    np.testing.assert_array_equal(found[49:crossed], np.arange(1.0, crossed - 48.0))
    np.testing.assert_array_equal(found[crossed:], -np.arange(1.0, 101.0 - crossed))


def test_a_gap_is_skipped_by_what_counts_bars() -> None:
    bars = goldens()[0]
    kept = bars.filter(pl.int_range(pl.len()) % 9 != 4)
    apart = kept.with_columns(date=pl.Series(bars["date"][: kept.height]))
    for name in ("adx_14", "rsi_14", "atr_14", "macd_histogram", "trend_duration"):
        np.testing.assert_array_equal(rated(kept, name)[name], rated(apart, name)[name])
