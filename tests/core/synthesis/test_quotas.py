import numpy as np
import pytest

from quant_core.synthesis.quotas import assign_seats, best_of, order_within, size_of

A, B, C = 1, 2, 3


def kept(won, sector, *, cap=25, limit=0.4):
    found = assign_seats(np.array(won, dtype=np.int8), np.array(sector, dtype=np.int64), cap=cap, sector_limit=limit)
    return np.select(
        [found.is_kept, found.is_over_sector, found.is_over_cap], ["kept", "sector", "cap"], default="-"
    ).tolist()


@pytest.mark.parametrize(
    ("eligible", "expected"), [(1, (1, 1)), (2, (1, 1)), (3, (1, 1)), (4, (2, 2)), (20, (7, 10)), (500, (15, 25))]
)
def test_without_keys_sizes_follow_the_universe(eligible, expected):
    assert size_of(eligible) == expected


def test_a_given_size_stands_and_the_other_gives_way():
    assert size_of(20, floor=6, cap=10) == (6, 10)
    assert size_of(20, floor=15) == (15, 15)
    assert size_of(500, cap=4) == (4, 4)
    assert size_of(0) == (0, 1)


def test_the_best_of_a_code_is_its_first_row_among_those_asked():
    codes = np.array([2, 1, 2, 1, 3])
    assert best_of(codes, np.array([False, True, True, True, False])).tolist() == [False, True, True, False, False]
    assert best_of(codes[:0], np.zeros(0, dtype=bool)).tolist() == []


def test_order_counts_rows_before_under_the_same_code():
    codes = np.array([2, 1, 2, 2, 1])
    assert order_within(codes, np.array([True, True, False, True, True])).tolist() == [0, 0, 0, 1, 1]
    assert order_within(codes, np.zeros(5, dtype=bool)).tolist() == [0] * 5


def test_of_one_stage_the_cap_keeps_the_best_convictions():
    assert kept([1, 0, 1, 1], [0] * 4, cap=2) == ["kept", "-", "kept", "cap"]


def test_a_later_stage_takes_no_seat_from_an_earlier_one_whatever_its_conviction():
    assert kept([3, 2, 1, 1], [0] * 4, cap=2) == ["cap", "cap", "kept", "kept"]
    assert kept([4, 3, 2, 1], [0] * 4, cap=3) == ["cap", "kept", "kept", "kept"]


def test_a_sector_has_at_most_its_share_of_the_final_selection():
    # Five recruits of A and five others: 40 % of 9 is 3, and 3 A + 5 others are 8, of which 3 may be A.
    assert kept([1] * 10, [A] * 5 + [B, B, C, C, C]) == ["kept"] * 3 + ["sector"] * 2 + ["kept"] * 5


def test_an_unknown_sector_is_exempt_but_counts_as_seats():
    assert kept([1] * 5, [A, A, A, 0, 0]) == ["kept", "sector", "sector", "kept", "kept"]
    assert kept([1] * 4, [0] * 4) == ["kept"] * 4


def test_one_seat_is_always_allowed():
    assert kept([1, 1], [A, B]) == ["kept", "kept"]
    assert kept([1, 1, 1], [A, A, A]) == ["kept", "sector", "sector"]


def test_within_a_sector_an_earlier_stage_comes_before_conviction():
    assert kept([2, 1, 1, 1, 1], [A, A, 0, 0, 0], limit=0.2) == ["sector", "kept", "kept", "kept", "kept"]


def test_a_share_that_is_a_whole_number_of_seats_is_not_rounded_away():
    assert 0.29 * 100 < 29
    assert kept([1] * 100, [A] * 29 + [0] * 71, cap=100, limit=0.29) == ["kept"] * 100


def test_sector_limit_and_cap_hold_together():
    # Cap 5 allows 2 of A; the third A is over its sector, the last unknown over the cap.
    assert kept([1] * 7, [A, A, A, 0, 0, 0, 0], cap=5) == ["kept"] * 2 + ["sector"] + ["kept"] * 3 + ["cap"]
