from __future__ import annotations

import numpy as np
import pytest

from quant_core.features.alpha101_operators import (
    choose,
    correlation,
    decay_linear,
    delay,
    delta,
    divide,
    equal,
    less,
    log,
    power,
    rank,
    scale,
    signed_power,
    ts_argmax,
    ts_rank,
)
from tests.builders import column

NAN = np.nan


def row(*values: float) -> np.ndarray:
    return np.array([values], dtype=float)


def same(found: np.ndarray, *expected: float) -> bool:
    return np.array_equal(found.ravel(), expected, equal_nan=True)


def test_the_highest_of_a_row_ranks_one_and_equals_share() -> None:
    assert same(rank(row(3.0, 1.0, NAN, 1.0, 9.0)), 0.75, 0.375, NAN, 0.375, 1.0)


def test_two_moves_by_a_tick_are_equal() -> None:
    moves = row(20.05 - 20.0, 100.05 - 100.0, 0.06)
    assert moves[0, 0] != moves[0, 1]
    assert same(rank(moves), 0.5, 0.5, 1.0)
    assert same(less(moves[:, :1], moves[:, 1:2]), 0.0)
    assert same(equal(moves[:, :1], moves[:, 1:2]), 1.0)
    assert same(ts_rank(column(20.05 - 20.0, 100.05 - 100.0), 2), NAN, 0.75)


def test_what_is_not_known_stays_so_through_comparisons_choices_and_powers() -> None:
    assert same(less(row(1.0, NAN, 2.0), row(2.0, 2.0, NAN)), 1.0, NAN, NAN)
    assert same(choose(row(1.0, 0.0, NAN, 1.0), row(5.0, NAN, 5.0, NAN), -1.0), 5.0, -1.0, NAN, NAN)
    assert same(power(row(1.0, NAN, 4.0), row(NAN, 0.0, 0.5)), NAN, NAN, 2.0)
    assert same(signed_power(row(-3.0, 2.0, NAN), 2), -9.0, 4.0, NAN)


def test_a_quotient_by_zero_and_a_logarithm_of_nothing_are_not_known() -> None:
    with np.errstate(all="raise", divide="ignore", invalid="ignore"):
        assert same(divide(row(1.0, 0.0, 6.0), row(0.0, 0.0, 3.0)), NAN, NAN, 2.0)
        assert same(log(row(1.0, 0.0, -1.0)), 0.0, NAN, NAN)


@pytest.mark.parametrize("days", [2, 2.0, 2.99])
def test_a_fraction_of_a_day_is_dropped(days: float) -> None:
    x = column(1.0, 4.0, 9.0)
    assert same(delay(x, days), NAN, NAN, 1.0)
    assert same(delta(x, days), NAN, NAN, 8.0)
    assert same(decay_linear(x, days), NAN, 3.0, 22.0 / 3.0)


def test_a_delay_longer_than_the_rows_leaves_nothing() -> None:
    assert same(delay(column(1.0, 2.0), 5), NAN, NAN)


def test_the_place_of_an_extreme_counts_from_today() -> None:
    assert same(ts_argmax(column(1.0, 5.0, 2.0, 5.0), 3), NAN, NAN, 1.0, 2.0)
    assert same(ts_argmax(column(1.0, NAN, 0.0), 3, least=1), 0.0, 1.0, 2.0)


def test_a_correlation_over_two_bars_is_one_or_minus_one() -> None:
    x, y = column(101.3, 101.1, 101.1), column(5.1e6, 5.3e6, 5.2e6)
    assert same(correlation(x, y, 2), NAN, -1.0, NAN)


def test_a_scaled_row_keeps_its_signs() -> None:
    assert same(scale(row(-1.0, 3.0, NAN)), -0.25, 0.75, NAN)
