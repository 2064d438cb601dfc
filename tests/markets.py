"""Small markets: a plain one with its sleeve, and one with all that bars can have: gaps, lives, bars without trades."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl

T = 700
PRICES = ("open", "high", "low", "close", "vwap")
SLEEVE = """
[sleeve]
name = "small"
calendar = "24/7"
[source]
kind = "parquet"
path = "bars.parquet"
[synthesis]
clusters = 4
top = 2
floor = 4
cap = 8
[allocation]
methods = ["equal_weight", "inverse_volatility", "hrp", "minimum_variance"]
headline = "hrp"
[backtest]
train = 200
test = 20
step = 20
"""
ALL_FAMILIES = """
[features]
families = ["trend", "volatility", "predictability", "liquidity", "tail", "ratings", "alpha158", "alpha101"]
"""


def day(k: int) -> date:
    return date(2020, 1, 1) + timedelta(days=k)


def plain_market(symbols: int = 12, bars: int = 420, seed: int = 3) -> pl.DataFrame:
    """Return bars without gaps of symbols that move with the market: nothing of them is excluded."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0003, 0.01, (bars, 1))
    returns = common + rng.normal(0.0002, 0.02, (bars, symbols))
    close = 100.0 * np.cumprod(1.0 + returns, axis=0)
    names = [f"SIM:S{j:02d}" for j in range(symbols)]
    dates = pl.date_range(date(2022, 1, 1), date(2022, 1, 1) + timedelta(days=bars - 1), eager=True)
    spread = 1.0 + np.abs(rng.normal(0.0, 0.005, close.shape))
    columns = {"close": close, "open": close, "high": close * spread, "low": close / spread}
    columns["volume"] = rng.lognormal(12.0, 0.5, close.shape)
    return pl.DataFrame(
        {"date": np.repeat(dates.to_numpy(), symbols), "symbol": names * bars}
        | {name: values.ravel() for name, values in columns.items()}
    ).with_columns(pl.col("date").cast(pl.Date))


@cache
def market(seed: int = 11, symbols: int = 10, days: int = T) -> pl.DataFrame:
    """Return, of five symbols, a clean one; one listed late and gone early; one with gaps; one of two lives and an open
    jump; one listed when the market is two thirds old. Prices follow each other, so that their ranks keep changing."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.standard_t(4, days) * 0.012)
    tables = []
    for j in range(symbols):
        kept = np.ones(days, dtype=bool)
        own = rng.standard_t(4, days) * 0.02
        for t in range(1, days):
            own[t] += 0.93 * own[t - 1]
        close = 50.0 * np.exp(common + own)
        close[100 + j : 103 + j] = close[99 + j]
        life = np.zeros(days, dtype=np.int32)
        is_provisional = np.zeros(days, dtype=bool)
        if j % 5 == 1:
            kept[:150], kept[days - 40 :] = False, False
        if j % 5 == 2:
            kept = rng.random(days) > 0.04
        if j % 5 == 3:
            life[300:], is_provisional[-2:] = 1, True
            close[300:] *= 1e-4
        if j % 5 == 4:
            kept[: days * 2 // 3] = False
        first = np.append(close[0], close[:-1]) * np.exp(rng.normal(0.0, 0.004, days))
        first[300 if j % 5 == 3 else 0] = close[300 if j % 5 == 3 else 0]
        high = np.maximum(first, close) * np.exp(np.abs(rng.normal(0.0, 0.006, days)))
        low = np.minimum(first, close) * np.exp(-np.abs(rng.normal(0.0, 0.006, days)))
        # Bars at one price, as a limit or a lone trade makes them.
        flat = np.arange(days) % 97 == 40 + j
        flat[101 + j : 103 + j] = True
        first[flat], high[flat], low[flat] = close[flat], close[flat], close[flat]
        table = {
            "date": [day(k) for k in range(days)],
            "symbol": [f"X:{j:03d}"] * days,
            "open": first,
            "high": high,
            "low": low,
            "close": close,
            "volume": np.where(rng.random(days) < 0.007, 0.0, np.exp(rng.normal(10.0, 1.0, days))),
            "vwap": low + (high - low) * rng.random(days),
            "life": life,
            "is_provisional": is_provisional,
        }
        tables.append(pl.DataFrame(table).filter(pl.Series(kept)))
    return pl.concat(tables)
