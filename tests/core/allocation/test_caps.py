import numpy as np
import pytest
from scipy.optimize import minimize

from quant_core.allocation.caps import Caps, apply_caps


def caps(labels, asset=0.2, cluster=0.25):
    return Caps(asset, cluster, np.asarray(labels, dtype=np.int64))


def drawn(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 20))
    return rng.dirichlet(np.full(size, 0.5)), caps(
        rng.integers(0, 6, size), rng.uniform(0.05, 0.4), rng.uniform(0.1, 0.6)
    )


def test_three_atoms_under_a_cap_of_a_quarter_leave_a_quarter_in_cash():
    found = apply_caps(np.full(3, 1 / 3), caps([1, 2, 3], asset=0.25, cluster=1.0))
    assert found.tolist() == [0.25, 0.25, 0.25]
    assert caps([1, 2, 3], asset=0.25, cluster=1.0).capacity == 0.75


def test_four_atoms_under_a_cap_of_a_fifth_leave_a_fifth_in_cash():
    assert caps([1, 2, 3, 4], cluster=1.0).capacity == pytest.approx(0.8)
    assert apply_caps(np.array([0.7, 0.1, 0.1, 0.1]), caps([1, 2, 3, 4], cluster=1.0)).tolist() == [0.2] * 4


def test_six_clusters_of_a_quarter_hold_all_wealth():
    labels = np.repeat(np.arange(6), 2)
    assert caps(labels).capacity == 1.0
    assert apply_caps(np.full(12, 1 / 12), caps(labels)) == pytest.approx(np.full(12, 1 / 12), abs=1e-15)


def test_what_is_cut_goes_to_the_others_in_proportion():
    found = apply_caps(np.array([0.6, 0.2, 0.1, 0.1]), caps([1, 2, 3, 4], asset=0.4, cluster=1.0))
    assert found == pytest.approx([0.4, 0.3, 0.15, 0.15])


def test_a_cluster_is_cut_in_proportion_within_and_shared_in_proportion_outside():
    found = apply_caps(np.array([0.4, 0.2, 0.2, 0.2]), caps([1, 1, 2, 3], asset=1.0, cluster=0.45))
    assert found == pytest.approx([0.3, 0.15, 0.275, 0.275])


def test_an_atom_the_method_left_out_stays_out():
    assert apply_caps(np.array([1.0, 0.0, 0.0]), caps([1, 2, 3])).tolist() == [0.2, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(60))
def test_the_projection_is_feasible_complete_and_leaves_the_feasible_alone(seed):
    weights, limits = drawn(seed)
    found = apply_caps(weights, limits)
    assert (found >= 0.0).all()
    assert (found <= limits.asset + 1e-15).all()
    assert (limits.membership @ found <= limits.cluster + 1e-12).all()
    assert found.sum() == pytest.approx(limits.capacity, abs=1e-12)
    np.testing.assert_allclose(apply_caps(found, limits), found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_the_projection_is_nearest_in_relative_entropy(seed):
    weights, limits = drawn(seed)
    weights = 0.9 * weights + 0.1 / weights.size
    found = apply_caps(weights, limits)

    def entropy(w):
        return float(np.sum(w * np.log(np.maximum(w, 1e-12) / weights)))

    answer = minimize(
        entropy,
        found,
        jac=lambda w: np.log(np.maximum(w, 1e-12) / weights) + 1.0,
        bounds=[(1e-9, limits.asset)] * weights.size,
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - found.sum()},
            {"type": "ineq", "fun": lambda w: limits.cluster - limits.membership @ w},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
    )
    assert entropy(found) <= answer.fun + 1e-8


def test_the_order_of_the_atoms_does_not_matter():
    for seed in range(20):
        weights, limits = drawn(seed)
        order = np.random.default_rng(seed).permutation(weights.size)
        other = apply_caps(weights[order], caps(limits.labels[order], limits.asset, limits.cluster))
        np.testing.assert_allclose(other, apply_caps(weights, limits)[order], rtol=0, atol=1e-14)
