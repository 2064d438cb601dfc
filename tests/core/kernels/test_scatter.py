from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from quant_core.kernels.columns import fill_column
from quant_core.kernels.scatter import (
    TILE,
    copy_rows,
    count_shared_rows,
    count_shared_values,
    fill_matrix,
    fill_returns,
    find_changes,
    first_row,
    is_in_order,
    mark_days,
    number_days,
)

NAN, INF = float("nan"), float("inf")


LIVES = NAN
"""In place of a share of cells: each symbol has all its rows in one stretch, begun and ended at random."""


def long_table(symbols: int, dates: int, share: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cells that have a row, the date of each row and where each symbol begins."""
    rng = np.random.default_rng(seed)
    is_there = rng.random((symbols, dates)) < share
    if np.isnan(share):
        first, last = np.sort(rng.integers(0, dates, (2, symbols, 1)), axis=0)
        is_there = (np.arange(dates) >= first) & (np.arange(dates) <= last)
    is_there[:, 0] |= ~is_there.any(axis=1)
    row = np.nonzero(is_there)[1].astype(np.int32)
    return is_there, row, np.append(0, np.cumsum(is_there.sum(axis=1)))


@pytest.mark.parametrize("share", [1.0, 0.97, 0.3, 0.0, LIVES])
@pytest.mark.parametrize(("symbols", "dates"), [(1, 1), (3, 64), (8, 700), (32, 40), (70, 200), (130, 65)])
@pytest.mark.parametrize("top", [0, 17])
def test_rows_go_into_cells_and_back(share: float, symbols: int, dates: int, top: int) -> None:
    is_there, row, starts = long_table(symbols, dates, share)
    rng = np.random.default_rng(4)
    column, members = rng.normal(size=row.size), rng.permutation(symbols)
    matrix = np.full((max(dates - top, 0), symbols), 99.0)
    fill_matrix(column, -INF, row, starts, members, top, matrix)

    whole = np.full((symbols, dates), NAN)
    whole[is_there] = column
    np.testing.assert_array_equal(matrix, whole[members].T[top:])

    since = rng.integers(0, dates + 1, symbols)
    back, known = np.full(row.size, 7.0), np.zeros(row.size, dtype=bool)
    fill_column(matrix, row, starts, members, since[members], top, back, known)
    is_written = row >= np.maximum(top, np.repeat(since, np.diff(starts)))
    np.testing.assert_array_equal(back, np.where(is_written, column, 7.0))
    np.testing.assert_array_equal(known, is_written)


def test_what_is_no_number_of_its_kind_is_not_known() -> None:
    row, starts, members = np.arange(6, dtype=np.int32), np.array([0, 6]), np.array([0])
    matrix, back = np.empty((6, 1)), np.empty(6)
    fill_matrix(np.array([1.0, 0.0, -1.0, INF, -INF, NAN]), 0.0, row, starts, members, 0, matrix)
    np.testing.assert_array_equal(matrix[:, 0], [1.0, 0.0, NAN, NAN, NAN, NAN])
    cells, known = np.array([[1.0], [0.0], [-1.0], [INF], [-INF], [NAN]]), np.empty(6, dtype=bool)
    fill_column(cells, row, starts, members, np.array([0]), 0, back, known)
    np.testing.assert_array_equal(back, [1.0, 0.0, -1.0, NAN, NAN, NAN])
    np.testing.assert_array_equal(known, [True] * 3 + [False] * 3)
    back[:] = 9.0
    fill_column(cells, row, starts, members, np.array([4]), 0, back, known[:0])
    np.testing.assert_array_equal(back, [9.0, 9.0, 9.0, 9.0, NAN, NAN])


@pytest.mark.parametrize("is_told", [True, False])
def test_eight_symbols_without_a_missing_row_hold_no_infinity_either(is_told: bool) -> None:
    cells = np.random.default_rng(2).normal(size=(90, 16))
    cells[[3, 40, 89], [0, 9, 15]] = INF, -INF, NAN
    row, starts = np.tile(np.arange(90, dtype=np.int32), 16), np.arange(17) * 90
    members = np.random.default_rng(6).permutation(16)
    back, known = np.empty(row.size), np.zeros(row.size if is_told else 0, dtype=bool)
    fill_column(cells, row, starts, members, np.zeros(16, dtype=np.int64), 0, back, known)
    expected = np.where(np.isfinite(cells), cells, NAN)[:, np.argsort(members)].T.ravel()
    np.testing.assert_array_equal(back, expected)
    np.testing.assert_array_equal(known, ~np.isnan(expected)[: known.size])


@pytest.mark.parametrize("day", range(9))
def test_the_first_row_from_a_date_on(day: int) -> None:
    row = np.array([9, 1, 3, 3, 7, 0], dtype=np.int32)
    assert first_row(row, 1, 5, day) == 1 + np.searchsorted(row[1:5], day)


@pytest.mark.parametrize("share_unknown", [0.0, 0.05])
@pytest.mark.parametrize("marks", ["both", "life", "is_open", "none"])
def test_returns_along_rows_are_those_of_the_definition(marks: str, share_unknown: float) -> None:
    rng = np.random.default_rng(8)
    _, row, starts = long_table(20, 120, 0.9)
    close = np.exp(rng.normal(size=row.size))
    close[rng.random(row.size) < share_unknown] = NAN
    life = (row > 60) * np.repeat(rng.random(20) < 0.5, np.diff(starts)) * float(marks in {"both", "life"})
    is_open = (rng.random(row.size) < 0.02) * float(marks in {"both", "is_open"})
    given = [life if life.any() else life[:0], is_open if is_open.any() else is_open[:0]]
    found = np.empty(row.size)
    fill_returns(close, *given, starts[:8], found)
    fill_returns(close, *given, starts[7:], found)
    pairs = itertools.pairwise(starts)
    expected = [returns_of(close[low:high], life[low:high], is_open[low:high]) for low, high in pairs]
    np.testing.assert_array_equal(found, np.concatenate(expected))


def returns_of(close: np.ndarray, life: np.ndarray, is_open: np.ndarray) -> list[float]:
    found = []
    for k, price in enumerate(close):
        earlier = [i for i in range(k) if not math.isnan(close[i])]
        is_known = not math.isnan(price) and earlier and life[earlier[-1]] == life[k] and not is_open[k]
        found.append(price / close[earlier[-1]] - 1.0 if is_known else NAN)
    return found


def test_no_return_crosses_lives_or_belongs_to_an_open_jump() -> None:
    close, found = np.array([10.0, 11.0, 1.0, NAN, 2.0, 40.0]), np.empty(6)
    life, is_open = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    fill_returns(close, life, is_open, np.array([0, 6]), found)
    np.testing.assert_allclose(found, [NAN, 0.1, NAN, NAN, 1.0, NAN])


def test_a_price_that_is_no_price_has_no_return() -> None:
    close, zeros = np.array([1.0, 0.0, -3.0, INF, 2.0]), np.zeros(5)
    found = np.empty(5)
    fill_returns(close, zeros, zeros, np.array([0, 5]), found)
    np.testing.assert_array_equal(found, [NAN, NAN, NAN, NAN, 1.0])


def test_rows_and_values_shared_with_an_older_table_are_counted_from_the_first() -> None:
    old_row, old_starts = np.array([0, 1, 2, 0, 1, 3], dtype=np.int32), np.array([0, 3, 6])
    row, starts = np.array([0, 1, 2, 3, 1, 2, 0, 1], dtype=np.int32), np.array([0, 4, 6, 8])
    before, kept = np.array([0, -1, 1]), np.empty(3, dtype=np.int64)
    count_shared_rows(old_row, old_starts, row, starts, before, 99, kept)
    assert kept.tolist() == [3, 0, 2]
    count_shared_rows(old_row, old_starts, row, starts, before, 1, kept)
    assert kept.tolist() == [1, 0, 1]

    old = np.array([5.0, NAN, 0.0, 5.0, 6.0, 7.0])
    new = np.array([5.0, NAN, -0.0, 1.0, 1.0, 1.0, 5.0, NAN])
    kept = np.array([3, 0, 2])
    count_shared_values(old, old_starts, new, starts, before, kept)
    assert kept.tolist() == [2, 0, 1]

    out, known = np.full(8, 9.0), np.zeros(8, dtype=bool)
    copy_rows(old, np.empty(0, dtype=bool), old_starts, starts, before, kept, out, known)
    np.testing.assert_array_equal(out, [5.0, NAN, 9.0, 9.0, 9.0, 9.0, 5.0, 9.0])
    assert known.tolist() == [True, True, False, False, False, False, True, False]
    copy_rows(old, np.array([True, False, True, False, True, True]), old_starts, starts, before, kept, out, known)
    np.testing.assert_array_equal(out, [5.0, NAN, 9.0, 9.0, 9.0, 9.0, NAN, 9.0])
    assert known.tolist() == [True] + [False] * 7


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_days_that_come_are_marked_and_numbered(kind: type) -> None:
    is_there, stamps = np.zeros(6, dtype=bool), np.array([14, 10, 14, 11], dtype=kind)
    mark_days(stamps, 10, is_there)
    assert is_there.tolist() == [True, True, False, False, True, False]
    row = np.empty(4, dtype=np.int32)
    number_days(stamps, 10, np.array([0, 1, 1, 1, 2, 2], dtype=np.int32), row)
    assert row.tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize(
    ("starts", "row", "answer"),
    [
        ([0], [], True),
        ([0, 2, 3, 4], [3, 5, 0, 0], True),
        ([0, 2], [3, 3], False),
        ([0, 2], [3, 2], False),
        ([0, 1, 2], [1, 0], True),
    ],
)
def test_rows_stand_in_order_without_twins(starts: list[int], row: list[int], answer: bool) -> None:
    assert is_in_order(np.array(row, dtype=np.int32), np.array(starts)) == answer


def test_rows_whose_words_change_are_found_and_counted_beyond_what_they_fit_in() -> None:
    words = np.array([[1, 2], [1, 2], [1, 3], [2, 3], [2, 3], [0, 0]], dtype=np.uint64)
    first = np.full(4, -1)
    assert find_changes(words, first) == 4
    assert first.tolist() == [0, 2, 3, 5]
    assert find_changes(words, first[:2]) == 4
    assert find_changes(words[:0], first) == 0
    assert find_changes(np.zeros((2, 2), dtype=np.uint64), first) == 1


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("row", [1, TILE - 1, TILE, TILE + 1, 2 * TILE, 2 * TILE + 6])
def test_a_change_is_found_wherever_in_a_long_table_it_stands(row: int, column: int) -> None:
    words, first = np.ones((2 * TILE + 7, 2), dtype=np.uint64), np.full(4, -1)
    words[row, column] = 2
    ends = [row + 1] if row + 1 < len(words) else []
    assert find_changes(words, first) == 2 + len(ends)
    assert first[: 2 + len(ends)].tolist() == [0, row, *ends]
