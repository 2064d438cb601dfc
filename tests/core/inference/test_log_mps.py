import numpy as np
import pytest

from quant_core.inference.catalogue import catalogue
from quant_core.inference.log_mps import log_mps

nan = np.nan


def scored(probabilities, weights=None):
    p = np.array(probabilities, dtype=float)
    w = np.ones(len(p)) if weights is None else np.array(weights, dtype=float)
    return log_mps(p, w)


def slow_log_mps(p, w):
    known = [k for k in range(len(p)) if not np.isnan(p[k]) and w[k] > 0]
    coverage = sum(w[k] for k in known) / sum(w)
    if coverage < 0.5:
        return nan
    mean = sum(w[k] * np.log(max(p[k], 0.001)) for k in known) / sum(w[k] for k in known)
    return float(np.exp(mean - 0.5 * (1 - coverage)))


def noise(seed, shape=(5, 200), share=0.3):
    rng = np.random.default_rng(seed)
    p = rng.random(shape)
    p[rng.random(shape) < share] = nan
    return p, rng.random(shape[0]) * 3


def test_the_catalogue_holds_the_champion():
    assert catalogue()["log_mps"] is log_mps


# columns are symbols, rows are three factors of weight 1, 2, 1
GOLDEN = [
    ([0.5, 0.5, 0.5], 0.5, 1.0),
    ([0.9, 0.4, 0.1], (0.9 * 0.4**2 * 0.1) ** 0.25, 1.0),
    ([0.0, 1.0, 1.0], 0.001**0.25, 1.0),
    ([1.0, 1.0, 1.0], 1.0, 1.0),
    ([0.9, 0.4, nan], (0.9 * 0.4**2) ** (1 / 3) * np.exp(-0.125), 0.75),
    ([nan, 0.4, nan], 0.4 * np.exp(-0.25), 0.5),
    ([0.9, nan, 0.1], 0.3 * np.exp(-0.25), 0.5),
    ([0.9, nan, nan], nan, 0.25),
    ([nan, nan, nan], nan, 0.0),
]


@pytest.mark.parametrize(("p", "conviction", "coverage"), GOLDEN)
def test_golden_rows_worked_out_by_hand(p, conviction, coverage):
    found = scored([[x] for x in p], [1.0, 2.0, 1.0])
    assert found.conviction[0] == pytest.approx(conviction, rel=1e-14, nan_ok=True)
    assert found.coverage[0] == coverage


def test_each_row_equals_the_formula():
    p, w = noise(1)
    found = scored(p, w).conviction
    expected = [slow_log_mps(p[:, r], w) for r in range(p.shape[1])]
    assert 0 < np.isnan(found).sum() < len(found)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_contributions_and_penalty_add_up_to_the_logarithm_of_conviction():
    p, w = noise(2)
    found = scored(p, w)
    speaks = ~np.isnan(found.conviction)
    total = np.nansum(found.contributions, axis=0) - 0.5 * (1 - found.coverage)
    np.testing.assert_allclose(total[speaks], np.log(found.conviction[speaks]), atol=1e-13)
    np.testing.assert_array_equal(np.isnan(found.contributions), np.isnan(p))


def test_only_relative_weights_matter():
    p, w = noise(3)
    once, twice = scored(p, w), scored(p, 4.0 * w)
    np.testing.assert_array_equal(once.conviction, twice.conviction)
    np.testing.assert_array_equal(once.contributions, twice.contributions)


def test_a_factor_of_weight_zero_might_as_well_not_be_there():
    p, w = noise(4)
    w[2] = 0.0
    found = scored(p, w)
    without = scored(np.delete(p, 2, axis=0), np.delete(w, 2))
    np.testing.assert_array_equal(found.conviction, without.conviction)
    assert np.isnan(found.contributions[2]).all()


def test_a_higher_probability_never_lowers_conviction():
    p, w = noise(5, share=0.0)
    better = p.copy()
    better[1] = np.minimum(1.0, p[1] + 0.1)
    assert (scored(better, w).conviction >= scored(p, w).conviction).all()


def test_a_factor_nobody_has_costs_coverage_like_any_other():
    found = scored([[0.9, 0.8], [0.4, 0.2], [nan, nan]])
    np.testing.assert_allclose(found.conviction, np.array([0.6, 0.4]) * np.exp(-0.5 / 3), rtol=1e-14)
    np.testing.assert_array_equal(found.coverage, [2 / 3, 2 / 3])


@pytest.mark.parametrize("seed", range(20))
def test_coverage_is_exactly_one_where_all_is_known_and_never_above(seed):
    rng = np.random.default_rng(seed)
    p, w = rng.random((12, 40)), rng.random(12)
    assert (scored(p, w).coverage == 1.0).all()
    p[rng.random(p.shape) < 0.1] = nan
    assert (scored(p, w).coverage <= 1.0).all()


def test_rows_do_not_meet():
    p, w = noise(6)
    order = np.random.default_rng(7).permutation(p.shape[1])
    whole = scored(p, w)
    np.testing.assert_array_equal(scored(p[:, order], w).conviction, whole.conviction[order])
    np.testing.assert_array_equal(scored(p[:, :9], w).conviction, whole.conviction[:9])


def test_certainty_is_never_exceeded():
    p = np.ones((3, 50))
    w = np.random.default_rng(8).random(3)
    assert scored(p, w).conviction.max() == 1.0
