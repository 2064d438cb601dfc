from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError
from scipy import stats

from quant_core.alpha.information_coefficients import (
    InformationParams,
    forward_returns,
    information_coefficients,
    top_turnover,
)
from quant_core.market.contracts.alpha import InformationCoefficients
from quant_core.market.contracts.split import validate

START = date(2024, 1, 1)
KEYS = ["factor", "horizon", "date"]
nan = np.nan


def table(values, name):
    """Melt a matrix [T, N]; NaN becomes null."""
    values = np.asarray(values, dtype=float)
    rows, columns = np.indices(values.shape)
    return pl.DataFrame(
        {
            "date": [START + timedelta(days=int(t)) for t in rows.ravel()],
            "symbol": [f"X:S{j:02d}" for j in columns.ravel()],
            name: values.ravel(),
        }
    ).with_columns(pl.col(name).fill_nan(None))


def noise(seed, shape=(43, 12)):
    rng = np.random.default_rng(seed)
    p, r = rng.random(shape), 0.02 * rng.standard_normal(shape)
    p[rng.random(shape) < 0.1] = nan
    r[rng.random(shape) < 0.05] = nan
    return p, r


def judged(p, r, *horizons):
    found = information_coefficients(
        table(p, "momentum"), table(r, "simple_return"), params=InformationParams(horizons=horizons or (1,))
    )
    return validate(found, InformationCoefficients).sort(KEYS)


def test_one_date_worked_out_by_hand():
    # next returns fall in the order of the factor but for one swap: ranks 1 2 3 4 against 1 2 4 3
    found = judged([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]], [[0.0] * 4, [0.01, 0.02, 0.05, 0.03]])
    first, last = found.rows(named=True)
    assert first["rank_ic"] == pytest.approx(0.8, rel=1e-14)
    # deviations -.15 -.05 .05 .15 and -.0175 -.0075 .0225 .0025
    assert first["ic"] == pytest.approx(0.0045 / np.sqrt(0.05 * 0.000875), rel=1e-12)
    assert (first["pairs"], first["coverage"], first["turnover"]) == (4, 1.0, None)
    assert (last["ic"], last["rank_ic"], last["pairs"], last["turnover"]) == (None, None, 0, 0.0)


def slow_forward_return(series, t, horizon):
    known = [x for x in series[t + 1 : t + 1 + horizon] if not np.isnan(x)]
    is_quoted_later = any(not np.isnan(x) for x in series[t + horizon :])
    return np.prod([1 + x for x in known]) - 1 if known and is_quoted_later else nan


@pytest.mark.parametrize("horizon", [1, 5])
def test_each_date_equals_scipy_on_compounded_returns(horizon):
    p, r = noise(1)
    found = judged(p, r, horizon)
    assert found.height == len(range(0, 43, horizon))
    for i, t in enumerate(range(0, 43, horizon)):
        row = found.row(i, named=True)
        future = np.array([slow_forward_return(own, t, horizon) for own in r.T])
        both = ~np.isnan(p[t]) & ~np.isnan(future)
        assert row["date"] == START + timedelta(days=t)
        assert row["pairs"] == both.sum()
        assert row["coverage"] == pytest.approx(np.mean(~np.isnan(p[t])))
        if both.sum() >= 3:
            assert row["ic"] == pytest.approx(stats.pearsonr(p[t, both], future[both]).statistic, abs=1e-12)
            assert row["rank_ic"] == pytest.approx(stats.spearmanr(p[t, both], future[both]).statistic, abs=1e-12)
        else:
            assert row["ic"] is None


def test_the_factor_of_a_date_never_meets_the_return_of_that_date():
    rng = np.random.default_rng(2)
    p = rng.random((30, 8))
    same_day = judged(p, p / 100)["rank_ic"].drop_nulls()
    next_day = judged(p, np.roll(p, 1, axis=0) / 100)["rank_ic"].drop_nulls()
    assert abs(same_day.mean()) < 0.3
    assert next_day.to_list() == pytest.approx([1.0] * 29)


def test_a_halt_within_the_horizon_is_compounded_over():
    # The return after the halt spans it, so what is skipped is no move. In the first window the halt comes last.
    returns = np.array([[0.0, 0.0], [0.1, 0.1], [nan, 0.1], [0.3, 0.1], [0.1, 0.1]])
    found = forward_returns(returns, np.arange(5), 2)
    np.testing.assert_allclose(found, [[0.1, 0.21], [0.3, 0.21], [0.43, 0.21], [nan, nan], [nan, nan]])


def test_a_halt_as_long_as_the_horizon_has_no_forward_return():
    returns = np.array([[0.0], [0.1], [nan], [nan], [0.3], [0.1]])
    found = forward_returns(returns, np.arange(6), 2)[:, 0]
    np.testing.assert_allclose(found, [0.1, nan, 0.3, 0.43, nan, nan])


def test_a_symbol_that_is_never_quoted_again_has_no_forward_return_over_its_end():
    returns = np.array([[0.0], [0.1], [-0.5], [nan], [nan], [nan]])
    found = forward_returns(returns, np.arange(6), 2)[:, 0]
    np.testing.assert_allclose(found, [-0.45, nan, nan, nan, nan, nan])


def test_turnover_of_the_top_fifth_worked_out_by_hand():
    # of five symbols the top fifth is one, of ten two
    five = np.array([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [5, 2, 3, 4, 1], [nan] * 5, [1, 2, 3, 4, 5]], dtype=float)
    np.testing.assert_array_equal(top_turnover(five), [nan, 0.0, 1.0, nan, nan])
    ten = np.array([np.arange(10.0), np.r_[np.arange(8.0), 9.0, -1.0]])
    np.testing.assert_array_equal(top_turnover(ten), [nan, 0.5])
    np.testing.assert_array_equal(top_turnover(np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])), [nan] * 3)


def test_the_top_fifth_of_twenty_five_is_five():
    before = np.arange(25.0)
    after = before.copy()
    after[[19, 20]] = after[[20, 19]]  # the sixth from the top changes places with the fifth
    np.testing.assert_array_equal(top_turnover(np.array([before, after])), [nan, 0.2])


def test_turnover_compares_with_one_horizon_before():
    p, r = noise(3)
    found = judged(p, r, 5)["turnover"].to_list()
    expected = top_turnover(np.ascontiguousarray(p[::5]))
    assert found[0] is None
    assert found[1:] == expected[1:].tolist()


def test_members_without_a_value_count_in_coverage_and_rows_without_members_are_left_out():
    p, r = noise(4, (6, 4))
    p[2] = nan
    factors = table(p, "momentum").filter(pl.col("date") != START + timedelta(days=4))
    found = information_coefficients(factors, table(r, "simple_return"), params=InformationParams(horizons=(1,)))
    assert [row["date"].day for row in found.rows(named=True)] == [1, 2, 3, 4, 6]
    assert found["coverage"][2] == 0.0


def test_a_factor_known_nowhere_keeps_its_rows_without_figures():
    p, r = noise(5, (10, 5))
    factors = table(p, "momentum").with_columns(liquidity=pl.lit(None, dtype=pl.Float64))
    found = information_coefficients(factors, table(r, "simple_return"), params=InformationParams(horizons=(1,)))
    dark = found.filter(pl.col("factor") == "liquidity")
    assert dark.height == 10
    assert dark.select("ic", "rank_ic", "turnover").null_count().row(0) == (10, 10, 10)
    assert dark["coverage"].to_list() == [0.0] * 10


def test_later_rows_change_only_dates_whose_horizon_had_not_passed():
    p, r = noise(6)
    whole, early = judged(p, r, 1, 5), judged(p[:31], r[:31], 1, 5)
    quoted = min(int(np.flatnonzero(~np.isnan(own)).max()) for own in r[:31].T)
    assert quoted >= 28
    end = pl.col("date") + pl.duration(days=pl.col("horizon").cast(pl.Int64))
    complete = end <= START + timedelta(days=quoted)
    assert_frame_equal(early.filter(complete), whole.filter(complete), check_exact=True)
    assert early.filter(end > START + timedelta(days=30))["ic"].null_count() == 2


def test_symbols_listed_later_change_no_bit_of_earlier_dates():
    p, r = noise(12, (40, 50))
    p[:30, 20:], r[:30, 20:] = nan, nan
    factors, returns = (table(v, n).drop_nulls() for v, n in ((p, "momentum"), (r, "simple_return")))
    past = pl.col("date") < START + timedelta(days=30)
    params = InformationParams(horizons=(1,))
    early = information_coefficients(factors.filter(past), returns.filter(past), params=params)
    whole = information_coefficients(factors, returns, params=params)
    assert_frame_equal(early.head(29), whole.head(29), check_exact=True)


def test_the_order_of_rows_and_of_symbols_does_not_matter():
    p, r = noise(7)
    factors, returns = table(p, "momentum"), table(r, "simple_return")
    params = InformationParams(horizons=(1, 5))
    shuffled = information_coefficients(
        factors.sample(fraction=1.0, shuffle=True, seed=1),
        returns.sample(fraction=1.0, shuffle=True, seed=2),
        params=params,
    )
    plain = information_coefficients(factors, returns, params=params)
    assert_frame_equal(shuffled, plain, check_exact=True)
    order = np.random.default_rng(8).permutation(p.shape[1])
    assert_frame_equal(judged(p[:, order], r[:, order]), judged(p, r), abs_tol=1e-12)


def test_symbols_known_to_one_table_only_are_no_pairs():
    p, r = noise(9, (5, 6))
    returns = table(r, "simple_return").filter(pl.col("symbol") > "X:S02")
    found = information_coefficients(table(p, "momentum"), returns, params=InformationParams(horizons=(1,)))
    assert found["pairs"].max() <= 3


def test_without_factors_there_is_nothing():
    p, r = noise(10, (3, 3))
    empty = table(p, "momentum").clear()
    found = information_coefficients(empty, table(r, "simple_return"), params=InformationParams())
    assert found.is_empty()
    validate(found, InformationCoefficients)


@pytest.mark.parametrize("horizons", [(), (0,), (1, -5)])
def test_an_impossible_horizon_is_refused(horizons):
    with pytest.raises(ValidationError):
        InformationParams(horizons=horizons)


def test_a_horizon_named_twice_is_judged_once():
    p, r = noise(11, (9, 4))
    assert_frame_equal(judged(p, r, 2, 1, 2), judged(p, r, 1, 2))
