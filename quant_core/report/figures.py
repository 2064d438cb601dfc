"""Names, formats and explains the figures of the metrics table. backtest/ computes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["percent", "ratio", "count", "yes_no"]
NOT_KNOWN = "\N{EN DASH}"
_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Figure:
    """A figure of the metrics table as people read it."""

    label: str
    unit: Unit
    gloss: str
    digits: int | None = None


FIGURES: Mapping[str, Figure] = {
    "total_return": Figure("Total return", "percent", "Final wealth over initial wealth, less one, after costs."),
    "annual_return": Figure("Annual return", "percent", "Geometric: the constant yearly rate with the same end."),
    "annual_volatility": Figure("Annual volatility", "percent", "Standard deviation of bar returns, annualised."),
    "sharpe": Figure("Sharpe ratio", "ratio", "Mean over standard deviation of bar returns, annualised; cash earns 0."),
    "sortino": Figure("Sortino ratio", "ratio", "As Sharpe, but only returns below zero count as risk."),
    "calmar": Figure("Calmar ratio", "ratio", "Annual return over the size of the deepest drawdown."),
    "max_drawdown": Figure("Deepest drawdown", "percent", "Largest fall from a high to a later low."),
    "var_95": Figure("Value at risk, 95 %", "percent", "Bar return that one bar in twenty falls below."),
    "cvar_95": Figure("Expected shortfall, 95 %", "percent", "Mean of the worst twentieth of bar returns."),
    "hit_rate": Figure("Hit rate", "percent", "Share of bars with a gain."),
    "turnover_per_year": Figure("Turnover a year", "ratio", "Traded value over wealth, buys and sells, per year."),
    "cost_per_year": Figure(
        "Cost a year", "percent", "Fees, slippage, borrowing and funding over wealth, per year; already deducted.", 2
    ),
    "mean_exposure": Figure("Mean exposure", "percent", "Value of all positions over wealth, mean over bars."),
    "mean_held": Figure("Mean positions", "ratio", "Number of positions, mean over bars."),
    "active_return": Figure("Active return", "percent", "Annual return less the benchmark's."),
    "tracking_error": Figure("Tracking error", "percent", "Volatility of the difference to the benchmark, annualised."),
    "information_ratio": Figure("Information ratio", "ratio", "Mean difference to the benchmark over tracking error."),
    "beta": Figure("Beta", "ratio", "Slope of bar returns on the benchmark's."),
    "selection_alpha": Figure(
        "Selection alpha", "percent", "Annual return of the filtered pool less the raw pool, both at equal weight."
    ),
    "optimisation_alpha": Figure(
        "Optimisation alpha", "percent", "Annual return of the method less the filtered pool at equal weight."
    ),
    "bars": Figure("Bars", "count", "Bars in the out-of-sample record."),
    "ruined": Figure("Ruined", "yes_no", "Wealth fell to 1 % of the start, where it stays."),
    "cost_bps": Figure("Cost of a trade, bp", "ratio", "Assumed fee and slippage one way, in basis points."),
    "delisting_return": Figure("Delisting return", "percent", "Assumed return on the last close of a dead holding."),
}


def figure(metric: str) -> Figure:
    """Return how `metric` is shown; a metric without an entry is shown under its own name."""
    return FIGURES.get(metric) or Figure(metric.replace("_", " ").capitalize(), "ratio", "")


def order_metrics(metrics: Iterable[str]) -> list[str]:
    """Return metric names in reading order, those without an entry last, by name."""
    place = {name: i for i, name in enumerate(FIGURES)}
    return sorted(set(metrics), key=lambda name: (place.get(name, len(place)), name))


def format_figure(value: float | None, unit: Unit, *, digits: int | None = None) -> str:
    """Format a number for people: percent of fractions, a true minus sign, a dash if it is not known."""
    if value is None:
        return NOT_KNOWN
    if unit == "yes_no":
        return "yes" if value else "no"
    if unit == "count":
        return format_sign(f"{value:,.0f}")
    if unit == "percent":
        return format_sign(f"{100.0 * value:,.{1 if digits is None else digits}f}{_SPACE}%")
    return format_sign(f"{value:,.{2 if digits is None else digits}f}")


def format_sign(text: str) -> str:
    """Format the sign of a number: a true minus, and none before a zero."""
    if text.startswith("-"):
        return "\N{MINUS SIGN}" + text[1:] if any(digit in text for digit in "123456789") else text[1:]
    return text
