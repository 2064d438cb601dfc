"""Laws of every allocation method, found by name: a new file meets them without an edit here. Oracles follow."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.optimize import minimize
from scipy.spatial.distance import squareform

from quant_core.allocation.allocator import allocators
from quant_core.allocation.caps import Caps
from quant_core.allocation.threads import one_thread
from quant_core.errors import UnknownNameError
from quant_core.market.panel import Panel

METHODS = list(allocators())
CLUSTERS = np.array([0, 0, 0, 1, 1, 2, 2, 3, 4])


def panel(values, symbols=None):
    size, width = values.shape
    dates = pl.date_range(date(2020, 1, 1), date(2020, 1, 1) + timedelta(size - 1), eager=True)
    return Panel(np.ascontiguousarray(values), dates, symbols or tuple(f"X:{j:02d}" for j in range(width)))


def streams(seed=0, size=250, width=9):
    rng = np.random.default_rng(seed)
    market = rng.normal(size=(size, 1))
    return (market + rng.normal(size=(size, width)) * np.linspace(0.6, 2.5, width)) * 0.01


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("width", [1, 2, 3, 9])
def test_weights_are_finite_not_negative_and_sum_to_one(name, width):
    weights = allocators()[name](panel(streams(width=width)))
    assert weights.shape == (width,)
    assert np.isfinite(weights).all()
    assert (weights >= 0.0).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_permuting_the_atoms_permutes_the_weights(name):
    values = streams()
    order = np.random.default_rng(3).permutation(9)
    plain = panel(values)
    moved = panel(values[:, order], tuple(plain.symbols[j] for j in order))
    np.testing.assert_allclose(allocators()[name](moved), allocators()[name](plain)[order], atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e3])
def test_scaling_all_returns_changes_no_weight(name, scale):
    method = allocators()[name]
    np.testing.assert_allclose(method(panel(streams() * scale)), method(panel(streams())), atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_window_gives_the_same_bits(name):
    assert allocators()[name](panel(streams())).tobytes() == allocators()[name](panel(streams())).tobytes()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_does(name):
    assert allocators()[name].doc.startswith("Return")


def test_an_unknown_method_lists_the_near_matches():
    with pytest.raises(UnknownNameError, match="minimum_variance"):
        allocators()["min_variance"]


def test_inverse_volatility_makes_volatility_times_weight_equal():
    values = streams()
    risk = allocators()["inverse_volatility"](panel(values)) * values.std(axis=0, ddof=1)
    np.testing.assert_allclose(risk, risk[0], rtol=1e-12)


def plain_hrp(values):
    """Recursive bisection over Ward leaves, written apart from the library."""
    covariance = np.cov(values.T)
    deviation = np.sqrt(np.diag(covariance))
    distance = np.sqrt(np.clip((1 - covariance / np.outer(deviation, deviation)) / 2, 0, 1))
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="ward", optimal_ordering=True)
    weights = np.ones(values.shape[1])

    def variance(items):
        share = 1 / np.diag(covariance)[items]
        share /= share.sum()
        return share @ covariance[np.ix_(items, items)] @ share

    def split(items):
        if len(items) < 2:
            return
        left, right = items[: len(items) // 2], items[len(items) // 2 :]
        share = variance(right) / (variance(left) + variance(right))
        weights[left] *= share
        weights[right] *= 1 - share
        split(left)
        split(right)

    split(list(leaves_list(tree)))
    return weights


@pytest.mark.parametrize("seed", range(6))
def test_hrp_equals_a_plain_recursive_bisection(seed):
    values = streams(seed, width=4 + seed)
    np.testing.assert_allclose(allocators()["hrp"](panel(values)), plain_hrp(values), atol=1e-9)


@pytest.mark.parametrize("width", [2, 3, 5, 9, 24])
def test_hrp_is_what_skfolio_finds_with_its_defaults_to_the_bit(width):
    from skfolio.optimization import HierarchicalRiskParity

    values = streams(width, width=width)
    same_layout = values[:, np.arange(width)]
    with one_thread():
        expected = HierarchicalRiskParity().fit(same_layout / values.std(ddof=1)).weights_
    assert allocators()["hrp"](panel(values)).tolist() == expected.tolist()


def test_every_library_is_held_at_one_thread_and_let_go():
    from threadpoolctl import ThreadpoolController

    def threads():
        return [library["num_threads"] for library in ThreadpoolController().info()]

    allocators()["hrp"](panel(streams()))
    allocators()["minimum_variance"](panel(streams()))
    before = threads()
    with one_thread():
        assert set(threads()) == {1}
    assert threads() == before


def ledoit_wolf(values):
    """Shrink the sample covariance to a multiple of the identity, by the formulas of the paper."""
    centred = values - values.mean(axis=0)
    size, width = centred.shape
    sample = centred.T @ centred / size
    level = np.trace(sample) / width
    spread = np.sum((sample - level * np.eye(width)) ** 2)
    noise = sum(np.sum((np.outer(row, row) - sample) ** 2) for row in centred) / size**2
    share = min(noise, spread) / spread
    return share * level * np.eye(width) + (1 - share) * sample


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limits", [(1.0, 1.0), (0.2, 0.25), (0.1, 0.25)])
def test_minimum_variance_is_what_another_solver_finds(seed, limits):
    values = streams(seed)
    caps = Caps(*limits, CLUSTERS)
    covariance = ledoit_wolf(values / values.std(ddof=1))
    found = allocators()["minimum_variance"](panel(values), caps=caps)
    answer = minimize(
        lambda w: w @ covariance @ w,
        np.full(9, caps.capacity / 9),
        jac=lambda w: 2 * covariance @ w,
        bounds=[(0.0, caps.asset)] * 9,
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - caps.capacity},
            {"type": "ineq", "fun": lambda w: caps.cluster - caps.membership @ w},
        ],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.sum() == pytest.approx(caps.capacity, abs=1e-12)
    assert found @ covariance @ found <= answer.fun * (1 + 1e-6)
    np.testing.assert_allclose(found, answer.x, atol=1e-4)


def test_minimum_variance_is_what_skfolio_finds():
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk
    from skfolio.prior import EmpiricalPrior

    caps = Caps(0.2, 0.25, CLUSTERS)
    model = MeanRisk(
        prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()),
        max_weights=0.2,
        left_inequality=caps.membership,
        right_inequality=np.full(5, 0.25),
    )
    values = streams(8)
    expected = model.fit(values / values.std(ddof=1)).weights_
    np.testing.assert_allclose(allocators()["minimum_variance"](panel(values), caps=caps), expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_minimum_variance_answers_where_caps_leave_no_freedom(seed):
    caps = Caps(0.2, 0.25, np.array([1, 1, 2, 2, 3, 3, 3, 4, 4]))
    found = allocators()["minimum_variance"](panel(streams(seed)), caps=caps)
    np.testing.assert_allclose(caps.membership @ found, 0.25, atol=1e-7)
