from __future__ import annotations

import gc
import weakref
from collections import Counter

import numpy as np
import polars as pl
import pytest

from quant_core.errors import PanelError
from quant_core.features import compute_features, tiles
from quant_core.features.catalogue import feature, ingredient
from quant_core.features.step_order import plan_of
from quant_core.features.steps import FeatureCatalog
from quant_core.market.panel import panels_of
from tests.markets import T, day, market

CALLS: Counter[str] = Counter()
ALIVE: list[weakref.ref[np.ndarray]] = []
MOST: list[int] = []


def noted(name: str, matrix: np.ndarray) -> np.ndarray:
    CALLS[name] += 1
    ALIVE.append(weakref.ref(matrix))
    MOST.append(sum(other() is not None for other in ALIVE))
    return matrix


@ingredient
def middle(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Middle of the bar."""
    return noted("middle", (high + low) / 2.0)


@ingredient(is_cross_sectional=True)
def place(middle: np.ndarray) -> np.ndarray:
    """Number of symbols that stand lower, and half a one."""
    noted("place", middle.copy())
    with np.errstate(invalid="ignore"):
        below = (middle[:, None, :] < middle[:, :, None]).sum(axis=2) + 0.5
    return np.where(np.isnan(middle), np.nan, below)


@feature(family="f", unit="none", warmup=0, windows=(1, 2, 3, 4, 5, 6))
def later(middle: np.ndarray, *, window: int) -> np.ndarray:
    """Middle of the bar {window} rows ago."""
    return noted("later", np.vstack([np.full((window, middle.shape[1]), np.nan), middle])[: len(middle)])


@feature(family="f", unit="none", warmup=2)
def place_before(place: np.ndarray, *, lag: int = 2) -> np.ndarray:
    """Place two rows ago."""
    return noted("place_before", np.vstack([np.full((lag, place.shape[1]), np.nan), place])[: len(place)])


@feature(family="f", unit="none", warmup=2, is_cross_sectional=True)
def step_of_place(place: np.ndarray, place_before: np.ndarray) -> np.ndarray:
    """Change of place over two rows."""
    return place - place_before


@feature(family="f", unit="none", warmup=0)
def flat(close: np.ndarray) -> np.ndarray:
    """One number per symbol."""
    return close[0]


@feature(family="f", unit="none", warmup=0)
def whole(close: np.ndarray) -> np.ndarray:
    """Whole number and another order of memory."""
    return np.asfortranarray(np.nan_to_num(close)).astype(np.int32)


PROBES = FeatureCatalog([*later.entries, place_before, step_of_place, flat, whole], [middle, place])


@pytest.fixture(autouse=True)
def fresh() -> None:
    for kept in (CALLS, ALIVE, MOST):
        kept.clear()
    return


def probe(bars: pl.DataFrame, *names: str, threads: int = 1) -> pl.DataFrame:
    return compute_features(bars, names, calendar="24/7", among=PROBES, threads=threads)


def test_what_features_share_is_computed_once_per_block_and_let_go_of_when_read() -> None:
    gc.disable()
    try:
        probe(market(symbols=70), *(entry.name for entry in later.entries))
    finally:
        gc.enable()
    assert CALLS == {"middle": 3, "later": 18}
    # The ingredient and one feature at a time; the next feature is made before the last one is let go of.
    assert max(MOST) <= 3


def test_phases_alternate_between_blocks_of_symbols_and_all_symbols() -> None:
    plan = plan_of(["step_of_place", "later2"], PROBES)
    found = [(phase.is_cross_sectional, [call.step.name for call in phase.calls]) for phase in plan.phases]
    assert found == [
        (False, ["middle", "later2"]),
        (True, ["place"]),
        (False, ["place_before"]),
        (True, ["step_of_place"]),
    ]
    assert plan.phases[0].keeps == {"middle", "later2"}
    assert (plan.reads, plan.memory) == ({"high", "low"}, 3)


def test_columns_meet_across_phases() -> None:
    found = probe(market(), "step_of_place", "place_before")
    middles = panels_of(market().with_columns(middle=(pl.col("high") + pl.col("low")) / 2), ["middle"])["middle"].values
    places = np.where(np.isnan(middles), np.nan, np.nansum(middles[:, None, :] < middles[:, :, None], axis=2) + 0.5)
    step = panels_of(found, ["step_of_place"])["step_of_place"].values
    np.testing.assert_array_equal(step[2:], places[2:] - places[:-2])
    assert np.isnan(step[:2]).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_chunks_of_dates_give_the_bits_of_all_dates(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("step_of_place", "place_before", "later3")
    expected = probe(market(), *names)
    CALLS.clear()
    monkeypatch.setattr(tiles, "CELLS", 50)
    assert probe(market(), *names, threads=threads).equals(expected)
    assert CALLS["place"] == -(-T // 12)


def test_a_symbol_without_a_bar_is_no_member_of_the_row() -> None:
    bars = market().filter(pl.col("symbol").is_in(["X:000", "X:004"]))
    early = probe(bars, "place_before").filter(pl.col("date").is_between(day(2), day(400)))
    assert set(early["place_before"]) == {0.5}


def test_what_a_step_returns_is_brought_into_shape_or_refused() -> None:
    found = probe(market(), "whole")
    assert found["whole"].equals(market()["close"].cast(pl.Int32).cast(pl.Float64).alias("whole"))
    with pytest.raises(PanelError, match=r"feature 'flat' made \(10,\) of \(700, 10\)"):
        probe(market(), "flat")
