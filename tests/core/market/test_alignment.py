import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import CalendarError, ContractError
from quant_core.market.alignment import ALIGNED_SCHEMA, Aligned, compounded_returns, missingness, union_dates
from quant_core.market.calendar import Calendar, calendar
from quant_core.settings import CHECKOUT

FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY = (date(2024, 1, 12) + timedelta(days=k) for k in range(5))
CALENDARS = {"crypto": calendar("24/7"), "us": calendar("XNYS")}
Closes = dict[str, dict[date, float]]


def returns_of(closes: Closes) -> pl.DataFrame:
    """Simple returns on each symbol's own calendar, null at its first bar."""
    rows = [(day, symbol, close) for symbol, path in closes.items() for day, close in path.items()]
    table = pl.DataFrame(rows, schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64}, orient="row")
    change = pl.col("close") / pl.col("close").shift(1).over("symbol") - 1.0
    return table.sort("symbol", "date").select("date", "symbol", simple_return=change)


def by_date(done: Aligned, symbol: str) -> dict[date, float | None]:
    return dict(done.table.filter(pl.col("symbol") == symbol).select("date", "simple_return").iter_rows())


def reasons(done: Aligned, symbol: str) -> dict[date, str | None]:
    return dict(done.table.filter(pl.col("symbol") == symbol).select("date", "missing").iter_rows())


def losses(done: Aligned) -> dict[str, tuple[int, int, int, int]]:
    return {sleeve: counts for sleeve, *counts in done.losses.iter_rows()}  # type: ignore[misc]


COIN = {FRIDAY: 100.0, SATURDAY: 110.0, SUNDAY: 121.0, MONDAY: 133.1, TUESDAY: 133.1}
# 2024-01-15 is a holiday in New York.
SHARE = {date(2024, 1, 11): 50.0, FRIDAY: 51.0, TUESDAY: 49.98}


def test_weekend_moves_are_compounded_into_the_next_common_date_instead_of_deleted() -> None:
    # The fault this guards against: weekend rows deleted after one-day returns were taken, so that Monday showed
    # Monday's move alone and two days of the coin's history were gone.
    week = {FRIDAY - timedelta(days=7) + timedelta(days=k): 100.0 * 1.1**k for k in range(4)}
    monday = date(2024, 1, 8)
    share = {date(2024, 1, 5): 50.0, monday: 51.0}
    done = compounded_returns(
        {"crypto": returns_of({"B:COIN": week}), "us": returns_of({"US:S": share})}, CALENDARS, on="common"
    )
    assert by_date(done, "B:COIN")[monday] == pytest.approx(0.331, abs=1e-15)
    assert by_date(done, "US:S")[monday] == 51.0 / 50.0 - 1.0
    assert losses(done)["crypto"] == [4, 2, 2, 0]


def test_a_holiday_of_one_market_is_compounded_by_the_other() -> None:
    done = compounded_returns(
        {"crypto": returns_of({"B:COIN": COIN}), "us": returns_of({"US:S": SHARE})}, CALENDARS, on="common"
    )
    assert by_date(done, "B:COIN") == {FRIDAY: None, TUESDAY: pytest.approx(0.331, abs=1e-15)}
    assert by_date(done, "US:S") == {FRIDAY: None, TUESDAY: pytest.approx(-0.02, abs=1e-15)}
    assert reasons(done, "B:COIN") == {FRIDAY: "not_known", TUESDAY: None}
    # The share's first bar lies before the coin's data: there is nothing to compound it into.
    assert losses(done) == {"crypto": [5, 2, 3, 0], "us": [3, 2, 0, 1]}


def test_on_the_union_a_closed_market_holds_and_no_zero_is_filled() -> None:
    done = compounded_returns(
        {"crypto": returns_of({"B:COIN": COIN}), "us": returns_of({"US:S": SHARE})}, CALENDARS, on="union"
    )
    assert by_date(done, "B:COIN") == {
        FRIDAY: None, **{day: pytest.approx(0.1) for day in (SATURDAY, SUNDAY, MONDAY)}, TUESDAY: 0.0
    }  # fmt: skip
    held = dict.fromkeys((SATURDAY, SUNDAY, MONDAY), "closed")
    assert reasons(done, "US:S") == {date(2024, 1, 11): "not_known", FRIDAY: None, **held, TUESDAY: None}
    assert by_date(done, "US:S")[SUNDAY] is None
    assert losses(done) == {"crypto": [5, 5, 0, 0], "us": [3, 3, 0, 0]}


def test_a_session_without_a_bar_is_no_closed_market_and_the_next_return_covers_it() -> None:
    days = [date(2024, 1, 8) + timedelta(days=k) for k in range(4)]
    coin = {day: 100.0 + k for k, day in enumerate(days)}
    share = {days[0]: 10.0, days[1]: 11.0, days[3]: 12.0}
    given_ = {"crypto": returns_of({"B:COIN": coin}), "us": returns_of({"US:S": share})}
    union = compounded_returns(given_, CALENDARS, on="union")
    assert reasons(union, "US:S") == {days[0]: "not_known", days[1]: None, days[2]: "no_bar", days[3]: None}
    common = compounded_returns(given_, CALENDARS, on="common")
    assert by_date(common, "US:S") == {
        days[0]: None, days[1]: pytest.approx(0.1, abs=1e-15), days[3]: pytest.approx(1.0 / 11.0, abs=1e-15)
    }  # fmt: skip
    assert days[2] in by_date(common, "B:COIN")


def test_a_coin_halted_on_a_common_date_is_compounded_since_its_last_common_one() -> None:
    days = [date(2024, 1, 8) + timedelta(days=k) for k in range(4)]
    share = {day: 10.0 + k for k, day in enumerate(days)}
    coin = {days[0]: 100.0, days[1]: 200.0, days[3]: 50.0}
    done = compounded_returns(
        {"crypto": returns_of({"B:COIN": coin}), "us": returns_of({"US:S": share})}, CALENDARS, on="common"
    )
    assert by_date(done, "B:COIN") == {days[0]: None, days[1]: 1.0, days[3]: -0.75}


def test_an_unknown_return_within_a_span_makes_the_span_unknown() -> None:
    crypto = returns_of({"B:COIN": COIN}).with_columns(
        simple_return=pl.when(pl.col("date") != SUNDAY).then("simple_return")
    )
    done = compounded_returns({"crypto": crypto, "us": returns_of({"US:S": SHARE})}, CALENDARS, on="common")
    assert by_date(done, "B:COIN")[TUESDAY] is None
    assert reasons(done, "B:COIN")[TUESDAY] == "not_known"


def test_a_symbol_listed_on_a_weekend_has_its_first_known_return_on_its_second_common_date() -> None:
    young = {day: close for day, close in COIN.items() if day >= SATURDAY} | {date(2024, 1, 17): 266.2}
    share = SHARE | {date(2024, 1, 17): 50.0}
    done = compounded_returns(
        {
            "crypto": returns_of({"B:COIN": COIN | {date(2024, 1, 17): 1.0}, "B:YOUNG": young}),
            "us": returns_of({"US:S": share}),
        },
        CALENDARS,
        on="common",
    )
    assert by_date(done, "B:YOUNG") == {TUESDAY: None, date(2024, 1, 17): pytest.approx(1.0, abs=1e-15)}
    assert losses(done)["crypto"] == [6 + 5, 3 + 2, 3, 3]


def test_a_decision_across_sleeves_waits_for_the_latest_close() -> None:
    days = {day: 1.0 + k for k, day in enumerate([date(2023, 11, 22), date(2023, 11, 24), date(2023, 11, 27)])}
    shares = {"us": returns_of({"US:S": days}), "uk": returns_of({"LSE:S": days})}
    markets: dict[str, Calendar] = {"us": calendar("XNYS"), "uk": calendar("XLON")}
    closes = compounded_returns(shares, markets, on="common").table.filter(pl.col("sleeve") == "uk")["available_at"]
    # New York closes at 13:00 on the day after Thanksgiving, still after London.
    assert closes.to_list() == [
        datetime(2023, 11, day, hour, tzinfo=UTC) for day, hour in [(22, 21), (24, 18), (27, 21)]
    ]
    crypto = {"crypto": returns_of({"B:COIN": days})}
    table = compounded_returns(shares | crypto, markets | {"crypto": calendar("24/7")}, on="common").table
    assert table["available_at"].unique().sort()[0] == datetime(2023, 11, 23, tzinfo=UTC)
    union = compounded_returns(shares, markets, on="union").table.filter(pl.col("date") == date(2023, 11, 23))
    # Thanksgiving: London alone is open, without a bar here.
    assert union.select("sleeve", "missing").rows() == [("uk", "no_bar"), ("us", "closed")]
    assert union["available_at"].to_list() == [datetime(2023, 11, 23, 16, 30, tzinfo=UTC)] * 2


def test_the_union_of_calendars_names_who_is_open_and_the_latest_close() -> None:
    dates = union_dates(CALENDARS, FRIDAY, TUESDAY)
    assert dates["date"].to_list() == [FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY]
    assert dates["open"].to_list() == [["crypto", "us"], ["crypto"], ["crypto"], ["crypto"], ["crypto", "us"]]
    assert dates["available_at"][0] == datetime(2024, 1, 13, tzinfo=UTC)
    alone = union_dates({"us": CALENDARS["us"], "fx": calendar("24/5")}, FRIDAY, TUESDAY)
    assert alone.rows() == [
        (FRIDAY, datetime(2024, 1, 12, 21, tzinfo=UTC), ["fx", "us"]),
        (MONDAY, datetime(2024, 1, 15, 20, tzinfo=UTC), ["fx"]),
        (TUESDAY, datetime(2024, 1, 16, 21, tzinfo=UTC), ["fx", "us"]),
    ]


def test_sleeves_that_share_no_date_say_that_all_is_lost() -> None:
    done = compounded_returns(
        {"crypto": returns_of({"B:COIN": {SATURDAY: 1.0, SUNDAY: 2.0}}), "us": returns_of({"US:S": SHARE})},
        CALENDARS,
        on="common",
    )
    assert done.table.is_empty()
    assert dict(done.table.schema) == ALIGNED_SCHEMA
    assert losses(done) == {"crypto": [2, 0, 0, 2], "us": [3, 0, 0, 3]}


@pytest.mark.parametrize(
    ("table", "error", "said"),
    [
        (returns_of({"US:S": {SATURDAY: 1.0}}), CalendarError, "XNYS is closed on 1 dates, such as 2024-01-13"),
        (returns_of({}), ContractError, "no rows"),
        (pl.concat([returns_of({"US:S": SHARE})] * 2), ContractError, "3 keys come twice"),
        (
            returns_of({"US:S": SHARE}).cast({"date": pl.Datetime("us", "UTC")}),
            ContractError,
            "date missing or of another",
        ),
        (returns_of({"US:S": SHARE}).drop("symbol"), ContractError, "symbol missing"),
        (returns_of({"US:S": SHARE}).with_columns(simple_return=float("nan")), ContractError, "NaN"),
        (returns_of({"US:S": SHARE}).with_columns(date=pl.lit(None, pl.Date)), ContractError, "without date"),
    ],
)
def test_tables_that_cannot_be_joined_say_why(table: pl.DataFrame, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        compounded_returns({"us": table}, {"us": CALENDARS["us"]}, on="common")


def test_each_sleeve_needs_its_calendar() -> None:
    with pytest.raises(CalendarError, match="one calendar each"):
        compounded_returns({"us": returns_of({"US:S": SHARE})}, CALENDARS, on="union")
    with pytest.raises(CalendarError, match="at least one"):
        union_dates({}, FRIDAY, TUESDAY)


def test_before_a_calendar_begins_the_dates_found_are_its_sessions() -> None:
    old = [date(1996, 12, 30) + timedelta(days=k) for k in (0, 1, 7, 8)]
    japan = returns_of({"XTKS:S": {day: 1.0 + k for k, day in enumerate(old)}})
    done = compounded_returns({"japan": japan}, {"japan": calendar("XTKS")}, on="common")
    assert list(by_date(done, "XTKS:S")) == old


DAYS = [date(2023, 12, 20) + timedelta(days=k) for k in range(30)]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_returns_on_common_dates_compound_to_the_ratio_of_closes(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sessions = set(CALENDARS["us"].sessions(DAYS[0], DAYS[-1])["date"])
    whole = {"B:ALL": dict.fromkeys(DAYS, 1.0)}
    listed = {"US:ALL": dict.fromkeys(sorted(sessions), 1.0)}
    there = data.draw(st.lists(st.booleans(), min_size=30, max_size=30))
    close = {day: float(np.exp(rng.normal(0.0, 0.5))) for day, is_there in zip(DAYS, there, strict=True) if is_there}
    done = compounded_returns(
        {"crypto": returns_of(whole | {"B:COIN": close}), "us": returns_of(listed)}, CALENDARS, on="common"
    )
    known = [day for day in close if day in sessions]
    assert list(by_date(done, "B:COIN")) == known
    growth = np.cumprod([1.0 + (value or 0.0) for value in by_date(done, "B:COIN").values()])
    np.testing.assert_allclose(growth, [close[day] / close[known[0]] for day in known], rtol=1e-13)
    rows, kept, moved, lost = losses(done)["crypto"]
    assert rows == 30 + len(close) == kept + moved + lost
    assert kept == len(sessions) + len(known)


def test_the_order_of_rows_does_not_matter() -> None:
    crypto, us = returns_of({"B:COIN": COIN, "B:OTHER": COIN}), returns_of({"US:S": SHARE})
    for on in ("common", "union"):
        straight = compounded_returns({"crypto": crypto, "us": us}, CALENDARS, on=on)
        mixed = compounded_returns(
            {"us": us.reverse(), "crypto": crypto.sample(fraction=1.0, shuffle=True, seed=3)}, CALENDARS, on=on
        )
        assert mixed.table.equals(straight.table)
        assert mixed.losses.equals(straight.losses)


def real_closes(name: str) -> pl.DataFrame:
    folder = Path(os.environ.get("QUANT_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
    path = folder / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"no {path}; set QUANT_SHARED_DATA to the folder of real prices")
    return pl.read_parquet(path, columns=["date", "symbol", "close"]).drop_nulls()


@pytest.mark.parametrize(
    ("coins", "shares", "overlap", "most"),
    [
        ("crypto_binance_spot_1d", "us_eod_2017_1d", (date(2017, 8, 17), date(2017, 11, 10)), 61),
        ("crypto_coinbase_1d", "us_sp500_5yr_1d", (date(2014, 12, 1), date(2018, 2, 7)), 803),
    ],
)
def test_real_coins_and_shares_keep_every_move(coins: str, shares: str, overlap: tuple[date, date], most: int) -> None:
    is_within = pl.col("date").is_between(*overlap)
    closes = {"crypto": real_closes(coins).filter(is_within), "us": real_closes(shares).filter(is_within)}
    open_days = CALENDARS["us"].sessions(*overlap)["date"]
    closes["us"] = closes["us"].filter(pl.col("date").is_in(open_days.implode()))
    change = pl.col("close") / pl.col("close").shift(1).over("symbol") - 1.0
    returns = {
        name: table.sort("symbol", "date").select("date", "symbol", simple_return=change)
        for name, table in closes.items()
    }
    done = compounded_returns(returns, CALENDARS, on="common")
    assert done.table["date"].n_unique() == most
    for sleeve, table in closes.items():
        joined = (
            done.table.filter(pl.col("sleeve") == sleeve)
            .join(table, on=["date", "symbol"], how="left", maintain_order="left")
            .sort("symbol", "date")
            .with_columns(ratio=change)
        )
        assert joined["close"].null_count() == 0
        known = joined.filter(pl.col("ratio").is_not_null())
        assert known["simple_return"].null_count() == 0
        np.testing.assert_allclose(known["simple_return"], known["ratio"], rtol=1e-12, atol=2e-15)
        rows, kept, moved, lost = losses(done)[sleeve]
        assert rows == table.height == kept + moved + lost
        assert kept == joined.height
    assert losses(done)["crypto"][2] > 0


def test_missing_values_on_a_union_are_typed() -> None:
    gaps = pl.DataFrame(
        {
            "symbol": ["US:A", "US:A", "US:B"],
            "start": [date(2024, 1, 10), TUESDAY, date(2024, 1, 10)],
            "end": [date(2024, 1, 11), TUESDAY, TUESDAY],
            "kind": ["pre_listing", "gap", "delisted"],
        }
    )
    dates = union_dates(CALENDARS, date(2024, 1, 11), TUESDAY)["date"]
    said = missingness(gaps, dates, ["US:A", "US:B", "US:C"], CALENDARS["us"])
    assert said.filter(pl.col("missing") == "closed").height == 3 * 3
    assert said.filter(pl.col("missing") != "closed").rows() == [
        (date(2024, 1, 11), "US:A", "pre_listing"),
        (date(2024, 1, 11), "US:B", "delisted"),
        (FRIDAY, "US:B", "delisted"),
        (TUESDAY, "US:A", "gap"),
        (TUESDAY, "US:B", "delisted"),
    ]
    assert missingness(gaps, dates.clear(), ["US:A"], CALENDARS["us"]).is_empty()
