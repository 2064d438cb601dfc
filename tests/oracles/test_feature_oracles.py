"""Features against pandas, scipy and numpy on the same returns. Tolerance 1e-9 relative, 1e-12 absolute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats

from quant_core.features import compute_panel

T, SYMBOLS = 420, ("X:A", "X:B", "X:C")
YEAR = 365


@cache
def frames() -> dict[str, pd.DataFrame]:
    """Closes, volumes and returns on common dates; the second symbol misses bars, the third is listed late."""
    rng = np.random.default_rng(23)
    index = pd.DatetimeIndex([date(2021, 1, 1) + timedelta(days=k) for k in range(T)])
    steps = rng.standard_t(4, (T, 3)) * 0.02
    steps[rng.random(steps.shape) < 0.05] = 0.0
    close = pd.DataFrame(80.0 * np.exp(np.cumsum(steps, axis=0)), index=index, columns=list(SYMBOLS))
    volume = pd.DataFrame(np.exp(rng.normal(9.0, 1.0, (T, 3))), index=index, columns=list(SYMBOLS))
    gone = rng.random(T) < 0.03
    for frame in (close, volume):
        frame.loc[gone, "X:B"] = np.nan
        frame.iloc[:60, 2] = np.nan
    returns = (close / close.ffill().shift(1) - 1.0).where(close.notna())
    return {"close": close, "volume": volume, "returns": returns}


@cache
def bars() -> pl.DataFrame:
    close, volume = frames()["close"], frames()["volume"]
    tables = [
        pl.DataFrame(
            {
                "date": [stamp.date() for stamp in close.index],
                "symbol": [symbol] * T,
                "close": close[symbol].to_numpy(),
                "volume": volume[symbol].to_numpy(),
            }
        )
        for symbol in SYMBOLS
    ]
    return pl.concat(tables).filter(pl.col("close").is_not_nan())


def known(statistic: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    return lambda window: statistic(window[~np.isnan(window)])


def rolling(name: str, window: int, least: int) -> pd.core.window.rolling.Rolling:
    return frames()[name].rolling(window, min_periods=least)


def traded() -> pd.DataFrame:
    return frames()["close"] * frames()["volume"]


def autocorrelation(window: np.ndarray) -> float:
    distance = window - np.nanmean(window)
    products = distance[1:] * distance[:-1]
    return np.nan if (~np.isnan(products)).sum() < 108 else np.nansum(products) / np.nansum(distance**2)


def expected_shortfall(window: np.ndarray) -> float:
    return float(np.partition(window, len(window) // 20)[: len(window) // 20].mean())


def max_drawdown(window: np.ndarray) -> float:
    path = np.cumprod(np.concatenate([[1.0], 1.0 + window]))
    return float((path / np.maximum.accumulate(path) - 1.0).min())


ORACLES: dict[str, Callable[[], pd.DataFrame]] = {
    "momentum": lambda: rolling("returns", 120, 108).mean() * YEAR,
    "momentum_12_1": lambda: np.expm1(np.log1p(frames()["returns"]).shift(20).rolling(232, min_periods=209).sum()),
    "distance_to_mean": lambda: frames()["close"] / rolling("close", 20, 20).mean() - 1.0,
    "volatility": lambda: rolling("returns", 252, 227).std() * np.sqrt(YEAR),
    "volatility_20": lambda: rolling("returns", 20, 20).std() * np.sqrt(YEAR),
    "drawdown": lambda: frames()["close"] / rolling("close", 252, 228).max() - 1.0,
    "max_drawdown": lambda: rolling("returns", 251, 227).apply(known(max_drawdown), raw=True),
    "efficiency": lambda: (
        rolling("returns", 120, 108).sum().abs()
        / np.sqrt((frames()["returns"] ** 2).rolling(120, min_periods=108).sum())
    ),
    "autocorrelation": lambda: rolling("returns", 120, 1).apply(autocorrelation, raw=True),
    "zero_return_share": lambda: rolling("returns", 120, 108).apply(known(lambda w: np.mean(w == 0.0)), raw=True),
    "amihud": lambda: (frames()["returns"].abs() / traded()).rolling(60, min_periods=54).mean() * 1e6,
    "liquidity": lambda: traded().rolling(20, min_periods=20).median(),
    "log_traded_value": lambda: np.log(traded().rolling(20, min_periods=20).median()),
    "skew": lambda: rolling("returns", 252, 227).apply(known(scipy.stats.skew), raw=True),
    "kurtosis": lambda: rolling("returns", 252, 227).apply(known(scipy.stats.kurtosis), raw=True),
    "cvar": lambda: rolling("returns", 252, 227).apply(known(expected_shortfall), raw=True),
}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_the_feature_equals_another_library(name: str) -> None:
    found = compute_panel(bars(), [name], calendar="24/7")[name]
    expected = ORACLES[name]().where(frames()["close"].notna()).to_numpy()
    assert found.symbols == SYMBOLS
    assert np.isfinite(expected[:, [0, 2]]).any(axis=0).all()
    # A gap may hide the first price of a window of closes; where both speak they agree, and both speak without gaps.
    both = np.isfinite(expected) & np.isfinite(found.values)
    clean = both | (np.isnan(expected) & np.isnan(found.values))
    assert clean[:, [0, 2]].all()
    is_of_closes = name in ("distance_to_mean", "drawdown")
    assert is_of_closes or clean.all()
    columns = [0, 2] if is_of_closes else [0, 1, 2]
    np.testing.assert_allclose(
        found.values[:, columns][both[:, columns]], expected[:, columns][both[:, columns]], rtol=1e-9, atol=1e-12
    )
