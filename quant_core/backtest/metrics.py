"""The stage that measures every portfolio, with intervals, against benchmark and pools.

Formulas are in performance.py and statistics/; report/ shows them.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from pydantic import Field

from quant_core.backtest import performance as perf
from quant_core.backtest.costs import CostParams
from quant_core.backtest.portfolios import BENCHMARK, FILTERED_POOL, RAW_POOL
from quant_core.backtest.simulate import RUIN
from quant_core.graph.stage import stage
from quant_core.market.calendar import Calendar
from quant_core.market.contracts.portfolio import Metrics
from quant_core.market.panel import Matrix, panels_of
from quant_core.market.sleeves import Sleeve
from quant_core.statistics.sharpe import sharpe_interval

Figure = tuple[float, float, float]
_AGGREGATES = ("annual_return", "sharpe", "max_drawdown", "turnover_per_year")
_POOLS = (BENCHMARK, FILTERED_POOL, RAW_POOL)


class MetricsParams(CostParams):
    """The assumptions the equity was simulated under, printed beside the figures; taken from backtest.equity."""

    slippage_bps: float | None = Field(
        default=None, ge=0.0, json_schema_extra={"from": "backtest.equity.slippage_bps"}, description="As in equity."
    )
    fee_bps: float | None = Field(
        default=None, ge=0.0, json_schema_extra={"from": "backtest.equity.fee_bps"}, description="As in equity."
    )
    borrow_per_year: float = Field(
        default=0.02, ge=0.0, json_schema_extra={"from": "backtest.equity.borrow_per_year"}, description="As in equity."
    )
    funding_per_8h: float = Field(
        default=0.0001,
        ge=0.0,
        json_schema_extra={"from": "backtest.equity.funding_per_8h"},
        description="As in equity.",
    )
    delisting_return: float | None = Field(
        default=None,
        ge=-1.0,
        json_schema_extra={"from": "backtest.equity.delisting_return"},
        description="As in equity.",
    )


def _aggregates(metrics: pl.DataFrame) -> dict[str, float]:
    """Return a few figures per portfolio for the ledger; undefined ones are left out."""
    rows = metrics.filter(pl.col("metric").is_in(_AGGREGATES) & pl.col("value").is_not_null())
    named = rows.select("portfolio", "metric", "value").sort("portfolio", "metric")
    return {f"backtest.{portfolio}.{metric}": value for portfolio, metric, value in named.iter_rows()}


@stage("backtest.metrics", inputs={"equity": "backtest.equity"}, output=Metrics, metrics=_aggregates, shows="figures")
def metrics(equity: pl.DataFrame, *, params: MetricsParams, sleeve: Sleeve) -> pl.DataFrame:
    """Measure every portfolio over the bars after the first rebalance; what is not defined is null."""
    if equity.is_empty():
        return Metrics.empty()
    periods = float(sleeve.market.periods_per_year)
    keyed = equity.rename({"portfolio": "symbol"})
    panels = panels_of(keyed, ["equity", "cost", "turnover", "exposure", "held"])
    names = panels["equity"].symbols
    returns = {name: perf.bar_returns(panels["equity"].column(name)) for name in names}
    rows: list[tuple[str, str, float, float, float]] = []
    for name in names:
        book = {column: panel.column(name) for column, panel in panels.items()}
        figures = [
            *_return_figures(returns[name], periods),
            *_trading_figures(book, periods),
            *_comparison_figures(name, returns, periods),
            *_assumption_figures(params, sleeve.market),
        ]
        rows += [(name, metric, *figure) for metric, figure in figures]
    table = pl.DataFrame(rows, schema=Metrics.dtypes, orient="row")
    return table.with_columns(pl.col("value", "lower", "upper").fill_nan(None))


def _without_interval(value: float) -> Figure:
    return value, perf.UNDEFINED, perf.UNDEFINED


def _ratio(returns: Matrix, periods: float) -> Figure:
    """Return an annualised mean over standard deviation with its 95 % interval, robust to serial correlation."""
    found = sharpe_interval(returns, periods_per_year=periods)
    return found.sharpe, found.lower, found.upper


def _return_figures(returns: Matrix, periods: float) -> Iterator[tuple[str, Figure]]:
    yield "bars", _without_interval(float(returns.size))
    yield "total_return", _without_interval(perf.total_return(returns))
    yield "annual_return", _without_interval(perf.annual_return(returns, periods_per_year=periods))
    yield "annual_volatility", _without_interval(perf.annual_volatility(returns, periods_per_year=periods))
    yield "sharpe", _ratio(returns, periods)
    yield "sortino", _without_interval(perf.sortino(returns, periods_per_year=periods))
    yield "calmar", _without_interval(perf.calmar(returns, periods_per_year=periods))
    yield "max_drawdown", _without_interval(perf.max_drawdown(returns))
    yield "var_95", _without_interval(perf.value_at_risk(returns))
    yield "cvar_95", _without_interval(perf.expected_shortfall(returns))
    yield "hit_rate", _without_interval(perf.hit_rate(returns))


def _trading_figures(book: dict[str, Matrix], periods: float) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of trading and of holdings; the last row's positions have not earned anything yet."""
    bars = book["equity"].size - 1
    for metric, column in (("turnover_per_year", "turnover"), ("cost_per_year", "cost")):
        yield metric, _without_interval(float(book[column].sum()) * periods / bars if bars else perf.UNDEFINED)
    for metric, column in (("mean_exposure", "exposure"), ("mean_held", "held")):
        yield metric, _without_interval(float(book[column][:-1].mean()) if bars else perf.UNDEFINED)
    yield "ruined", _without_interval(float(book["equity"].min() <= RUIN))


def _comparison_figures(name: str, returns: dict[str, Matrix], periods: float) -> Iterator[tuple[str, Figure]]:
    """Yield the comparisons: active figures against the benchmark, and what selection and optimisation added."""
    own, benchmark = returns[name], returns[BENCHMARK]
    active = own - benchmark
    annual = {key: perf.annual_return(stream, periods_per_year=periods) for key, stream in returns.items()}
    yield "active_return", _without_interval(annual[name] - annual[BENCHMARK])
    yield "tracking_error", _without_interval(perf.annual_volatility(active, periods_per_year=periods))
    yield "information_ratio", _ratio(active, periods)
    yield "beta", _without_interval(perf.beta(own, benchmark))
    if name not in (BENCHMARK, RAW_POOL):
        yield "selection_alpha", _without_interval(annual[FILTERED_POOL] - annual[RAW_POOL])
    if name not in _POOLS:
        yield "optimisation_alpha", _without_interval(annual[name] - annual[FILTERED_POOL])


def _assumption_figures(params: CostParams, calendar: Calendar) -> Iterator[tuple[str, Figure]]:
    """Yield the assumptions behind the figures, so that they are never read without them."""
    yield "cost_bps", _without_interval(round(params.costs(calendar).rate * 1e4, 9))
    yield "delisting_return", _without_interval(params.exit_return(calendar))
