import numpy as np
import pytest
from scipy import stats

from quant_core.alpha.score_maps import FLOOR, SCORE_MAPS, cdf, logistic, minmax, rank, rank_desc, zscore
from quant_core.errors import UnknownNameError

EVERY_MAP = pytest.mark.parametrize("score_map", SCORE_MAPS.values(), ids=lambda m: m.name)
nan = np.nan


def cross_sections(seed, shape=(20, 15), share=0.2):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    values[::4] = np.round(values[::4])
    values[rng.random(shape) < share] = nan
    return values, rng.random(shape) < 0.8


def everybody(values):
    return np.ones(values.shape, dtype=np.bool_)


def test_ranks_worked_out_by_hand_with_a_tie_and_an_unknown_value():
    values = np.array([[3.0, 1.0, nan, 3.0, 2.0]])
    np.testing.assert_array_equal(rank(values, everybody(values)), [[0.75, 0.125, nan, 0.75, 0.375]])
    np.testing.assert_array_equal(rank_desc(values, everybody(values)), [[0.25, 0.875, nan, 0.25, 0.625]])


def test_ranks_equal_scipy_among_known_members():
    values, mask = cross_sections(1)
    found = rank(values, mask)
    for t in range(len(values)):
        held = mask[t] & ~np.isnan(values[t])
        np.testing.assert_allclose(found[t, held], (stats.rankdata(values[t, held]) - 0.5) / held.sum(), atol=1e-15)


def test_maps_of_the_z_score_worked_out_by_hand():
    values = np.array([[1.0, 2.0, 3.0]])  # mean 2, standard deviation 1 with ddof 1: z is -1, 0, 1
    full = everybody(values)
    np.testing.assert_allclose(cdf(values, full), [[0.15865525393145707, 0.5, 0.8413447460685429]], rtol=1e-14)
    np.testing.assert_allclose(logistic(values, full), [[1 / (1 + np.e), 0.5, np.e / (1 + np.e)]], rtol=1e-14)
    np.testing.assert_allclose(zscore(values, full), [[2 / 6, 0.5, 4 / 6]], rtol=1e-14)


def test_the_linear_map_runs_from_lowest_to_highest_member():
    values = np.array([[10.0, 20.0, 15.0, 99.0]])
    mask = np.array([[True, True, True, False]])
    np.testing.assert_allclose(minmax(values, mask), [[FLOOR, 1 - FLOOR, 0.5, nan]])
    widest = np.array([[-1.7e308, 1.7e308, 0.0]])
    np.testing.assert_allclose(minmax(widest, everybody(widest)), [[FLOOR, 1 - FLOOR, 0.5]])


@EVERY_MAP
def test_the_map_of_minus_x_is_one_minus_the_map_of_x(score_map):
    values, mask = cross_sections(2)
    np.testing.assert_allclose(score_map(-values, mask), 1.0 - score_map(values, mask), atol=1e-12)


@EVERY_MAP
def test_probabilities_stay_inside_zero_and_one_even_with_an_outlier(score_map):
    values = np.concatenate([np.random.default_rng(3).standard_normal(499), [1e12]])[None, :]
    found = score_map(values, everybody(values))
    assert found.min() > 0.0
    assert found.max() < 1.0


@EVERY_MAP
def test_only_known_members_have_a_probability(score_map):
    values, mask = cross_sections(4)
    np.testing.assert_array_equal(np.isnan(score_map(values, mask)), ~mask | np.isnan(values))


@EVERY_MAP
def test_who_is_outside_the_mask_changes_nothing(score_map):
    values, mask = cross_sections(5)
    other = np.where(mask, values, 1e6)
    np.testing.assert_array_equal(score_map(other, mask), score_map(values, mask))


@EVERY_MAP
def test_a_date_does_not_depend_on_other_dates(score_map):
    values, mask = cross_sections(6)
    np.testing.assert_array_equal(score_map(values[:7], mask[:7]), score_map(values, mask)[:7])


@EVERY_MAP
def test_the_order_of_symbols_permutes_the_answer(score_map):
    values, mask = cross_sections(7)
    order = np.random.default_rng(8).permutation(values.shape[1])
    permuted = score_map(np.ascontiguousarray(values[:, order]), np.ascontiguousarray(mask[:, order]))
    np.testing.assert_allclose(permuted, score_map(values, mask)[:, order], atol=1e-13)


@EVERY_MAP
def test_a_lone_member_and_equal_members_have_one_half(score_map):
    values = np.array([[7.0, nan, nan], [0.3, 0.3, 0.3]])
    np.testing.assert_array_equal(score_map(values, everybody(values)), [[0.5, nan, nan], [0.5, 0.5, 0.5]])


@EVERY_MAP
def test_an_empty_cross_section_gives_nothing(score_map):
    assert score_map(np.empty((3, 0)), np.empty((3, 0), dtype=np.bool_)).shape == (3, 0)
    assert np.isnan(score_map(np.full((2, 3), nan), np.ones((2, 3), dtype=np.bool_))).all()


@pytest.mark.parametrize("name", ["rank", "cdf", "logistic", "zscore", "minmax"])
def test_a_larger_value_is_never_mapped_lower(name):
    values = np.sort(np.random.default_rng(9).standard_normal((5, 30)), axis=1)
    assert (np.diff(SCORE_MAPS[name](values, everybody(values)), axis=1) >= 0).all()


def test_an_unknown_map_is_an_error_with_the_near_matches():
    assert set(SCORE_MAPS) == {"rank", "rank_desc", "cdf", "logistic", "zscore", "minmax"}
    with pytest.raises(UnknownNameError, match="logistic"):
        SCORE_MAPS["logistics"]
