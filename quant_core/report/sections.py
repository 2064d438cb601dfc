"""The tables and sentences of the tear sheet, as plain values for its template. Text is written here, markup there.

Charts: sheet_charts.py. Names and formats of figures: figures.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from quant_core.report.charts import REFERENCES
from quant_core.report.figures import NOT_KNOWN, figure, format_figure, format_sign, order_metrics

REASONS = {
    "selected_strict": "passed every check and led its cluster",
    "selected_relaxed": "led its cluster under relaxed limits",
    "selected_forced": "best of a cluster that had no winner",
    "selected_fallback": "balanced fallback from the whole pool, vetoes ignored",
    "vetoed": "a statistic is worse than chance allows",
    "outranked": "others of its cluster rank higher",
    "over_cap": "the selection was full",
    "over_sector_limit": "its sector was full",
    "other_venue": "the same asset is held through another venue",
    "no_conviction": "too few factors known",
    "not_eligible": "not eligible on that date",
}
COMPARED = ("annual_return", "annual_volatility", "sharpe", "max_drawdown", "turnover_per_year", "cost_per_year")
TILES = ("annual_return", "sharpe", "max_drawdown", "active_return", "selection_alpha", "optimisation_alpha")
_NEEDS_INTERVAL = frozenset({"sharpe"})
_HEAT_FULL = 0.10
_HEAT_FULL_YEAR = 0.40


@dataclass(frozen=True)
class Cell:
    """A figure as text, its exact value, and its interval as text; the last two are None if there is none."""

    text: str
    value: float | None = None
    interval: str | None = None


class Scores:
    """The metrics table by portfolio and metric."""

    def __init__(self, metrics: pl.DataFrame) -> None:
        rows = metrics.select("portfolio", "metric", "value", "lower", "upper").iter_rows()
        self._rows: dict[tuple[str, str], tuple[float | None, ...]] = {(p, m): (v, lo, up) for p, m, v, lo, up in rows}
        self.portfolios = metrics["portfolio"].unique().sort().to_list()
        self.metrics = order_metrics(metrics["metric"])

    def interval(self, portfolio: str, metric: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a figure, None where it has none."""
        _, lower, upper = self._rows.get((portfolio, metric), (None, None, None))
        return None if lower is None or upper is None else (lower, upper)

    def value(self, portfolio: str, metric: str) -> float | None:
        """Return a figure, None where it is not known."""
        return self._rows.get((portfolio, metric), (None, None, None))[0]

    def shared_value(self, metric: str) -> float | None:
        """Return a figure that is the same for every portfolio that has it, such as an assumption."""
        known = [self.value(name, metric) for name in self.portfolios]
        return next((value for value in known if value is not None), None)

    def cell(self, portfolio: str, metric: str) -> Cell:
        """Format one figure with its interval. A Sharpe ratio without one is withheld."""
        value, bounds, shown = self.value(portfolio, metric), self.interval(portfolio, metric), figure(metric)
        if value is None:
            return Cell(NOT_KNOWN)
        if bounds is None and metric in _NEEDS_INTERVAL:
            return Cell("withheld: no interval")
        text, *ends = (format_figure(number, shown.unit, digits=shown.digits) for number in (value, *(bounds or ())))
        return Cell(text, value, " to ".join(ends) or None)


def order_portfolios(names: Sequence[str], headline: str) -> list[str]:
    """Put portfolios in reading order: the headline, the references, the other methods by name."""
    rest = sorted({*names} - {headline, *REFERENCES})
    return [name for name in (headline, *REFERENCES, *rest) if name in names]


def display_name(name: str) -> str:
    """Format a name of the tables for people."""
    return name.replace("_", " ")


def tiles(scores: Scores, headline: str) -> list[dict[str, Any]]:
    """Return the key figures of the headline that are in the metrics table."""
    return [
        {"label": figure(metric).label, "cell": scores.cell(headline, metric)}
        for metric in TILES
        if metric in scores.metrics
    ]


def grid(scores: Scores, portfolios: Sequence[str], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return one line per metric with a cell per portfolio; metrics without any value are left out."""
    return [
        {"label": figure(metric).label, "cells": [scores.cell(name, metric) for name in portfolios]}
        for metric in metrics
        if metric in scores.metrics
    ]


def verdict(scores: Scores, headline: str) -> str:
    """Describe what the record shows and how certain it is: alone, then against the benchmark."""
    earned, benchmark = scores.cell(headline, "annual_return"), scores.cell("benchmark", "annual_return")
    sharpe, active = scores.cell(headline, "sharpe"), scores.cell(headline, "information_ratio")
    if earned.value is None:
        return "No record yet: the headline method has no annual return."
    against = f" (benchmark {benchmark.text})" if benchmark.value is not None else ""
    said = f"{display_name(headline)} earned {earned.text} a year after costs{against}"
    if sharpe.interval is None:
        return f"{said}; its Sharpe ratio has no interval, so nothing is said about skill."
    place = _place_of_zero(scores.interval(headline, "sharpe"))
    said += f", Sharpe ratio {sharpe.text}, 95 % interval {sharpe.interval}, {place}."
    if active.interval is not None:
        place = _place_of_zero(scores.interval(headline, "information_ratio"))
        said += f" Against the benchmark: information ratio {active.text}, interval {active.interval}, {place}."
    return f"{said} No interval is corrected for the number of variants tried."


def _place_of_zero(bounds: tuple[float, float] | None) -> str:
    if bounds is not None and bounds[0] > 0.0:
        return "above zero"
    if bounds is not None and bounds[1] < 0.0:
        return "below zero"
    return "which includes zero: not told from luck"


def heat(table: Mapping[int, tuple[float | None, ...]]) -> list[dict[str, Any]]:
    """Return calendar returns with a background each: blue gains, orange losses, deeper when larger."""
    return [
        {
            "year": year,
            "cells": [
                {
                    "cell": Cell(_percent(value), value),
                    "shade": _shade(value, _HEAT_FULL_YEAR if i == 12 else _HEAT_FULL),
                }
                for i, value in enumerate(cells)
            ],
        }
        for year, cells in sorted(table.items(), reverse=True)
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else format_sign(f"{100.0 * value:.1f}")


def _shade(value: float | None, full: float) -> str:
    if value is None:
        return "transparent"
    strength = min(1.0, abs(value) / full) * 0.55
    return f"rgba({'0,114,178' if value >= 0.0 else '230,129,0'},{strength:.2f})"


def positions(portfolio: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one method's positions, heaviest first, with the reason each is in."""
    rows = portfolio.sort("weight", "atom", descending=[True, False])
    return [
        {**row, "reason": REASONS.get(row["reason"], display_name(row["reason"]))} for row in rows.iter_rows(named=True)
    ]


def left_out(decisions: pl.DataFrame, top: int) -> list[dict[str, Any]]:
    """Return the highest convictions of the last rebalance that were not selected, and why."""
    out = decisions.filter(~pl.col("is_selected")).drop_nulls("conviction")
    out = out.sort("conviction", "symbol", "direction", descending=[True, False, False]).head(top)
    return [
        {
            **row,
            "reason": REASONS.get(row["reason"], display_name(row["reason"])),
            "vetoes": _format_vetoes(row["vetoes"]),
        }
        for row in out.iter_rows(named=True)
    ]


def _format_vetoes(names: str) -> str:
    return ", ".join(display_name(name.strip()) for name in names.split(",") if name.strip())


def reason_counts(decisions: pl.DataFrame) -> list[dict[str, Any]]:
    """Count the reasons of one rebalance, most frequent first."""
    counts = decisions.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return [{"reason": display_name(reason), "count": count} for reason, count in counts.iter_rows()]


def count_exclusions(exclusions: pl.DataFrame) -> list[dict[str, Any]]:
    """Count excluded rows and symbols per stage and rule."""
    counts = exclusions.group_by("stage", "rule").agg(
        pl.len().alias("rows"), pl.col("symbol").n_unique().alias("symbols")
    )
    return counts.sort("stage", "rule").to_dicts()


def factors(evaluation: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the factor table, longest horizon first, largest mean rank IC first."""
    rows = evaluation.sort("horizon", "rank_ic", "factor", descending=[True, True, False], nulls_last=True)
    digits = {"rank_ic": 3, "ic": 3, "icir": 2, "t_statistic": 2}
    return [
        {
            "factor": display_name(row["factor"]),
            "horizon": row["horizon"],
            "dates": f"{row['dates']:,}",
            "cells": [
                *(Cell(format_figure(row[name], "ratio", digits=places), row[name]) for name, places in digits.items()),
                Cell(_probability(row["p_value"]), row["p_value"]),
                *(Cell(format_figure(row[name], "percent", digits=0), row[name]) for name in ("turnover", "coverage")),
            ],
        }
        for row in rows.iter_rows(named=True)
    ]


def _probability(p: float | None) -> str:
    return "< 0.001" if p is not None and p < 0.001 else format_figure(p, "ratio", digits=3)


def order_tables(orders: pl.DataFrame, unfilled: pl.DataFrame, dates: pl.Series) -> dict[str, Any]:
    """Return the orders, largest first, the totals bought and sold, and the targets that cannot be bought.

    `dates` are those of the data: orders priced before the last of them are marked and counted.
    """
    last = dates.max()
    orders = orders.with_columns(is_old=pl.col("priced_on") < pl.lit(last, dtype=pl.Date))
    sides = {side: math.fsum(orders.filter(pl.col("side") == side)["notional"]) for side in ("BUY", "SELL")}
    units = {"quantity", "held", "target"}
    rows = [
        {name: _units(value) if name in units else value for name, value in row.items()}
        for row in orders.sort("notional", "symbol", descending=[True, False]).iter_rows(named=True)
    ]
    old = int(orders["is_old"].sum())
    verb = "is" if old == 1 else "are"
    return {
        "rows": rows,
        "bought": f"{sides['BUY']:,.0f}",
        "sold": f"{sides['SELL']:,.0f}",
        "old": f"{old} of {len(rows)} {verb} priced at a close before {last!s}, the last date of the data."
        if old
        else "",
        "unfilled": [_describe_unfilled_target(row) for row in unfilled.sort("symbol").iter_rows(named=True)],
    }


def _describe_unfilled_target(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a target that cannot be bought, as text: its numbers are in the record of the exclusion."""
    record = json.loads(row["record"])
    return {
        "symbol": row["symbol"],
        "wanted": _units(record["wanted"]),
        "target": _units(record["target"]),
        "price": record["price"],
        "priced_on": record["priced_on"],
        "why": row["detail"],
    }


def _units(value: float) -> str:
    return format_sign(f"{value:,.0f}" if value == round(value) else f"{value:,.4f}")


def glossary(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Return label and explanation of each figure shown."""
    return [(figure(name).label, figure(name).gloss) for name in metrics if figure(name).gloss]
