"""One chart per stage: a decorated function each, found by `charts.room_chart`. Adding a chart adds a function.

Style and rendering: charts.py. Charts of the tear sheet: sheet_charts.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from quant_core.market.panel import axes_of
from quant_core.report import charts, sheet_charts
from quant_core.report.charts import chart
from quant_core.report.series import Vector, average_steps, curves, span, stack_parts

if TYPE_CHECKING:
    from quant_core.report.charts import Figure

_DATES = 300
_PANELS = 4
_PARTS = 8
_EDGE = 0.15
_BANDS = (0.1, 0.25, 0.5, 0.75, 0.9)


@chart("ingest.bars")
def bars_by_year(bars: pl.DataFrame, figure: Figure) -> None:
    """Bars and symbols alive in each year."""
    each = bars.group_by(pl.col("date").dt.year().alias("year"), "symbol").len()
    years = each.group_by("year").agg(pl.col("len").sum().alias("bars"), pl.len().alias("symbols")).sort("year")
    left, right = figure.subplots(1, 2)
    left.bar(years["year"].to_numpy(), years["bars"].to_numpy(), color=charts.BLUE, width=0.8)
    left.set_title("bars per year")
    right.bar(years["year"].to_numpy(), years["symbols"].to_numpy(), color=charts.SKY, width=0.8)
    right.set_title("symbols with a bar")
    for axes in (left, right):
        axes.grid(visible=False, axis="x")
        charts.count_axis(axes, which="x")
        charts.count_axis(axes)
    _title(figure, f"{bars.height:,} bars of {bars['symbol'].n_unique():,} symbols, {span(bars['date'])}")


@chart("ingest.returns")
def return_distribution(returns: pl.DataFrame, figure: Figure) -> None:
    """Distribution of returns, on a log scale; the title counts those beyond the edges."""
    known = np.sort(returns["simple_return"].drop_nulls().to_numpy())
    axes = figure.subplots()
    counts, edges = np.histogram(known, bins=np.linspace(-_EDGE, _EDGE, 121))
    axes.stairs(np.maximum(counts, 0.5), edges, baseline=0.5, fill=True, color=charts.BLUE)
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2.0 * max(1, int(counts.max(initial=0))))
    axes.axvline(0.0, color=charts.MUTED, linewidth=0.8)
    charts.percent_axis(axes, which="x")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("simple return of one bar")
    axes.set_ylabel("bars, log scale")
    beyond = int(np.sum(np.abs(known) > _EDGE))
    edge = f"{100 * _EDGE:.0f} %"
    _title(figure, f"{known.size:,} returns, {beyond:,} beyond ±{edge}, {returns.height - known.size:,} not known")


@chart("ingest.universe")
def eligible_over_time(universe: pl.DataFrame, figure: Figure) -> None:
    """Eligible symbols over time."""
    eligible = universe.filter(pl.col("is_eligible"))
    came = eligible.select(pl.col("start").alias("date"), pl.lit(1).alias("change"))
    left = eligible.drop_nulls("end").select(pl.col("end").dt.offset_by("1d").alias("date"), pl.lit(-1).alias("change"))
    steps = pl.concat([came, left]).group_by("date").agg(pl.col("change").sum()).sort("date")
    count = steps["change"].cum_sum()
    axes = figure.subplots()
    axes.fill_between(
        steps["date"].to_numpy(), count.to_numpy(), step="post", color=charts.BLUE, alpha=0.25, linewidth=0
    )
    axes.step(steps["date"].to_numpy(), count.to_numpy(), where="post", color=charts.BLUE)
    axes.set_ylim(bottom=0)
    charts.count_axis(axes)
    charts.date_axis(axes)
    _title(
        figure, f"{count[-1] if count.len() else 0:,} of {universe['symbol'].n_unique():,} symbols eligible at the end"
    )


@chart("features.*")
def feature_medians(features: pl.DataFrame, figure: Figure) -> None:
    """Median across symbols of the first features of a family."""
    names = [name for name, kind in features.schema.items() if kind.is_float()][:_PANELS]
    rows = _sample_dates(features)
    where = axes_of(rows)
    across = 1 if len(names) == 1 else 2
    panels = figure.subplots(-(-len(names) // across), across, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        middle = _quantiles(where.panel(rows[name]).values, (0.5,))[0]
        axes.plot(where.dates.to_numpy(), middle, color=charts.BLUE)
        axes.set_title(name)
        charts.date_axis(axes)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    _title(figure, "Median across symbols")


@chart("alpha.evaluation")
def information_coefficients(evaluation: pl.DataFrame, figure: Figure) -> None:
    """Mean rank IC per factor with two standard errors and its t."""
    axes = figure.subplots()
    sheet_charts.draw_information(axes, evaluation)
    longest = evaluation.filter(pl.col("horizon") == evaluation["horizon"].max()).drop_nulls("t_statistic")
    strongest = longest.sort(pl.col("t_statistic").abs(), "factor", descending=[True, False]).head(1)
    said = "".join(f"; strongest t {t:.1f}: {name}" for name, t in strongest.select("factor", "t_statistic").rows())
    _title(figure, f"Mean rank IC, whiskers ±2 standard errors{said}")


@chart("inference.conviction")
def conviction_over_time(conviction: pl.DataFrame, figure: Figure) -> None:
    """Distribution of conviction across symbols, first scorer by name, long side if there is one."""
    scorer, direction = conviction.select("scorer", "direction").sort("scorer", "direction").row(0)
    mine = conviction.filter((pl.col("scorer") == scorer) & (pl.col("direction") == direction))
    rows = _sample_dates(mine)
    where = axes_of(rows)
    low, lower, middle, upper, high = _quantiles(where.panel(rows["conviction"]).values, _BANDS)
    axes = figure.subplots()
    days = where.dates.to_numpy()
    axes.fill_between(days, low, high, color=charts.SKY, alpha=0.30, linewidth=0, label="10 % to 90 %")
    axes.fill_between(days, lower, upper, color=charts.BLUE, alpha=0.30, linewidth=0, label="25 % to 75 %")
    axes.plot(days, middle, color=charts.BLUE, label="median")
    charts.date_axis(axes)
    axes.legend(loc="upper left", ncols=3)
    axes.set_ylim(0.0, max(0.1, float(np.nanmax(high, initial=0.0)) * 1.25))
    _title(figure, f"Conviction across symbols, {scorer}, {direction.lower()}")


@chart("synthesis.decisions")
def reasons_over_time(decisions: pl.DataFrame, figure: Figure) -> None:
    """Symbols per reason, in or out, at each rebalance."""
    dates = decisions["date"].unique().sort()
    stack = stack_parts(decisions, by="reason", value=None, dates=dates, top=_PARTS)
    axes = figure.subplots()
    marks = axes.stackplot(
        dates.to_numpy(), stack.values, step="post", colors=[*charts.PALETTE[:_PARTS], charts.FAINT], linewidth=0
    )
    charts.date_axis(axes)
    charts.count_axis(axes)
    charts.legend(axes, marks[::-1], [name.replace("_", " ") for name in stack.names[::-1]])
    chosen = decisions.filter(pl.col("is_selected")).height / max(1, len(dates))
    _title(figure, f"Decisions at {len(dates):,} rebalances; {chosen:.1f} selected on average")


@chart("synthesis.clusters")
def cluster_sizes(clusters: pl.DataFrame, figure: Figure) -> None:
    """Sizes of the clusters, largest at the bottom."""
    dates = clusters["date"].unique().sort()
    labels = [str(label) for label in clusters["cluster"].unique().sort()]
    stack = stack_parts(clusters, by="cluster", value=None, dates=dates, top=len(labels), order=labels)
    axes = figure.subplots()
    shades = [charts.BLUE if i % 2 == 0 else charts.SKY for i in range(len(labels))]
    axes.stackplot(dates.to_numpy(), stack.values, step="post", colors=shades, edgecolor="white", linewidth=0.4)
    charts.date_axis(axes)
    charts.count_axis(axes)
    axes.set_ylabel("symbols")
    largest = int(stack.values[0, -1])
    _title(
        figure, f"Cluster sizes; at the end {int(np.sum(stack.values[:, -1] > 0))} clusters, the largest of {largest}"
    )


@chart("allocation.weights")
def weights_over_time(weights: pl.DataFrame, figure: Figure) -> None:
    """Weights of each method through time, the same symbol in the same colour."""
    methods = weights["method"].unique().sort().to_list()[:_PANELS]
    dates = weights["date"].unique().sort()
    largest = stack_parts(weights, by="symbol", value="weight", dates=dates, top=_PARTS).names
    colours = dict(zip(largest, charts.PALETTE[:_PARTS], strict=False))
    across = 1 if len(methods) == 1 else 2
    panels = figure.subplots(-(-len(methods) // across), across, squeeze=False, sharex=True).ravel()
    for axes, method in zip(panels, methods, strict=False):
        mine = weights.filter(pl.col("method") == method)
        stack = average_steps(stack_parts(mine, by="symbol", value="weight", dates=dates, top=_PARTS))
        sheet_charts.draw_weights(axes, stack, colours)
        axes.set_title(method.replace("_", " "))
    for axes in panels[len(methods) :]:
        axes.set_visible(False)
    _title(figure, f"Weights at {len(dates):,} rebalances; what is missing to 100 % is cash")


@chart("backtest.equity")
def equity_curves(equity: pl.DataFrame, figure: Figure) -> None:
    """Wealth of every portfolio, log scale, methods coloured, references dashed or grey."""
    lines = curves(equity)
    sheet_charts.draw_equity(figure.subplots(), lines, "", height=200.0)
    _title(figure, f"Wealth after costs, start = 1, {span(equity['date'])}")


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=10.5, fontweight="bold")


def _sample_dates(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows of evenly spread dates, the first and the last among them."""
    dates = frame["date"].unique().sort()
    kept = np.unique(np.linspace(0, len(dates) - 1, min(_DATES, len(dates))).round().astype(np.int64))
    return frame.filter(pl.col("date").is_in(dates.gather(kept).implode()))


def _quantiles(values: Vector, shares: tuple[float, ...]) -> Vector:
    """Quantiles across each row's known values [K, T]; NaN in a row without known values."""
    out = np.full((len(shares), values.shape[0]), np.nan)
    known = ~np.isnan(values).all(axis=1)
    if known.any():
        out[:, known] = np.nanquantile(values[known], shares, axis=1)
    return out
