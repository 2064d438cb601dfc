from __future__ import annotations

import math

import numpy as np
import pytest

from quant_core.kernels.complexity import move_permutation_entropy, move_tied_patterns, move_turbulence
from tests.builders import column

NAN = np.nan


def test_entropy_counts_the_orders_of_neighbours() -> None:
    # Bandt & Pompe's example: 4 < 7 < 9, 7 < 9 < 10 rise; 9 10 6 and 6 11 3 have their last lowest; 10 6 11 its middle.
    x = column(4.0, 7.0, 9.0, 10.0, 6.0, 11.0, 3.0)
    bits = -(2 * 0.4 * math.log2(0.4) + 0.2 * math.log2(0.2))
    assert move_permutation_entropy.apply(x, 7, 3, 5)[6, 0] == pytest.approx(bits / math.log2(6), abs=1e-12)


def test_orders_that_come_equally_often_have_entropy_one_and_a_single_one_zero() -> None:
    assert move_permutation_entropy.apply(column(1.0, 2.0, 1.0), 3, 2, 2)[2, 0] == pytest.approx(1.0, abs=1e-12)
    assert move_permutation_entropy.apply(column(1.0, 2.0, 3.0), 3, 2, 2)[2, 0] == 0.0


def test_equal_values_are_ranked_by_their_rows() -> None:
    x = column(1.0, 1.0, 1.0, 2.0, 3.0, 3.0)
    assert move_permutation_entropy.apply(x, 6, 3, 4)[5, 0] == 0.0
    # Of the patterns 111, 112, 123 and 133 three hold equal values.
    assert move_tied_patterns.apply(x, 6, 3, 4)[5, 0] == 0.75


def test_a_gap_takes_the_patterns_it_is_in_and_no_pattern_is_no_number() -> None:
    x = column(1.0, 2.0, NAN, 4.0, 3.0, 5.0)
    assert move_permutation_entropy.apply(x, 6, 2, 3)[5, 0] == pytest.approx(0.918295834, abs=1e-9)
    assert np.isnan(move_permutation_entropy.apply(x, 6, 2, 4)).all()
    assert np.isnan(move_permutation_entropy.apply(column(1.0, NAN, 2.0, NAN, 1.0), 5, 2, 0)).all()
    assert np.isnan(move_permutation_entropy.apply(column(1.0, 2.0, 3.0), 2, 3, 0)).all()


@pytest.mark.parametrize("order", [2, 3, 4, 5, 6, 7])
def test_every_order_of_neighbours_has_a_number_of_its_own(order: int) -> None:
    # A row of all orders, a gap between them: as many patterns as orders, each once.
    from itertools import permutations

    rows = [value for pattern in permutations(range(order)) for value in (*pattern, NAN)]
    found = move_permutation_entropy.apply(column(*rows), len(rows), order, 1)[-1, 0]
    assert found == pytest.approx(1.0, abs=1e-12)


def test_turbulence_is_one_for_reversals_and_zero_for_a_steady_drift() -> None:
    assert move_turbulence.apply(column(1.0, -1.0, 1.0, -1.0), 4, 1, 4)[3, 0] == 1.0
    assert move_turbulence.apply(column(2.0, 2.0, 2.0, 2.0), 4, 2, 4)[3, 0] == 0.0
    # (1, 3): smooth 16 / 2 of an energy of 10.
    assert move_turbulence.apply(column(1.0, 3.0), 2, 1, 2)[1, 0] == pytest.approx(0.2)
    assert np.isnan(move_turbulence.apply(np.zeros((4, 1)), 4, 1, 4)).all()


def test_turbulence_leaves_out_a_block_with_a_gap() -> None:
    x = column(1.0, NAN, 1.0, 3.0)
    assert move_turbulence.apply(x, 4, 1, 2)[3, 0] == pytest.approx(0.2)
    assert np.isnan(move_turbulence.apply(x, 4, 1, 3)).all()
