"""The operators of the 101 formulaic alphas on matrices [T, N], and the decorators that make an alpha a feature.

Choices the paper leaves open, made once for all alphas:

- Windows hold d known rows, today's the newest, else the answer is not known; a fractional d is rounded down.
- `rank` is the mean rank over the number of members, in (0, 1]; `ts_rank` likewise among the d rows.
- `ts_argmax`, `ts_argmin` count the rows since the extreme: 0 is today; of equal extremes the oldest.
- `stddev` and `covariance` divide by d - 1. A correlation without spread is not known.
- A quotient by zero and the logarithm of what is not above zero are not known. A comparison is 1 or 0, and not known
  where a side is not; a choice is not known where its condition or the branch it takes is not.
- `min(x, d)`, `max(x, d)` are over time, as in the paper; with two series they are the smaller and the larger.
- `signedpower(x, a)` keeps the sign of x.

Rounding decides nothing: what is ranked or compared is read to 30 bits, nine digits (two moves by a tick are equal,
though 20.05 - 20.00 and 100.05 - 100.00 differ in their last bits), a correlation to 10 decimals (over two bars it is 1
or -1).

The paper's `abs`, `sign` and arithmetic are numpy's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quant_core.features.catalogue import feature
from quant_core.features.levels import lives_apart
from quant_core.features.steps import Feature, Function
from quant_core.kernels.cross_section import rank_share_rows, scale_rows
from quant_core.kernels.decay import move_decay_linear, move_product
from quant_core.kernels.extremes import move_argmax, move_argmin, move_max, move_min
from quant_core.kernels.moving import move_std, move_sum
from quant_core.kernels.ordered import move_rank
from quant_core.kernels.pairs import move_correlation, move_covariance
from quant_core.market.panel import Matrix


def cross_sectional(
    unit: str, *, warmup: int, lower: float | None = None, upper: float | None = None, memory: int | None = None
) -> Callable[[Function], Feature]:
    """Make a feature of the family from an alpha that compares symbols."""
    return _make_feature(unit, warmup, lower, upper, memory, is_cross_sectional=True)


def per_symbol(
    unit: str, *, warmup: int, lower: float | None = None, upper: float | None = None, memory: int | None = None
) -> Callable[[Function], Feature]:
    """Make a feature of the family from an alpha that reads one symbol at a time."""
    return _make_feature(unit, warmup, lower, upper, memory, is_cross_sectional=False)


def _make_feature(
    unit: str, warmup: int, lower: float | None, upper: float | None, memory: int | None, *, is_cross_sectional: bool
) -> Callable[[Function], Feature]:
    # Windows are full: a value reads what its first one waits for, unless a choice makes it wait for less.
    reach = memory or warmup + 1
    made = feature(
        family="alpha101",
        unit=unit,
        warmup=warmup,
        lower=lower,
        upper=upper,
        is_cross_sectional=is_cross_sectional,
        memory=reach,
    )
    return lambda function: made(lives_apart(reach)(function))


def round_to_30_bits(x: Matrix | float) -> Matrix:
    """Return x to 30 bits of its fraction: what differs by rounding alone is equal."""
    bits = np.ascontiguousarray(x, dtype=np.float64).view(np.int64)
    return ((bits + (1 << 21)) & -(1 << 22)).view(np.float64)


def rank(x: Matrix) -> Matrix:
    """Rank each row: the paper's `rank`."""
    return rank_share_rows.apply(round_to_30_bits(x), np.isfinite(x))


def scale(x: Matrix) -> Matrix:
    """Rescale each row so that its absolute values add up to 1."""
    return scale_rows.apply(x, np.isfinite(x))


def delay(x: Matrix, d: float) -> Matrix:
    """Return the value d rows ago."""
    out = np.full(x.shape, np.nan)
    out[int(d) :] = x[: max(0, len(x) - int(d))]
    return out


def delta(x: Matrix, d: float) -> Matrix:
    """Return the change over d rows."""
    return x - delay(x, d)


def correlation(x: Matrix, y: Matrix, d: float) -> Matrix:
    """Correlate x and y over d rows."""
    return np.round(move_correlation.apply(x, y, int(d), int(d)), 10)


def covariance(x: Matrix, y: Matrix, d: float) -> Matrix:
    """Take the covariance of two ranks, which are in (0, 1], over d rows."""
    return np.round(move_covariance.apply(x, y, int(d), int(d)), 12)


def stddev(x: Matrix, d: float) -> Matrix:
    """Take the standard deviation of d rows."""
    return move_std.apply(x, int(d), int(d))


def ts_sum(x: Matrix, d: float) -> Matrix:
    """Add d rows up: the paper's `sum`."""
    return move_sum.apply(x, int(d), int(d))


def product(x: Matrix, d: float) -> Matrix:
    """Multiply d rows."""
    return move_product.apply(x, int(d), int(d))


def ts_min(x: Matrix, d: float) -> Matrix:
    """Return the smallest of d rows."""
    return move_min.apply(x, int(d), int(d))


def ts_max(x: Matrix, d: float) -> Matrix:
    """Return the largest of d rows."""
    return move_max.apply(x, int(d), int(d))


def ts_argmin(x: Matrix, d: float) -> Matrix:
    """Count the rows since the smallest of d."""
    return move_argmin.apply(x, int(d), int(d))


def ts_argmax(x: Matrix, d: float, *, least: float | None = None) -> Matrix:
    """Count the rows since the largest of d, or of at least so many of them as are known."""
    return move_argmax.apply(x, int(d), int(least or d))


def ts_rank(x: Matrix, d: float) -> Matrix:
    """Rank the newest of d rows among them."""
    return move_rank.apply(round_to_30_bits(x), int(d), int(d))


def decay_linear(x: Matrix, d: float) -> Matrix:
    """Average d rows with weights d for the newest, 1 for the oldest."""
    return move_decay_linear.apply(x, int(d), int(d))


def divide(x: Matrix, y: Matrix) -> Matrix:
    """Return x / y, not known where y is zero: the paper's `/`."""
    return np.where(y == 0.0, np.nan, x / y)


def log(x: Matrix) -> Matrix:
    """Return the natural logarithm, not known where x is not above zero."""
    return np.log(np.where(x > 0.0, x, np.nan))


def power(x: Matrix, exponent: Matrix | int) -> Matrix:
    """Raise x to a power: the paper's `^`. A whole one by multiplication, exact where machines' `pow` differ."""
    if isinstance(exponent, int):
        out = x
        for _ in range(exponent - 1):
            out = out * x
        return out
    # IEEE has 1 ** NaN = NaN ** 0 = 1.
    return np.where(np.isnan(x) | np.isnan(exponent), np.nan, x**exponent)


def signed_power(x: Matrix, exponent: Matrix | int) -> Matrix:
    """Raise the absolute value to a power and keep the sign: the paper's `signedpower`."""
    return np.sign(x) * power(np.abs(x), exponent)


def less(x: Matrix | float, y: Matrix | float) -> Matrix:
    """Return 1 where x < y, 0 where not: the paper's `<`."""
    return np.where(np.isnan(x) | np.isnan(y), np.nan, round_to_30_bits(x) < round_to_30_bits(y))


def equal(x: Matrix | float, y: Matrix | float) -> Matrix:
    """Return 1 where x and y are equal, 0 where not: the paper's `==`."""
    return np.where(np.isnan(x) | np.isnan(y), np.nan, round_to_30_bits(x) == round_to_30_bits(y))


def either(x: Matrix, y: Matrix) -> Matrix:
    """Return 1 where x or y is 1, not known where one of them is not: the paper's `||`."""
    return np.maximum(x, y)


def choose(condition: Matrix, then: Matrix | float, otherwise: Matrix | float) -> Matrix:
    """Return `then` where the condition is 1, `otherwise` where it is 0: the paper's `? :`."""
    return np.where(np.isnan(condition), np.nan, np.where(condition > 0.0, then, otherwise))


def smaller(x: Matrix, y: Matrix) -> Matrix:
    """Return the smaller of two, not known where one is not: the paper's `min` of two series."""
    return np.minimum(x, y)


def larger(x: Matrix, y: Matrix) -> Matrix:
    """Return the larger of two, not known where one is not: the paper's `max` of two series."""
    return np.maximum(x, y)
