from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import ConfigError, SourceError
from quant_core.ingest.reading.intraday import bar_length, daily_bars, day_facts
from quant_core.market.calendar import Calendar, calendar, market_day
from quant_core.market.contracts.split import Split

ALWAYS, WEEKDAYS = calendar("24/7"), calendar("24/5")
VALUES = ("open", "high", "low", "close", "volume")
Tick = tuple[Any, ...]


@dataclass(frozen=True)
class Exchange(Calendar):
    """Open on three days of January 2024 from 14:30 to 21:00 UTC, on the last one only to 18:00."""

    def sessions(self, first: date, last: date) -> pl.DataFrame:
        hours = [(2, 21), (3, 21), (5, 18)]
        rows = [(date(2024, 1, d), moment(d, 14, 30), moment(d, close)) for d, close in hours]
        schema = {"date": pl.Date, "opens_at": pl.Datetime("us", "UTC"), "closes_at": pl.Datetime("us", "UTC")}
        return pl.DataFrame(rows, schema=schema, orient="row").filter(pl.col("date").is_between(first, last))


def moment(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day - 1, hours=hour, minutes=minute)


def ticks(rows: Sequence[Tick], *more: str) -> pl.DataFrame:
    schema = {"timestamp": pl.Datetime("us", "UTC"), "symbol": pl.String, **dict.fromkeys(VALUES, pl.Float64)}
    schema |= dict.fromkeys(more, pl.Datetime("us", "UTC"))
    return (
        pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    )


def hours(first: datetime, closes: Sequence[float], symbol: str = "A:X") -> list[Tick]:
    return [(first + timedelta(hours=k), symbol, c, c, c, c, 1.0) for k, c in enumerate(closes)]


def daily(frame: pl.DataFrame, market: Calendar = ALWAYS, interval: str = "1h", stamped: Any = "open") -> Split:
    parted = daily_bars(frame, interval=interval, stamped=stamped, market=market)
    assert parted.valid["bars"].sum() + parted.exclusions.height == frame.height
    rows = [*parted.valid["row"], *parted.exclusions["row"]]
    assert len(set(rows)) == len(rows)
    return parted


def closes(parted: Split) -> list[tuple[date, float]]:
    return parted.valid.select("date", "close").rows()


def test_a_day_opens_with_its_first_bar_closes_with_its_last_and_holds_all_between() -> None:
    rows: list[Tick] = [
        (moment(1, 12), "A:X", 11.0, 15.0, 10.0, 14.0, 3.0),
        (moment(1, 0), "A:X", 9.0, 12.0, 8.0, 11.0, 1.0),
        (moment(1, 23), "A:X", 14.0, 14.5, 7.0, 13.0, 0.5),
    ]
    parted = daily(ticks(rows))
    expected = (1, date(2024, 1, 1), "A:X", 9.0, 15.0, 7.0, 13.0, 4.5, 3, 21)
    assert parted.valid.columns == ["row", "date", "symbol", *VALUES, "bars", "missing"]
    assert parted.valid.row(0) == expected
    assert day_facts(parted.valid) == {"bars": 3, "days": 1, "thin_days": 1, "bars_missing": 21}


def test_what_is_not_known_of_one_bar_is_not_known_of_its_day() -> None:
    rows: list[Tick] = [
        (moment(1, 0), "A:X", None, 12.0, 8.0, 11.0, 1.0),
        (moment(1, 12), "A:X", 11.0, None, 10.0, 14.0, None),
        (moment(1, 23), "A:X", 11.0, 14.5, 7.0, 13.0, 1.0),
    ]
    assert daily(ticks(rows)).valid.select(VALUES).row(0) == (None, None, 7.0, 13.0, None)


def test_columns_the_source_does_not_have_are_not_made_up() -> None:
    frame = ticks(hours(moment(1), [1.0] * 24)).select("row", "timestamp", "symbol", "close")
    assert daily(frame).valid.columns == ["row", "date", "symbol", "close", "bars", "missing"]


def test_a_stamp_at_the_close_belongs_to_the_day_that_ends_there() -> None:
    frame = ticks(hours(moment(1, 1), [float(k) for k in range(1, 49)]))
    assert closes(daily(frame, stamped="close")) == [(date(2024, 1, 1), 24.0), (date(2024, 1, 2), 48.0)]
    opened = daily(frame)
    assert closes(opened) == [(date(2024, 1, 1), 23.0), (date(2024, 1, 2), 47.0)]
    assert opened.excluded == {"forming_bar": 1}


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ((5.0, 4.0, 6.0, 5.0, 1.0), "high_below_low"),
        ((5.0, 6.0, 0.0, 5.0, 1.0), "low_not_positive"),
        ((5.0, 6.0, 4.0, -5.0, 1.0), "close_not_positive"),
        ((5.0, 6.0, 4.0, 500.0, 1.0), "close_outside_range"),
        ((5.0, 6.0, 4.0, None, 1.0), "close_not_known"),
        ((5.0, np.inf, 4.0, 5.0, 1.0), "high_not_finite"),
        ((5.0, 6.0, 4.0, 5.0, -1.0), "volume_negative"),
    ],
)
def test_one_broken_bar_leaves_and_does_not_poison_its_day(bad: tuple[float, ...], rule: str) -> None:
    rows = hours(moment(1), [1.0] * 24)
    good = daily(ticks([*rows[:5], *rows[6:]])).valid.drop("row")
    rows[5] = (*rows[5][:2], *bad)
    parted = daily(ticks(rows))
    assert parted.valid.drop("row").equals(good)
    assert parted.exclusions.select("rule", "row", "date", "symbol").rows() == [(rule, 5, date(2024, 1, 1), "A:X")]


def test_a_bar_without_a_stamp_or_a_symbol_is_excluded() -> None:
    rows = [*hours(moment(1), [1.0] * 24), (None, "A:X", 1.0, 1.0, 1.0, 1.0, 1.0), (moment(1), None, 1, 1, 1, 1, 1)]
    assert daily(ticks(rows)).excluded == {"symbol_not_known": 1, "timestamp_not_known": 1}


def test_of_bars_with_one_stamp_the_last_to_arrive_counts() -> None:
    rows = hours(moment(1), [1.0] * 24)
    again: list[Tick] = [(moment(1, 23), "A:X", 9.0, 9.0, 9.0, 9.0, 1.0), rows[3]]
    parted = daily(ticks([*rows, *again]))
    assert closes(parted) == [(date(2024, 1, 1), 9.0)]
    assert parted.valid["volume"].item() == 24.0
    assert parted.exclusions.select("rule", "row", "detail").rows() == [
        ("duplicate_row", 3, "row 25 has the same stamp and arrived later"),
        ("restated_row", 23, "row 24 has the same stamp and arrived later"),
    ]


def test_arrival_is_by_the_sources_own_stamp_first_and_a_day_is_known_when_its_last_bar_is() -> None:
    late, early = moment(9), moment(3)
    rows: list[Tick] = [(*row, early) for row in hours(moment(1), [1.0] * 24)]
    rows[23] = (moment(1, 23), "A:X", 2.0, 2.0, 2.0, 2.0, 1.0, late)
    rows.append((moment(1, 23), "A:X", 5.0, 5.0, 5.0, 5.0, 1.0, early))
    parted = daily(ticks(rows, "known_at"))
    assert closes(parted) == [(date(2024, 1, 1), 2.0)]
    assert parted.valid["known_at"].item() == late
    assert parted.exclusions.select("rule", "row").rows() == [("restated_row", 24)]


def test_a_broken_restatement_does_not_displace_the_bar_it_restates() -> None:
    rows = [*hours(moment(1), [1.0] * 24), (moment(1, 23), "A:X", 9.0, 9.0, 9.0, -9.0, 1.0)]
    parted = daily(ticks(rows))
    assert closes(parted) == [(date(2024, 1, 1), 1.0)]
    assert parted.excluded == {"close_not_positive": 1}


def test_only_the_newest_day_can_be_forming_and_one_symbol_that_reaches_its_end_ends_it() -> None:
    short = hours(moment(1), [1.0] * 20)
    frame = ticks([*short, *hours(moment(2), [2.0] * 22)])
    parted = daily(frame)
    assert closes(parted) == [(date(2024, 1, 1), 1.0)]
    assert parted.excluded == {"forming_bar": 22}
    assert parted.exclusions["date"].unique().to_list() == [date(2024, 1, 2)]
    ended = daily(ticks([*short, *hours(moment(2), [2.0] * 22), *hours(moment(2, 23), [3.0], "A:Y")]))
    assert ended.exclusions.is_empty()


def test_bars_of_currencies_belong_to_the_market_day() -> None:
    rows = hours(moment(5, 18), [float(k) for k in range(1, 77)])  # Friday 18:00 to Monday 22:00
    parted = daily(ticks(rows), WEEKDAYS)
    assert closes(parted) == [(date(2024, 1, 5), 2.0), (date(2024, 1, 8), 74.0)]
    assert parted.excluded == {"forming_bar": 2}
    days = market_day(ticks(rows)["timestamp"])
    assert parted.valid["bars"].to_list() == [(days == date(2024, 1, d)).sum() for d in (5, 8)]


def test_bars_of_an_exchange_belong_to_the_session_they_share_time_with() -> None:
    rows = hours(moment(2, 12), [float(k) for k in range(12, 84)])  # Tuesday 12:00 to Friday 12:00
    parted = daily(ticks([*rows, *hours(moment(5, 12), [90.0, 91.0, 92.0, 93.0, 94.0, 95.0, 96.0])]), Exchange("X"))
    # From the bar that straddles the open at 14:30 to the one before the close; Thursday is a holiday.
    assert parted.valid.select("date", "open", "close", "bars", "missing").rows() == [
        (date(2024, 1, 2), 14.0, 20.0, 7, 0),
        (date(2024, 1, 3), 38.0, 44.0, 7, 0),
        (date(2024, 1, 5), 92.0, 95.0, 4, 0),
    ]
    assert parted.excluded == {"off_hours": 79 - 18}


def test_a_bar_that_ends_at_the_open_or_begins_at_the_close_is_off_hours() -> None:
    quarters = [moment(2, 14) + timedelta(minutes=15 * k) for k in range(30)]
    frame = ticks([(stamp, "A:X", 1.0, 1.0, 1.0, 1.0, 1.0) for stamp in quarters])
    parted = daily(frame, Exchange("X"), "15m")
    off = frame.filter(pl.col("row").is_in(parted.exclusions["row"].implode()))["timestamp"].to_list()
    assert off == [moment(2, 14), moment(2, 14, 15), moment(2, 21), moment(2, 21, 15)]


def test_a_session_that_has_not_closed_yet_is_forming() -> None:
    parted = daily(ticks(hours(moment(3, 14, 30), [1.0] * 6)), Exchange("X"))
    assert parted.excluded == {"forming_bar": 6}
    assert daily(ticks(hours(moment(3, 14, 30), [1.0] * 7)), Exchange("X")).valid["missing"].to_list() == [0]


def test_bars_within_the_day_of_an_exchange_are_its_sessions_holidays_and_half_days_included() -> None:
    # Thanksgiving week of 2023: the exchange is closed on Thursday, and from 18:00 UTC on Friday.
    stamps = pl.datetime_range(
        datetime(2023, 11, 22, tzinfo=UTC), datetime(2023, 11, 27, tzinfo=UTC), "30m", closed="left", eager=True
    )
    rows = [(stamp, "US:X", 1.0, 1.0, 1.0, 1.0, 1.0) for stamp in stamps]
    parted = daily(ticks(rows), calendar("XNYS"), "30m")
    assert parted.valid.select("date", "bars").rows() == [(date(2023, 11, 22), 13), (date(2023, 11, 24), 7)]
    assert parted.excluded == {"off_hours": len(rows) - 20}


def test_bars_that_follow_each_other_faster_than_declared_are_an_error() -> None:
    rows = [(moment(1, 0, 5 * k), "A:X", 1.0, 1.0, 1.0, 1.0, 1.0) for k in range(288)]
    with pytest.raises(SourceError, match=r"interval '1h': most bars follow each other in 0:05:00"):
        daily(ticks(rows))
    assert daily(ticks(rows), interval="5m").valid["missing"].to_list() == [0]


@pytest.mark.parametrize("interval", ["1d", "24h", "1440m", "0h", "1.5h", "h", "60", "1s", "-1h", ""])
def test_a_length_that_is_none_is_refused(interval: str) -> None:
    with pytest.raises(ConfigError, match="expected minutes or hours below a day"):
        bar_length(interval)


def test_no_bars_give_no_days() -> None:
    assert daily(ticks([])).valid.is_empty()
    broken = daily(ticks([(moment(1), "A:X", 1.0, 1.0, 1.0, -1.0, 1.0)]))
    assert broken.valid.is_empty()
    assert broken.excluded == {"close_not_positive": 1}


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_order_of_rows_changes_no_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 400
    close = np.exp(rng.standard_normal(n))
    frame = pl.DataFrame(
        {
            "row": np.arange(n),
            "timestamp": [moment(1, int(h)) for h in rng.integers(0, 24 * 9, n)],
            "symbol": [f"A:S{k}" for k in rng.integers(0, 3, n)],
            "open": close * np.where(rng.random(n) < 0.05, -1.0, 1.0),
            "close": close,
            "volume": 10.0 ** rng.uniform(-8, 8, n),
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    )
    one, other = daily(frame), daily(frame[rng.permutation(n)])
    assert one.valid.equals(other.valid)
    assert one.exclusions.drop("record").equals(other.exclusions.drop("record"))
    kept = frame.filter(~pl.col("row").is_in(one.exclusions["row"].implode()))
    assert daily(kept).exclusions["rule"].unique().to_list() in ([], ["forming_bar"])


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("crypto_binance_perp_1h", "1h"),
        ("crypto_lean_1h", "1h"),
        ("crypto_lean_1m", "1m"),
    ],
)
def test_real_bars_within_the_day_are_all_put_together_or_told(
    shared_data: Callable[[str], Path], name: str, interval: str
) -> None:
    frame = pl.read_parquet(shared_data(name)).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    parted = daily(frame, interval=interval)
    assert set(parted.excluded) <= {"forming_bar"}
    by_hand = (
        frame.with_columns(date=pl.col("timestamp").dt.date())
        .group_by("date", "symbol")
        .agg(
            pl.col("open").sort_by("timestamp").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").sort_by("timestamp").last(),
            pl.len().cast(pl.Int64).alias("bars"),
        )
    )
    names = ["date", "symbol", "open", "high", "low", "close", "bars"]
    newest = parted.exclusions["date"].unique().to_list()
    expected = by_hand.filter(~pl.col("date").is_in(newest)).sort("symbol", "date").select(names)
    assert parted.valid.select(names).equals(expected)
