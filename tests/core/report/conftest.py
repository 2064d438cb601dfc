from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from quant_core.market.calendar import walk_forward
from quant_core.market.contracts import alpha, ingest, portfolio, synthesis
from quant_core.market.contracts.split import Contract, validate
from quant_core.market.sleeves import Sleeve
from tests.builders import intervals

TICKERS = "AAPL AMD BAC BBY CVX GE HD JNJ JPM KO LLY MRK MSFT PEP PFE PG RRC UNH WMT XOM"
SYMBOLS = [f"US:{ticker}" for ticker in TICKERS.split()]
METHODS = ("hrp", "equal_weight", "minimum_variance")
FACTORS = ("momentum", "stability", "efficiency", "tail_risk", "drawdown", "liquidity", "amihud", "autocorrelation")
Tables = dict[str, pl.DataFrame]


def shaped(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    return validate(frame.select(pl.col(name).cast(kind) for name, kind in contract.dtypes.items()), contract)


def demo_tables(*, seed: int = 7, years: int = 6) -> Tables:
    """Inputs of the tear sheet as a plausible sleeve of 20 stocks would make them."""
    rng = np.random.default_rng(seed)
    dates = pl.date_range(date(2017, 1, 2), date(2017 + years - 1, 12, 30), "1d", eager=True).alias("date")
    dates = dates.filter(dates.dt.weekday() <= 5)
    market = rng.standard_t(5, len(dates)) * 0.006 + 0.0003
    steps = market[:, None] + rng.standard_t(4, (len(dates), len(SYMBOLS))) * 0.009
    closes = 50.0 * np.exp(np.cumsum(steps, axis=0))
    schedule = shaped(walk_forward(dates, train=252, test=20, step=20), portfolio.Schedule)
    decisions, weights = decided(rng, schedule["date"])
    tables = {
        "bars": bars_of(dates, closes),
        "schedule": schedule,
        "decisions": decisions,
        "weights": weights,
        "selection": selected(decisions),
        "atoms": atoms_of(decisions),
        "evaluation": evaluated(rng),
        "exclusions": excluded(dates),
        "universe": members(dates[0]),
        "equity": wealth(rng, dates.slice(251), market[251:]),
    }
    return tables | {"metrics": measured(tables["equity"])}


def bars_of(dates: pl.Series, closes: np.ndarray) -> pl.DataFrame:
    rows = pl.DataFrame({"date": dates}).join(pl.DataFrame({"symbol": SYMBOLS}), how="cross")
    close = pl.Series("close", closes.ravel())
    return shaped(
        rows.with_columns(
            close,
            (close * 0.999).alias("open"),
            (close * 1.01).alias("high"),
            (close * 0.99).alias("low"),
            pl.lit(1e6).alias("volume"),
            pl.lit(datetime(2017, 1, 2, 21, tzinfo=UTC)).alias("available_at"),
            pl.lit(0).alias("life"),
            pl.lit(value=False).alias("is_provisional"),
            pl.lit(1.0).alias("adjustment"),
            pl.lit("").alias("flags"),
        ).filter((pl.col("symbol") != "US:RRC") | (pl.col("date") < date(2020, 5, 1))),
        ingest.Bars,
    )


def members(first: date) -> pl.DataFrame:
    rows = [(symbol, first, None, True, "member") for symbol in SYMBOLS]
    return intervals(rows)


def decided(rng: np.random.Generator, dates: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows, weights = [], []
    conviction = rng.uniform(0.25, 0.6, len(SYMBOLS))
    for day in dates:
        conviction = np.clip(conviction + rng.normal(0.0, 0.03, len(SYMBOLS)), 0.08, 0.92)
        ranked = np.argsort(-conviction)
        vetoed = set(ranked[rng.choice(12, 2, replace=False)].tolist())
        chosen = [j for j in ranked.tolist() if j not in vetoed][:9]
        for rank, j in enumerate(ranked.tolist(), start=1):
            stage = (1 if rank < 9 else 2) if j in chosen else None
            reason = "vetoed" if j in vetoed else "outranked"
            reason = {1: "selected_strict", 2: "selected_relaxed"}.get(stage or 0, reason)
            known = None if rank == len(SYMBOLS) else conviction[j]
            reason = "no_conviction" if known is None else reason
            vetoes = "efficiency,kurtosis" if j in vetoed else ""
            row = (day, SYMBOLS[j], "LONG", j % 6 + 1, known, rank, vetoes, "entropy", stage, j in chosen, reason)
            rows.append(row)
        for method in METHODS:
            raw = rng.dirichlet(np.full(len(chosen), 9.0)) if method != "equal_weight" else np.full(len(chosen), 1 / 9)
            weights += [
                (day, method, f"{SYMBOLS[j]}_trend_LONG", SYMBOLS[j], "LONG", float(w) * 0.97)
                for j, w in zip(chosen, raw, strict=True)
            ]
    decisions = pl.DataFrame(rows, schema=list(synthesis.Decisions.dtypes), orient="row")
    table = pl.DataFrame(weights, schema=list(portfolio.Weights.dtypes), orient="row")
    return shaped(decisions, synthesis.Decisions), shaped(table, portfolio.Weights)


def selected(decisions: pl.DataFrame) -> pl.DataFrame:
    return shaped(decisions.filter("is_selected"), synthesis.Selection)


def atoms_of(decisions: pl.DataFrame) -> pl.DataFrame:
    chosen = decisions.filter("is_selected").with_columns(
        pl.format("{}_trend_{}", "symbol", "direction").alias("atom"), pl.lit("trend").alias("logic")
    )
    return shaped(chosen, synthesis.Atoms)


def evaluated(rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for horizon in (1, 20):
        for name in FACTORS:
            dates = 1300 // horizon
            error = 0.2 / dates**0.5
            mean = rng.normal(0.01, 1.3 * error)
            t = mean / error
            p = float(2.0 * np.exp(-0.717 * abs(t) - 0.416 * t * t) / 2.0)
            rows.append((name, horizon, dates, mean * 0.9, mean, 0.2, mean / 0.2, t, p, 0.25, 0.98))
    rows[-1] = ("autocorrelation", 20, 0, *[None] * 8)
    return shaped(pl.DataFrame(rows, schema=list(alpha.Evaluation.dtypes), orient="row"), alpha.Evaluation)


def excluded(dates: pl.Series) -> pl.DataFrame:
    rules = ["toxic_bar"] * 3 + ["duplicate_row"] * 12 + ["stalled"] * 5 + ["close_not_known"]
    rows = {
        "stage": ["ingest.bars"] * len(rules),
        "rule": rules,
        "row": list(range(len(rules))),
        "date": dates[: len(rules)],
        "symbol": [SYMBOLS[i % 4] for i in range(len(rules))],
        "detail": rules,
        "record": ["{}"] * len(rules),
    }
    return shaped(pl.DataFrame(rows), ingest.Exclusions)


def wealth(rng: np.random.Generator, dates: pl.Series, market: np.ndarray) -> pl.DataFrame:
    tilt = {"benchmark": 0.0, "raw_pool": 0.0001, "filtered_pool": 0.0001, "hrp": 0.0002, "equal_weight": 0.0001}
    parts = []
    for name in (*METHODS, "benchmark", "raw_pool", "filtered_pool"):
        noise = 0.0 if name == "benchmark" else rng.normal(0.0, 0.002, len(dates))
        earned = market * (0.8 if name == "minimum_variance" else 1.0) + tilt.get(name, 0.0) + noise
        earned[0] = 0.0
        parts.append(
            pl.DataFrame({"date": dates, "equity": np.cumprod(1.0 + earned), "net_return": earned}).with_columns(
                pl.lit(name).alias("portfolio"),
                pl.lit(0.0).alias("cost"),
                pl.lit(0.0).alias("turnover"),
                pl.lit(1.0).alias("exposure"),
                pl.lit(9).alias("held"),
            )
        )
    return shaped(pl.concat(parts), portfolio.Equity)


def measured(equity: pl.DataFrame) -> pl.DataFrame:
    rows: list[tuple[str, str, float | None, float | None, float | None]] = []
    for (name,), part in equity.partition_by("portfolio", as_dict=True).items():
        r, w = part["net_return"].to_numpy()[1:], part["equity"].to_numpy()
        annual = w[-1] ** (252 / r.size) - 1
        sharpe = r.mean() / r.std(ddof=1) * 252**0.5
        wide = 2.0 * (252 / r.size) ** 0.5
        rows += [
            (name, "total_return", w[-1] - 1, None, None),
            (name, "annual_return", annual, None, None),
            (name, "annual_volatility", r.std(ddof=1) * 252**0.5, None, None),
            (name, "sharpe", sharpe, sharpe - wide, sharpe + wide),
            (name, "sortino", sharpe * 1.3, None, None),
            (name, "max_drawdown", (w / np.maximum.accumulate(w)).min() - 1, None, None),
            (name, "cvar_95", np.sort(r)[: r.size // 20].mean(), None, None),
            (name, "turnover_per_year", 4.2, None, None),
            (name, "cost_per_year", 0.0025, None, None),
            (name, "active_return", None if name == "benchmark" else annual - 0.08, None, None),
            (name, "beta", 0.93, None, None),
            (name, "selection_alpha", 0.0071, None, None),
            (name, "optimisation_alpha", 0.0123 if name in METHODS else None, None, None),
            (name, "bars", r.size, None, None),
            (name, "ruined", 0.0, None, None),
            (name, "delisting_return", -0.3, None, None),
        ]
    return shaped(pl.DataFrame(rows, schema=list(portfolio.Metrics.dtypes), orient="row"), portfolio.Metrics)


@pytest.fixture(scope="session")
def demo() -> Callable[..., Tables]:
    return demo_tables


@pytest.fixture(scope="session")
def us_stocks() -> Sleeve:
    return Sleeve(name="us_equities", calendar="24/5", benchmark=None, description="20 large US stocks, daily bars.")
