from datetime import date

import polars as pl
import pytest

from quant_core.market.contracts.portfolio import Metrics
from quant_core.market.sleeves import Sleeve
from quant_core.report import assumptions, sections


def scores(*rows):
    return sections.Scores(pl.DataFrame(rows, schema=Metrics.dtypes, orient="row"))


def record(lower, upper):
    return scores(("hrp", "annual_return", 0.098, None, None), ("hrp", "sharpe", 0.7, lower, upper))


def ending(*days):
    return pl.DataFrame({"symbol": [f"US:{i}" for i in range(len(days))], "date": list(days)})


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [
        (0.2, 1.2, "95 % interval 0.20 to 1.20, above zero. No interval is corrected"),
        (-1.2, -0.2, "95 % interval −1.20 to −0.20, below zero."),
        (-0.2, 0.9, "Sharpe ratio 0.70, 95 % interval −0.20 to 0.90, which includes zero: not told from luck."),
        (0.0, 0.9, "which includes zero"),
        (None, 0.9, "its Sharpe ratio has no interval, so nothing is said about skill."),
    ],
)
def test_the_verdict_follows_the_interval(lower, upper, said):
    assert said in sections.verdict(record(lower, upper), "hrp")


def test_the_verdict_speaks_of_the_benchmark_too():
    rows = [("hrp", "annual_return", 0.098, None, None), ("benchmark", "annual_return", 0.12, None, None)]
    rows += [("hrp", "sharpe", 0.7, 0.2, 1.2), ("hrp", "information_ratio", -0.19, -0.53, 0.15)]
    said = sections.verdict(scores(*rows), "hrp").replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("hrp earned 9.8 % a year after costs (benchmark 12.0 %)")
    assert "information ratio −0.19, interval −0.53 to 0.15, which includes zero: not told from luck." in said
    assert said.endswith("No interval is corrected for the number of variants tried.")


def test_without_a_return_there_is_no_verdict():
    assert sections.verdict(scores(), "hrp").startswith("No record yet")


@pytest.mark.parametrize("bounds", [(None, None), (None, 1.0), (0.1, None)])
def test_a_sharpe_ratio_without_an_interval_is_withheld(bounds):
    cell = record(*bounds).cell("hrp", "sharpe")
    assert cell == sections.Cell("withheld: no interval")


def test_other_figures_need_no_interval():
    assert record(None, None).cell("hrp", "annual_return").value == 0.098


def test_what_is_not_known_is_a_dash():
    assert record(0.1, 1.0).cell("hrp", "calmar") == sections.Cell("\N{EN DASH}")


def test_portfolios_stand_headline_first_then_references_then_methods():
    names = ["benchmark", "equal_weight", "filtered_pool", "hrp", "raw_pool", "erc"]
    expected = ["hrp", "benchmark", "filtered_pool", "raw_pool", "equal_weight", "erc"]
    assert sections.order_portfolios(names, "hrp") == expected


def test_the_heat_of_a_return_grows_with_its_size_and_tells_its_sign():
    row = sections.heat({2020: (0.05, -0.05, 0.5, None, *[None] * 9)})[0]
    shades = [item["shade"] for item in row["cells"][:4]]
    assert shades == ["rgba(0,114,178,0.28)", "rgba(230,129,0,0.28)", "rgba(0,114,178,0.55)", "transparent"]


def test_survivors_only_are_pointed_out():
    early, late = date(2020, 1, 1), date(2021, 1, 1)
    exclusions = pl.DataFrame({"rule": ["stalled"]})
    some = assumptions.conservation(ending(early, late, late), exclusions)
    none = assumptions.conservation(ending(late, late), exclusions)
    assert {name: some[name] for name in ("read", "excluded", "kept")} == {"read": "4", "excluded": "1", "kept": "3"}
    assert some["survivors"] == "1 of 3 symbols end before the data does."
    assert some["caution"] == ""
    assert "may hold survivors only" in none["caution"]


@pytest.mark.parametrize(
    ("holdings", "cash", "said"),
    [
        ("holdings.csv", 5.0, "Starting from the holdings given."),
        (None, 5000.0, "Starting from 5,000 in cash."),
        (None, None, "Starting from cash alone."),
    ],
)
def test_the_source_of_funds_is_told_without_its_path(holdings, cash, said):
    assert assumptions.funding(holdings, cash) == said


def stated_by(table, sleeve, *, volume=(1.0,), held="US:A", asset_cap=None):
    bars = pl.DataFrame(
        {"symbol": [held] * len(volume), "volume": volume}, schema={"symbol": pl.String, "volume": pl.Float64}
    )
    limits = {"asset_cap": asset_cap, "cluster_cap": None, "funding_per_8h": 0.0001}
    return dict(assumptions.assumption_sentences(table, sleeve, bars, **limits))


def test_assumptions_come_from_the_metrics_and_the_sleeve():
    sleeve = Sleeve(name="x", calendar="24/7", adjustment="split", benchmark="BINANCE:BTCUSDT")
    table = scores(("hrp", "cost_bps", 14.0, None, None), ("hrp", "delisting_return", 0.0, None, None))
    stated = stated_by(table, sleeve)
    assert "14 basis points" in stated["Costs"]
    assert stated["Delisting"].endswith("a return of 0\N{NO-BREAK SPACE}%.")
    assert stated["Benchmark"] == "BINANCE:BTCUSDT, bought and held."
    assert stated["Prices"] == "Adjusted for splits only; calendar 24/7."
    undeclared = stated_by(table, sleeve.model_copy(update={"adjustment": None}))
    assert undeclared["Prices"] == "Adjustment not declared; calendar 24/7."
    assert stated["Caps"] == "Not stated."


def test_nothing_is_assumed_in_silence_when_the_backtest_states_nothing():
    stated = stated_by(scores(), Sleeve(name="x", calendar="24/5"), asset_cap=0.2)
    assert stated["Delisting"] == "Not stated by the backtest."
    assert stated["Caps"].startswith("One asset at most 20")


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ([None, None], "Capacity unknown: no volume."),
        ([None, 0.0], "Capacity unknown: no volume."),
        ([None, 5.0], "Capacity is not judged: market impact is not modelled"),
        ([], "Capacity unknown: no volume."),
    ],
)
def test_capacity_is_unknown_without_volume_and_never_claimed_with_it(volume, said):
    assert said in stated_by(scores(), Sleeve(name="x", calendar="24/5"), volume=volume)["Capacity"]


@pytest.mark.parametrize(
    ("held", "is_said"), [("BINANCE:BTCUSDT.P", True), ("BINANCE:BTCUSDT", False), ("X:AP", False)]
)
def test_funding_is_stated_where_a_perpetual_is_held(held, is_said):
    stated = stated_by(scores(), Sleeve(name="x", calendar="24/7"), held=held)
    assert ("Funding" in stated) == is_said
