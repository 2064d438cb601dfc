from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels.cross_section import rank_rows, zscore_rows

NAN = np.nan


def everyone(x: np.ndarray) -> np.ndarray:
    return np.ones(x.shape, dtype=bool)


def test_ranks_are_centred_and_ties_share_their_average() -> None:
    x = np.array([[10.0, 30.0, 20.0, 20.0]])
    assert rank_rows.apply(x, everyone(x)).tolist() == [[0.125, 0.875, 0.5, 0.5]]


def test_a_lone_member_has_one_half_and_outsiders_have_nothing() -> None:
    x = np.array([[NAN, 3.0, 9.0]])
    out = rank_rows.apply(x, np.array([[True, True, False]]))
    assert np.array_equal(out, [[NAN, 0.5, NAN]], equal_nan=True)


def test_ranking_the_negative_mirrors() -> None:
    x = np.round(np.random.default_rng(4).normal(size=(20, 31)), 1)
    np.testing.assert_allclose(rank_rows.apply(-x, everyone(x)), 1.0 - rank_rows.apply(x, everyone(x)), atol=1e-15)


def test_infinities_are_ranked_like_any_number() -> None:
    x = np.array([[np.inf, -np.inf, 0.0]])
    np.testing.assert_allclose(rank_rows.apply(x, everyone(x)), [[5 / 6, 1 / 6, 0.5]])


def test_z_scores_use_the_members_standard_deviation() -> None:
    x = np.array([[1.0, 3.0, 1000.0, NAN]])
    out = zscore_rows.apply(x, np.array([[True, True, False, True]]))
    np.testing.assert_allclose(out, [[-(0.5**0.5), 0.5**0.5, NAN, NAN]])


@pytest.mark.parametrize("row", [[0.1, 0.1, 0.1], [2.0, NAN, NAN], [NAN, NAN, NAN]])
def test_a_row_without_spread_has_no_z_score(row: list[float]) -> None:
    x = np.array([row])
    assert np.isnan(zscore_rows.apply(x, everyone(x))).all()
