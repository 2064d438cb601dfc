"""Alpha101: each feature against the formula in its own docstring, evaluated by pandas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np
import pandas as pd
import pytest

from quant_core.features import catalogue
from quant_core.features.step_order import inputs_of, memory_of, order_steps
from quant_core.features.steps import Feature
from tests.oracles.formulas import OPERATORS, argmax_age, over, parsed, reach_of, value_of

T, N = 400, 24
ALPHAS = {name: entry for name, entry in catalogue().items() if entry.family == "alpha101"}
NEEDS_INDUSTRY = {48, 58, 59, 63, 67, 69, 70, 76, 79, 80, 82, 87, 89, 90, 91, 93, 97, 100}
NEEDS_CAPITALISATION = {56}


def argmax_of_known(w: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(w).all(axis=-1), np.nan, argmax_age(np.where(np.isnan(w), -np.inf, w)))


# Where a feature says in its docstring that it differs from the paper: what stands in, and how many bars sooner.
DIFFERENT = {"alpha096": ({"ts_argmax": over(argmax_of_known)}, 11)}

Matrices = Mapping[str, np.ndarray]


@cache
def market(seed: int = 3, has_gaps: bool = True) -> Matrices:
    """Return bars with ties in time and across symbols, bars without range, zero volumes, a late and a dead symbol."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(4, (T, N)) * 0.03
    close = np.round(20.0 * np.exp(np.cumsum(steps, axis=0) + rng.normal(0.0, 0.2, N)), 2)
    open = np.round(close * np.exp(rng.normal(0.0, 0.01, (T, N))), 2)
    volume = np.round(np.exp(rng.normal(8.0, 1.0, (T, N)) + rng.normal(0.0, 1.0, N)))
    close[200:230, 3], open[200:230, 3] = close[199, 3], close[199, 3]
    if has_gaps:
        volume[rng.random((T, N)) < 0.02] = 0.0
    high = np.maximum(open, close) + np.round(rng.exponential(0.1, (T, N)), 2)
    low = np.minimum(open, close) * (1.0 - np.round(rng.exponential(0.01, (T, N)), 2))
    vwap = low + (high - low) * rng.random((T, N))
    bars = {"open": open, "high": high, "low": low, "close": close, "volume": volume, "vwap": vwap}
    for values in bars.values():
        values[:, 5] = values[:, 4]
        if has_gaps:
            values[:90, 6], values[350:, 7] = np.nan, np.nan
            values[rng.permutation(T)[:2], 8] = np.nan
            values[40, :] = np.nan
    before = np.vstack([np.full((1, N), np.nan), pd.DataFrame(close).ffill().to_numpy()[:-1]])
    return bars | {"returns": close / before - 1.0}


def answer(name: str, inputs: Matrices) -> np.ndarray:
    matrices = dict(inputs)
    with np.errstate(all="ignore"):
        for step in order_steps([name], catalogue()):
            matrices[step.name] = step(*(matrices[source] for source in inputs_of(step, catalogue())))
    return np.where(np.isfinite(matrices[name]), matrices[name], np.nan)


def formula_of(entry: Feature) -> str:
    return entry.formula.split("\n\n")[0]


def test_every_alpha_that_bars_can_express_is_there() -> None:
    expected = set(range(1, 102)) - NEEDS_INDUSTRY - NEEDS_CAPITALISATION
    assert sorted(ALPHAS) == [f"alpha{number:03d}" for number in sorted(expected)]


@pytest.mark.parametrize("name", sorted(ALPHAS))
def test_the_alpha_is_its_published_formula(name: str) -> None:
    formula, found = parsed(formula_of(ALPHAS[name])), answer(name, market())
    with np.errstate(all="ignore"):
        frames = {key: pd.DataFrame(values) for key, values in market().items()}
        expected = value_of(formula, frames, OPERATORS | DIFFERENT.get(name, ({}, 0))[0]).to_numpy(dtype=float)
    expected = np.where(np.isfinite(expected), expected, np.nan)
    assert np.isfinite(found).sum() > 50
    # Correlations are read to ten decimals on both sides; one may round up where the other rounds down.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(ALPHAS))
def test_warm_up_and_memory_are_those_of_the_formula(name: str) -> None:
    soonest, furthest = reach_of(parsed(formula_of(ALPHAS[name])))
    soonest -= DIFFERENT.get(name, ({}, 0))[1]
    assert ALPHAS[name].warmup == soonest
    bars = memory_of(name, catalogue())
    assert bars is not None
    assert bars > furthest
    whole = answer(name, market(has_gaps=False))
    assert np.isnan(whole[:soonest]).all()
    assert soonest == furthest or bars < T - 20
    cut = answer(name, {key: values[19:] for key, values in market(has_gaps=False).items()})
    later = furthest + 1 if "returns" in formula_of(ALPHAS[name]) else furthest
    np.testing.assert_array_equal(cut[later:], whole[19 + later :])


@pytest.mark.parametrize("name", sorted(ALPHAS))
def test_it_reads_what_the_formula_names(name: str) -> None:
    words = set(re.findall(r"[a-z]+\d*", formula_of(ALPHAS[name]).lower()))
    named = {word for word in words if word in market() or re.fullmatch(r"adv\d+", word)}
    assert {source.removeprefix("rank_") for source in ALPHAS[name].inputs} - {"life"} == named


@pytest.mark.parametrize("name", sorted(ALPHAS))
def test_two_lives_of_a_ticker_are_two_symbols(name: str) -> None:
    bars, begin = market(has_gaps=False), 130
    whole = {key: values.copy() for key, values in bars.items()}
    whole["returns"][begin, 2] = np.nan
    apart = {key: np.column_stack([values, values[:, 2]]) for key, values in whole.items()}
    for values in apart.values():
        values[begin:, 2], values[:begin, N] = np.nan, np.nan
    found, expected = answer(name, whole), answer(name, apart)
    expected[begin:, 2] = expected[begin:, N]
    np.testing.assert_allclose(found, expected[:, :N], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", sorted(ALPHAS))
def test_columns_change_places_without_effect_and_bounds_hold(name: str) -> None:
    order = np.random.default_rng(1).permutation(N)
    moved = answer(name, {key: np.ascontiguousarray(values[:, order]) for key, values in market().items()})
    found = answer(name, market())
    np.testing.assert_allclose(moved, found[:, order], rtol=1e-12, atol=1e-14)
    entry = ALPHAS[name]
    assert entry.lower is None or np.nanmin(found) >= entry.lower
    assert entry.upper is None or np.nanmax(found) <= entry.upper


@pytest.mark.parametrize("name", sorted(ALPHAS))
def test_nothing_known_one_symbol_and_one_row_are_no_fault(name: str) -> None:
    for cut in ((slice(None), slice(0, 1)), (slice(0, 1), slice(None)), (slice(0, 0), slice(None))):
        inputs = {key: np.ascontiguousarray(values[cut]) for key, values in market().items()}
        assert answer(name, inputs).shape == inputs["close"].shape
    assert np.isnan(answer(name, {key: np.full((40, 3), np.nan) for key in market()})).all()


def test_a_window_with_a_missing_bar_is_not_known() -> None:
    bars = dict(market(has_gaps=False))
    bars["close"] = bars["close"].copy()
    bars["close"][100, 0] = np.nan
    out = answer("alpha009", bars)
    assert np.isnan(out[100:106, 0]).all()
    assert np.isfinite(out[106, 0])


def test_an_unknown_average_price_leaves_alphas_without_it_alone() -> None:
    bars = dict(market(has_gaps=False)) | {"vwap": np.full((T, N), np.nan)}
    assert np.isnan(answer("alpha041", bars)).all()
    assert np.isfinite(answer("alpha101", bars)).all()


def test_two_symbols_alike_share_their_rank() -> None:
    ranks = answer("alpha033", market(has_gaps=False))
    np.testing.assert_array_equal(ranks[:, 4], ranks[:, 5])
