"""Describes the basis of the record in sentences: its data, the rows kept out of it, its assumptions."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from quant_core.market.contracts.portfolio import PERPETUAL
from quant_core.market.sleeves import Sleeve
from quant_core.report.figures import format_figure
from quant_core.report.sections import Scores, display_name
from quant_core.report.series import span

_ADJUSTED: Mapping[str | None, str] = {
    None: "Adjustment not declared",
    "total": "Adjusted for splits and dividends",
    "split": "Adjusted for splits only",
    "raw": "As sent, adjusted here for the splits and dividends told",
}


def data_facts(bars: pl.DataFrame, schedule: pl.DataFrame, record: pl.DataFrame | None) -> list[tuple[str, str]]:
    """Return the facts at the head of the page as name and text: data, record, windows."""
    facts = [
        ("Data", span(bars["date"])),
        ("Bars", f"{bars.height:,} of {bars['symbol'].n_unique():,} symbols"),
    ]
    if record is not None:
        facts.append(("Out-of-sample record", f"{span(record['date'])}, {record.height:,} closes"))
    facts.append(("Walk-forward windows", f"{schedule.height:,}"))
    return facts


def conservation(bars: pl.DataFrame, exclusions: pl.DataFrame) -> dict[str, str]:
    """Return rows read, excluded and kept (the first is the sum of the others), and a note on survivorship."""
    kept, lost = bars.height, exclusions.height
    return {"read": f"{kept + lost:,}", "excluded": f"{lost:,}", "kept": f"{kept:,}"} | _survivorship(bars)


def _survivorship(bars: pl.DataFrame) -> dict[str, str]:
    """Count the symbols whose bars end before the data does: none at all suggests a list of survivors."""
    ends = bars.group_by("symbol").agg(pl.col("date").max())["date"]
    early = int((ends < ends.max()).sum()) if ends.len() else 0
    caution = "No symbol ends before the data does: the list may hold survivors only, which flatters every figure here."
    return {
        "survivors": f"{early:,} of {ends.len():,} symbols end before the data does.",
        "caution": "" if early or ends.is_empty() else caution,
    }


def funding(holdings: str | None, cash: float | None) -> str:
    """Describe the holdings the orders start from, never the file they were read from."""
    if holdings is not None:
        return "Starting from the holdings given."
    return "Starting from cash alone." if cash is None else f"Starting from {cash:,.0f} in cash."


def assumption_sentences(
    scores: Scores,
    sleeve: Sleeve,
    bars: pl.DataFrame,
    *,
    asset_cap: float | None,
    cluster_cap: float | None,
    funding_per_8h: float | None,
) -> list[tuple[str, str]]:
    """Return the assumptions behind the figures, each with a name."""
    dead = scores.shared_value("delisting_return")
    caps = [
        f"{name} at most {format_figure(cap, 'percent', digits=0)}"
        for name, cap in (("one asset", asset_cap), ("one cluster", cluster_cap))
        if cap is not None
    ]
    return [
        ("Timing", "Weights use bars up to a rebalance date, trade at its close and earn from the next bar."),
        ("Costs", _costs(scores)),
        *_funding(bars, funding_per_8h),
        (
            "Delisting",
            "Not stated by the backtest."
            if dead is None
            else "A dead holding is closed at its last close with a return of "
            f"{format_figure(dead, 'percent', digits=0)}.",
        ),
        ("Cash", "What is not invested is cash; it earns nothing."),
        ("Caps", f"{'; '.join(caps).capitalize()}. What caps leave over is cash." if caps else "Not stated."),
        ("Benchmark", _benchmark(sleeve)),
        ("Raw pool", "Every eligible symbol at equal weight; the filtered pool is the selection at equal weight."),
        ("Prices", f"{_ADJUSTED[sleeve.adjustment]}; calendar {sleeve.calendar}."),
        ("Capacity", _capacity(bars)),
        ("Trials", _trials(scores)),
    ]


def _costs(scores: Scores) -> str:
    points = scores.shared_value("cost_bps")
    size = "" if points is None else f" of {points:g} basis points of traded value, one way,"
    return f"Fees and slippage{size} are deducted from wealth at every trade, for the references too."


def _funding(bars: pl.DataFrame, rate: float | None) -> list[tuple[str, str]]:
    """Describe the cost of holding a perpetual, if there is one: the pools hold whatever is eligible."""
    if rate is None or not bars["symbol"].str.contains(PERPETUAL).any():
        return []
    paid = format_figure(rate, "percent", digits=3)
    said = f"Of perpetuals (tickers ending in .P), longs pay {paid} per 8 hours, shorts receive nothing; no borrow fee."
    return [("Funding", said)]


def _benchmark(sleeve: Sleeve) -> str:
    if sleeve.benchmark is None:
        return "Equal weight of the eligible universe, so it equals the raw pool."
    return f"{sleeve.benchmark}, bought and held."


def _capacity(bars: pl.DataFrame) -> str:
    if (bars["volume"] > 0.0).any():
        return "Capacity is not judged: market impact is not modelled, so the figures hold for small sums only."
    return "Capacity unknown: no volume. Market impact is not modelled; the figures hold for small sums only."


def _trials(scores: Scores) -> str:
    corrected = [name for name in scores.metrics if name.startswith("deflated")]
    if corrected:
        return f"See {display_name(corrected[0])} for the correction by the number of variants tried."
    return "Intervals are for this one record; they are not corrected for the number of variants tried."
