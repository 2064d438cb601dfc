import csv
import io
import math
import re
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import polars as pl
import pytest

from quant_core.errors import UnknownNameError
from quant_core.market.contracts import portfolio as contracts
from quant_core.market.contracts.split import validate
from quant_core.market.sleeves import Sleeve
from quant_core.report.figures import FIGURES
from quant_core.report.orders import OrdersParams, orders
from quant_core.report.portfolio import portfolio
from quant_core.report.tear_sheet import TearSheetParams, tear_sheet
from tests.builders import intervals

HOSTILE = 'US:"><script>alert(1)</script>&amp;{{7*7}}'
VOID = {"meta", "br", "img", "link", "input", "hr"}
PARAMS = TearSheetParams(
    headline="hrp",
    methods=("equal_weight", "hrp", "minimum_variance"),
    asset_cap=0.2,
    cluster_cap=0.25,
    cash=1e6,
    funding_per_8h=1e-4,
)


class Page(HTMLParser):
    """What a browser would find: tags, attributes, cells of tables, and whether all tags close."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.faults, self.text = [], [], [], [], []
        self.tables, self.values = {}, {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.table = dict(attrs).get("id", "")
            self.tables[self.table], self.values[self.table] = [], []
        elif tag == "tr":
            self.tables[self.table].append([])
            self.values[self.table].append([])
        elif tag in ("td", "th"):
            self.tables[self.table][-1].append("")
            self.values[self.table][-1].append(None)
        elif tag == "data" and "table" in self.open:
            self.values[self.table][-1][-1] = float(dict(attrs)["value"])

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        self.text.append(data)
        if "table" in self.open and {"td", "th"} & set(self.open):
            self.tables[self.table][-1][-1] += data


def finished(tables, *, sleeve, params=PARAMS, **orders_params):
    """Run portfolio, orders and tear sheet on the tables given; return inputs of the sheet and documents by name."""
    held = portfolio(tables["weights"], tables["atoms"], tables["decisions"], tables["schedule"])
    given = OrdersParams(headline=params.headline, **orders_params)
    sized = orders(held, tables["bars"], tables["universe"], params=given)
    inputs = {name: frame for name, frame in tables.items() if name not in ("atoms", "universe")}
    inputs |= {"portfolio": held, "orders": sized.valid, "unfilled": sized.exclusions}
    return inputs, rendered(inputs, sleeve=sleeve, params=params)


def rendered(inputs, *, sleeve, params=PARAMS):
    documents = validate(tear_sheet(**inputs, params=params, sleeve=sleeve), contracts.Documents)
    return dict(documents.select("name", "content").iter_rows())


@pytest.fixture(scope="module")
def tables(demo):
    return demo(years=2)


@pytest.fixture(scope="module")
def sheet(tables, us_stocks):
    return finished(tables, sleeve=us_stocks)


@pytest.fixture(scope="module")
def page(sheet):
    return Page(sheet[1]["tear_sheet.html"])


def plain(page):
    return " ".join(" ".join(page.text).split())


def test_every_tag_closes(page):
    assert page.faults == []
    assert page.open == []


def judge_harmless(text):
    page = Page(text)
    assert not {"script", "iframe", "object", "embed", "link", "img", "form", "base", "foreignobject"} & set(page.tags)
    assert [name for _, name, _ in page.attributes if name.startswith("on")] == []
    outside = [value for _, name, value in page.attributes if name in ("href", "src", "action") and value[0] != "#"]
    assert outside == []
    assert not re.search(r"https?:|//|@import|javascript:|expression\(", "".join(re.findall(r"<[^>]*>", text)))
    assert set(re.findall(r"url\(([^)]?)", text)) <= {"#"}


def test_the_page_runs_nothing_and_loads_nothing(sheet):
    judge_harmless(sheet[1]["tear_sheet.html"])


def test_the_page_forbids_scripts_and_foreign_content(page):
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_every_drawing_is_well_formed_and_ids_are_unique(sheet):
    drawings = re.findall(r"<svg.*?</svg>", sheet[1]["tear_sheet.html"], flags=re.DOTALL)
    roots = [ElementTree.fromstring(drawing) for drawing in drawings]
    ids = [element.get("id") for root in roots for element in root.iter() if element.get("id")]
    assert len(roots) == 7
    assert len(ids) == len(set(ids))


def test_equal_data_gives_equal_bytes_whatever_the_order_of_rows(sheet, us_stocks):
    inputs, documents = sheet
    shuffled = {name: frame.sample(fraction=1.0, shuffle=True, seed=5) for name, frame in inputs.items()}
    assert rendered(inputs, sleeve=us_stocks) == documents
    assert rendered(shuffled, sleeve=us_stocks) == documents


def test_other_data_gives_another_page(sheet, us_stocks):
    inputs, documents = sheet
    moved = inputs["metrics"].with_columns(pl.col("value") + 0.5)
    other = rendered(inputs | {"metrics": moved}, sleeve=us_stocks)
    assert other["tear_sheet.html"] != documents["tear_sheet.html"]


def test_every_figure_on_the_page_equals_the_metrics_table(sheet, page):
    inputs, _ = sheet
    known = {(p, m): v for p, m, v in inputs["metrics"].select("portfolio", "metric", "value").iter_rows()}
    by_label = {figure.label: metric for metric, figure in FIGURES.items()}
    names = [name.replace(" ", "_") for name in page.tables["metrics"][0][1:]]
    seen = {}
    for (label, *_), (_, *values) in zip(page.tables["metrics"][1:], page.values["metrics"][1:], strict=True):
        seen |= {(name, by_label[label]): value for name, value in zip(names, values, strict=True)}
    assert seen == known
    assert names[:4] == ["hrp", "benchmark", "filtered_pool", "raw_pool"]


def test_a_sharpe_ratio_stands_with_its_interval(sheet, page):
    inputs, _ = sheet
    row = inputs["metrics"].filter((pl.col("portfolio") == "hrp") & (pl.col("metric") == "sharpe")).row(0)
    value, lower, upper = (f"{x:.2f}".replace("-", "\N{MINUS SIGN}") for x in row[2:])
    written = [line[1] for line in page.tables["comparison"] if line[0] == "Sharpe ratio"]
    assert written == [f"{value}{lower} to {upper}"]
    assert f"Sharpe ratio {value}, 95 % interval {lower} to {upper}" in plain(page)


def test_the_portfolio_on_the_page_is_the_headline_s_with_reasons(sheet, page):
    inputs, _ = sheet
    mine = inputs["portfolio"].filter(pl.col("method") == "hrp").sort("weight", descending=True)
    rows = page.tables["positions"][1:]
    assert [row[0] for row in rows] == mine["symbol"].to_list()
    assert [row[2] for row in page.values["positions"][1:]] == mine["weight"].to_list()
    assert {row[5] for row in rows} == {
        "passed every check and led its cluster",
        "led its cluster under relaxed limits",
    }
    assert f"Cash: {100 - 100 * math.fsum(mine['weight']):.1f}" in plain(page)


def test_who_is_out_is_named_with_the_reason(sheet, page):
    inputs, _ = sheet
    last = inputs["decisions"].filter(pl.col("date") == pl.col("date").max())
    out = last.filter(~pl.col("is_selected") & pl.col("conviction").is_not_null()).sort("conviction", descending=True)
    rows = page.tables["left-out"][1:]
    assert [row[0] for row in rows] == out["symbol"].to_list()[: PARAMS.left_out]
    assert "a statistic is worse than chance allows (efficiency, kurtosis)" in {row[4] for row in rows}


def test_exclusions_add_up_to_the_rows_read(sheet, page):
    inputs, _ = sheet
    kept = inputs["bars"].height
    assert f"{kept + 21:,} rows read = {kept:,} kept + 21 excluded" in plain(page)
    assert ["ingest.bars", "duplicate_row", "12", "4"] in page.tables["exclusions"]
    assert sum(int(row[2]) for row in page.tables["exclusions"][1:]) == 21


def test_factors_stand_with_t_and_p(sheet, page):
    inputs, _ = sheet
    first = inputs["evaluation"].filter(pl.col("horizon") == 20).sort("rank_ic", descending=True, nulls_last=True)
    row = first.row(0, named=True)
    names = ["rank_ic", "ic", "icir", "t_statistic", "p_value", "turnover", "coverage"]
    assert page.tables["factors"][1][0] == row["factor"].replace("_", " ")
    assert page.values["factors"][1][3:] == [row[name] for name in names]
    assert "of 15 tests, 0.8 are expected" in plain(page)


def test_assumptions_are_stated(page):
    stated = dict(page.tables["assumptions"])
    assert "−30" in stated["Delisting"]
    assert stated["Caps"].startswith("One asset at most 20")
    assert "market impact is not modelled" in stated["Capacity"]
    assert "Funding" not in stated
    assert "earns nothing" in stated["Cash"]
    assert "not corrected" in stated["Trials"]


def test_the_orders_say_what_they_start_from_but_not_where_it_was_read(tables, us_stocks, tmp_path, page):
    path = tmp_path / "secret.csv"
    path.write_text("symbol,quantity\nUS:KO,100\nCASH,50000\n")
    params = PARAMS.model_copy(update={"holdings": str(path)})
    _, documents = finished(tables, sleeve=us_stocks, params=params, holdings=str(path))
    assert "Starting from the holdings given." in documents["tear_sheet.html"]
    assert "secret" not in documents["tear_sheet.html"]
    assert "Starting from 1,000,000 in cash." in plain(page)


def last_of(tables, symbol):
    """Return a held symbol's last bar a week before the others', and a universe in which it is halted since."""
    end = tables["bars"]["date"].max()
    gone = (pl.col("symbol") == symbol) & (pl.col("date") > end - timedelta(days=7))
    halted = intervals([(symbol, end - timedelta(days=6), None, False, "halted")])
    until = pl.when(pl.col("symbol") == symbol).then(end - timedelta(days=7)).otherwise("end").alias("end")
    members = pl.concat([tables["universe"].with_columns(until), halted])
    return tables | {"bars": tables["bars"].filter(~gone), "universe": members}


def test_a_halted_target_is_stated_as_unfilled_with_its_reason(tables, sheet, us_stocks):
    held = sheet[0]["portfolio"].filter(pl.col("method") == "hrp")["symbol"][0]
    _, documents = finished(last_of(tables, held), sleeve=us_stocks)
    page = Page(documents["tear_sheet.html"])
    assert held not in {row[0] for row in page.tables["orders"]}
    (line,) = page.tables["unfilled"][1:]
    assert line[0] == held
    assert line[-1].startswith("halted since 2018-12-")
    assert "unfilled" not in Page(sheet[1]["tear_sheet.html"]).tables


def test_a_price_older_than_the_last_date_is_pointed_out(tables, sheet, us_stocks, tmp_path, page):
    held = sheet[0]["portfolio"].filter(pl.col("method") == "hrp")["symbol"][0]
    path = tmp_path / "held.csv"
    path.write_text(f"symbol,quantity\n{held},100000\nCASH,50000\n")
    _, documents = finished(last_of(tables, held), sleeve=us_stocks, holdings=str(path))
    stale = Page(documents["tear_sheet.html"])
    end = str(tables["bars"]["date"].max())
    (line,) = [row for row in stale.tables["orders"] if row[0] == held]
    assert line[1] == "sell"
    assert line[-1].endswith("old")
    assert f"is priced at a close before {end}, the last date of the data" in plain(stale)
    assert "the last date of the data" not in plain(page)


def test_a_rebalance_that_judged_nobody_is_the_one_on_the_page(tables, us_stocks):
    last = tables["schedule"]["date"].max()
    before = {
        name: tables[name].filter(pl.col("date") < last) for name in ("weights", "decisions", "selection", "atoms")
    }
    _, documents = finished(tables | before, sleeve=us_stocks)
    page = Page(documents["tear_sheet.html"])
    assert f"Portfolio of {last}" in plain(page)
    assert "No positions: the headline is all cash." in plain(page)
    assert "left-out" not in page.tables


def test_funding_is_stated_when_a_perpetual_is_held(tables, us_stocks):
    perpetual = renamed(tables, "US:KO", "BINANCE:KOUSDT.P")
    _, documents = finished(perpetual, sleeve=us_stocks)
    stated = dict(Page(documents["tear_sheet.html"]).tables["assumptions"])
    assert "longs pay 0.010\N{NO-BREAK SPACE}% per 8 hours, shorts receive nothing" in stated["Funding"]


def test_portfolio_and_orders_are_published_as_csv(sheet):
    inputs, documents = sheet
    assert pl.read_csv(io.StringIO(documents["orders.csv"]), schema=inputs["orders"].schema).equals(
        inputs["orders"].sort("symbol")
    )
    assert pl.read_csv(io.StringIO(documents["portfolio.csv"]), schema=inputs["portfolio"].schema).equals(
        inputs["portfolio"].sort("method", "atom")
    )


def renamed(tables, old, new):
    return {
        name: frame.with_columns(pl.col(pl.String).str.replace(old, new, literal=True))
        for name, frame in tables.items()
    }


def test_hostile_names_are_text_on_the_page_and_in_spreadsheets(tables):
    held = tables["decisions"].filter(pl.col("date") == pl.col("date").max(), "is_selected").sort("symbol")["symbol"]
    hostile = renamed(renamed(tables, held[0], HOSTILE), held[1], "=cmd:A1")
    evil = Sleeve(name="x", calendar="24/5", description="</style><script>alert(2)</script>", benchmark=HOSTILE)
    _, documents = finished(hostile, sleeve=evil)
    judge_harmless(documents["tear_sheet.html"])
    page = Page(documents["tear_sheet.html"])
    assert page.faults == page.open == []
    assert {HOSTILE, "=cmd:A1"} <= {row[0] for row in page.tables["positions"]}
    assert evil.description in plain(page)
    sent = {row["symbol"] for row in csv.DictReader(io.StringIO(documents["orders.csv"]))}
    assert {HOSTILE, "'=cmd:A1"} <= sent


def test_nothing_selected_still_makes_a_page(tables, us_stocks):
    empty = {name: tables[name].clear() for name in ("weights", "selection", "atoms", "equity", "metrics")}
    none = tables["decisions"].with_columns(pl.lit("vetoed").alias("reason"), pl.lit(value=False).alias("is_selected"))
    _, documents = finished(tables | empty | {"decisions": none}, sleeve=us_stocks)
    page = Page(documents["tear_sheet.html"])
    assert page.faults == page.open == []
    assert "No positions: the headline is all cash." in plain(page)
    assert "No record yet" in plain(page)


def test_no_rows_anywhere_still_makes_a_page(tables, us_stocks):
    _, documents = finished({name: frame.clear() for name, frame in tables.items()}, sleeve=us_stocks)
    assert "0 rows read" in plain(Page(documents["tear_sheet.html"]))


def test_an_unknown_headline_is_an_error(sheet, us_stocks):
    with pytest.raises(UnknownNameError, match="hrp"):
        rendered(sheet[0], sleeve=us_stocks, params=TearSheetParams(headline="hpr"))
