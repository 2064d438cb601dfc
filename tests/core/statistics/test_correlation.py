import numpy as np
import pytest
from scipy import stats

from quant_core.errors import PanelError
from quant_core.statistics import correlation
from quant_core.statistics.correlation import pair_counts, pearson_rows, spearman_rows

ORACLES = [(pearson_rows, stats.pearsonr), (spearman_rows, stats.spearmanr)]


def holed(rng, shape, share=0.2):
    values = rng.standard_normal(shape)
    values[rng.random(shape) < share] = np.nan
    return values


@pytest.mark.parametrize(("rows", "oracle"), ORACLES)
def test_each_row_equals_scipy_over_its_pairs(rows, oracle):
    rng = np.random.default_rng(1)
    x, y = holed(rng, (40, 25)), holed(rng, (40, 25))
    y += 0.5 * x
    x[::3] = np.round(x[::3])  # ties
    for t, found in enumerate(rows(x, y)):
        both = ~np.isnan(x[t]) & ~np.isnan(y[t])
        assert found == pytest.approx(oracle(x[t, both], y[t, both]).statistic, abs=1e-13)


def test_three_pairs_worked_out_by_hand():
    # deviations -1, 0, 1 and -2, 1, 1: 3 / sqrt(2 * 6)
    x, y = np.array([[1.0, 2.0, 3.0, np.nan]]), np.array([[0.0, 3.0, 3.0, 9.0]])
    assert pearson_rows(x, y)[0] == pytest.approx(3 / np.sqrt(12), rel=1e-14)
    # ranks -1, 0, 1 and -1, 0.5, 0.5: 1.5 / sqrt(2 * 1.5)
    assert spearman_rows(x, y)[0] == pytest.approx(1.5 / np.sqrt(3), rel=1e-14)


@pytest.mark.parametrize("rows", [pearson_rows, spearman_rows])
def test_fewer_than_three_pairs_and_constants_have_no_correlation(rows):
    x = np.array([[1.0, 2.0, np.nan, 4.0], [0.1, 0.1, 0.1, 0.1], [1.0, 2.0, 3.0, 4.0], [np.nan] * 4])
    y = np.array([[1.0, 2.0, 3.0, np.nan], [1.0, 2.0, 3.0, 4.0], [0.3, 0.3, 0.3, np.nan], [np.nan] * 4])
    assert np.isnan(rows(x, y)).all()
    assert pair_counts(x, y).tolist() == [2, 4, 3, 0]


def test_a_perfect_line_is_one_and_never_more():
    x = np.random.default_rng(2).standard_normal((200, 7))
    for found, expected in ((pearson_rows(x, 3.0 * x + 1.0), 1.0), (pearson_rows(x, -0.1 * x), -1.0)):
        assert np.max(np.abs(found)) <= 1.0
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_spearman_sees_only_order():
    rng = np.random.default_rng(3)
    x, y = holed(rng, (20, 12)), holed(rng, (20, 12))
    np.testing.assert_array_equal(spearman_rows(x, y), spearman_rows(np.exp(x), y**3))


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e200])
def test_very_small_and_very_large_values_keep_their_correlation(scale):
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((5, 30)), rng.standard_normal((5, 30))
    np.testing.assert_allclose(pearson_rows(scale * x, y), pearson_rows(x, y), rtol=1e-12)


@pytest.mark.parametrize("rows", [pearson_rows, spearman_rows])
@pytest.mark.parametrize("cells", [1, 40, 1 << 20])
def test_a_row_does_not_depend_on_the_rows_around_it(rows, cells, monkeypatch):
    rng = np.random.default_rng(5)
    x, y = holed(rng, (30, 20)), holed(rng, (30, 20))
    whole = rows(x, y)
    monkeypatch.setattr(correlation, "_BLOCK_CELLS", cells)
    np.testing.assert_array_equal(rows(x, y), whole)
    np.testing.assert_array_equal(rows(x[:11], y[:11]), whole[:11])
    np.testing.assert_array_equal(rows(x[7:8], y[7:8]), whole[7:8])


@pytest.mark.parametrize("rows", [pearson_rows, spearman_rows])
def test_empty_columns_change_no_bit(rows):
    rng = np.random.default_rng(8)
    x, y = holed(rng, (50, 33)), holed(rng, (50, 33))
    empty = np.full((50, 300), np.nan)
    np.testing.assert_array_equal(rows(np.hstack([x, empty]), np.hstack([y, empty])), rows(x, y))


@pytest.mark.parametrize("rows", [pearson_rows, spearman_rows])
def test_the_order_of_symbols_does_not_matter(rows):
    rng = np.random.default_rng(6)
    x, y = holed(rng, (30, 20)), holed(rng, (30, 20))
    order = rng.permutation(20)
    np.testing.assert_allclose(rows(x[:, order], y[:, order]), rows(x, y), atol=1e-14)


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0)])
def test_empty_matrices_give_no_correlation(shape):
    assert np.isnan(pearson_rows(np.empty(shape), np.empty(shape))).all()
    assert spearman_rows(np.empty(shape), np.empty(shape)).shape == (shape[0],)


def test_inputs_are_left_alone_and_may_be_read_only_or_transposed():
    rng = np.random.default_rng(7)
    x, y = holed(rng, (12, 30)).T, holed(rng, (30, 12))
    x.flags.writeable = False
    before = y.copy()
    np.testing.assert_array_equal(spearman_rows(x, y), spearman_rows(np.ascontiguousarray(x), y))
    np.testing.assert_array_equal(y, before)


def test_matrices_of_unequal_shape_are_refused():
    with pytest.raises(PanelError, match="one to one"):
        pearson_rows(np.ones((2, 3)), np.ones((3, 2)))
