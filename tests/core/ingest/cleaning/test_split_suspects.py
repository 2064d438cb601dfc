from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_core.ingest.cleaning.split_suspects import suspected_splits
from quant_core.ingest.corporate_actions.effects import adjust_prices
from quant_core.ingest.corporate_actions.factor_file import read_factors
from quant_core.market.contracts.ingest import Actions

Find = Callable[[str], Path]
AT = 80
PRICES = ("open", "high", "low", "close")


def quiet(symbol: str = "US:A", bars: int = 120, seed: int = 1, daily: float = 0.01) -> pl.DataFrame:
    """Bars that wander by one percent a day around 100, on about a million shares."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, daily, bars)))
    opened = np.append(close[:1], close[:-1] * np.exp(rng.normal(0.0, daily / 3.0, bars - 1)))
    return pl.DataFrame(
        {
            "date": [date(2024, 1, 1) + timedelta(days=k) for k in range(bars)],
            "symbol": symbol,
            "life": pl.Series(np.zeros(bars, dtype=np.int32)),
            "open": opened,
            "high": np.maximum(opened, close) * 1.002,
            "low": np.minimum(opened, close) * 0.998,
            "close": close,
            "volume": 1e6 * rng.lognormal(0.0, 0.2, bars),
        }
    )


def from_bar(bars: pl.DataFrame, *, at: int = AT, **factors: float) -> pl.DataFrame:
    is_after = pl.int_range(pl.len()) >= at
    return bars.with_columns(pl.when(is_after).then(pl.col(n) * f).otherwise(n) for n, f in factors.items())


def at_bar(bars: pl.DataFrame, *, at: int = AT, **values: object) -> pl.DataFrame:
    is_it = pl.int_range(pl.len()) == at
    return bars.with_columns(pl.when(is_it).then(pl.lit(v)).otherwise(n).alias(n) for n, v in values.items())


def split(ratio: float, **options: int) -> pl.DataFrame:
    return from_bar(quiet(), **options, volume=ratio, **dict.fromkeys(PRICES, 1.0 / ratio))


def suspects(bars: pl.DataFrame) -> list[int]:
    return np.flatnonzero(suspected_splits(bars).to_numpy()).tolist()


@pytest.mark.parametrize("ratio", [1.5, 2, 3, 4, 7, 20, 50, 1 / 2, 1 / 5, 1 / 10, 1 / 30, 1 / 100])
def test_a_split_is_suspected_at_its_first_bar(ratio: float) -> None:
    assert suspects(split(ratio)) == [AT]


def test_bars_without_a_split_are_not_suspected() -> None:
    assert suspects(quiet()) == []
    assert suspects(quiet().clear()) == []
    assert suspects(quiet().head(1)) == []


def test_a_fall_by_no_simple_ratio_is_none() -> None:
    assert suspects(split(1.75)) == []


def test_a_crash_overnight_with_many_times_the_usual_trade_is_none() -> None:
    crash = from_bar(quiet(), **dict.fromkeys(PRICES, 0.5))
    assert suspects(crash) == [AT]
    usual = crash["volume"][AT]
    assert suspects(at_bar(crash, volume=9.0 * usual)) == []
    assert suspects(at_bar(crash, volume=None)) == [AT]
    assert suspects(at_bar(crash, volume=0.0)) == [AT]


def test_a_crash_that_trades_through_its_fall_is_none() -> None:
    bars = quiet()
    before = bars["close"][AT - 1]
    through = at_bar(split(2), open=before, high=before)
    assert suspects(through) == []
    assert suspects(at_bar(split(2), low=bars["low"][AT] / 2.0 / 1.6)) == []


@pytest.mark.parametrize(("off", "is_suspected"), [(1.02, True), (1.06, False)])
def test_the_open_lies_near_the_ratio(off: float, is_suspected: bool) -> None:
    bars = split(2)
    price = bars["close"][AT - 1] / 2.0 * off
    moved = at_bar(bars, open=price, high=price * 1.05, low=price * 0.9)
    assert suspects(moved) == [AT] * is_suspected


@pytest.mark.parametrize(("off", "is_suspected"), [(1.03, True), (1.1, False)])
def test_the_close_lies_not_far_from_the_ratio(off: float, is_suspected: bool) -> None:
    bars = split(2)
    price = bars["close"][AT - 1] / 2.0
    moved = at_bar(bars, open=price, close=price * off, high=price * 1.12, low=price * 0.99)
    assert suspects(moved)[:1] == [AT] * is_suspected


def test_a_gap_beyond_the_largest_ratio_is_none_however_wild_the_price() -> None:
    for ratio, wanted in ((1 / 100, [AT]), (1 / 140, [])):
        wild = from_bar(quiet(daily=0.12), volume=ratio, **dict.fromkeys(PRICES, 1.0 / ratio))
        assert suspects(wild) == wanted


def test_a_price_that_is_used_to_such_moves_is_no_suspect() -> None:
    wild = from_bar(quiet(daily=0.15), volume=2.0, **dict.fromkeys(PRICES, 0.5))
    assert suspects(wild) == []


@pytest.mark.parametrize("name", ["open", "high", "low"])
def test_without_an_overnight_gap_or_a_range_nothing_is_said(name: str) -> None:
    assert suspects(at_bar(split(2), **{name: None})) == []


def test_a_day_of_one_price_and_a_price_that_never_moves_say_nothing() -> None:
    price = split(2)["close"][AT]
    assert suspects(at_bar(split(2), **dict.fromkeys(PRICES, price))) == []
    still = quiet().with_columns(close=pl.lit(100.0), open=pl.lit(100.0), high=pl.lit(101.0), low=pl.lit(99.0))
    assert suspects(from_bar(still, **dict.fromkeys(PRICES, 0.5))) == []


def test_a_symbol_speaks_once_twenty_returns_are_known() -> None:
    assert suspects(split(2, at=20)) == []
    assert suspects(split(2, at=21)) == [21]


@pytest.mark.parametrize("bars", [2, 3, 5, 19])
def test_a_table_of_a_few_bars_says_nothing(bars: int) -> None:
    assert suspects(from_bar(quiet(bars=bars), at=bars - 1, open=0.5, high=0.5, low=0.5, close=0.5)) == []


def test_a_long_break_hides_what_happened_in_it() -> None:
    late = split(2).with_columns(
        date=pl.col("date")
        + pl.when(pl.int_range(pl.len()) >= AT).then(pl.duration(days=10)).otherwise(pl.duration(days=0))
    )
    assert suspects(late) == []


def test_a_life_that_begins_by_the_jump_is_judged_against_the_one_before() -> None:
    reborn = split(1 / 20).with_columns(life=(pl.int_range(pl.len()) >= AT).cast(pl.Int32))
    assert suspects(reborn) == [AT]


def test_the_jump_into_a_life_is_none_of_its_returns() -> None:
    for at, wanted in ((50, []), (51, [51])):
        reborn = split(2, at=at).with_columns(life=(pl.int_range(pl.len()) >= 30).cast(pl.Int32))
        assert suspects(reborn) == wanted


def test_volume_that_is_traded_value_is_not_multiplied_again() -> None:
    bars = split(2).with_columns(volume=pl.col("volume") * pl.col("close"))
    busy = at_bar(bars, volume=bars["volume"][AT] * 6.0)
    assert suspected_splits(bars, volume_unit="value").arg_true().to_list() == [AT]
    assert suspected_splits(busy, volume_unit="value").arg_true().to_list() == []


def test_symbols_do_not_touch_each_other() -> None:
    quiet_one, split_one = quiet("US:A", seed=4), split(2).with_columns(symbol=pl.lit("US:B"))
    cheap = quiet("US:C").with_columns(pl.col(name) / 2.0 for name in PRICES)
    assert suspects(pl.concat([quiet_one, split_one, cheap])) == [120 + AT]


def test_a_price_on_wrong_terms_for_one_day_is_suspected_going_and_coming() -> None:
    bars = quiet()
    wrong = at_bar(bars, volume=2.0 * bars["volume"][AT], **{name: bars[name][AT] / 2.0 for name in PRICES})
    assert suspects(wrong) == [AT, AT + 1]


def test_no_later_bar_changes_the_answer_on_an_earlier_one() -> None:
    bars = from_bar(split(2), at=100, volume=0.1, **dict.fromkeys(PRICES, 10.0))
    whole = suspected_splits(bars)
    assert whole.arg_true().to_list() == [AT, 100]
    for end in range(1, bars.height + 1):
        assert suspected_splits(bars.head(end)).equals(whole.head(end))


def as_bars(path: Path) -> pl.DataFrame:
    """Read a file as bars, of rows with one key the last; prices of zero are not known."""
    rows = pl.read_parquet(path, columns=["date", "symbol", *PRICES, "volume"]).with_row_index("row")
    latest = rows.sort("symbol", "date", "row").unique(["symbol", "date"], keep="last", maintain_order=True)
    known = latest.filter(pl.col("close") > 0.0)
    prices = (pl.when(pl.col(name) > 0.0).then(name) for name in PRICES)
    return known.with_columns(*prices, life=pl.lit(0, pl.Int32))


def found(path: Path) -> list[tuple[str, date]]:
    bars = as_bars(path)
    return bars.filter(suspected_splits(bars)).select("symbol", "date").rows()


def test_real_splits_are_suspected_and_a_genuine_fall_by_half_is_not(shared_data: Find) -> None:
    assert found(shared_data("us_wiki_1d")) == [
        ("US:AAPL", date(2000, 6, 21)),
        ("US:AAPL", date(2005, 2, 28)),
        ("US:MSFT", date(2003, 2, 18)),
    ]


def told_splits(shared_data: Find) -> set[tuple[str, date]]:
    told = read_factors(shared_data("eq_lean_factors")).filter(pl.col("kind") == "split").sort("date")
    bars = as_bars(shared_data("eq_lean_1d")).sort("date")
    first = pl.col("date").min().over("symbol")
    seen = bars.select("date", "symbol", seen=pl.when(pl.col("date") > first).then("date"))
    at = told.join_asof(seen, on="date", by="symbol", strategy="forward", tolerance="5d", check_sortedness=False)
    return set(at.drop_nulls("seen").select("symbol", "seen").rows())


def test_raw_prices_beside_their_factor_file_show_what_is_found_and_what_is_missed(shared_data: Find) -> None:
    suspected, told = set(found(shared_data("eq_lean_1d"))), told_splits(shared_data)
    # A split of 5:4 and a distribution of 0.27 % are no ratios looked for.
    assert told - suspected == {("US:AIG", date(1999, 8, 2)), ("US:GOOG", date(2015, 4, 27))}
    # Both were splits: the factor file tells of them under other tickers, or of another asset.
    assert suspected - told == {("US:GOOG", date(2014, 4, 3)), ("US:WM", date(2001, 5, 16))}
    assert len(suspected & told) == 15


def test_once_the_known_splits_are_applied_none_of_them_is_suspected(shared_data: Find) -> None:
    told = read_factors(shared_data("eq_lean_factors")).with_row_index("row")
    actions = told.with_columns(pl.col("row").cast(pl.Int64)).select(*Actions.dtypes)
    bars = as_bars(shared_data("eq_lean_1d"))
    done = adjust_prices(bars, actions)
    left = set(done.filter(suspected_splits(done)).select("symbol", "date").rows())
    assert left == {("US:GOOG", date(2014, 4, 3)), ("US:WM", date(2001, 5, 16))}
    twice = adjust_prices(done.drop("adjustment"), actions)
    again = set(twice.filter(suspected_splits(twice)).select("symbol", "date").rows())
    assert len(again & told_splits(shared_data)) >= 10


@pytest.mark.parametrize(
    ("name", "count"),
    [
        pytest.param("us_eod_2017_1d", 12, marks=pytest.mark.slow),
        ("us_raw_2015_2017_1d", 41),
        ("us_sp500_5yr_1d", 0),
        ("crypto_binance_perp_1d", 0),
        ("crypto_binance_spot_1d", 0),
        ("uk_ftse100_close_1d", 0),
    ],
)
def test_suspicions_on_real_prices_are_counted(shared_data: Find, name: str, count: int) -> None:
    assert len(found(shared_data(name))) == count


def test_a_redenominated_coin_is_suspected(shared_data: Find) -> None:
    assert found(shared_data("crypto_binance_2021_2022_1d")) == [
        ("BINANCE:BTCSTUSDT", date(2021, 3, 19)),
        ("BINANCE:DREPUSDT", date(2021, 4, 2)),
    ]
