"""Laws of the kernels that remember everything: they take a `life`, and are exempt from *local* only."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from tests.kernels import KERNELS
from tests.kernels import arguments as sampled
from tests.laws.test_kernel_laws import matrix, same_bits

SCALARS = {"window": 5, "min_count": 4}
RECURSIVE = sorted(name for name in KERNELS if "life" in inspect.signature(KERNELS[name]).parameters)
OF_VALUES = [name for name in RECURSIVE if name != "count_rows_apart"]


def arguments(name: str, x: np.ndarray, **more: Any) -> list[Any]:
    names = list(inspect.signature(KERNELS[name]).parameters)[:-1]
    return [more.get(p, v) for p, v in zip(names, sampled(name, x, **SCALARS), strict=True)]


def rows(given: list[Any], part: slice | np.ndarray) -> list[Any]:
    return [np.ascontiguousarray(value[part]) if isinstance(value, np.ndarray) else value for value in given]


def one_life(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), np.nan, 1.0)


@pytest.mark.parametrize("name", [*RECURSIVE, "number_lives"])
def test_a_longer_matrix_has_the_same_beginning(name: str) -> None:
    given = arguments(name, matrix())
    whole = KERNELS[name].apply(*given)
    for end in (1, 12, 37, 52):
        assert same_bits(KERNELS[name].apply(*rows(given, slice(end))), whole[:end])


@pytest.mark.parametrize("name", [*RECURSIVE, "number_lives"])
def test_a_column_is_computed_the_same_in_any_company(name: str) -> None:
    wide = np.tile(matrix(), (1, 150))
    whole = KERNELS[name].apply(*arguments(name, wide))
    for j in (0, 1, 1023, 1024, 1049):
        alone = [v[:, j : j + 1].copy() if isinstance(v, np.ndarray) else v for v in arguments(name, wide)]
        assert same_bits(KERNELS[name].apply(*alone), whole[:, j : j + 1])


@pytest.mark.parametrize("name", OF_VALUES)
def test_nothing_is_known_before_the_first_bar_nor_where_there_is_none(name: str) -> None:
    x = matrix()
    x[:15] = np.nan
    found = KERNELS[name].apply(*arguments(name, x))
    assert np.isnan(found[np.isnan(x)]).all()
    assert np.isfinite(found[15:]).any()
    nowhere = KERNELS[name].apply(*arguments(name, matrix(), life=np.full(x.shape, np.nan)))
    assert np.isnan(nowhere).all()


@pytest.mark.parametrize("name", [*OF_VALUES, "number_lives"])
@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_bars_that_are_not_known_change_nothing_after_them(name: str, nothing: float) -> None:
    x = matrix()[:, [0, 4, 5, 6]]
    gone = np.arange(len(x)) % 7 == 3
    returns = np.where((np.arange(len(x)) % 17 == 9)[:, None] | (x == 0.0), np.nan, 0.01)
    life = np.ones(x.shape)
    given = arguments(name, x, life=life, returns=returns)
    for value in given:
        if isinstance(value, np.ndarray) and value is not life and value is not returns:
            value[gone] = nothing
    left = KERNELS[name].apply(*given)[~gone]
    assert same_bits(left, KERNELS[name].apply(*rows(given, ~gone)))


@pytest.mark.parametrize("name", OF_VALUES)
@pytest.mark.parametrize("size", [1.0, 1e17, 1e-300])
def test_a_new_life_remembers_nothing_of_the_one_before(name: str, size: float) -> None:
    x = matrix()
    life = np.where(np.arange(len(x))[:, None] >= 25, 7.0, 3.0) * np.ones(x.shape)
    given = arguments(name, x, life=life)
    for value in given:
        if isinstance(value, np.ndarray) and value is not life:
            value[:25] *= size
    whole = KERNELS[name].apply(*given)
    assert np.isfinite(whole[25:]).any()
    assert same_bits(whole[25:], KERNELS[name].apply(*rows(given, slice(25, None))))


def test_the_life_is_taken_from_the_bar_itself_even_after_a_bar_without_values() -> None:
    x = np.array([[1.0], [2.0], [np.nan], [5.0], [6.0]])
    life = np.array([[1.0], [1.0], [2.0], [2.0], [2.0]])
    assert np.isnan(KERNELS["previous_bar"].apply(x, life)[[0, 2, 3]]).all()
    assert KERNELS["previous_bar"].apply(x, life)[[1, 4], 0].tolist() == [1.0, 5.0]


def test_a_bar_without_return_begins_a_life() -> None:
    nan = np.nan
    close = np.array([nan, 5.0, 6.0, nan, 6.6, 99.0, 98.0, 97.0])[:, None]
    returns = np.array([nan, nan, 0.2, nan, 0.1, nan, nan, -0.01])[:, None]
    life = KERNELS["number_lives"].apply(close, returns)
    np.testing.assert_array_equal(life[:, 0], [nan, 1.0, 1.0, nan, 1.0, 2.0, 3.0, 3.0])
    np.testing.assert_array_equal(KERNELS["count_rows_apart"].apply(life)[:, 0], [nan] * 5 + [1.0, 1.0, 2.0])


def test_no_other_life_is_near_where_each_column_has_one_or_none() -> None:
    nan = np.nan
    one = np.array([[nan, 7.0, nan], [1.0, nan, nan], [1.0, 7.0, nan]])
    assert np.isnan(KERNELS["count_rows_apart"].apply(one)).all()
    two = np.column_stack([one, [2.0, nan, 1.0]])
    np.testing.assert_array_equal(KERNELS["count_rows_apart"].apply(two)[:, 3], [nan, nan, 2.0])
    assert np.isnan(KERNELS["count_rows_apart"].apply(two)[:, :3]).all()
