"""Cross-sectional kernels against scipy and numpy: other people's code, whole panels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from quant_core.kernels.cross_section import (
    neutralise_rows,
    rank_rows,
    rank_share_rows,
    scale_rows,
)

RNG = np.random.default_rng(5)


def everyone(x: np.ndarray) -> np.ndarray:
    return np.ones(x.shape, dtype=bool)


def with_gaps(x: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(6).random(x.shape) < 0.2, np.nan, x)


SHAPES = {
    "ties": lambda shape: RNG.normal(size=shape).round(1),
    "heavy tails": lambda shape: RNG.standard_cauchy(shape) * 1e3,
    "prices": lambda shape: np.exp(RNG.normal(0.0, 2.0, shape)),
    "signed zeros": lambda shape: RNG.choice([-0.0, 0.0, 1e-320, -1e-320], shape),
    "infinities": lambda shape: RNG.choice([-np.inf, -1.0, 2.0, np.inf], shape),
    "one far away": lambda shape: np.where(np.arange(shape[1]) == 3, -1e300, 1e9 + RNG.random(shape) * 1e-4),
    "equal": np.ones,
    "ascending": lambda shape: np.tile(np.arange(shape[1], dtype=float), (shape[0], 1)),
    "descending": lambda shape: -np.tile(np.arange(shape[1], dtype=float), (shape[0], 1)),
}


@pytest.mark.parametrize("columns", [1, 2, 5, 130, 1030, 4100])
@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_ranks_are_those_of_scipy_to_the_last_bit(kind: str, columns: int) -> None:
    x = with_gaps(SHAPES[kind]((4, columns)))
    ranks, n = rankdata(x, axis=1, nan_policy="omit"), np.sum(~np.isnan(x), axis=1, keepdims=True)
    np.testing.assert_array_equal(rank_share_rows.apply(x, everyone(x)), np.where(np.isnan(x), np.nan, ranks / n))
    np.testing.assert_array_equal(rank_rows.apply(x, everyone(x)), np.where(np.isnan(x), np.nan, (ranks - 0.5) / n))


def test_ranks_are_the_same_bits_in_any_order_of_columns() -> None:
    x, order = with_gaps(RNG.normal(size=(6, 500)).round(2)), RNG.permutation(500)
    moved = rank_rows.apply(np.ascontiguousarray(x[:, order]), everyone(x))
    np.testing.assert_array_equal(moved, rank_rows.apply(x, everyone(x))[:, order])


def test_absolute_values_of_a_scaled_row_add_up_to_one() -> None:
    out = scale_rows.apply(with_gaps(RNG.normal(size=(8, 300))), np.ones((8, 300), dtype=bool))
    np.testing.assert_allclose(np.nansum(np.abs(out), axis=1), 1.0, rtol=1e-14)


def least_squares(x: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Residuals row by row; design: [K, T, N]."""
    out = np.full(x.shape, np.nan)
    for t in range(x.shape[0]):
        columns = np.column_stack([np.ones(x.shape[1]), *design[:, t]])
        known = ~np.isnan(x[t]) & ~np.isnan(columns).any(axis=1)
        weights = np.linalg.lstsq(columns[known], x[t, known], rcond=None)[0]
        out[t, known] = x[t, known] - columns[known] @ weights
    return out


def test_groups_are_the_dummies_of_a_regression() -> None:
    shape = (4, 80)
    x, groups = RNG.normal(size=shape), RNG.integers(0, 5, shape)
    dummies = np.stack([(groups == k).astype(float) for k in range(4)])
    alone = neutralise_rows.apply(x, everyone(x), groups)
    np.testing.assert_allclose(alone, least_squares(x, dummies), atol=1e-12)


def test_the_only_member_of_a_group_has_nothing_left() -> None:
    x, groups = np.array([[0.1, 0.2, 0.4]]), np.array([[0, 1, 1]])
    np.testing.assert_allclose(neutralise_rows.apply(x, everyone(x), groups), [[0.0, -0.1, 0.1]], atol=1e-16)
