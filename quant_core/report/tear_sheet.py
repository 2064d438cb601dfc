"""The tear sheet: one self-contained, script-free HTML page, and its tables as CSV. Composes, computes nothing.

Tables and sentences: sections.py. Charts: sheet_charts.py. Marks and looks: tear_sheet.html.j2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
from markupsafe import Markup
from pydantic import Field

from quant_core.graph.stage import stage
from quant_core.market.contracts.portfolio import Documents
from quant_core.market.sleeves import Sleeve
from quant_core.report import assumptions, sections, sheet_charts
from quant_core.report.charts import REFERENCES
from quant_core.report.figures import format_figure
from quant_core.report.headline import HeadlineParams, headline_of
from quant_core.report.series import calendar_returns, curves, steps_per_point
from quant_core.report.spreadsheet import csv_text

if TYPE_CHECKING:
    from jinja2 import Template

_STATED = {"asset_cap", "cluster_cap", "funding_per_8h"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Year")


class TearSheetParams(HeadlineParams):
    """Contents of the page, and the assumptions of other rooms that it states."""

    left_out: int = Field(default=12, ge=0, description="Rows of the table of high convictions that were not selected.")
    asset_cap: float | None = Field(
        default=None, description="Stated on the page.", json_schema_extra={"from": "allocation.weights.asset_cap"}
    )
    cluster_cap: float | None = Field(
        default=None, description="Stated on the page.", json_schema_extra={"from": "allocation.weights.cluster_cap"}
    )
    funding_per_8h: float | None = Field(
        default=None,
        description="Stated on the page where a perpetual is held.",
        json_schema_extra={"from": "backtest.equity.funding_per_8h"},
    )
    holdings: str | None = Field(
        default=None,
        description="Whether orders start from holdings; the path itself is never shown.",
        json_schema_extra={"from": "report.orders.holdings"},
    )
    cash: float | None = Field(
        default=None, description="Cash the orders start from.", json_schema_extra={"from": "report.orders.cash"}
    )


@stage(
    "report.tear_sheet",
    inputs={
        "equity": "backtest.equity",
        "metrics": "backtest.metrics",
        "weights": "allocation.weights",
        "decisions": "synthesis.decisions",
        "selection": "synthesis.selection",
        "evaluation": "alpha.evaluation",
        "exclusions": "ingest.exclusions",
        "bars": "ingest.bars",
        "schedule": "backtest.schedule",
        "portfolio": "report.portfolio",
        "orders": "report.orders",
        "unfilled": "report.orders#exclusions",
    },
    output=Documents,
    publishes=True,
)
def tear_sheet(
    equity: pl.DataFrame,
    metrics: pl.DataFrame,
    weights: pl.DataFrame,
    decisions: pl.DataFrame,
    selection: pl.DataFrame,
    evaluation: pl.DataFrame,
    exclusions: pl.DataFrame,
    bars: pl.DataFrame,
    schedule: pl.DataFrame,
    portfolio: pl.DataFrame,
    orders: pl.DataFrame,
    unfilled: pl.DataFrame,
    *,
    params: TearSheetParams,
    sleeve: Sleeve,
    switched_off: Sequence[str] = (),
) -> pl.DataFrame:
    """Return the page and its two tables as documents; equal data gives equal bytes, whatever the order of rows."""
    headline = headline_of(params, weights["method"].unique())
    lines = curves(equity)
    scores = sections.Scores(metrics)
    rebalances = schedule["date"].sort()
    last = rebalances[-1] if len(rebalances) else None
    judged = decisions.filter(pl.col("date") == pl.lit(last, dtype=pl.Date))
    mine = portfolio.filter(pl.col("method") == headline)
    shown = sections.order_portfolios([*lines], headline)
    compared = [name for name in shown if name == headline or name in REFERENCES]
    page = _template().render(
        sleeve=sleeve,
        headline=headline,
        display_name=sections.display_name,
        facts=assumptions.data_facts(bars, schedule, lines.get(headline)),
        verdict=sections.verdict(scores, headline),
        tiles=sections.tiles(scores, headline),
        compared=compared,
        comparison=sections.grid(scores, compared, sections.COMPARED),
        portfolios=shown,
        everything=sections.grid(scores, shown, scores.metrics),
        glossary=sections.glossary(scores.metrics),
        rebalanced=last,
        positions=sections.positions(mine),
        cash=format_figure(max(0.0, 1.0 - math.fsum(mine["weight"])), "percent"),
        orders=sections.order_tables(orders, unfilled, bars["date"]),
        funded=assumptions.funding(params.holdings, params.cash),
        switched_off=switched_off,
        left_out=sections.left_out(judged, params.left_out),
        reasons=sections.reason_counts(judged),
        months=_MONTHS,
        together=steps_per_point(len(rebalances)),
        heat=sections.heat(calendar_returns(lines[headline])) if headline in lines else [],
        factors=sections.factors(evaluation),
        tests=evaluation.drop_nulls("p_value").height,
        excluded=sections.count_exclusions(exclusions),
        counts=assumptions.conservation(bars, exclusions),
        assumptions=assumptions.assumption_sentences(scores, sleeve, bars, **params.model_dump(include=_STATED)),
        charts=_charts(lines, headline, weights, judged, selection, evaluation, rebalances, bars, sleeve),
    )
    return _documents(page, orders, portfolio)


def _documents(page: str, orders: pl.DataFrame, portfolio: pl.DataFrame) -> pl.DataFrame:
    table = [
        ("orders.csv", "text/csv", csv_text(orders.sort("symbol"))),
        ("portfolio.csv", "text/csv", csv_text(portfolio.sort("method", "atom"))),
        ("tear_sheet.html", "text/html", page),
    ]
    return pl.DataFrame(table, schema=Documents.dtypes, orient="row")


def _charts(
    lines: dict[str, pl.DataFrame],
    headline: str,
    weights: pl.DataFrame,
    judged: pl.DataFrame,
    selection: pl.DataFrame,
    evaluation: pl.DataFrame,
    rebalances: pl.Series,
    bars: pl.DataFrame,
    sleeve: Sleeve,
) -> dict[str, Any]:
    """Draw every chart there is data for; the drawings are markup of our own, so they pass unescaped."""
    until = max((*bars["date"].sort().tail(1), *rebalances.tail(1)), default=date.min)
    periods = sleeve.market.periods_per_year
    drawn = {
        "equity": sheet_charts.equity_curves(lines, headline) if lines else None,
        "drawdown": sheet_charts.drawdowns(lines, headline) if lines else None,
        "rolling": sheet_charts.rolling_sharpes(lines, headline, periods_per_year=periods) if lines else None,
        "weights": sheet_charts.weights_through_time(weights, rebalances, until, headline),
        "stages": sheet_charts.selection_stages(selection, rebalances, until),
        "ic": sheet_charts.information_coefficients(evaluation),
        "clusters": sheet_charts.cluster_map(judged),
    }
    return {name: None if svg is None else Markup(svg) for name, svg in drawn.items()}


def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("quant_core.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("tear_sheet.html.j2")
