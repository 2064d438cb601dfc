from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.ingest.actions import actions as known_actions
from quant_core.ingest.corporate_actions.effects import adjust_prices
from quant_core.ingest.corporate_actions.factor_file import read_factors
from quant_core.market.contracts.ingest import Actions
from quant_core.market.sleeves import Sleeve

Find = Callable[[str], Path]
DAY = date(2024, 1, 1)
PRICES = ("open", "high", "low", "close")


def day(k: int) -> date:
    return DAY + timedelta(days=k)


def bars(**closes: list[float | None]) -> pl.DataFrame:
    rows = [
        (day(k), f"US:{symbol}", close, close and 10.0 * k + 70.0)
        for symbol, path in closes.items()
        for k, close in enumerate(path)
    ]
    table = pl.DataFrame(
        rows, schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64, "volume": pl.Float64}, orient="row"
    )
    return table.with_columns(open=pl.col("close") - 0.5, high=pl.col("close") + 1.0, low=pl.col("close") - 1.0)


def events(*rows: dict[str, Any]) -> pl.DataFrame:
    whole = [
        dict.fromkeys(Actions.dtypes) | {"row": k, "symbol": "US:A", "kind": "split"} | row
        for k, row in enumerate(rows)
    ]
    return pl.DataFrame(whole, schema=Actions.dtypes)


def test_a_split_halves_what_came_before_and_doubles_its_shares() -> None:
    rows = bars(A=[100.0, 104.0, 53.0, 54.0], B=[7.0, 8.0, 9.0, 10.0])
    done = adjust_prices(rows, events({"date": day(2), "factor": 0.5}))
    assert done["adjustment"].to_list() == [0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert done["close"].to_list() == [50.0, 52.0, 53.0, 54.0, 7.0, 8.0, 9.0, 10.0]
    assert done["volume"].to_list()[:4] == [140.0, 160.0, 90.0, 100.0]
    assert done["high"].to_list()[:3] == [50.5, 52.5, 54.0]
    assert done.columns == [*rows.columns, "adjustment"]


def test_factors_of_later_days_multiply() -> None:
    told = events(
        {"date": day(3), "factor": 0.5},
        {"date": day(1), "factor": 0.25},
        {"date": day(3), "kind": "dividend", "factor": 0.8},
    )
    done = adjust_prices(bars(A=[100.0] * 5), told)
    assert done["adjustment"].to_list() == pytest.approx([0.1, 0.4, 0.4, 1.0, 1.0], abs=1e-15)


def test_an_ex_date_without_a_bar_works_on_the_bars_around_it() -> None:
    rows = bars(A=[100.0, 100.0, 50.0]).with_columns(
        pl.col("date").replace_strict({day(2): day(4)}, default=pl.col("date"))
    )
    assert adjust_prices(rows, events({"date": day(2), "factor": 0.5}))["close"].to_list() == [50.0, 50.0, 50.0]


def test_the_last_price_is_the_market_price_until_the_first_bar_on_new_terms() -> None:
    rows = bars(A=[100.0, 102.0], B=[5.0, 5.0, 5.0])
    announced = events({"date": day(2), "factor": 0.5})
    assert adjust_prices(rows, announced)["close"].to_list()[:2] == [100.0, 102.0]
    empty_row = bars(A=[100.0, 102.0, None])
    assert adjust_prices(empty_row, announced)["close"].to_list() == [100.0, 102.0, None]


def test_traded_value_as_a_volume_is_left_alone() -> None:
    rows = bars(A=[100.0, 104.0, 53.0])
    told = events({"date": day(2), "factor": 0.5})
    assert adjust_prices(rows, told, volume_unit="value")["volume"].equals(rows["volume"])


def test_without_actions_every_bit_stays() -> None:
    rng = np.random.default_rng(3)
    rows = bars(A=list(rng.lognormal(0.0, 5.0, 200)), B=[None, 1e-300, 1e300])
    rows = rows.with_columns(volume=pl.when(pl.col("volume") > 500.0).then("volume"))
    for told in (Actions.empty(), events({"symbol": "US:C", "date": day(2), "factor": 0.5})):
        done = adjust_prices(rows, told)
        assert done.drop("adjustment").equals(rows)
        assert done["adjustment"].to_list() == [1.0] * rows.height
    assert adjust_prices(rows.clear(), events({"date": day(2), "factor": 0.5})).height == 0


def test_a_split_told_under_the_old_ticker_reaches_the_rows_under_either() -> None:
    rows = bars(OLD=[100.0, 102.0, 51.0], NEW=[None, None, None, 52.0, 53.0]).drop_nulls("close")
    told = events(
        {"symbol": "US:OLD", "date": day(2), "factor": 0.5},
        {"symbol": "US:OLD", "date": day(3), "kind": "rename", "to": "US:NEW"},
        {"symbol": "US:NEW", "date": day(4), "factor": 0.1},
    )
    assert adjust_prices(rows, told)["adjustment"].to_list() == pytest.approx([0.05, 0.05, 0.1, 0.1, 1.0], abs=1e-16)


def test_a_split_on_the_day_of_the_rename_may_bear_either_ticker() -> None:
    rows = bars(OLD=[100.0, 102.0], NEW=[None, None, 51.0]).drop_nulls("close")
    for symbol in ("US:OLD", "US:NEW"):
        told = events(
            {"symbol": symbol, "date": day(2), "factor": 0.5},
            {"symbol": "US:OLD", "date": day(2), "kind": "rename", "to": "US:NEW"},
        )
        assert adjust_prices(rows, told)["close"].to_list() == [50.0, 51.0, 51.0]


@st.composite
def markets(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    bar_count, event_count = draw(st.integers(1, 60)), draw(st.integers(0, 12))
    keys = rng.permutation(120)[:bar_count]
    close = rng.lognormal(3.0, 1.0, bar_count)
    rows = pl.DataFrame(
        {
            "date": [day(int(k) // 3) for k in keys],
            "symbol": [f"US:{'ABC'[int(k) % 3]}" for k in keys],
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": rng.lognormal(8.0, 1.0, bar_count),
        }
    )
    told = events(
        *(
            {
                "date": day(int(rng.integers(0, 42))),
                "symbol": f"US:{'ABCD'[int(rng.integers(4))]}",
                "kind": ["split", "dividend"][int(rng.integers(2))],
                "factor": float(rng.choice([0.5, 0.1, 0.97, 3.0])),
            }
            for _ in range(event_count)
        )
    )
    return rows, told.unique(["symbol", "date", "kind"], keep="last", maintain_order=True)


@given(market=markets(), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_neither_the_order_of_rows_nor_that_of_actions_matters(
    market: tuple[pl.DataFrame, pl.DataFrame], seed: int
) -> None:
    rows, told = market
    order = np.random.default_rng(seed).permutation(rows.height)
    whole = adjust_prices(rows, told)
    assert adjust_prices(rows[order], told.reverse()).equals(whole[order])


@given(market=markets())
@settings(max_examples=60, deadline=None)
def test_every_price_is_the_product_of_what_follows_it(market: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows, told = market
    done = adjust_prices(rows, told)
    last = dict(rows.group_by("symbol").agg(pl.col("date").max()).iter_rows())
    for row in done.iter_rows(named=True):
        factor = 1.0
        for event in told.iter_rows(named=True):
            if event["symbol"] == row["symbol"] and row["date"] < event["date"] <= last[row["symbol"]]:
                factor *= event["factor"]
        assert row["adjustment"] == pytest.approx(factor, rel=1e-13)
    value, before = done["close"] * done["volume"], rows["close"] * rows["volume"]
    np.testing.assert_allclose(value.to_numpy(), before.to_numpy(), rtol=1e-15)
    for name in PRICES:
        assert done[name].equals(rows[name] * done["adjustment"])
    final = done.filter(pl.col("date") == pl.col("date").max().over("symbol"))
    assert (final["adjustment"] == 1.0).all()


@given(market=markets(), cut=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_a_later_view_differs_from_an_earlier_one_by_one_factor_per_symbol(
    market: tuple[pl.DataFrame, pl.DataFrame], cut: int
) -> None:
    rows, told = market
    early = adjust_prices(rows.filter(pl.col("date") <= day(cut)), told)
    late = adjust_prices(rows, told).filter(pl.col("date") <= day(cut))
    ratio = early.select("symbol", ratio=late["adjustment"] / early["adjustment"])
    spread = ratio.group_by("symbol").agg(least=pl.col("ratio").min(), most=pl.col("ratio").max())
    np.testing.assert_allclose(spread["least"].to_numpy(), spread["most"].to_numpy(), rtol=1e-12)


def lean(found: Find) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    path = found("eq_lean_factors")
    told = read_factors(path).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)).select(*Actions.dtypes)
    return pl.read_parquet(found("eq_lean_1d")), told, pl.read_parquet(path)


def test_real_prices_follow_their_factor_file(shared_data: Find) -> None:
    rows, told, factors = lean(shared_data)
    by_day = factors.sort("date").select("date", "symbol", product=pl.col("price_factor") * pl.col("split_factor"))
    done = adjust_prices(rows, told).sort("date")
    seen = done.join_asof(by_day, on="date", by="symbol", strategy="forward", check_sortedness=False)
    seen = seen.drop_nulls("product").with_columns(raw=pl.col("close") / pl.col("adjustment"))
    last = pl.col("product").sort_by("date").last().over("symbol")
    wanted = seen.select(pl.col("raw") * pl.col("product") / last).to_series()
    assert seen["symbol"].n_unique() == 15
    np.testing.assert_allclose(seen["close"].to_numpy(), wanted.to_numpy(), rtol=1e-14)
    value = (done["close"] * done["volume"]).to_numpy()
    np.testing.assert_allclose(
        value, rows.sort("date").select(pl.col("close") * pl.col("volume")).to_series(), rtol=1e-15
    )


def test_no_return_jumps_where_a_real_split_was_known(shared_data: Find) -> None:
    rows, told, _ = lean(shared_data)
    done = adjust_prices(rows, told).sort("symbol", "date")
    change = (pl.col("close") / pl.col("close").shift(1) - 1.0).over("symbol")
    raw = (pl.col("close") / pl.col("adjustment")).over("symbol")
    moves = done.with_columns(change=change, raw=raw / raw.shift(1).over("symbol") - 1.0)
    at = told.filter(pl.col("kind") == "split").select(pl.col("date"), "symbol")
    split_days = (
        at.sort("date")
        .join_asof(
            moves.sort("date").select("date", "symbol", "change", "raw"),
            on="date",
            by="symbol",
            strategy="forward",
            tolerance="5d",
            check_sortedness=False,
        )
        .drop_nulls("change")
    )
    assert split_days.height == 17
    assert (split_days["raw"].abs() > 0.19).sum() == 16
    assert (split_days["change"].abs() < 0.25).all()


@pytest.mark.parametrize(
    ("as_of", "friday"),
    [("2014-06-06", 645.57), ("2014-06-08", 645.57), ("2014-06-09T19:59:59", 645.57), ("2014-06-09", 645.57 / 7)],
)
def test_a_view_of_a_day_shows_the_prices_of_that_day(shared_data: Find, as_of: str, friday: float) -> None:
    rows, told, _ = lean(shared_data)
    stamp = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
    last = date(2014, 6, 9) if as_of == "2014-06-09" else date(2014, 6, 6)
    assert stamp.date() >= last
    seen = rows.filter(pl.col("date") <= last, pl.col("symbol") == "US:AAPL")
    sleeve = Sleeve(name="mine", calendar="XNYS", adjustment="raw")
    done = adjust_prices(seen, known_actions(told, sleeve=sleeve, as_of=as_of).valid)
    assert done.filter(pl.col("date") == last)["adjustment"].to_list() == [1.0]
    assert done.filter(pl.col("date") == date(2014, 6, 6))["close"].item() == pytest.approx(friday, rel=1e-6)
