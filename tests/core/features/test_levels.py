from __future__ import annotations

import inspect

import numpy as np

from quant_core.features.levels import lives_apart, stays_of

NAN = np.nan


def move_over_two(x: np.ndarray) -> np.ndarray:
    out = np.full(x.shape, NAN)
    out[2:] = x[2:] - x[:-2]
    return out


def test_a_window_does_not_reach_into_another_life() -> None:
    x = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0], [7.0, 7.0], [11.0, 11.0]])
    life = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    found = lives_apart(3)(move_over_two)(x, life)
    np.testing.assert_array_equal(found, [[NAN, NAN], [NAN, NAN], [3.0, NAN], [5.0, NAN], [7.0, 7.0]])
    assert x[0, 1] == 1.0, "no input is written to"


def test_a_function_of_columns_that_meet_sees_each_life_once() -> None:
    def members(x: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(x), NAN, np.sum(~np.isnan(x), axis=1, keepdims=True))

    life = np.array([[1.0, 1.0, NAN], [2.0, 1.0, 1.0], [NAN, 2.0, 1.0]])
    found = lives_apart(2)(members)(np.where(np.isnan(life), NAN, 5.0), life)
    np.testing.assert_array_equal(found, [[2.0, 2.0, NAN], [3.0, 3.0, 3.0], [NAN, 2.0, 2.0]])


def test_lives_far_enough_apart_share_a_column() -> None:
    life = np.repeat([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [3.0, 2.0]], 4, axis=0)
    asides = {reach: [(stay.column, stay.aside) for stay in stays_of(life, reach)] for reach in (1, 2, 5, 6)}
    assert asides == {1: [], 2: [(0, 1), (1, 1)], 5: [(0, 1), (1, 1)], 6: [(0, 1), (0, 2), (1, 1)]}
    assert stays_of(np.full((3, 2), NAN), 2) == stays_of(np.empty((0, 2)), 2) == []


def test_sums_over_a_row_go_by_the_same_order_wherever_its_rows_begin() -> None:
    def totals(x: np.ndarray) -> np.ndarray:
        total = np.zeros(len(x))
        for member in x.T:
            total = total + np.nan_to_num(member)
        return np.where(np.isnan(x), NAN, total[:, None])

    x = np.random.default_rng(2).normal(size=(9, 30))
    life = np.ones(x.shape)
    life[4:, 7] = 2.0
    whole = lives_apart(5)(totals)(x, life)
    np.testing.assert_array_equal(whole, totals(x))
    np.testing.assert_array_equal(whole[5:], lives_apart(5)(totals)(x[5:], life[5:]))


def test_the_function_names_life_as_its_last_input() -> None:
    made = lives_apart(3)(move_over_two)
    assert list(inspect.signature(made).parameters) == ["x", "life"]
    assert made.__module__ == move_over_two.__module__
