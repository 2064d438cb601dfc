from datetime import date

import numpy as np
import polars as pl
import pytest

from quant_core.report.series import (
    OTHER,
    POINTS,
    STEPS,
    Stack,
    average_steps,
    calendar_returns,
    curves,
    drawdown,
    rolling_sharpe,
    span,
    stack_parts,
    steps_per_point,
    thin,
)


def test_a_short_series_is_not_thinned():
    assert thin(np.arange(POINTS, dtype=float)).tolist() == list(range(POINTS))


@pytest.mark.parametrize("size", [1_001, 4_000, 13_000])
def test_thinning_keeps_the_ends_and_every_extreme_within_the_limit(size):
    values = np.random.default_rng(size).standard_normal(size)
    values[777], values[900] = 99.0, -99.0
    kept = thin(values)
    assert kept.size <= POINTS
    assert kept[0] == 0
    assert kept[-1] == size - 1
    assert {777, 900} <= set(kept.tolist())
    assert np.all(np.diff(kept) > 0)


def test_drawdown_is_the_fall_from_the_last_high():
    assert drawdown(np.array([1.0, 2.0, 1.0, 3.0, 0.0])).tolist() == [0.0, 0.0, -0.5, 0.0, -1.0]


def test_rolling_sharpe_is_mean_over_deviation_of_its_window_only():
    returns = np.array([0.5, 0.01, 0.03, 0.02, 0.04])
    found = rolling_sharpe(returns, window=3, periods_per_year=252)
    expected = np.mean([0.03, 0.02, 0.04]) / np.std([0.03, 0.02, 0.04], ddof=1) * np.sqrt(252)
    assert np.isnan(found[:2]).all()
    assert found[4] == pytest.approx(expected, rel=1e-12)


def test_rolling_sharpe_of_constant_returns_is_not_known():
    assert np.isnan(rolling_sharpe(np.full(10, 0.01), window=5, periods_per_year=252)).all()


def test_rolling_sharpe_of_too_few_returns_is_not_known():
    assert np.isnan(rolling_sharpe(np.array([0.1, 0.2]), window=3, periods_per_year=252)).all()


def test_calendar_returns_compound_over_months_and_years():
    days = [date(2020, 11, 30), date(2020, 12, 10), date(2020, 12, 31), date(2021, 1, 29), date(2021, 2, 26)]
    table = calendar_returns(pl.DataFrame({"date": days, "equity": [1.1, 5.0, 1.21, 1.21, 0.605]}))
    assert list(table) == [2020, 2021]
    assert table[2020][:10] == (None,) * 10
    assert table[2020][10:] == pytest.approx((0.1, 0.1, 0.21))
    assert table[2021][:2] == pytest.approx((0.0, -0.5))
    assert table[2021][12] == pytest.approx(-0.5)


def test_calendar_returns_end_when_wealth_is_gone():
    days = [date(2020, 1, 31), date(2020, 2, 28), date(2021, 1, 29)]
    table = calendar_returns(pl.DataFrame({"date": days, "equity": [1.0, 0.0, 0.0]}))
    assert table[2020][1] == -1.0
    assert table[2021] == (None,) * 13


def test_a_stack_adds_up_per_date_with_the_largest_part_first():
    days = [date(2020, 1, 1), date(2020, 1, 2)]
    frame = pl.DataFrame(
        {"date": [days[0], days[0], days[1], days[1]], "symbol": list("abac"), "weight": [0.2, 0.5, 0.4, 0.1]}
    )
    stack = stack_parts(frame, by="symbol", value="weight", dates=pl.Series(days), top=2)
    assert stack.names == ("a", "b", OTHER)
    assert stack.values.tolist() == [[0.2, 0.4], [0.5, 0.0], [0.0, 0.1]]


def test_a_stack_leaves_out_dates_and_parts_not_asked_for():
    days = [date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3)]
    frame = pl.DataFrame({"date": days, "stage": [1, 2, 9]})
    stack = stack_parts(frame, by="stage", value=None, dates=pl.Series(days[1:]), top=2, order=["1", "2"])
    assert stack.names == ("1", "2")
    assert stack.values.tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_curves_are_sorted_by_name_and_date():
    frame = pl.DataFrame({"portfolio": list("baa"), "date": [3, 2, 1], "equity": [1.0, 2.0, 3.0]})
    found = curves(frame)
    assert list(found) == ["a", "b"]
    assert found["a"]["date"].to_list() == [1, 2]


def test_a_span_names_the_first_and_the_last_date():
    assert span(pl.Series([date(2020, 1, 3), date(2020, 1, 1)])) == "2020-01-01 to 2020-01-03"
    assert span(pl.Series([], dtype=pl.Date)) == "none"


def test_a_stack_of_several_rows_per_cell_does_not_depend_on_their_order():
    frame = pl.DataFrame({"date": [date(2020, 1, 1)] * 3, "symbol": ["a"] * 3, "weight": [0.1, 0.2, 0.3]})
    made = [
        stack_parts(rows, by="symbol", value="weight", dates=frame["date"].unique(), top=1).values.tolist()
        for rows in (frame, frame.reverse())
    ]
    assert made[0] == made[1]


def test_a_long_stack_is_averaged_over_neighbours_and_a_short_one_stays():
    days = pl.date_range(date(2020, 1, 1), date(2020, 12, 31), "1d", eager=True)
    values = np.vstack([np.arange(len(days), dtype=float), np.ones(len(days))])
    shown = average_steps(Stack(days, ("a", "b"), values))
    assert steps_per_point(len(days)) == 4
    assert len(shown.dates) == 92 <= STEPS
    assert shown.dates[1] == date(2020, 1, 5)
    assert shown.values[0, :2].tolist() == [1.5, 5.5]
    assert shown.values[0, -1] == 364.5
    assert np.all(shown.values[1] == 1.0)
    few = Stack(days[:5], ("a", "b"), values[:, :5])
    assert average_steps(few).values.tolist() == few.values.tolist()
