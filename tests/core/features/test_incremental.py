from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache

import numpy as np
import polars as pl
import pytest

from quant_core.errors import ContractError, UnknownNameError
from quant_core.features import catalogue, compute_features
from quant_core.features.catalogue import feature
from quant_core.features.incremental import extend_features
from quant_core.features.steps import FeatureCatalog
from tests.markets import T, day, market

# The first call of each kernel compiles it.
pytestmark = pytest.mark.timeout(900)
Change = Callable[[pl.DataFrame], pl.DataFrame]
# Single days where a symbol leaves and where a jump is on trial, and longer stretches between them.
ENDS = (630, 645, T - 41, T - 40, T - 39, T - 20, T - 3, T - 2, T - 1, T)
IS_OLD = pl.col("date") < day(600)
ALL = dict.fromkeys(sorted({entry.family for entry in catalogue().values()}))


def at(k: int, symbol: str) -> pl.Expr:
    return (pl.col("date") == day(k)) & (pl.col("symbol") == symbol)


def without(k: int, symbol: str) -> Change:
    return lambda bars: bars.filter(~at(k, symbol))


def restated(k: int, symbol: str, column: str, value: float | None) -> Change:
    return lambda bars: bars.with_columns(pl.when(at(k, symbol)).then(value).otherwise(pl.col(column)).alias(column))


def per_symbol(symbol: str, *, since: int = 0) -> Change:
    return lambda bars: bars.filter((pl.col("symbol") != symbol) | (pl.col("date") >= day(since)))


OLD: dict[str, Change] = {
    "appended": lambda bars: bars.filter(IS_OLD),
    "one day": lambda bars: bars.filter(pl.col("date") < day(T - 1)),
    "nothing new": lambda bars: bars,
    "a symbol more": lambda bars: bars.filter(IS_OLD, pl.col("symbol") != "X:000"),
    "a symbol with more history": lambda bars: per_symbol("X:000", since=200)(bars.filter(IS_OLD)),
    "a bar came late": lambda bars: without(500, "X:000")(bars.filter(IS_OLD)),
    "a bar restated": lambda bars: restated(550, "X:000", "close", 17.0)(bars.filter(IS_OLD)),
    "a volume restated": lambda bars: restated(20, "X:003", "volume", 1.0)(bars),
    "a price was not known": lambda bars: restated(580, "X:002", "high", None)(bars.filter(IS_OLD)),
    "a jump was open": lambda bars: bars.filter(IS_OLD).with_columns(
        is_provisional=pl.col("is_provisional") | at(599, "X:000")
    ),
    "a date more in between": lambda bars: bars.filter(IS_OLD, pl.col("date") != day(450)),
    "a price had no column": lambda bars: bars.filter(IS_OLD).drop("vwap"),
    "nothing before": lambda bars: bars.clear(),
}
NEW: dict[str, Change] = {
    "a bar deleted": without(500, "X:000"),
    "the last bar deleted": without(599, "X:000"),
    "the last date deleted": lambda bars: bars.filter(pl.col("date") < day(T - 3)),
    "a symbol gone": lambda bars: bars.filter(pl.col("symbol") != "X:002"),
    "everything gone": lambda bars: bars.clear(),
}


@cache
def whole() -> pl.DataFrame:
    return full(market())


def full(bars: pl.DataFrame, **settings: object) -> pl.DataFrame:
    return compute_features(bars, **{"calendar": "XNYS", "families": list(ALL)} | settings)


def extended(previous: pl.DataFrame, bars: pl.DataFrame, old: pl.DataFrame, **settings: object) -> pl.DataFrame:
    settings = {"calendar": "XNYS", "families": list(ALL)} | settings
    return extend_features(previous, bars, previous_bars=old, **settings)


def same_bits(a: pl.DataFrame, b: pl.DataFrame) -> list[str]:
    assert a.columns == b.columns
    assert a.select("date", "symbol").equals(b.select("date", "symbol"))
    assert a.null_count().equals(b.null_count())
    return [
        name
        for name in a.columns[2:]
        if not np.array_equal(
            a[name].fill_null(np.inf).to_numpy().view(np.int64), b[name].fill_null(np.inf).to_numpy().view(np.int64)
        )
    ]


@pytest.mark.parametrize("case", OLD)
def test_every_feature_extends_to_the_bits_of_a_full_run(case: str) -> None:
    bars, old = market(), OLD[case](market())
    assert same_bits(extended(full(old), bars, old), whole()) == []


@pytest.mark.parametrize("case", NEW)
def test_every_feature_forgets_what_was_deleted(case: str) -> None:
    bars, old = NEW[case](market()), market()
    assert same_bits(extended(whole(), bars, old), full(bars)) == []


def test_extending_again_and_again_is_the_full_run() -> None:
    bars = market()
    old = bars.filter(pl.col("date") < day(ENDS[0]))
    found = full(old)
    for end in ENDS[1:]:
        newer = bars.filter(pl.col("date") < day(end))
        found, old = extended(found, newer, old), newer
    assert same_bits(found, whole()) == []


def test_the_bits_are_the_same_at_any_number_of_threads() -> None:
    bars = market(symbols=70)
    old = bars.filter(IS_OLD)
    previous, expected = full(old), full(bars)
    for threads in (1, 2, 4):
        assert same_bits(extended(previous, bars, old, threads=threads), expected) == []


def test_a_feature_the_earlier_answer_lacks_is_computed_in_full() -> None:
    bars, old = market(), market().filter(IS_OLD)
    names = ["momentum", "amihud"]
    previous = full(old, features=["momentum"], families=None)
    found = extended(previous, bars, old, features=names, families=None)
    assert same_bits(found, full(bars, features=names, families=None)) == []


SEEN: list[tuple[int, int]] = []


@feature(family="spy", unit="none", warmup=4)
def watched(close: np.ndarray, *, window: int = 5) -> np.ndarray:
    """Fourth-last close."""
    SEEN.append(close.shape)
    return np.vstack([np.full((4, close.shape[1]), np.nan), close[:-4]]) if len(close) > 4 else close * np.nan


@feature(family="spy", unit="none", warmup=0, is_cross_sectional=True)
def watched_row(watched: np.ndarray) -> np.ndarray:
    """Value less the greatest of the row."""
    SEEN.append(watched.shape)
    return watched - np.fmax.reduce(watched, axis=1)[:, None]


@feature(family="spy", unit="none", warmup=0, has_infinite_memory=True)
def total(close: np.ndarray) -> np.ndarray:
    """Sum of all closes."""
    SEEN.append(close.shape)
    return np.cumsum(np.nan_to_num(close), axis=0)


@feature(family="spy", unit="none", warmup=2)
def after_row(watched_row: np.ndarray, *, lag: int = 2) -> np.ndarray:
    """Value two rows ago."""
    SEEN.append(watched_row.shape)
    return np.vstack([np.full((lag, watched_row.shape[1]), np.nan), watched_row])[: len(watched_row)]


SPIES = FeatureCatalog([watched, watched_row, total, after_row])


@pytest.mark.parametrize(
    ("names", "shapes"),
    [
        (["watched"], [(10, 8)]),
        (["watched_row"], [(10, 8), (10, 10)]),
        (["after_row"], [(12, 8), (12, 10), (12, 8)]),
        (["watched", "watched_row", "after_row"], [(10, 8), (12, 8), (12, 10), (12, 8)]),
        (["total"], [(T, 8)]),
    ],
)
def test_only_the_tail_that_can_differ_is_computed(names: list[str], shapes: list[tuple[int, int]]) -> None:
    bars = market()
    old = bars.filter(pl.col("date") < day(T - 4))
    previous = compute_features(old, names, calendar="XNYS", among=SPIES)
    expected = compute_features(bars, names, calendar="XNYS", among=SPIES)
    SEEN.clear()
    found = extend_features(previous, bars, names, previous_bars=old, calendar="XNYS", among=SPIES)
    assert found.equals(expected)
    assert shapes == SEEN


def test_a_symbol_that_changed_far_back_makes_no_other_longer() -> None:
    bars = market(symbols=70)
    old = restated(3, "X:000", "close", 17.0)(bars.filter(pl.col("date") < day(T - 1)))
    previous = compute_features(old, ["watched"], calendar="XNYS", among=SPIES)
    SEEN.clear()
    extend_features(previous, bars, ["watched"], previous_bars=old, calendar="XNYS", among=SPIES)
    assert sorted(height for height, _ in SEEN) == [7, T]


def test_an_answer_for_other_bars_or_another_calendar_is_refused() -> None:
    bars, old = market(), market().filter(IS_OLD)
    previous = full(old)
    with pytest.raises(ContractError, match=r"answer momentum of X:000 at 2021-08-22 is .* another calendar"):
        extended(previous, bars, old, calendar="24/7")
    with pytest.raises(ContractError, match="another calendar"):
        extended(previous, old, old, calendar="24/7")
    with pytest.raises(ContractError, match="other bars"):
        extended(previous.with_columns(cvar=pl.lit(-0.5)), bars, old)
    with pytest.raises(ContractError, match="has 1 rows, its bars"):
        extended(previous.head(1), bars, old)
    with pytest.raises(ContractError, match="lacks date or symbol; got cvar"):
        extended(previous.select("cvar"), bars, old)
    with pytest.raises(ContractError, match="not Float64"):
        extended(previous.with_columns(cvar=pl.lit("x")), bars, old)
    with pytest.raises(UnknownNameError, match="unknown feature 'momentun'"):
        extended(previous, bars, old, features=["momentun"], families=None)


def test_an_answer_in_another_order_is_read_all_the_same() -> None:
    bars, old = market(), market().filter(IS_OLD)
    assert same_bits(extended(full(old).sort("date", "symbol"), bars, old), whole()) == []


def test_stamps_of_another_kind_mean_other_dates() -> None:
    bars = market()
    old = bars.filter(IS_OLD).with_columns(date=pl.col("date").cast(pl.Datetime("us", "UTC")))
    assert isinstance(bars["date"][0], date)
    assert same_bits(extended(full(old), bars, old), full(bars)) == []
