"""The 101 formulaic alphas of Kakushadze (2016): those that daily bars can express, and the inputs they share.

Each alpha is a function, in the file named after what it reads: alpha101_prices.py, alpha101_average_price.py,
alpha101_volume.py, alpha101_volume_correlation.py, alpha101_value_correlation.py or alpha101_correlation_flags.py.
What the paper's operators mean is in alpha101_operators.py.

The paper's inputs: `returns` are close to close, `vwap` is the bar's average price (alphas that name it are not known
where a source has none), `adv{d}` is the mean traded value of d bars, in quote currency. Where the paper compares or
divides volume by `adv{d}`, a source that counts units of the symbol compares units with currency: as published.

Each life of a ticker is a symbol of its own.

Left out, since bars do not name an industry: 48, 58, 59, 63, 67, 69, 70, 76, 79, 80, 82, 87, 89, 90, 91, 93, 97, 100;
since bars do not hold a market capitalisation: 56.

Source: Kakushadze (2016), 101 Formulaic Alphas, Wilmott 84, appendix A; arXiv 1601.00991.
"""

from __future__ import annotations

from quant_core.features.alpha101_operators import rank
from quant_core.features.catalogue import ingredient
from quant_core.features.families import family_stage
from quant_core.features.levels import within_life
from quant_core.kernels.moving import move_mean
from quant_core.market.panel import Matrix


@ingredient(windows=(5, 10, 15, 20, 30, 40, 50, 60, 120, 180))
def adv(close: Matrix, volume: Matrix, rows_apart: Matrix, *, window: int, volume_unit: str = "units") -> Matrix:
    """Mean traded value of the last {window} bars."""
    value = volume if volume_unit == "value" else close * volume
    return within_life(move_mean.apply(value, window, window), rows_apart, window)


@ingredient(is_cross_sectional=True)
def rank_open(open: Matrix) -> Matrix:
    """Rank of the open among the symbols of the day."""
    return rank(open)


@ingredient(is_cross_sectional=True)
def rank_high(high: Matrix) -> Matrix:
    """Rank of the high among the symbols of the day."""
    return rank(high)


@ingredient(is_cross_sectional=True)
def rank_low(low: Matrix) -> Matrix:
    """Rank of the low among the symbols of the day."""
    return rank(low)


@ingredient(is_cross_sectional=True)
def rank_close(close: Matrix) -> Matrix:
    """Rank of the close among the symbols of the day."""
    return rank(close)


@ingredient(is_cross_sectional=True)
def rank_volume(volume: Matrix) -> Matrix:
    """Rank of volume among the symbols of the day."""
    return rank(volume)


@ingredient(is_cross_sectional=True)
def rank_vwap(vwap: Matrix) -> Matrix:
    """Rank of the average price among the symbols of the day."""
    return rank(vwap)


table = family_stage(__name__)
