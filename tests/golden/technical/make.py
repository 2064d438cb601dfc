"""Write the golden files of this folder with TA-Lib: `python -m tests.golden.technical.make`, from the checkout.

The indicators as TA-Lib has them, or as sums of what it has, in the units of our columns. Nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
BARS = ("open", "high", "low", "close", "volume")
Series = Mapping[str, np.ndarray]


def bars(seed: int, rows: int, daily: float = 0.015) -> dict[str, np.ndarray]:
    """Return one symbol's bars: prices to the cent, no gaps."""
    rng = np.random.default_rng(seed)
    close = np.round(80.0 * np.exp(np.cumsum(rng.standard_t(4, rows) * daily)), 2)
    begun = np.round(np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, daily / 3.0, rows)), 2)
    high = np.round(np.maximum(begun, close) * (1.0 + np.abs(rng.normal(0.0, daily / 2.0, rows))), 2)
    low = np.round(np.minimum(begun, close) * (1.0 - np.abs(rng.normal(0.0, daily / 2.0, rows))), 2)
    volume = np.round(np.exp(rng.normal(11.0, 0.6, rows)))
    return {"open": begun, "high": high, "low": low, "close": close, "volume": volume}


def indicators(talib: Any, given: Series) -> dict[str, np.ndarray]:
    """Return TA-Lib's answers by the names of our columns."""
    high, low, close, volume = (given[name] for name in BARS[1:])
    middle = talib.MEDPRICE(high, low)
    upper, center, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    k, d = talib.STOCH(high, low, close, fastk_period=14, slowk_period=3, slowd_period=3)
    highest, lowest = talib.MAX(high, timeperiod=20), talib.MIN(low, timeperiod=20)
    vwma = talib.SUM(close * volume, timeperiod=20) / talib.SUM(volume, timeperiod=20)
    # TA-Lib's own MACD begins the fast mean at the first bar of the slow one; this is the sum of its exponential means.
    line = talib.EMA(close, timeperiod=12) - talib.EMA(close, timeperiod=26)
    hull = talib.WMA(known(2.0 * talib.WMA(close, timeperiod=4) - talib.WMA(close, timeperiod=9)), timeperiod=3)
    power = high + low - 2.0 * talib.EMA(close, timeperiod=13)
    spans = [
        0.5 * (talib.MIDPRICE(high, low, timeperiod=9) + talib.MIDPRICE(high, low, timeperiod=26)),
        talib.MIDPRICE(high, low, timeperiod=52),
    ]
    cloud = [np.concatenate([np.full(26, np.nan), span[:-26]]) for span in spans]
    above, below = close - np.maximum(*cloud), close - np.minimum(*cloud)
    return {
        "adx_14": talib.ADX(high, low, close, timeperiod=14),
        "plus_di_14": talib.PLUS_DI(high, low, close, timeperiod=14),
        "minus_di_14": talib.MINUS_DI(high, low, close, timeperiod=14),
        "rsi_14": talib.RSI(close, timeperiod=14),
        "roc_10": talib.ROCP(close, timeperiod=10),
        "macd_histogram": (line - padded(talib.EMA(known(line), timeperiod=9), line)) / close,
        "distance_to_sma_50": close / talib.SMA(close, timeperiod=50) - 1.0,
        "distance_to_vwma_20": close / vwma - 1.0,
        "donchian_position_20": (close - lowest) / (highest - lowest),
        "distance_to_donchian_high_20": close / highest - 1.0,
        "distance_to_donchian_low_20": close / lowest - 1.0,
        "atr_14": talib.ATR(high, low, close, timeperiod=14) / close,
        "bollinger_width_20": (upper - lower) / center,
        "stochastic_k": k,
        "stochastic_d": d,
        "williams_r_14": talib.WILLR(high, low, close, timeperiod=14),
        "cci_20": talib.CCI(high, low, close, timeperiod=20),
        "awesome_oscillator": (talib.SMA(middle, timeperiod=5) - talib.SMA(middle, timeperiod=34)) / close,
        "bull_bear_power_13": power / close,
        "stochastic_rsi_14": talib.STOCHRSI(close, timeperiod=14, fastk_period=14, fastd_period=3)[1],
        "ultimate_oscillator": talib.ULTOSC(high, low, close, timeperiod1=7, timeperiod2=14, timeperiod3=28),
        "distance_to_hull_9": (close - padded(hull, close)) / close,
        "distance_to_cloud": np.where(above > 0.0, above, np.where(below < 0.0, below, 0.0 * above)) / close,
    }


def known(x: np.ndarray) -> np.ndarray:
    """Drop the leading NaN, on which TA-Lib's means would stay NaN."""
    return x[int(np.isnan(x).sum()) :]


def padded(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Put them back."""
    return np.concatenate([np.full(len(like) - len(x), np.nan), x])


def write(path: Path, columns: Series, pattern: str) -> None:
    """Write a CSV; an empty cell is not known."""
    rows = [
        ["" if np.isnan(cell) else format(cell, pattern) for cell in row] for row in zip(*columns.values(), strict=True)
    ]
    path.write_text("\n".join(",".join(row) for row in [columns, *rows]) + "\n")


if __name__ == "__main__":
    import talib

    made = bars(seed=7, rows=160)
    write(FOLDER / "bars.csv", made, ".10g")
    write(FOLDER / "talib.csv", indicators(talib, made), ".13g")
