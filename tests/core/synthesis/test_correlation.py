import numpy as np
import pandas as pd
import pytest

from quant_core.synthesis.correlation import find_mutual_columns, mean_correlation, pairwise_correlation


def gapped(rng, rows=80, columns=7, share=0.3):
    block = rng.normal(size=(rows, 2)) @ rng.normal(size=(2, columns)) * 0.01 + rng.normal(size=(rows, columns)) * 0.02
    block[rng.random(block.shape) < share] = np.nan
    block[:, 0] = rng.normal(size=rows)
    return block


def test_complete_columns_agree_with_numpy():
    block = np.random.default_rng(1).normal(size=(60, 5))
    assert np.allclose(pairwise_correlation(block, min_overlap=20), np.corrcoef(block, rowvar=False), atol=1e-14)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("min_overlap", [2, 20, 40])
def test_gapped_columns_agree_with_pandas_pair_by_pair(seed, min_overlap):
    block = gapped(np.random.default_rng(seed))
    expected = pd.DataFrame(block).corr(min_periods=min_overlap).to_numpy()
    found = pairwise_correlation(block, min_overlap=min_overlap)
    assert np.allclose(found, expected, atol=1e-12, equal_nan=True)
    assert np.array_equal(found, found.T, equal_nan=True)


def test_a_zero_return_is_a_return():
    rng = np.random.default_rng(2)
    block = rng.normal(size=(60, 2))
    block[::2, 0] = 0.0
    expected = np.corrcoef(block, rowvar=False)[0, 1]
    assert pairwise_correlation(block, min_overlap=20)[0, 1] == pytest.approx(expected, abs=1e-14)


def test_a_constant_column_has_no_correlation_even_with_itself():
    block = np.random.default_rng(3).normal(size=(60, 3))
    block[:, 1] = 0.1
    correlation = pairwise_correlation(block, min_overlap=20)
    assert np.isnan(correlation[1]).all()
    assert np.isnan(correlation[:, 1]).all()
    assert correlation[0, 0] == 1.0


def test_a_column_that_is_constant_only_on_the_common_rows_has_no_correlation_there():
    rng = np.random.default_rng(4)
    block = rng.normal(size=(60, 3))
    block[30:, 0] = 0.003
    block[:30, 1] = np.nan
    correlation = pairwise_correlation(block, min_overlap=20)
    assert np.isnan(correlation[0, 1])
    assert np.isfinite(correlation[0, 2])
    assert np.isfinite(correlation[1, 2])


def test_a_pair_that_is_unknown_at_one_lookback_takes_the_mean_of_the_others():
    rng = np.random.default_rng(5)
    train = rng.normal(size=(120, 3))
    train[60:, 1] = 0.0
    long, short = pairwise_correlation(train, min_overlap=20), pairwise_correlation(train[-60:], min_overlap=20)
    mean = mean_correlation(train, (60, 120), min_overlap=20)
    assert mean[0, 2] == pytest.approx((long[0, 2] + short[0, 2]) / 2.0, abs=1e-15)
    assert mean[0, 1] == long[0, 1]


def test_a_pair_unknown_at_every_lookback_stays_unknown():
    train = np.random.default_rng(6).normal(size=(60, 3))
    train[:40, 0] = np.nan
    train[40:, 1] = np.nan
    mean = mean_correlation(train, (60, 60), min_overlap=15)
    assert np.isnan(mean[0, 1])
    assert np.isfinite(mean[0, 2])


def test_the_column_with_the_most_unknown_pairs_leaves_first_and_of_equals_the_last():
    correlation = np.eye(4)
    correlation[0, [1, 2]] = correlation[[1, 2], 0] = np.nan
    assert find_mutual_columns(correlation).tolist() == [False, True, True, True]
    pair = np.eye(3)
    pair[0, 1] = pair[1, 0] = np.nan
    assert find_mutual_columns(pair).tolist() == [True, False, True]
    alone = np.eye(2)
    alone[0, 0] = np.nan
    assert find_mutual_columns(alone).tolist() == [False, True]
