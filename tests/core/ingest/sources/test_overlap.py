from datetime import date, timedelta
from math import inf

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.ingest.sources.overlap import VALUES, changed_rows, remembered_rows, restatement

FIRST = date(2024, 1, 1)


def rows(closes: list[float | None], first: date = FIRST) -> pl.DataFrame:
    days = [first + timedelta(days=k) for k in range(len(closes))]
    return pl.DataFrame(
        {"date": days, "symbol": ["A:X"] * len(closes), **dict.fromkeys(VALUES, closes)},
        schema={"date": pl.Date, "symbol": pl.String, **dict.fromkeys(VALUES, pl.Float64)},
    )


def test_the_last_rows_are_remembered_and_the_last_of_one_date_counts() -> None:
    assert remembered_rows(rows([1.0, 2.0, None]), 2) == "2024-01-02 2 2 2 2 2;2024-01-03 - - - - -"
    twice = pl.concat([rows([1.0, 2.0]), rows([3.0])])
    assert remembered_rows(twice, 5) == "2024-01-01 3 3 3 3 3;2024-01-02 2 2 2 2 2"
    assert remembered_rows(rows([1.0]), 0) == ""


prices = st.lists(st.none() | st.floats(1e-8, 1e12), min_size=1, max_size=8)


@given(prices, st.integers(0, 8))
def test_what_is_remembered_does_not_change_and_everything_else_is_new(closes: list[float | None], count: int) -> None:
    table = rows(closes)
    kept = changed_rows(table, remembered_rows(table, count))
    assert kept.equals(table.head(max(len(closes) - count, 0)))
    assert restatement(table, remembered_rows(table, count)) == 0.0


@pytest.mark.parametrize(
    ("was", "now", "change"),
    [
        (100.0, 50.0, 0.5),
        (100.0, 101.0, 0.01),
        (100.0, 100.00001, 0.0),
        (100.0, None, inf),
        (None, 1.0, inf),
        (0.0, 1.0, inf),
    ],
)
def test_a_restated_close_is_measured(was: float | None, now: float | None, change: float) -> None:
    remembered = remembered_rows(rows([was, 7.0]), 2)
    assert restatement(rows([now, 7.0]), remembered) == pytest.approx(change)
    assert changed_rows(rows([now, 7.0]), remembered).height == (1 if change else 0)


def test_one_value_that_changed_brings_its_row_again() -> None:
    table = rows([1.0, 2.0])
    corrected = table.with_columns(volume=pl.Series([1.0, 9.0]))
    assert changed_rows(corrected, remembered_rows(table, 2)).equals(corrected.tail(1))
    assert restatement(corrected, remembered_rows(table, 2)) == 0.0


def test_of_two_rows_of_one_date_the_changed_one_stays() -> None:
    table = pl.concat([rows([1.0]), rows([2.0])])
    assert changed_rows(table, remembered_rows(rows([1.0]), 1))["close"].to_list() == [2.0]
    assert changed_rows(table, "").equals(table)
