from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from quant_core.errors import CalendarError, ConfigError, UnknownNameError, WindowError
from quant_core.market.calendar import calendar, instant_of, walk_forward


def test_an_always_open_market_closes_each_midnight() -> None:
    sessions = calendar("24/7").sessions(date(2024, 2, 28), date(2024, 3, 1))
    assert sessions["date"].to_list() == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert sessions["closes_at"][0] == datetime(2024, 2, 29, tzinfo=UTC)


def test_a_weekday_market_has_no_weekend() -> None:
    sessions = calendar("24/5").sessions(date(2024, 3, 1), date(2024, 3, 5))
    assert sessions["date"].dt.weekday().to_list() == [5, 1, 2]


def test_an_exchange_knows_holidays_half_days_and_summer_time() -> None:
    closes = dict(calendar("XNYS").sessions(date(2023, 11, 20), date(2024, 7, 5)).iter_rows())
    assert date(2023, 11, 23) not in closes
    assert closes[date(2023, 11, 24)] == datetime(2023, 11, 24, 18, tzinfo=UTC)
    assert closes[date(2024, 1, 3)] == datetime(2024, 1, 3, 21, tzinfo=UTC)
    assert closes[date(2024, 6, 3)] == datetime(2024, 6, 3, 20, tzinfo=UTC)


def test_sessions_long_ago_do_not_depend_on_the_clock() -> None:
    assert calendar("XNYS").sessions(date(1962, 1, 2), date(1962, 1, 5)).height == 4
    assert calendar("XNYS").known_from(date(1962, 1, 1), date(1962, 2, 1)) == date(1962, 1, 1)


def test_before_an_exchanges_own_bound_nothing_is_known() -> None:
    assert calendar("XHKG").known_from(date(1950, 1, 1), date(1970, 1, 1)) > date(1950, 1, 1)


def test_past_an_exchanges_own_bound_is_an_error_that_says_so() -> None:
    assert calendar("XBOM").sessions(date(2024, 12, 2), date(2024, 12, 3)).height == 2
    with pytest.raises(CalendarError, match="known until"):
        calendar("XBOM").sessions(date(2024, 1, 1), date(2190, 1, 1))


def test_periods_per_year_follow_the_calendar() -> None:
    assert [calendar(name).periods_per_year for name in ("24/7", "24/5", "XNYS")] == [365, 252, 252]


def test_an_unknown_calendar_lists_near_names() -> None:
    with pytest.raises(UnknownNameError, match="XNYS"):
        calendar("XNYZ")


def test_an_end_before_the_start_is_an_error() -> None:
    with pytest.raises(CalendarError):
        calendar("24/7").sessions(date(2024, 1, 2), date(2024, 1, 1))


DATES = pl.date_range(date(2024, 1, 1), date(2024, 1, 30), eager=True)


def test_windows_trade_at_the_last_train_bar_and_tile_the_tests() -> None:
    windows = walk_forward(DATES, train=10, test=5, step=5)
    assert windows["row"].to_list() == [9, 14, 19, 24, 29]
    assert windows["date"].to_list() == windows["train_end"].to_list()
    assert windows["test_start"][1] == windows["date"][1] + timedelta(days=1)
    assert windows["test_end"][0] == windows["date"][1]


def test_the_last_rebalance_may_have_no_test_bar_yet() -> None:
    last = walk_forward(DATES, train=10, test=5, step=5)[-1]
    assert last["date"][0] == DATES[-1]
    assert last["test_start"][0] is None


def test_later_bars_move_no_earlier_window() -> None:
    longer = walk_forward(DATES, train=10, test=5, step=5)
    shorter = walk_forward(DATES[:22], train=10, test=5, step=5)
    assert longer[: shorter.height - 1].equals(shorter[:-1])


def test_too_few_bars_say_how_many_are_needed() -> None:
    with pytest.raises(WindowError, match="at least 40"):
        walk_forward(DATES, train=40, test=5, step=5)
    with pytest.raises(WindowError, match="at least one"):
        walk_forward(DATES, train=10, test=5, step=0)


def test_a_bare_date_as_knowledge_time_means_its_end() -> None:
    assert instant_of("2024-01-31") == datetime(2024, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert instant_of("20240131") == instant_of("2024-01-31") == instant_of("2024W053")
    assert instant_of("2024-01-31T12:00:00+02:00") == datetime(2024, 1, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize("moment", ["soon", "2024-13-01", "9999-12-31", "0001-01-01", ""])
def test_a_knowledge_time_that_is_none_is_a_config_error(moment: str) -> None:
    with pytest.raises(ConfigError, match="as-of"):
        instant_of(moment)
