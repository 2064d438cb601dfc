"""The charts of the tear sheet, each a function from tables to one inline SVG. The page holds the titles.

Style and rendering: charts.py. Numbers: series.py. One chart per stage for other screens: room_charts.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from quant_core.report import charts
from quant_core.report.series import Stack, Vector, average_steps, drawdown, rolling_sharpe, stack_parts, thin

if TYPE_CHECKING:
    from quant_core.report.charts import Axes, Figure

WIDE, HALF = (860, 285), (440, 215)
STAGES = {
    1: ("strict", charts.BLUE),
    2: ("relaxed", charts.SKY),
    3: ("forced", charts.ORANGE),
    4: ("fallback", charts.RED),
}
CASH = "cash"
_TOP_WEIGHTS = 11
_NAMED_PER_CLUSTER = 4
_DOTS = 2_000
_CRITICAL = 2.0


def look(portfolio: str, headline: str, methods: Sequence[str]) -> tuple[str, str, float]:
    """Return colour, line style and width of a portfolio: the headline stands out, references are grey or dashed."""
    if portfolio == headline:
        return charts.BLUE, "-", 2.2
    if portfolio in charts.REFERENCES:
        return *charts.REFERENCES[portfolio], 1.3
    others = sorted({*methods} - {headline, *charts.REFERENCES})
    free = [colour for colour in charts.PALETTE if colour not in (charts.BLUE, charts.ORANGE)]
    return free[others.index(portfolio) % len(free)], "-", 1.0


def draw_equity(axes: Axes, lines: Mapping[str, pl.DataFrame], headline: str, *, height: float) -> None:
    """Draw wealth over time on a log scale, each line named at its end; a ruined portfolio's line ends."""
    ends, low, high = [], 1.0, 1.0
    for name, rows in lines.items():
        wealth = rows["equity"].to_numpy().copy()
        wealth[wealth <= 0.0] = np.nan
        kept = thin(wealth)
        colour, dash, width = look(name, headline, list(lines))
        axes.plot(
            rows["date"].to_numpy()[kept],
            wealth[kept],
            dash,
            color=colour,
            linewidth=width,
            zorder={headline: 4.0, "benchmark": 3.5}.get(name, 3.0),
        )
        ends.append((float(wealth[-1]), f"{name.replace('_', ' ')} {wealth[-1]:.2f}", colour))
        low, high = min(low, float(np.nanmin(wealth, initial=low))), max(high, float(np.nanmax(wealth, initial=high)))
    charts.log_axis(axes, low, high)
    charts.horizontal_rule(axes, 1.0)
    charts.date_axis(axes)
    charts.name_lines(axes, ends, height=height)


def equity_curves(lines: Mapping[str, pl.DataFrame], headline: str) -> str:
    """Wealth of every portfolio, start = 1, log scale."""

    def draw(figure: Figure) -> None:
        draw_equity(figure.subplots(), lines, headline, height=WIDE[1])

    return charts.svg_of(draw, name="equity", label="Wealth of every portfolio over time, log scale", size=WIDE)


def drawdowns(lines: Mapping[str, pl.DataFrame], headline: str) -> str:
    """Fall from the last high of the headline (filled) and the benchmark (line)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name in _pair(lines, headline):
            depth = drawdown(lines[name]["equity"].to_numpy())
            kept = thin(depth)
            dates = lines[name]["date"].to_numpy()[kept]
            colour, dash, _ = look(name, headline, list(lines))
            if name == headline:
                axes.fill_between(dates, depth[kept], 0.0, color=colour, alpha=0.25, linewidth=0)
            axes.plot(dates, depth[kept], dash, color=colour, linewidth=1.0)
        charts.percent_axis(axes)
        charts.date_axis(axes)
        axes.set_ylim(top=0.0)

    return charts.svg_of(draw, name="drawdown", label="Drawdown of the headline and the benchmark", size=HALF)


def rolling_sharpes(lines: Mapping[str, pl.DataFrame], headline: str, *, periods_per_year: int) -> str | None:
    """Sharpe ratio over the year before each bar, of the headline and the benchmark; None under a year of bars."""
    series: dict[str, Vector] = {}
    for name in _pair(lines, headline):  # the first row is the start itself, no return
        earned = lines[name]["net_return"].to_numpy()[1:]
        series[name] = rolling_sharpe(earned, window=periods_per_year, periods_per_year=periods_per_year)
    if not any(np.isfinite(values).any() for values in series.values()):
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        charts.horizontal_rule(axes)
        for name, values in series.items():
            known = np.flatnonzero(np.isfinite(values))
            kept = known[thin(values[known])]
            colour, dash, width = look(name, headline, list(lines))
            axes.plot(lines[name]["date"].to_numpy()[1:][kept], values[kept], dash, color=colour, linewidth=width - 0.4)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
        charts.date_axis(axes)

    return charts.svg_of(draw, name="rolling", label="Rolling one-year Sharpe ratio", size=HALF)


def draw_weights(axes: Axes, stack: Stack, colours: Mapping[str, str]) -> list[object]:
    """Draw shares as a stack that holds its height from one rebalance to the next; return the marks."""
    marks = axes.stackplot(
        stack.dates.to_numpy(),
        stack.values,
        step="post",
        colors=[colours.get(name, charts.FAINT) for name in stack.names],
        edgecolor="white",
        linewidth=0.3,
        alpha=0.85,
    )
    axes.set_ylim(0.0, max(1.0, float(stack.values.sum(axis=0).max(initial=1.0))))
    charts.percent_axis(axes)
    charts.date_axis(axes)
    axes.grid(visible=False)
    return list(marks)


def weights_through_time(weights: pl.DataFrame, dates: pl.Series, until: date, headline: str) -> str | None:
    """Weights of the headline as stacked areas up to the last bar; the rest up to 100 % is cash.

    Neighbouring rebalances of a long record are averaged.
    """
    mine = weights.filter(pl.col("method") == headline)
    if mine.is_empty() or dates.is_empty():
        return None
    stack = _extend_to(
        average_steps(stack_parts(mine, by="symbol", value="weight", dates=dates, top=_TOP_WEIGHTS)), until
    )
    cash = np.clip(1.0 - stack.values.sum(axis=0), 0.0, None)
    full = Stack(stack.dates, (*stack.names, CASH), np.vstack([stack.values, cash]))
    colours = dict(zip(full.names, charts.PALETTE[:_TOP_WEIGHTS], strict=False)) | {CASH: "#f4f6f8"}
    if len(stack.names) > _TOP_WEIGHTS:
        colours[stack.names[-1]] = charts.FAINT

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        marks = draw_weights(axes, full, colours)
        charts.legend(axes, marks[::-1], full.names[::-1])

    return charts.svg_of(draw, name="weights", label="Weights of the headline over time", size=(WIDE[0], 245))


def selection_stages(selection: pl.DataFrame, dates: pl.Series, until: date) -> str | None:
    """Count the selected of each rebalance by the ladder stage that selected them."""
    if selection.is_empty():
        return None
    order = [str(stage) for stage in STAGES]
    stack = _extend_to(stack_parts(selection, by="stage", value=None, dates=dates, top=len(order), order=order), until)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        marks = axes.stackplot(
            stack.dates.to_numpy(),
            stack.values,
            step="post",
            colors=[colour for _, colour in STAGES.values()],
            linewidth=0,
        )
        charts.date_axis(axes)
        charts.count_axis(axes)
        axes.set_ylim(bottom=0)
        charts.legend(axes, marks, [name for name, _ in STAGES.values()], columns=4, beside=False)

    return charts.svg_of(draw, name="stages", label="Number selected per rebalance by ladder stage", size=HALF)


def draw_information(axes: Axes, evaluation: pl.DataFrame) -> list[object]:
    """Draw the mean rank IC of each factor as bars, one colour per horizon, whiskers of two standard errors."""
    horizons = evaluation["horizon"].unique().sort().to_list()
    best = evaluation.filter(pl.col("horizon") == horizons[-1]).sort("rank_ic", "factor", nulls_last=False)
    order = [*sorted(set(evaluation["factor"]) - set(best["factor"])), *best["factor"]]
    thick = 0.8 / len(horizons)
    marks: list[object] = []
    for i, horizon in enumerate(horizons):
        rows = evaluation.filter(pl.col("horizon") == horizon).sort("factor")
        place = np.array([order.index(name) for name in rows["factor"]]) + (len(horizons) / 2 - 0.5 - i) * thick
        mean = rows["rank_ic"].cast(pl.Float64).to_numpy()
        t = rows["t_statistic"].cast(pl.Float64).to_numpy()
        error = np.divide(_CRITICAL * np.abs(mean), np.abs(t), out=np.full(mean.size, np.nan), where=np.abs(t) > 1e-9)
        colour = (charts.BLUE, charts.SKY, charts.ORANGE)[i % 3]
        marks.append(axes.barh(place, mean, thick * 0.9, color=colour))
        known = np.isfinite(error)
        axes.errorbar(
            mean[known], place[known], xerr=error[known], fmt="none", ecolor=charts.INK, elinewidth=0.9, capsize=2.0
        )
    axes.axvline(0.0, color=charts.MUTED, linewidth=0.8)
    axes.set_yticks(range(len(order)), [name.replace("_", " ") for name in order])
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}".replace("-", "\N{MINUS SIGN}"))
    charts.legend(axes, marks, [f"{h} bar{'s' if h > 1 else ''} ahead" for h in horizons], columns=3, beside=False)
    return marks


def information_coefficients(evaluation: pl.DataFrame) -> str | None:
    """Mean rank IC per factor and horizon with two standard errors."""
    if evaluation.is_empty():
        return None
    size = (HALF[0], max(HALF[1], 70 + 34 * evaluation["factor"].n_unique()))

    def draw(figure: Figure) -> None:
        draw_information(figure.subplots(), evaluation)

    return charts.svg_of(draw, name="ic", label="Mean rank information coefficient per factor", size=size)


def cluster_map(decisions: pl.DataFrame) -> str | None:
    """Every judged symbol of the last rebalance by cluster and conviction; the selected are filled and named."""
    judged = decisions.filter(pl.col("cluster").is_not_null() & pl.col("conviction").is_not_null())
    judged = judged.sort("is_selected", "conviction", "symbol", "direction", descending=[True, True, False, False])
    judged = judged.head(_DOTS)
    if judged.is_empty():
        return None
    clusters = judged["cluster"].unique().sort().to_list()
    size = (HALF[0], max(HALF[1], 60 + 20 * len(clusters)))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for chosen, fill, edge, zorder in ((False, "white", charts.FAINT, 2), (True, charts.BLUE, charts.BLUE, 3)):
            rows = judged.filter(pl.col("is_selected") == chosen)
            places = [clusters.index(cluster) for cluster in rows["cluster"]]
            axes.scatter(
                rows["conviction"].to_numpy(), places, s=22, color=fill, edgecolors=edge, linewidths=0.9, zorder=zorder
            )
        for place, cluster in enumerate(clusters):
            names = judged.filter((pl.col("cluster") == cluster) & pl.col("is_selected"))["symbol"].to_list()
            short = [name.partition(":")[2][:12] for name in names[:_NAMED_PER_CLUSTER]]
            more = f" +{len(names) - len(short)}" if len(names) > len(short) else ""
            axes.annotate(
                ", ".join(short) + more,
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.0,
                color=charts.BLUE,
            )
        axes.set_yticks(range(len(clusters)), [f"cluster {cluster}" for cluster in clusters])
        axes.set_ylim(len(clusters) - 0.5, -0.5)
        axes.set_xlabel("conviction")

    return charts.svg_of(draw, name="clusters", label="Clusters and convictions at the last rebalance", size=size)


def _extend_to(stack: Stack, until: date) -> Stack:
    """Extend the last rebalance of a stack to the end of the data."""
    if stack.dates.is_empty() or until <= stack.dates[-1]:
        return stack
    days = pl.concat([stack.dates, pl.Series([until], dtype=stack.dates.dtype)])
    return Stack(days, stack.names, np.hstack([stack.values, stack.values[:, -1:]]))


def _pair(lines: Mapping[str, pl.DataFrame], headline: str) -> list[str]:
    """Return the benchmark and the headline, the headline last so that it is drawn on top."""
    return [name for name in dict.fromkeys(("benchmark", headline)) if name in lines]
