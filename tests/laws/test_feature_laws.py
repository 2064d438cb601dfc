"""Laws of every feature in the catalogue; a new feature meets them without an edit here. Kernels have their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from quant_core.features import catalogue, compute_features
from quant_core.features.catalogue import feature
from quant_core.features.families import FamilyParams
from quant_core.features.step_order import memory_of, order_steps
from quant_core.features.steps import BAR_COLUMNS, Feature, FeatureCatalog, Step
from quant_core.graph.catalog import Catalog, collect
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import split
from quant_core.market.sleeves import Sleeve
from tests.markets import PRICES, T, day, market

# The first call of each kernel compiles it.
pytestmark = pytest.mark.timeout(900)
FEATURES = catalogue()
NAMES = sorted(FEATURES)
FAMILIES = sorted({entry.family for entry in FEATURES.values()})
CUTS = (260, 455, 621)
PAST, FUTURE = 330, 400
"""Where the market is cut: after some of its symbols began another life."""
SWAPPED = {f"X:{j:03d}": f"X:{(7 * j + 3) % 10:03d}" for j in range(10)}
SLACK = 3
"""Dates without a bar that a return may reach back over, and one for its own step."""
Change = Callable[[pl.DataFrame], pl.DataFrame]


def each(columns: tuple[str, ...], change: Callable[[pl.Expr], pl.Expr], where: pl.Expr | None = None) -> Change:
    here = pl.lit(value=True) if where is None else where
    return lambda bars: bars.with_columns(
        pl.when(here).then(change(pl.col(name))).otherwise(pl.col(name)).alias(name) for name in columns
    )


def only(where: pl.Expr) -> Change:
    return lambda bars: bars.filter(where)


VARIANTS: dict[str, Change] = {
    "whole": lambda bars: bars,
    "another market": lambda _: market(seed=12),
    "another future": each(BAR_COLUMNS, lambda x: x * 3.7, pl.col("date") >= day(FUTURE)),
    "no past": only(pl.col("date") >= day(PAST)),
    "outlier": each(BAR_COLUMNS, lambda x: x * 0.0 + 1e17, pl.col("date") == day(PAST)),
    "renamed": lambda bars: bars.with_columns(pl.col("symbol").replace_strict(SWAPPED)),
    "only X:000": only(pl.col("symbol") == "X:000"),
    "only X:001": only(pl.col("symbol") == "X:001"),
    "one row": lambda bars: bars.head(1),
    "no row": lambda bars: bars.clear(),
    "no columns": lambda bars: bars.select("date", "symbol"),
    "nothing known": each(BAR_COLUMNS, lambda x: x * float("nan")),
    "one price": each(BAR_COLUMNS, lambda x: x * 0.0 + 7.0),
    "one close": each(PRICES, lambda x: x / pl.col("close") * pl.col("close").first().over("symbol")),
    "ties": each(BAR_COLUMNS, lambda x: (x.log(1.5).round().clip(-99.0, None) * 0.4).exp()),
    "cheap": each(PRICES, lambda x: x * 2.0**-7),
    "dear": each(PRICES, lambda x: x * 2.0**12),
    **{f"before {k}": only(pl.col("date") < day(k)) for k in CUTS},
}


class Answers:
    """What the features of a catalogue say about the variants of one market, a family at a time."""

    def __init__(self, among: Catalog[Feature]) -> None:
        self.among = among
        self._tables: dict[tuple[str, str], pl.DataFrame] = {}

    def table(self, name: str, variant: str) -> pl.DataFrame:
        family = self.among[name].family
        if (family, variant) not in self._tables:
            bars = VARIANTS[variant](market())
            names = [other.name for other in self.among.values() if other.family == family]
            found = compute_features(bars, names, calendar="24/7", among=self.among, threads=1)
            assert found.select("date", "symbol").equals(bars.select("date", "symbol").sort("symbol", "date"))
            places = found.with_columns(
                row=(pl.col("date") - day(0)).dt.total_days(),
                age=(pl.col("date") - pl.col("date").first().over("symbol")).dt.total_days(),
            )
            self._tables[family, variant] = places
        return self._tables[family, variant]

    def __call__(self, name: str, variant: str) -> np.ndarray:
        return self.table(name, variant)[name].to_numpy()

    def labels(self, name: str, variant: str, label: str) -> np.ndarray:
        return self.table(name, variant)[label].to_numpy()

    def memory(self, name: str) -> int | None:
        return memory_of(name, self.among)

    def reads(self, name: str) -> set[str]:
        steps = order_steps([name], self.among)
        return {source for step in steps for source in step.inputs} & {*BAR_COLUMNS, "returns"}

    def compares_symbols(self, name: str) -> bool:
        return any(step.is_cross_sectional for step in order_steps([name], self.among))


ANSWERS = Answers(FEATURES)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a.view(np.int64), b.view(np.int64))


def holds_causality(name: str, answers: Answers) -> None:
    whole, row = answers(name, "whole"), answers.labels(name, "whole", "row")
    for end in CUTS:
        assert same_bits(answers(name, f"before {end}"), whole[row < end])


def holds_against_the_future(name: str, answers: Answers) -> None:
    past = answers.labels(name, "whole", "row") < FUTURE
    assert same_bits(answers(name, "another future")[past], answers(name, "whole")[past])


def holds_locality(name: str, answers: Answers) -> None:
    reach = answers.memory(name)
    if reach is None:
        return
    first = PAST + reach + SLACK
    assert first < T - 20, "the market of the laws is too short for this feature"
    row = answers.labels(name, "whole", "row")
    whole = answers(name, "whole")[row >= first]
    assert np.isfinite(whole).any()
    assert same_bits(answers(name, "no past")[answers.labels(name, "no past", "row") >= first], whole)
    assert same_bits(answers(name, "outlier")[row >= first], whole)


def holds_symbols_apart(name: str, answers: Answers) -> None:
    symbol = answers.labels(name, "whole", "symbol")
    whole, renamed = answers(name, "whole"), answers(name, "renamed")
    for old, new in SWAPPED.items():
        a, b = whole[symbol == old], renamed[answers.labels(name, "renamed", "symbol") == new]
        if answers.compares_symbols(name):
            # Sums over symbols go by their order.
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
        else:
            assert same_bits(a, b)
    if not answers.compares_symbols(name):
        for alone in ("X:000", "X:001"):
            assert same_bits(answers(name, f"only {alone}"), whole[symbol == alone])


def holds_silence_before_warmup(name: str, answers: Answers) -> None:
    warmup = answers.among[name].warmup
    is_known, age = np.isfinite(answers(name, "whole")), answers.labels(name, "whole", "age")
    assert not is_known[age < warmup].any()
    # Nothing but its window delays a feature of returns. A bar without range or without trades may delay others, and a
    # rank among few that stays the same for days.
    reads = answers.reads(name)
    slack = 0 if reads == {"returns"} else 60 if "volume" in reads or answers.compares_symbols(name) else 15
    symbol = answers.labels(name, "whole", "symbol")
    for clean in ("X:000", "X:001"):
        assert age[is_known & (symbol == clean)].min(initial=T) <= warmup + slack


def holds_bounds(name: str, answers: Answers) -> None:
    entry = answers.among[name]
    for variant in ("whole", "another market", "outlier", "one price", "one close", "ties", "cheap", "dear"):
        known = answers.table(name, variant)[name].drop_nulls()
        assert known.is_finite().all()
        assert entry.lower is None or (known >= entry.lower).all()
        assert entry.upper is None or (known <= entry.upper).all()


def holds_its_tongue(name: str, answers: Answers) -> None:
    assert answers(name, "no row").size == 0
    assert answers.among[name].warmup == 0 or np.isnan(answers(name, "one row")).all()
    for variant in ("no columns", "nothing known"):
        assert np.isnan(answers(name, variant)).all()


LAWS = (
    holds_causality,
    holds_against_the_future,
    holds_locality,
    holds_symbols_apart,
    holds_silence_before_warmup,
    holds_bounds,
    holds_its_tongue,
)


@pytest.mark.timeout(600)  # the first one compiles what all features need
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_every_feature_keeps_the_law(law: Callable[[str, Answers], None]) -> None:
    broken = {}
    for name in NAMES:
        try:
            law(name, ANSWERS)
        except AssertionError as error:
            broken[name] = str(error)[:300]
    assert not broken


@pytest.mark.parametrize("name", [name for name in NAMES if ANSWERS.reads(name) == {"returns"}])
def test_a_feature_of_returns_does_not_see_the_scale_of_prices(name: str) -> None:
    for variant in ("cheap", "dear"):
        assert same_bits(ANSWERS(name, variant), ANSWERS(name, "whole"))


COMPARE_WITH_A_NUMBER = {"alpha046", "alpha049", "alpha051"}
"""Their published formulas hold a change of price against a fixed number, or put one in its place."""


def power_of_price(entry: Feature) -> int | None:
    """What the unit says: a price goes with prices, a share of something or a correlation does not see their scale."""
    if entry.name in COMPARE_WITH_A_NUMBER:
        return None
    if entry.unit == "quote currency":
        return 1
    is_free = entry.unit.startswith(("fraction", "correlation", "index", "mean vote")) and "currency" not in entry.unit
    return 0 if is_free else None


@pytest.mark.parametrize("name", [name for name, entry in FEATURES.items() if power_of_price(entry) is not None])
def test_a_feature_goes_with_the_scale_of_prices_as_its_unit_says(name: str) -> None:
    power = power_of_price(FEATURES[name])
    for variant, factor in (("cheap", 2.0**-7), ("dear", 2.0**12)):
        expected = ANSWERS(name, "whole") * factor**power
        # Published formulas add 1e-12 to a range, which a price far below one feels.
        np.testing.assert_allclose(ANSWERS(name, variant), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bits_are_the_same_at_any_number_of_threads_and_in_any_company(family: str) -> None:
    bars = market(symbols=70)
    found = [compute_features(bars, families=[family], calendar="XNYS", threads=threads) for threads in (1, 2, 4)]
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    apart = [entry.name for entry in found_in(family) if not ANSWERS.compares_symbols(entry.name)]
    some = pl.col("symbol").is_in(["X:000", "X:033", "X:069"])
    alone = compute_features(bars.filter(some), apart, calendar="XNYS")
    assert alone.equals(found[0].filter(some).select(alone.columns))


def found_in(family: str) -> list[Feature]:
    return [entry for entry in FEATURES.values() if entry.family == family]


@pytest.mark.parametrize("family", FAMILIES)
def test_shuffled_rows_give_the_same_answer(family: str) -> None:
    shuffled = market().sample(fraction=1.0, shuffle=True, seed=5)
    found = compute_features(shuffled, families=[family], calendar="XNYS")
    assert found.equals(compute_features(market(), families=[family], calendar="XNYS"))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_step_writes_to_its_inputs(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, guilty = Step.__call__, []

    def watched(step: Step, *inputs: np.ndarray, **given: Any) -> np.ndarray:
        before = [matrix.copy() for matrix in inputs]
        found = run(step, *inputs, **given)
        if not all(same_bits(a, b) for a, b in zip(before, inputs, strict=True)):
            guilty.append(step.name)
        return found

    monkeypatch.setattr(Step, "__call__", watched)
    compute_features(market(), families=[family], calendar="XNYS", threads=1)
    assert guilty == []


@feature(family="planted", unit="fraction", warmup=0)
def peek(returns: np.ndarray) -> np.ndarray:
    """Tomorrow's return."""
    return np.vstack([returns[1:], returns[-1:]])


@feature(family="planted", unit="none", warmup=1)
def full_sample(returns: np.ndarray) -> np.ndarray:
    """Return over its standard deviation in the whole sample."""
    return returns / np.nan_to_num(returns).std(axis=0)


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


@feature(family="planted", unit="none", warmup=1)
def short_sighted(returns: np.ndarray, *, window: int = 5) -> np.ndarray:
    """Return a hundred bars ago, which no parameter says."""
    return np.vstack([np.full((100, returns.shape[1]), np.nan), returns])[: len(returns)]


PLANTED = FeatureCatalog([peek, full_sample, running_total, crowd, talkative, unbound, short_sighted])


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("peek", holds_causality),
        ("peek", holds_against_the_future),
        ("full_sample", holds_causality),
        ("running_total", holds_locality),
        ("short_sighted", holds_locality),
        ("crowd", holds_symbols_apart),
        ("unbound", holds_bounds),
        ("talkative", holds_its_tongue),
    ],
)
def test_the_laws_catch_a_planted_fault(name: str, law: Callable[[str, Answers], None]) -> None:
    with pytest.raises(AssertionError):
        law(name, Answers(PLANTED))


def test_the_laws_catch_a_default_for_what_is_not_known() -> None:
    late = FeatureCatalog([feature(family="p", unit="none", warmup=1)(talkative.function)])
    with pytest.raises(AssertionError):
        holds_silence_before_warmup("talkative", Answers(late))


RECIPE = '''
from quant_core.features.catalogue import feature
from quant_core.features.families import family_stage
from quant_core.kernels.moving import move_mean


@feature(family="{family}", unit="currency", warmup=4, lower=0.0)
def {name}(close, *, window: int = 5, min_count: int = 5):
    """Mean of the last {name} closes."""
    return move_mean.apply(close, window, min_count)

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
        law("second", Answers(among))
