import json
import subprocess
import sys
from datetime import date
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from quant_core.graph.catalog import collect
from quant_core.report import charts, sheet_charts
from quant_core.report.charts import Chart, room_chart, svg_of
from quant_core.report.series import POINTS, curves

HOSTILE = "US:</text><script>alert(1)</script>&$x_$--&#0;"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def tables(demo):
    made = demo(years=2)
    ordered = made["bars"].sort("symbol", "date")
    change = pl.col("close") / pl.col("close").shift(1).over("symbol") - 1
    returns = ordered.select("date", "symbol", change.alias("simple_return"))
    known = pl.col("simple_return")
    return {
        "ingest.bars": made["bars"],
        "ingest.returns": returns,
        "ingest.universe": pl.DataFrame(
            {
                "symbol": ["US:A", "US:B"],
                "start": [date(2018, 1, 1), date(2018, 6, 1)],
                "end": [date(2019, 1, 1), None],
                "is_eligible": [True, True],
                "reason": ["member", "member"],
            }
        ),
        "features.trend": returns.select("date", "symbol", known.alias("momentum"), (-known).alias("drawdown")),
        "alpha.evaluation": made["evaluation"],
        "inference.conviction": returns.select(
            "date",
            "symbol",
            pl.lit("LONG").alias("direction"),
            pl.lit("log_mps").alias("scorer"),
            (known * 10 + 0.5).clip(0, 1).alias("conviction"),
        ),
        "synthesis.decisions": made["decisions"],
        "synthesis.clusters": made["decisions"].select("date", "symbol", "cluster"),
        "allocation.weights": made["weights"],
        "backtest.equity": made["equity"],
    }


ROOMS = [
    "ingest.bars",
    "ingest.returns",
    "ingest.universe",
    "features.trend",
    "alpha.evaluation",
    "inference.conviction",
    "synthesis.decisions",
    "synthesis.clusters",
    "allocation.weights",
    "backtest.equity",
]


@pytest.fixture(scope="module")
def drawn(tables):
    return {stage_id: room_chart(stage_id, frame) for stage_id, frame in tables.items()}


def sized(png):
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


@pytest.mark.parametrize("stage_id", ROOMS)
def test_a_room_chart_is_a_png_of_fixed_size_that_shows_something(drawn, stage_id):
    png = drawn[stage_id]
    assert png.startswith(PNG)
    assert sized(png) == (720, 360)
    assert len(png) > 5_000


@pytest.mark.parametrize("stage_id", ROOMS)
def test_a_room_chart_depends_on_its_rows_and_not_on_their_order(tables, drawn, stage_id):
    frame = tables[stage_id]
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
    assert room_chart(stage_id, shuffled) == drawn[stage_id]
    assert room_chart(stage_id, frame.head(frame.height // 2)) != drawn[stage_id]


@pytest.mark.parametrize("stage_id", ROOMS)
def test_a_table_without_rows_has_no_chart(tables, stage_id):
    assert room_chart(stage_id, tables[stage_id].clear()) is None


def test_a_stage_without_a_chart_has_none(tables):
    assert room_chart("report.tear_sheet", tables["ingest.bars"]) is None


@pytest.mark.parametrize("stage_id", ["features.trend", "inference.conviction", "alpha.evaluation", "ingest.returns"])
def test_a_table_of_values_nobody_knows_is_drawn_all_the_same(tables, stage_id):
    frame = tables[stage_id]
    unknown = frame.with_columns(
        pl.lit(None, dtype=pl.Float64).alias(n) for n, k in frame.schema.items() if k.is_float()
    )
    assert room_chart(stage_id, unknown).startswith(PNG)


def test_one_row_is_enough_for_a_chart(tables):
    for stage_id, frame in tables.items():
        assert room_chart(stage_id, frame.head(1)).startswith(PNG), stage_id


def test_charts_are_found_by_their_type():
    found = collect("quant_core.report", Chart)
    assert {name for name in found if name != "features.*"} == set(ROOMS) - {"features.trend"}


def test_names_in_any_script_and_with_any_sign_are_drawn(tables):
    names = ["BINANCE:币安", "US:$a^$", "US:_x", HOSTILE]
    frame = tables["allocation.weights"]
    renamed = frame.with_columns(pl.Series("symbol", [names[i % 4] for i in range(frame.height)]))
    assert room_chart("allocation.weights", renamed).startswith(PNG)


def test_names_are_text_inside_a_drawing_never_marks(tables):
    def draw(figure):
        axes = figure.subplots()
        axes.set_title(HOSTILE + "\x01")
        charts.legend(axes, axes.plot([1, 2], [3, 4]), ["_hidden $x$"])

    svg = svg_of(draw, name="x", label=HOSTILE, size=(300, 200))
    root = ElementTree.fromstring(svg)
    texts = {"".join(element.itertext()).strip() for element in root.iter("text")}
    assert HOSTILE + "\N{REPLACEMENT CHARACTER}" in texts
    assert "_hidden $x$" in texts
    assert root.get("aria-label") == HOSTILE
    assert "script" not in {element.tag for element in root.iter()}


def test_a_drawing_stands_alone_and_its_ids_bear_its_name(tables):
    svg = sheet_charts.equity_curves(curves(tables["backtest.equity"]), "hrp")
    root = ElementTree.fromstring(svg)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    used = [element.get("href") for element in root.iter() if element.get("href")]
    clips = [element.get("clip-path") for element in root.iter() if element.get("clip-path")]
    assert ids
    assert len(ids) == len(set(ids))
    assert all(name.startswith("equity-") for name in ids)
    assert {name.removeprefix("#") for name in used} | {
        c.removeprefix("url(#").removesuffix(")") for c in clips
    } == set(ids)
    assert "http" not in svg
    assert "<style" not in svg


def test_a_user_s_own_matplotlib_settings_change_nothing(tables):
    import matplotlib as mpl

    lines = curves(tables["backtest.equity"])
    before = sheet_charts.drawdowns(lines, "hrp")
    with mpl.rc_context({"axes.facecolor": "red", "svg.hashsalt": None, "font.size": 30}):
        assert sheet_charts.drawdowns(lines, "hrp") == before
        assert mpl.rcParams["font.size"] == 30


def test_a_long_record_is_drawn_with_few_points():
    days = pl.date_range(date(1970, 1, 1), date(2015, 1, 1), "1d", eager=True)
    wealth = np.exp(np.cumsum(np.random.default_rng(0).normal(0.0, 0.01, len(days))))
    rows = pl.DataFrame({"date": days, "equity": wealth, "net_return": 0.0})
    svg = sheet_charts.equity_curves({"hrp": rows}, "hrp")
    longest = max(d.count("L") for d in (e.get("d", "") for e in ElementTree.fromstring(svg).iter("path")))
    assert 100 < longest <= POINTS


def test_a_ruined_portfolio_is_drawn_until_its_wealth_is_gone(tables):
    lines = curves(tables["backtest.equity"])
    ruined = lines["hrp"].with_columns(
        pl.when(pl.int_range(pl.len()) > 100).then(0.0).otherwise("equity").alias("equity")
    )
    ElementTree.fromstring(sheet_charts.equity_curves(lines | {"hrp": ruined}, "hrp"))
    ElementTree.fromstring(sheet_charts.drawdowns(lines | {"hrp": ruined}, "hrp"))


def test_less_than_a_year_has_no_rolling_sharpe(tables):
    lines = {name: rows.head(200) for name, rows in curves(tables["backtest.equity"]).items()}
    assert sheet_charts.rolling_sharpes(lines, "hrp", periods_per_year=252) is None


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (0.83, 1.8), (1.0, 1.0), (0.01, 1.0), (0.5, 900.0), (1e-6, 1e6)])
def test_a_log_axis_has_a_handful_of_ticks(low, high):
    seen = []

    def draw(figure):
        axes = figure.subplots()
        axes.plot([0, 1], [low, high])
        charts.log_axis(axes, low, high)
        seen.extend(tick for tick in axes.get_yticks() if low / 1.03 <= tick <= high * 1.03)

    svg_of(draw, name="x", label="x", size=(300, 200))
    assert 3 <= len(seen) <= 14


def test_neighbouring_names_keep_their_distance_inside_the_axes():
    places = charts._move_apart([0.1, 0.5, 0.5, 0.99, 1.0], 0.05)
    assert np.diff(places).min() >= 0.05 - 1e-12
    assert places[-1] <= 1.0


def test_stages_of_the_report_load_no_plotting_and_drawing_loads_no_pyplot():
    code = """
import json, sys
from quant_core.report import orders, portfolio, room_charts, tear_sheet
heavy = {"matplotlib", "numba", "scipy", "skfolio"} & set(sys.modules)
import polars as pl
from quant_core.report.charts import room_chart
frame = pl.DataFrame({"date": [1], "symbol": ["US:A"], "cluster": [1]}).cast({"date": pl.Date})
room_chart("synthesis.clusters", frame)
print(json.dumps([sorted(heavy), "matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], True, False]
