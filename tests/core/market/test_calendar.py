from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import exchange_calendars
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quant_core.market.calendar as calendar_module
from quant_core.errors import CalendarError, ConfigError, UnknownNameError, WindowError
from quant_core.market.calendar import calendar, instant_of, market_day, walk_forward


def test_an_always_open_market_closes_each_midnight() -> None:
    sessions = calendar("24/7").sessions(date(2024, 2, 28), date(2024, 3, 1))
    assert sessions["date"].to_list() == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert sessions["closes_at"][0] == datetime(2024, 2, 29, tzinfo=UTC)


def test_a_weekday_market_has_no_weekend() -> None:
    sessions = calendar("24/5").sessions(date(2024, 3, 1), date(2024, 3, 5))
    assert sessions["date"].dt.weekday().to_list() == [5, 1, 2]


def test_an_exchange_knows_holidays_half_days_and_summer_time() -> None:
    sessions = calendar("XNYS").sessions(date(2023, 11, 20), date(2024, 7, 5))
    closes = dict(sessions.select("date", "closes_at").iter_rows())
    opens = dict(sessions.select("date", "opens_at").iter_rows())
    assert opens[date(2024, 3, 8)] == datetime(2024, 3, 8, 14, 30, tzinfo=UTC)
    assert opens[date(2024, 3, 11)] == datetime(2024, 3, 11, 13, 30, tzinfo=UTC)
    assert date(2023, 11, 23) not in closes
    assert closes[date(2023, 11, 24)] == datetime(2023, 11, 24, 18, tzinfo=UTC)
    assert closes[date(2024, 1, 3)] == datetime(2024, 1, 3, 21, tzinfo=UTC)
    assert closes[date(2024, 6, 3)] == datetime(2024, 6, 3, 20, tzinfo=UTC)


def close_of(name: str, day: date) -> datetime | None:
    closes = calendar(name).sessions(day, day)["closes_at"]
    return closes[0] if len(closes) else None


@pytest.mark.parametrize(
    ("day", "hour"),
    [
        (date(2023, 11, 24), 18),
        (date(2024, 12, 24), 18),
        (date(2025, 7, 3), 17),
        (date(2013, 7, 3), 17),
        (date(1999, 11, 26), 18),
    ],
)
def test_half_days_of_new_york_close_at_one_in_winter_and_in_summer(day: date, hour: int) -> None:
    assert close_of("XNYS", day) == datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def test_summer_time_moves_the_close_in_utc_by_an_hour() -> None:
    friday_and_monday = [(date(2024, 3, 8), date(2024, 3, 11)), (date(2024, 11, 1), date(2024, 11, 4))]
    closes = [close_of("XNYS", day) for days in friday_and_monday for day in days]
    assert [close.hour for close in closes if close] == [21, 20, 20, 21]


@pytest.mark.parametrize(
    ("day", "minutes"),
    [
        (date(2024, 3, 8), 270),
        (date(2024, 3, 11), 210),
        (date(2024, 3, 28), 210),
        (date(2024, 4, 2), 270),
        (date(2024, 10, 25), 270),
        (date(2024, 10, 28), 210),
        (date(2024, 11, 1), 210),
        (date(2024, 11, 4), 270),
    ],
)
def test_new_york_closes_an_hour_nearer_to_london_while_only_one_of_them_has_summer_time(
    day: date, minutes: int
) -> None:
    london, new_york = close_of("XLON", day), close_of("XNYS", day)
    assert london is not None
    assert new_york is not None
    assert new_york - london == timedelta(minutes=minutes)


def test_a_royal_wedding_closes_london_alone() -> None:
    assert close_of("XLON", date(2011, 4, 29)) is None
    assert close_of("XNYS", date(2011, 4, 29)) == datetime(2011, 4, 29, 20, tzinfo=UTC)


def test_an_exchange_is_opened_from_the_first_date_to_a_year_past_the_last_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[date, date]] = []
    real = exchange_calendars.get_calendar

    def told(name: str, start: object, end: object) -> object:
        opened = real(name, start=start, end=end)
        asked.append((pl.Series([opened.first_session]).dt.date()[0], pl.Series([end]).cast(pl.Date)[0]))
        return opened

    calendar("XNYS").known_from(date(2003, 1, 2), date(2003, 1, 2))
    monkeypatch.setattr(calendar_module, "_opened", {})
    monkeypatch.setattr(exchange_calendars, "get_calendar", told)
    calendar("XNYS").sessions(date(2003, 1, 2), date(2004, 12, 31))
    assert asked == [(date(2003, 1, 2), date(2005, 12, 31))]
    assert calendar("XNYS").sessions(date(2003, 5, 1), date(2004, 5, 31)).height == 273
    assert len(asked) == 1
    calendar("XNYS").sessions(date(2004, 1, 2), date(2005, 6, 30))
    assert asked[1:] == [(date(2003, 1, 2), date(2006, 6, 30))]


@pytest.mark.parametrize("name", ["XNYS", "XLON", "XTKS", "XHKG"])
def test_how_much_of_a_calendar_was_opened_changes_no_session(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = date(2011, 4, 1), date(2012, 3, 31)
    monkeypatch.setattr(calendar_module, "_opened", {})
    narrow = calendar(name).sessions(first, last)
    calendar(name).sessions(date(1998, 1, 1), date(2020, 12, 31))
    assert calendar(name).sessions(first, last).equals(narrow)


def test_a_long_holiday_at_the_beginning_is_known_to_be_closed() -> None:
    golden_week = date(2019, 4, 27), date(2019, 5, 10)
    assert calendar("XTKS").sessions(*golden_week)["date"][0] == date(2019, 5, 7)
    assert calendar("XTKS").known_from(*golden_week) == golden_week[0]


def test_data_that_end_before_the_calendar_begins_have_no_sessions() -> None:
    span = date(1990, 1, 1), date(1990, 12, 31)
    assert calendar("XTKS").sessions(*span).is_empty()
    assert calendar("XTKS").known_from(*span) == date(1997, 1, 1)


def stamps_of(*moments: datetime) -> pl.Series:
    return pl.Series("stamp", moments, dtype=pl.Datetime("us", "UTC"))


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2024, 1, 4, 0, 0), date(2024, 1, 4)),
        (datetime(2024, 1, 4, 19, 59), date(2024, 1, 4)),
        (datetime(2024, 1, 4, 19, 59, 59, 999999), date(2024, 1, 4)),
        (datetime(2024, 1, 4, 20, 0), date(2024, 1, 5)),
        (datetime(2024, 1, 4, 21, 0), date(2024, 1, 5)),
        (datetime(2024, 1, 5, 19, 59), date(2024, 1, 5)),
        (datetime(2024, 1, 5, 20, 0), date(2024, 1, 8)),
        (datetime(2024, 1, 6, 12, 0), date(2024, 1, 8)),
        (datetime(2024, 1, 6, 23, 0), date(2024, 1, 8)),
        (datetime(2024, 1, 7, 22, 0), date(2024, 1, 8)),
        (datetime(2024, 1, 8, 20, 0), date(2024, 1, 9)),
        (datetime(2024, 2, 29, 20, 0), date(2024, 3, 1)),
        (datetime(1969, 12, 31, 20, 0), date(1970, 1, 1)),
    ],
)
def test_a_currency_day_is_cut_at_twenty_hours_and_weekends_are_mondays(moment: datetime, day: date) -> None:
    assert market_day(stamps_of(moment)).to_list() == [day]
    frame = stamps_of(moment).to_frame().lazy()
    assert frame.select(market_day(pl.col("stamp")).alias("day")).collect()["day"].to_list() == [day]


def test_a_date_is_never_shifted() -> None:
    days = pl.date_range(date(2024, 1, 1), date(2024, 1, 14), eager=True).alias("day")
    assert market_day(days).equals(days)
    assert days.to_frame().select(market_day(pl.col("day")))["day"].equals(days)


def test_a_stamp_of_another_zone_is_cut_at_the_same_instant() -> None:
    stamps = stamps_of(datetime(2024, 7, 4, 19, 59), datetime(2024, 7, 4, 20))
    assert market_day(stamps.dt.convert_time_zone("Asia/Tokyo")).to_list() == [date(2024, 7, 4), date(2024, 7, 5)]
    assert market_day(stamps.cast(pl.Datetime("ns", "UTC"))).equals(market_day(stamps))


def test_no_stamp_has_no_market_day() -> None:
    assert market_day(pl.Series([None], dtype=pl.Datetime("us", "UTC"))).to_list() == [None]
    assert market_day(stamps_of()).dtype == pl.Date


@pytest.mark.parametrize("stamps", [pl.Series("t", [datetime(2024, 1, 4)]), pl.Series("t", [20240104])])
def test_what_is_no_instant_has_no_market_day(stamps: pl.Series) -> None:
    with pytest.raises(CalendarError, match="time zone"):
        market_day(stamps)
    with pytest.raises(CalendarError, match="time zone"):
        stamps.to_frame().select(market_day(pl.col("t")))


@given(st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)))
def test_a_market_day_is_the_first_weekday_session_that_closes_after_the_stamp(moment: datetime) -> None:
    day = market_day(stamps_of(moment)).item()
    sessions = calendar("24/5").sessions(moment.date(), moment.date() + timedelta(days=5))
    after = sessions.filter(pl.col("closes_at") > moment.replace(tzinfo=UTC))
    assert day == after["date"][0]


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


def test_the_files_of_the_library_are_named_after_its_calendars() -> None:
    files = Path(exchange_calendars.__file__).parent.glob("exchange_calendar_*.py")
    found = {path.stem.removeprefix("exchange_calendar_").upper() for path in files}
    assert {"XNYS", "XLON"} <= found <= set(exchange_calendars.get_calendar_names(include_aliases=False))
    assert all(calendar(name).name == name for name in found)


@pytest.mark.parametrize("name", ["xnys", "XNYS ", "../XNYS", "", "UTILS"])
def test_only_the_exact_name_of_a_calendar_is_known(name: str) -> None:
    with pytest.raises(UnknownNameError):
        calendar(name)


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
