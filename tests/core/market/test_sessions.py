from datetime import UTC, date, datetime

import polars as pl

from quant_core.market.calendar import calendar
from quant_core.market.sessions import SESSIONS_SCHEMA, sessions_of


def test_a_market_that_never_closes_has_every_day_known_at_its_end() -> None:
    found = sessions_of(pl.Series([date(2024, 1, 3), date(2024, 1, 1)]), calendar("24/7"))
    assert found["session"].to_list() == [0, 1, 2]
    assert found["is_session"].all()
    assert found["available_at"][0] == datetime(2024, 1, 2, tzinfo=UTC)


def test_a_date_off_session_has_the_number_of_the_session_before() -> None:
    days = pl.Series([date(2024, 1, 5), date(2024, 1, 6), date(2024, 1, 8)])
    found = sessions_of(days, calendar("XNYS"))
    assert found.select("date", "is_session", "session").rows() == [
        (date(2024, 1, 5), True, 0),
        (date(2024, 1, 6), False, 0),
        (date(2024, 1, 8), True, 1),
    ]
    assert found["available_at"].to_list() == [
        datetime(2024, 1, 5, 21, tzinfo=UTC),
        datetime(2024, 1, 7, tzinfo=UTC),
        datetime(2024, 1, 8, 21, tzinfo=UTC),
    ]


def test_before_the_calendar_begins_each_date_found_is_a_session() -> None:
    days = pl.Series([date(1996, 5, 4), date(1996, 5, 7), date(1997, 1, 6), date(1997, 1, 11)])
    found = sessions_of(days, calendar("XTKS")).filter(pl.col("date").is_in(days.implode()))
    assert found["is_session"].to_list() == [True, True, True, False]
    assert found["available_at"][0] == datetime(1996, 5, 5, tzinfo=UTC)
    assert found["session"].to_list()[:3] == [0, 1, 2]


def test_no_dates_have_no_sessions() -> None:
    found = sessions_of(pl.Series([], dtype=pl.Date), calendar("XNYS"))
    assert found.is_empty()
    assert dict(found.schema) == SESSIONS_SCHEMA
