from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_core.errors import ContractError, PanelError, UnknownNameError, UsageError
from quant_core.features import catalogue, compute_features, compute_panel, tiles
from quant_core.features.catalogue import feature
from quant_core.features.steps import DEFAULT_FAMILIES, FeatureCatalog
from quant_core.ingest.returns import returns as ingest_returns
from quant_core.market.calendar import Calendar
from quant_core.market.panel import Panel, panels_of


@feature(family="probe", unit="fraction", warmup=1)
def seen(returns: np.ndarray) -> np.ndarray:
    """The returns as a feature sees them."""
    return returns


@feature(family="probe", unit="none", warmup=0)
def year(close: np.ndarray, *, periods_per_year: int = 0, volume_unit: str = "") -> np.ndarray:
    """Bars in a year, negative where volume is value."""
    return np.full(close.shape, float(periods_per_year if volume_unit == "units" else -periods_per_year))


@feature(family="probe", unit="none", warmup=0)
def overflow(close: np.ndarray) -> np.ndarray:
    """More than a float can hold."""
    return close * 1e300 * 1e300


PROBES = FeatureCatalog([seen, year, overflow])


def bars(closes: dict[str, list[float | None]], **columns: list[object]) -> pl.DataFrame:
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(len(next(iter(closes.values()))))]
    rows = [(day, symbol, close) for symbol, path in closes.items() for day, close in zip(days, path, strict=True)]
    frame = pl.DataFrame(rows, schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64}, orient="row")
    return frame.with_columns(pl.Series(name, values) for name, values in columns.items())


def probe(frame: pl.DataFrame, name: str = "seen", calendar: str = "24/7") -> list[float | None]:
    return compute_features(frame, [name], calendar=calendar, among=PROBES)[name].to_list()


def walk(days: int = 300, symbols: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(9)
    paths = 20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (symbols, days)), axis=1))
    return bars({f"X:{j}": list(path) for j, path in enumerate(paths)}).with_columns(volume=pl.col("close") * 100.0)


def test_the_rows_of_bars_come_back_sorted_by_symbol_and_date() -> None:
    frame = bars({"X:B": [1.0, 2.0], "X:A": [4.0, 1.0]}).sort("date", descending=True)
    found = compute_features(frame, ["seen"], calendar="24/7", among=PROBES)
    assert found["symbol"].to_list() == ["X:A", "X:A", "X:B", "X:B"]
    assert found["date"].is_sorted() is False
    assert found["seen"].to_list() == [None, -0.75, None, 1.0]


def test_the_order_of_the_rows_and_how_their_texts_lie_in_memory_do_not_matter(tmp_path: Path) -> None:
    frame = walk(40, 5).with_columns("a name longer than a view holds " + pl.col("symbol"))
    expected = compute_features(frame, ["seen"], calendar="24/7", among=PROBES)
    frame.write_parquet(tmp_path / "bars.parquet", row_group_size=17)
    tables = [
        frame.sample(fraction=1.0, shuffle=True, seed=1),
        frame.sort("date", "symbol"),
        pl.concat([frame.slice(at, 13) for at in range(0, frame.height, 13)], rechunk=False),
        frame.with_columns(pl.col("symbol").cast(pl.Categorical)),
        pl.concat([frame, frame]).slice(77, frame.height),
        tmp_path / "bars.parquet",
    ]
    for table in tables:
        found = compute_features(table, ["seen"], calendar="24/7", among=PROBES)
        assert found.with_columns(pl.col("symbol").cast(pl.String)).equals(expected)


def test_more_runs_of_symbols_than_are_counted_are_sorted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = compute_features(walk(40, 5), ["seen"], calendar="24/7", among=PROBES)
    monkeypatch.setattr(tiles, "MOST_SYMBOLS", 4)
    for table in (walk(40, 5), walk(40, 5).sort("date", "symbol")):
        assert compute_features(table, ["seen"], calendar="24/7", among=PROBES).equals(expected)


def test_columns_come_in_the_order_asked_for_and_by_name_otherwise() -> None:
    asked = ["volatility", "momentum", "volatility"]
    assert compute_features(walk(), asked, calendar="XNYS").columns == ["date", "symbol", "volatility", "momentum"]
    found = compute_features(walk(), calendar=Calendar("24/7"))
    assert found.columns == ["date", "symbol", *(n for n, e in catalogue().items() if e.family in DEFAULT_FAMILIES)]
    assert set(found.dtypes[2:]) == {pl.Float64}


def test_families_are_chosen_by_name() -> None:
    found = compute_features(walk(), families=["tail", "liquidity"], calendar="24/7")
    assert found.columns[2:] == [
        "amihud",
        "cvar",
        "kurtosis",
        "liquidity",
        "log_traded_value",
        "skew",
        "zero_return_share",
    ]
    assert found.tail(1).select(pl.all().is_not_null().all()).row(0) == (True,) * found.width
    with pytest.raises(UnknownNameError, match=r"unknown feature family 'tails'\. Did you mean tail"):
        compute_features(walk(), families=["tails"], calendar="24/7")
    with pytest.raises(UsageError, match="features or families, not both"):
        compute_features(walk(), ["skew"], families=["tail"], calendar="24/7")


def test_intraday_stamps_keep_their_type() -> None:
    frame = bars({"X:A": [1.0, 2.0]}).with_columns(
        date=pl.Series([datetime(2024, 1, 1, 10, tzinfo=UTC), datetime(2024, 1, 1, 11, tzinfo=UTC)]).dt.cast_time_unit(
            "us"
        )
    )
    found = compute_features(frame, ["seen"], calendar="24/7", among=PROBES)
    assert found["date"].equals(frame["date"])
    assert found["seen"].to_list() == [None, 1.0]


def test_returns_stay_within_a_life_and_outside_open_jumps() -> None:
    frame = bars({"X:A": [1.0, 2.0, 8.0, 10.0, 90.0]}, life=[0, 0, 1, 1, 1], is_provisional=[False] * 4 + [True])
    assert probe(frame) == [None, 1.0, None, 0.25, None]


def test_returns_are_those_of_ingest() -> None:
    frame = walk().with_columns(
        life=(pl.col("date").dt.ordinal_day() > 200).cast(pl.Int32),
        is_provisional=pl.col("close") > pl.col("close").quantile(0.9),
    )
    frame = frame.sample(fraction=0.9, seed=3)
    assert 0 < frame["is_provisional"].sum() < frame.height
    expected = ingest_returns(frame).sort("symbol", "date")["simple_return"]
    assert probe(frame) == expected.to_list()


def test_returns_run_over_missing_rows_and_unknown_closes() -> None:
    frame = bars({"X:A": [1.0, None, 2.0, 3.0], "X:B": [1.0, 1.0, 1.0, 1.0]})
    assert probe(frame)[:4] == [None, None, 1.0, 0.5]
    assert probe(frame.drop_nulls())[:3] == [None, 1.0, 0.5]


@pytest.mark.parametrize("bad", [0.0, -2.0, float("inf"), float("nan"), None])
def test_a_price_that_is_no_price_is_not_known(bad: float | None) -> None:
    assert probe(bars({"X:A": [1.0, bad, 3.0]})) == [None, None, 2.0]


def test_the_calendar_and_the_volume_unit_reach_the_features() -> None:
    frame = bars({"X:A": [1.0]})
    assert (probe(frame, "year"), probe(frame, "year", "XNYS")) == ([365.0], [252.0])
    found = compute_features(frame, ["year"], calendar="24/7", volume_unit="value", among=PROBES)
    assert found["year"].to_list() == [-365.0]


def test_volume_counted_in_value_is_not_multiplied_again() -> None:
    units, value = walk(40), walk(40).with_columns(volume=pl.col("close") * pl.col("volume"))
    a = compute_features(units, ["liquidity"], calendar="24/7")
    b = compute_features(value, ["liquidity"], calendar="24/7", volume_unit="value")
    assert a["liquidity"].count() > 0
    assert a.equals(b)


def test_what_overflows_is_null() -> None:
    assert probe(bars({"X:A": [1.0]}), "overflow") == [None]


def test_absent_columns_give_null_features() -> None:
    found = compute_features(walk().drop("volume"), calendar="24/7")
    assert found["momentum"].count() > 0
    assert found.select("amihud", "liquidity", "log_traded_value").null_count().row(0) == (found.height,) * 3
    assert compute_features(walk().select("date", "symbol"), calendar="24/7")["momentum"].null_count() == found.height


def test_whole_numbers_and_nulls_are_read_as_numbers() -> None:
    frame = pl.DataFrame({"date": [date(2024, 1, 1), date(2024, 1, 2)], "symbol": ["X:A", "X:A"], "close": [2, 3]})
    assert probe(frame.with_columns(volume=pl.lit(None))) == [None, 0.5]


def test_an_empty_table_gives_an_empty_table() -> None:
    found = compute_features(walk().clear(), calendar="24/7")
    assert (found.height, found.columns) == (0, compute_features(walk(), calendar="24/7").columns)


def test_a_table_that_is_no_bars_table_is_refused() -> None:
    frame = bars({"X:A": [1.0, 2.0]})
    with pytest.raises(ContractError, match="lack the column 'symbol'; got date, close"):
        probe(frame.drop("symbol"))
    with pytest.raises(ContractError, match="close is String, not a number"):
        probe(frame.with_columns(close=pl.lit("1")))
    with pytest.raises(ContractError, match="date is String"):
        probe(frame.with_columns(pl.col("date").cast(pl.String)))
    with pytest.raises(PanelError, match="comes twice"):
        probe(pl.concat([frame, frame]))


def test_unknown_names_list_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown feature 'volatilty'\. Did you mean volatility"):
        compute_features(walk(), ["volatilty"], calendar="24/7")
    with pytest.raises(UnknownNameError, match="unknown calendar 'XNYZ'"):
        compute_features(walk(), ["momentum"], calendar="XNYZ")


def test_panels_hold_the_table_s_values_and_nothing_where_there_is_no_bar() -> None:
    frame = walk().filter((pl.col("symbol") != "X:1") | (pl.col("date").dt.ordinal_day() != 280))
    table = compute_features(frame, ["momentum", "cvar"], calendar="24/7")
    panels = compute_panel(frame, ["momentum", "cvar"], calendar="24/7")
    assert list(panels) == ["momentum", "cvar"]
    assert panels["momentum"].shape == (300, 3)
    assert np.isnan(panels["momentum"].values[279, 1])
    assert np.isfinite(panels["momentum"].values[[278, 280], 1]).all()
    for name, panel in panels.items():
        np.testing.assert_array_equal(panel.values, panels_of(table, [name])[name].values)


def test_panels_in_give_panels_of_the_same_labels() -> None:
    given = panels_of(walk(), ["close", "volume"])
    wide = {
        name: Panel(np.hstack([panel.values, np.full((300, 1), np.nan)]), panel.dates, (*panel.symbols, "X:9"))
        for name, panel in given.items()
    }
    found = compute_panel(wide, ["momentum", "amihud"], calendar="XNYS")
    from_table = compute_panel(walk(), ["momentum", "amihud"], calendar="XNYS")
    for name, panel in found.items():
        assert panel.symbols == (*given["close"].symbols, "X:9")
        np.testing.assert_array_equal(panel.values[:, :3], from_table[name].values)
        assert np.isnan(panel.values[:, 3]).all()


def test_panels_that_cannot_be_bars_are_refused() -> None:
    close = panels_of(walk(20), ["close"])["close"]
    other = panels_of(walk(19), ["close"])["close"]
    with pytest.raises(UnknownNameError, match=r"unknown bar column 'clos'\. Did you mean close"):
        compute_panel({"clos": close}, calendar="24/7")
    with pytest.raises(PanelError, match="differ in their labels"):
        compute_panel({"close": close, "volume": other}, calendar="24/7")
    with pytest.raises(PanelError, match="no Panel of bars; got life"):
        compute_panel({"life": close}, calendar="24/7")
