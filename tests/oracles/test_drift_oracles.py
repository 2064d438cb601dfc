"""Drift numbers against hand computation and scipy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from quant_core.ingest.cleaning.drift import measure_shift, population_stability


def slow_stability(reference: list[float], newest: list[float]) -> float:
    """Deciles of the reference by their definition; shares counted value by value."""
    edges = [
        min(v for v in reference if 10 * sum(w <= v for w in reference) >= k * len(reference)) for k in range(1, 10)
    ]
    bounds = [-math.inf, *sorted(set(edges)), math.inf]
    total = 0.0
    for lower, upper in pairwise(bounds):
        p, q = (max(sum(lower < v <= upper for v in values), 0.5) / len(values) for values in (reference, newest))
        total += (q - p) * math.log(q / p)
    return total


def test_ten_equal_bins_against_one_full_bin_by_hand() -> None:
    reference = np.arange(1.0, 11.0)
    # Each bin holds a tenth; the newest are all in the first: (1 - .1) ln 10 + 9 (.05 - .1) ln .5.
    by_hand = 0.9 * math.log(10.0) + 9.0 * (0.05 - 0.1) * math.log(0.5)
    assert population_stability(reference, np.full(10, 1.0)) == pytest.approx(by_hand, rel=1e-12)


def test_equal_samples_are_stable() -> None:
    values = np.random.default_rng(5).normal(size=700)
    shift = measure_shift(values, values[::-1].copy())
    assert shift is not None
    assert (shift.psi, shift.distance, shift.p) == (0.0, 0.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(30, 300), step=st.sampled_from([0.0, 0.1, 0.5]))
def test_the_index_agrees_with_counting(seed: int, size: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    reference, newest = rng.normal(size=size), rng.normal(0.3, 1.4, size // 2)
    if step:  # many equal values
        reference, newest = np.round(reference / step) * step, np.round(newest / step) * step
    assert population_stability(reference, newest) == pytest.approx(
        slow_stability(reference.tolist(), newest.tolist()), rel=1e-9, abs=1e-12
    )


def test_the_distance_is_scipy_s() -> None:
    rng = np.random.default_rng(8)
    reference, newest = rng.standard_t(4, 5000), 1.3 * rng.standard_t(4, 900)
    shift = measure_shift(reference, newest)
    expected = ks_2samp(reference, newest, method="asymp")
    assert shift is not None
    assert shift.distance == pytest.approx(expected.statistic, rel=1e-12)
    assert shift.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_too_few_values_say_nothing() -> None:
    assert measure_shift(np.zeros(499), np.zeros(5000)) is None
    assert measure_shift(np.zeros(5000), np.zeros(499)) is None
