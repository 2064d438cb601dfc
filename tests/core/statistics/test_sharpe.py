import numpy as np
import pytest
import skfolio.measures as oracle
from scipy import stats

from quant_core.errors import UsageError
from quant_core.statistics.sharpe import (
    deflated_sharpe,
    expected_max_sharpe,
    moments,
    probabilistic_sharpe,
    sharpe,
    sharpe_influence,
    sharpe_interval,
)


def fat_tailed(seed, length=1000):
    return 0.0004 + 0.01 * np.random.default_rng(seed).standard_t(5, length)


def skewed(seed, length=1000):
    return 0.01 * (np.random.default_rng(seed).gamma(2.0, 1.0, length) - 1.9)


def test_a_sharpe_ratio_worked_out_by_hand():
    # mean 0.02, squared deviations 0.0001 + 0 + 0.0001 over 2 = 0.0001, standard deviation 0.01
    assert sharpe([0.01, 0.02, 0.03]) == pytest.approx(2.0, rel=1e-13)
    assert sharpe([0.01, 0.02, 0.03], periods_per_year=4) == pytest.approx(4.0, rel=1e-13)


@pytest.mark.parametrize("returns", [fat_tailed(1), skewed(2), skewed(3, 30), fat_tailed(4, 5)])
@pytest.mark.parametrize("benchmark", [0.0, 0.02, -0.1])
def test_the_probabilistic_ratio_equals_skfolio(returns, benchmark):
    expected = oracle.probabilistic_sharpe_ratio(returns, benchmark_sharpe_ratio=benchmark)
    assert probabilistic_sharpe(returns, benchmark=benchmark) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("is_biased", [True, False])
def test_both_conventions_equal_the_closed_form_on_scipy_moments(ddof, is_biased):
    returns = skewed(5)
    ratio = returns.mean() / returns.std(ddof=ddof)
    skewness = stats.skew(returns, bias=is_biased)
    kurtosis = stats.kurtosis(returns, fisher=False, bias=is_biased)
    z = ratio * np.sqrt(999) / np.sqrt(1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2)
    assert probabilistic_sharpe(returns, ddof=ddof, is_biased=is_biased) == pytest.approx(stats.norm.cdf(z), abs=1e-12)


def test_the_conventions_differ_by_little_on_a_thousand_returns():
    returns = fat_tailed(6)
    other = probabilistic_sharpe(returns, ddof=0, is_biased=False)
    assert 0 < abs(probabilistic_sharpe(returns) - other) < 1e-3


def test_a_longer_track_record_of_the_same_shape_is_surer():
    returns = skewed(7, 50) + 0.005
    lengths = [probabilistic_sharpe(np.tile(returns, k)) for k in (1, 2, 4)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


@pytest.mark.parametrize("trials", [1, 2, 10, 1000, 37.5])
def test_the_expected_maximum_equals_skfolio(trials):
    expected = oracle.expected_max_sharpe_ratio(trials, 0.03)
    assert expected_max_sharpe(trials, 0.03**2) == pytest.approx(expected, abs=1e-14)


def test_the_expected_maximum_is_near_the_simulated_one():
    draws = np.random.default_rng(8).standard_normal((20_000, 50)).max(axis=1)
    assert expected_max_sharpe(50, 1.0) == pytest.approx(draws.mean(), rel=0.02)


def test_the_expected_maximum_is_never_negative_for_an_effective_number_between_one_and_two():
    values = [expected_max_sharpe(n, 1.0) for n in (1.0, 1.1, 1.3, 1.6, 2.0)]
    assert values[0] == 0.0
    assert values == sorted(values)


def test_the_deflated_ratio_equals_skfolio_when_the_trials_vary_more_than_sampling_would():
    returns, ratios = fat_tailed(9), 0.2 * np.random.default_rng(10).standard_normal(25)
    expected = oracle.deflated_sharpe_ratio(returns, ratios)
    assert deflated_sharpe(returns, trials=25, variance=ratios.var(ddof=1)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("variance", [None, 0.0, 1e-9])
def test_similar_trials_are_deflated_by_the_variance_sampling_alone_gives(variance):
    returns = fat_tailed(11)
    bound = probabilistic_sharpe(returns, benchmark=expected_max_sharpe(5, 1 / 999))
    assert deflated_sharpe(returns, trials=5, variance=variance) == bound
    assert bound < probabilistic_sharpe(returns)


def test_one_trial_deflates_nothing():
    returns = fat_tailed(12)
    assert deflated_sharpe(returns, trials=1, variance=0.5) == probabilistic_sharpe(returns)


def test_the_variance_of_the_influence_is_mertens_term():
    returns = skewed(13)
    found = moments(returns, ddof=0)
    influence = sharpe_influence(returns)
    assert influence.mean() == pytest.approx(0.0, abs=1e-14)
    assert np.mean(influence**2) == pytest.approx(found.variance, rel=1e-12)


def test_the_influence_is_the_derivative_of_the_ratio():
    returns, step = skewed(14, 40), 1e-6
    n = len(returns)

    def ratio(weights):
        mean = weights @ returns
        return mean / np.sqrt(weights @ (returns - mean) ** 2)

    base = np.full(n, 1 / n)
    for i in (0, 17, 39):
        tilted = (1 - step) * base + step * np.eye(n)[i]
        assert (ratio(tilted) - ratio(base)) / step == pytest.approx(sharpe_influence(returns)[i], rel=1e-3, abs=1e-4)


def test_the_independent_error_is_mertens_formula():
    returns = skewed(15, 200)
    ratio, skewness, kurtosis = sharpe(returns), stats.skew(returns), stats.kurtosis(returns, fisher=False)
    expected = np.sqrt((1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2) / 199)
    found = sharpe_interval(returns, method="iid")
    assert found.standard_error == pytest.approx(expected, rel=1e-12)
    assert found.upper - found.sharpe == pytest.approx(stats.norm.ppf(0.975) * expected, rel=1e-12)


def test_every_method_covers_the_true_ratio_of_independent_returns_and_only_the_robust_one_that_of_persistent_ones():
    rng = np.random.default_rng(16)

    def coverage(persistence, method, true):
        hits = 0
        for _ in range(300):
            shocks = rng.standard_normal(300)
            noise = np.empty(300)
            noise[0] = shocks[0]
            for t in range(1, 300):
                noise[t] = persistence * noise[t - 1] + np.sqrt(1 - persistence**2) * shocks[t]
            found = sharpe_interval(true + noise, method=method)
            hits += found.lower <= true <= found.upper
        return hits / 300

    assert coverage(0.0, "ewc", 0.1) == pytest.approx(0.95, abs=0.03)
    assert coverage(0.0, "iid", 0.1) == pytest.approx(0.95, abs=0.03)
    assert coverage(0.5, "ewc", 0.1) == pytest.approx(0.95, abs=0.04)
    assert coverage(0.5, "iid", 0.1) < 0.85


def test_annualising_scales_ratio_error_and_ends_alike():
    plain, annual = sharpe_interval(skewed(17, 500)), sharpe_interval(skewed(17, 500), periods_per_year=252)
    for name in ("sharpe", "standard_error", "lower", "upper"):
        assert getattr(annual, name) == pytest.approx(np.sqrt(252) * getattr(plain, name), rel=1e-12)
    assert annual.degrees_of_freedom == plain.degrees_of_freedom == 25


def test_a_losing_strategy_mirrors_a_winning_one():
    returns = fat_tailed(18)
    won, lost = sharpe_interval(returns), sharpe_interval(-returns)
    assert (lost.lower, lost.upper) == pytest.approx((-won.upper, -won.lower), rel=1e-12)
    assert probabilistic_sharpe(returns) + probabilistic_sharpe(-returns) == pytest.approx(1.0, abs=1e-14)


def test_unknown_returns_are_skipped():
    returns = fat_tailed(19, 60)
    holed = np.insert(returns, [0, 30, 60], np.nan)
    assert sharpe_interval(holed) == sharpe_interval(returns)
    assert probabilistic_sharpe(holed) == probabilistic_sharpe(returns)
    assert deflated_sharpe(holed, trials=3) == deflated_sharpe(returns, trials=3)


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.02], [0.01] * 20, [0.0] * 20, [np.nan] * 5])
@pytest.mark.parametrize("method", ["ewc", "newey_west", "iid"])
def test_too_little_or_constant_data_gives_no_interval_and_no_probability(returns, method):
    found = sharpe_interval(returns, method=method)
    assert np.isnan([found.standard_error, found.lower, found.upper]).all()
    assert np.isnan(probabilistic_sharpe(returns))
    assert np.isnan(deflated_sharpe(returns, trials=4))


def test_a_constant_series_has_no_ratio_however_small_its_rounding():
    assert np.isnan(sharpe([0.1 + 0.2, 0.3, 0.3]))
    assert np.isnan(sharpe([0.01]))


@pytest.mark.parametrize(("trials", "variance"), [(0, 0.1), (0.5, 0.1), (2, -0.1), (np.nan, 0.1), (np.inf, 0.1)])
def test_impossible_trials_are_refused(trials, variance):
    with pytest.raises(UsageError, match="at least one trial"):
        expected_max_sharpe(trials, variance)
