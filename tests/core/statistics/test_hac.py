import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from quant_core.errors import UsageError
from quant_core.statistics.hac import (
    cosine_count,
    cosine_variance,
    critical_value,
    is_constant,
    lag_count,
    mean_test,
    newey_west_variance,
)


def autoregression(rng, length, persistence):
    shocks = rng.standard_normal(length + 200)
    series = np.empty_like(shocks)
    series[0] = shocks[0]
    for t in range(1, len(shocks)):
        series[t] = persistence * series[t - 1] + shocks[t]
    return series[200:]


def cosine_variance_by_sums(values, count):
    T = len(values)
    t = np.arange(1, T + 1)
    projections = [np.sqrt(2 / T) * sum(np.cos(np.pi * j * (t - 0.5) / T) * values) for j in range(1, count + 1)]
    return sum(p**2 for p in projections) / count


@pytest.mark.parametrize(("observations", "count"), [(3, 0), (4, 1), (8, 1), (100, 8), (1000, 41), (8000, 164)])
def test_the_number_of_cosines_follows_the_published_rule(observations, count):
    assert cosine_count(observations) == count


@pytest.mark.parametrize(("observations", "lags"), [(0, 0), (10, 2), (100, 4), (1000, 6)])
def test_the_number_of_lags_follows_the_rule_of_thumb(observations, lags):
    assert lag_count(observations) == lags


@pytest.mark.parametrize(("length", "count"), [(5, 1), (60, 6), (61, 60), (257, 16)])
def test_the_transform_equals_the_sums_of_the_definition(length, count):
    values = np.random.default_rng(1).standard_normal(length) + 3.0
    assert cosine_variance(values, count=count) == pytest.approx(cosine_variance_by_sums(values, count), rel=1e-12)


def test_all_cosines_together_give_the_sum_of_squares_of_white_noise():
    values = np.random.default_rng(2).standard_normal(50)
    assert cosine_variance(values, count=49) == pytest.approx(values.var(ddof=1), rel=1e-12)


def test_four_values_give_one_cosine_worked_out_by_hand():
    # cos(pi/8), cos(3 pi/8), -cos(3 pi/8), -cos(pi/8) on 1, 2, 3, 4, times sqrt(2/4)
    projection = np.sqrt(0.5) * (-3 * np.cos(np.pi / 8) - np.cos(3 * np.pi / 8))
    assert cosine_variance([1.0, 2.0, 3.0, 4.0]) == pytest.approx(projection**2, rel=1e-13)


@pytest.mark.parametrize("lags", [0, 1, 7, 20])
def test_newey_west_agrees_with_statsmodels(lags):
    values = autoregression(np.random.default_rng(3), 300, 0.6) + 0.1
    fit = OLS(values, np.ones(300)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    assert np.sqrt(newey_west_variance(values, lags=lags) / 300) == pytest.approx(fit.bse[0], rel=1e-10)


def test_the_newey_west_test_agrees_with_statsmodels_in_t_and_p():
    values = autoregression(np.random.default_rng(4), 400, 0.3) + 0.1
    fit = OLS(values, np.ones(400)).fit(cov_type="HAC", cov_kwds={"maxlags": lag_count(400), "use_correction": False})
    found = mean_test(values, method="newey_west")
    assert found.t_statistic == pytest.approx(fit.tvalues[0], rel=1e-10)
    assert found.p_value == pytest.approx(fit.pvalues[0], rel=1e-9)
    assert (found.lower, found.upper) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)


def test_p_value_and_interval_come_from_student_t_with_as_many_degrees_of_freedom_as_cosines():
    values = np.random.default_rng(5).standard_normal(125) + 0.2
    found = mean_test(values, level=0.9)
    assert found.degrees_of_freedom == 10
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.t_statistic), 10), rel=1e-12)
    half = stats.t.ppf(0.95, 10) * np.sqrt(cosine_variance(values) / 125)
    assert (found.lower, found.upper) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-12)


def test_the_cosine_test_keeps_its_size_where_newey_west_and_the_plain_test_reject_too_often():
    rng = np.random.default_rng(6)
    draws = [autoregression(rng, 250, 0.7) for _ in range(600)]
    rejected = {
        "ewc": np.mean([mean_test(d).p_value < 0.05 for d in draws]),
        "newey_west": np.mean([mean_test(d, method="newey_west").p_value < 0.05 for d in draws]),
        "plain": np.mean([stats.ttest_1samp(d, 0.0).pvalue < 0.05 for d in draws]),
    }
    assert 0.02 < rejected["ewc"] < 0.08
    assert rejected["newey_west"] > 0.10
    assert rejected["plain"] > 0.30


def test_the_cosine_variance_finds_the_long_run_variance_of_an_autoregression():
    rng = np.random.default_rng(7)
    found = np.mean([cosine_variance(autoregression(rng, 2000, 0.5)) for _ in range(60)])
    assert found == pytest.approx(1 / (1 - 0.5) ** 2, rel=0.08)


def test_unknown_values_are_skipped():
    values = np.random.default_rng(8).standard_normal(40)
    holed = np.insert(values, [0, 7, 7, 40], np.nan)
    assert mean_test(holed) == mean_test(values)


def test_scale_and_sign_pass_through():
    values = np.random.default_rng(9).standard_normal(64) + 0.3
    once, twice = mean_test(values), mean_test(-4.0 * values)
    assert twice.t_statistic == -once.t_statistic
    assert twice.p_value == once.p_value
    assert (twice.lower, twice.upper) == (-4.0 * once.upper, -4.0 * once.lower)


@pytest.mark.parametrize("method", ["ewc", "newey_west"])
@pytest.mark.parametrize("values", [[], [0.1], [0.1, 0.2, 0.3], [0.1] * 30, [np.nan] * 9])
def test_too_little_or_constant_data_gives_no_verdict(values, method):
    found = mean_test(values, method=method)
    assert np.isnan([found.t_statistic, found.p_value, found.lower, found.standard_error]).all()
    assert found.observations == np.sum(~np.isnan(values))


def test_a_constant_is_seen_through_rounding():
    assert is_constant(np.array([0.1 + 0.2, 0.3, 0.3]))
    assert not is_constant(np.array([0.3, 0.3, 0.3 + 1e-12]))
    assert is_constant(np.zeros(5))


@pytest.mark.parametrize("count", [0, 10, -1])
def test_an_impossible_number_of_cosines_is_refused(count):
    with pytest.raises(UsageError, match="cosines"):
        cosine_variance(np.arange(10.0), count=count)


def test_an_impossible_number_of_lags_a_matrix_and_a_wrong_level_are_refused():
    with pytest.raises(UsageError, match="lags"):
        newey_west_variance(np.arange(10.0), lags=10)
    with pytest.raises(UsageError, match="one dimension"):
        mean_test(np.ones((3, 3)))
    with pytest.raises(UsageError, match="level"):
        critical_value(95.0, 10.0)
