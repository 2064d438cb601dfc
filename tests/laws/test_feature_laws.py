"""Laws of every feature in the catalogue; a new feature meets them without an edit here. Kernels have their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_core.features import catalogue, compute_features
from quant_core.features.catalogue import INPUTS, Feature, feature, in_order
from quant_core.features.families import FamilyParams
from quant_core.graph.catalog import Catalog, collect
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import split
from quant_core.market.sleeves import Sleeve

T = 640
FEATURES = catalogue()
NAMES = sorted(FEATURES)


@cache
def market(seed: int = 11, symbols: int = 4) -> pl.DataFrame:
    """Return one clean symbol, one listed late and gone early, one with gaps, one of two lives and an open jump."""
    rng = np.random.default_rng(seed)
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(T)]
    tables = []
    for j in range(symbols):
        kept = np.ones(T, dtype=bool)
        close = 50.0 * np.exp(np.cumsum(rng.standard_t(4, T) * 0.02))
        close[100 + j : 103 + j] = close[99 + j]
        life = np.zeros(T, dtype=np.int32)
        is_provisional = np.zeros(T, dtype=bool)
        if j % 4 == 1:
            kept[:150], kept[600:] = False, False
        if j % 4 == 2:
            kept = rng.random(T) > 0.04
        if j % 4 == 3:
            life[300:], is_provisional[-2:] = 1, True
            close[300:] *= 1e-4
        table = {
            "date": days,
            "symbol": [f"X:{j:03d}"] * T,
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": np.where(rng.random(T) < 0.02, 0.0, np.exp(rng.normal(10.0, 1.0, T))),
            "life": life,
            "is_provisional": is_provisional,
        }
        tables.append(pl.DataFrame(table).filter(pl.Series(kept)))
    return pl.concat(tables)


def answer(bars: pl.DataFrame, name: str, among: Catalog[Feature] = FEATURES, threads: int = 1) -> pl.DataFrame:
    found = compute_features(bars, [name], calendar="24/7", among=among, threads=threads)
    return found.rename({name: "value"})


def same_bits(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    left, right = a["value"].to_numpy(), b["value"].to_numpy()
    return a.select("date", "symbol").equals(b.select("date", "symbol")) and np.array_equal(
        left.view(np.int64), right.view(np.int64)
    )


def memory(name: str, among: Catalog[Feature] = FEATURES) -> int:
    """Bound the bars a value reads: every whole number among the parameters may be a window."""
    if name in INPUTS:
        return 2
    own = sum(
        value
        for key, value in among[name].parameters.items()
        if type(value) is int and key not in ("min_count", "periods_per_year")
    )
    return own + max(memory(below, among) for below in among[name].inputs)


def reads_only_returns(name: str, among: Catalog[Feature] = FEATURES) -> bool:
    return {below for step in in_order([name], among) for below in step.inputs if below in INPUTS} == {"returns"}


def day(k: int) -> date:
    return date(2020, 1, 1) + timedelta(days=k)


def holds_causality(name: str, among: Catalog[Feature] = FEATURES) -> None:
    bars = market()
    whole = answer(bars, name, among)
    for end in (260, 455, 621):
        before = pl.col("date") < day(end)
        assert same_bits(answer(bars.filter(before), name, among), whole.filter(before))


def holds_against_the_future(name: str, among: Catalog[Feature] = FEATURES) -> None:
    bars, end = market(), day(400)
    other = bars.with_columns(
        pl.when(pl.col("date") >= end).then(pl.col(column) * 3.7).otherwise(pl.col(column)).alias(column)
        for column in ("open", "high", "low", "close", "volume")
    )
    before = pl.col("date") < end
    assert same_bits(answer(other, name, among).filter(before), answer(bars, name, among).filter(before))


def holds_locality(name: str, among: Catalog[Feature] = FEATURES) -> None:
    bars, cut = market(), 250
    assert memory(name, among) < T - cut - 20
    after = pl.col("date") >= day(cut + memory(name, among))
    whole = answer(bars, name, among).filter(after)
    assert whole["value"].count() > 0
    assert same_bits(answer(bars.filter(pl.col("date") >= day(cut)), name, among).filter(after), whole)
    outlier = bars.with_columns(
        pl.when(pl.col("date") == day(cut)).then(1e17).otherwise(pl.col(column)).alias(column)
        for column in ("open", "high", "low", "close", "volume")
    )
    assert same_bits(answer(outlier, name, among).filter(after), whole)


def holds_symbols_apart(name: str, among: Catalog[Feature] = FEATURES) -> None:
    bars = market()
    whole = answer(bars, name, among)
    order = {f"X:{j:03d}": f"X:{3 - j:03d}" for j in range(4)}
    renamed = answer(bars.with_columns(pl.col("symbol").replace_strict(order)), name, among)
    assert same_bits(renamed.with_columns(pl.col("symbol").replace_strict(order)).sort("symbol", "date"), whole)
    for symbol in ("X:000", "X:001"):
        alone = pl.col("symbol") == symbol
        assert same_bits(answer(bars.filter(alone), name, among), whole.filter(alone))


def holds_silence_before_warmup(name: str, among: Catalog[Feature] = FEATURES) -> None:
    found = answer(market(), name, among).with_columns(
        pl.int_range(pl.len()).over("symbol").alias("bar"),
    )
    warmup = among[name].warmup
    assert found.filter(pl.col("bar") < warmup)["value"].count() == 0
    clean = found.filter(pl.col("symbol").is_in(["X:000", "X:001"]))
    # A bar without trades may delay a feature of traded value; nothing else does on a symbol without gaps.
    first = clean.filter(pl.col("value").is_not_null()).group_by("symbol").agg(pl.col("bar").min())["bar"]
    assert len(first) == 2
    assert first.max() <= warmup + (0 if reads_only_returns(name, among) else 10)


def holds_bounds(name: str, among: Catalog[Feature] = FEATURES) -> None:
    entry = among[name]
    calm = market().with_columns(close=pl.col("close").first().over("symbol"))
    for bars in (market(), market(seed=12), calm):
        known = answer(bars, name, among)["value"].drop_nulls()
        assert known.is_finite().all()
        assert entry.lower is None or (known >= entry.lower).all()
        assert entry.upper is None or (known <= entry.upper).all()


LAWS = (
    holds_causality,
    holds_against_the_future,
    holds_locality,
    holds_symbols_apart,
    holds_silence_before_warmup,
    holds_bounds,
)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_every_feature_keeps_the_law(name: str, law: Callable[[str], None]) -> None:
    if law is holds_locality and any(step.has_infinite_memory for step in in_order([name], FEATURES)):
        return
    law(name)


@pytest.mark.parametrize("name", [name for name in NAMES if reads_only_returns(name)])
def test_a_feature_of_returns_does_not_see_the_scale_of_prices(name: str) -> None:
    bars = market()
    for power in (-7, 12):
        scaled = bars.with_columns(pl.col("open", "high", "low", "close") * 2.0**power)
        assert same_bits(answer(scaled, name), answer(bars, name))


@pytest.mark.parametrize("name", NAMES)
def test_no_shape_of_bars_breaks_a_feature(name: str) -> None:
    bars = market()
    one = bars.filter(pl.col("symbol") == "X:000")
    assert answer(bars.clear(), name)["value"].to_list() == []
    assert answer(one.head(1), name)["value"].to_list() == [None]
    assert answer(one.select("date", "symbol"), name)["value"].count() == 0
    unknown = bars.with_columns(pl.lit(None, dtype=pl.Float64).alias(column) for column in ("close", "volume"))
    assert answer(unknown, name)["value"].count() == 0
    assert answer(one.with_columns(close=pl.lit(7.0)), name).height == T


def test_the_bits_are_the_same_at_any_number_of_threads_and_in_any_company() -> None:
    bars = market(symbols=70)
    found = [compute_features(bars, calendar="XNYS", threads=threads) for threads in (1, 2, 4)]
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    some = pl.col("symbol").is_in(["X:000", "X:033", "X:069"])
    assert compute_features(bars.filter(some), calendar="XNYS").equals(found[0].filter(some))


def test_shuffled_rows_give_the_same_answer() -> None:
    shuffled = market().sample(fraction=1.0, shuffle=True, seed=5)
    assert compute_features(shuffled, calendar="XNYS").equals(compute_features(market(), calendar="XNYS"))


@feature(family="planted", unit="fraction", warmup=0)
def peek(returns: np.ndarray) -> np.ndarray:
    """Tomorrow's return."""
    return np.vstack([returns[1:], returns[-1:]])


@feature(family="planted", unit="none", warmup=1)
def full_sample(returns: np.ndarray) -> np.ndarray:
    """Return over its standard deviation in the whole sample."""
    return returns / np.nanstd(returns, axis=0)


@feature(family="planted", unit="none", warmup=1)
def running_total(returns: np.ndarray, *, window: int = 20) -> np.ndarray:
    """Sum of a window by running totals, which an outlier poisons."""
    total = np.cumsum(np.nan_to_num(returns), axis=0)
    return total - np.vstack([np.zeros((window, total.shape[1])), total[:-window]])


@feature(family="planted", unit="fraction", warmup=1)
def crowd(returns: np.ndarray) -> np.ndarray:
    """Return less the mean return of the other symbols."""
    return returns - np.nan_to_num(returns).mean(axis=1, keepdims=True)


@feature(family="planted", unit="fraction", warmup=0)
def talkative(returns: np.ndarray) -> np.ndarray:
    """Return, and zero where it is not known."""
    return np.nan_to_num(returns) * 0.5


@feature(family="planted", unit="none", warmup=1, upper=0.0)
def unbound(returns: np.ndarray) -> np.ndarray:
    """Return that claims never to rise."""
    return returns


PLANTED = Catalog("feature", {e.name: e for e in (peek, full_sample, running_total, crowd, talkative, unbound)})


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("peek", holds_causality),
        ("peek", holds_against_the_future),
        ("full_sample", holds_causality),
        ("running_total", holds_locality),
        ("crowd", holds_symbols_apart),
        ("unbound", holds_bounds),
    ],
)
def test_the_laws_catch_a_planted_fault(name: str, law: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        law(name, PLANTED)


def test_the_laws_catch_a_default_for_what_is_not_known() -> None:
    late = Catalog("feature", {"talkative": feature(family="p", unit="none", warmup=1)(talkative.function)})
    with pytest.raises(AssertionError):
        holds_silence_before_warmup("talkative", late)


RECIPE = '''
from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.moving import move_mean


@feature(family="{family}", unit="currency", warmup=4, lower=0.0)
def {name}(close, *, window: int = 5, min_count: int = 5):
    """Mean of the last {name} closes."""
    return move_mean.filled(close, window, min_count)

{more}
table = family_stage(__name__)
'''


def test_one_function_adds_its_column_description_bounds_and_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "planted_features"
    package.mkdir()
    (package / "__init__.py").touch()
    more = RECIPE.split("\n\n\n")[1].split("\n\n{more}")[0].format(family="levels", name="second")
    (package / "levels.py").write_text(RECIPE.format(family="levels", name="first", more=more))
    (package / "heights.py").write_text(RECIPE.format(family="heights", name="third", more=""))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    among = catalogue("planted_features")
    stages = collect("planted_features", StageSpec)

    assert list(among) == ["first", "second", "third"]
    assert list(stages) == ["features.heights", "features.levels"]
    columns = stages["features.levels"].output.schema.columns
    assert list(columns) == ["date", "symbol", "first", "second"]
    assert columns["second"].description == "Mean of the last second closes. Unit: currency."
    sleeve = Sleeve(name="s", calendar="24/7")
    found = stages["features.levels"](market(), params=FamilyParams(families=("levels",)), sleeve=sleeve)
    assert split(found, stages["features.levels"].output).exclusions.is_empty()
    for law in LAWS:
        law("second", among)
