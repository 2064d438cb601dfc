"""Predictability: whether past returns help to predict the next. Their direction is in trend.py.

A statistic that ends in `_z` is a normal score: 0 is the middle of what independent returns give, 1 is beyond 84 of
100 of them. How it is made lives in statistics/calibration.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.features.catalogue import feature, ingredient
from quant_core.features.families import family_stage
from quant_core.kernels.complexity import move_permutation_entropy, move_tied_patterns, move_turbulence
from quant_core.kernels.paths import move_autocorrelation, move_efficiency
from quant_core.kernels.scaling import move_dfa, move_hurst
from quant_core.kernels.serial_dependence import (
    move_adf,
    move_half_life,
    move_ljung_box,
    move_memory_depth,
    move_variance_ratio,
)
from quant_core.market.panel import Matrix
from quant_core.statistics.calibration import chi_square_p, half_normal_score, normal_score, unit_root_p


def _windowed_sum(flags: Matrix, window: int) -> Matrix:
    """Count the flags [T, W] of each window; whole numbers do not drift."""
    counts = np.cumsum(flags, axis=0, dtype=np.int64)
    return np.concatenate([counts[:window], counts[window:] - counts[:-window]]).astype(np.float64)


@ingredient
def steps(returns: Matrix) -> Matrix:
    """Log returns: the steps of the path that mean reversion is measured on."""
    return np.log1p(np.where(returns > -1.0, returns, np.nan))


@ingredient
def entropy_length(returns: Matrix, *, window: int = 120, order: int = 5) -> Matrix:
    """Bars without gaps that hold as many patterns as the entropy's window knows."""
    known = ~np.isnan(returns)
    whole = known.copy()
    for back in range(1, order):
        whole[back:] &= known[:-back]
        whole[:back] = False
    return _windowed_sum(whole, window - order + 1) + (order - 1)


@ingredient
def hurst_length(returns: Matrix, *, window: int = 252) -> Matrix:
    """Count the returns known in the window of the Hurst exponent."""
    return _windowed_sum(~np.isnan(returns), window)


@feature(family="predictability", unit="none, half-normal for independent returns", warmup=108, lower=0.0)
def efficiency(returns: Matrix, *, window: int = 120, min_count: int = 108) -> Matrix:
    """Sum of the returns of the last 120 bars, without sign, over the root of the sum of their squares, 108 known.

    Self-normalised: independent returns of any tail give a half-normal value, so that limits need no calibration.

    Source: Kaufman (1995), Smarter Trading, efficiency ratio; de la Pena, Lai & Shao (2009), Self-Normalized Processes.
    """
    return move_efficiency.apply(returns, window, min_count)


@feature(family="predictability", unit="normal score", warmup=108, lower=-8.0)
def efficiency_z(efficiency: Matrix) -> Matrix:
    """Efficiency as a normal score among independent returns, whose efficiency is half-normal.

    The standard normal's quantile at 2 Phi(efficiency) - 1, at least -8.
    """
    return half_normal_score(efficiency)


@feature(family="predictability", unit="share", warmup=108, lower=0.0, upper=1.0)
def tied_patterns(returns: Matrix, *, window: int = 120, order: int = 5, min_count: int = 104) -> Matrix:
    """Share of the patterns of 5 neighbouring returns of the last 120 bars that hold two equal ones, 104 known."""
    return move_tied_patterns.apply(returns, window, order, min_count)


@feature(family="predictability", unit="none", warmup=108, lower=0.0, upper=1.0)
def entropy(
    returns: Matrix,
    tied_patterns: Matrix,
    *,
    window: int = 120,
    order: int = 5,
    min_count: int = 104,
    ties: float = 0.1,
) -> Matrix:
    """Permutation entropy of 5 neighbouring returns over the last 120 bars, at least 104 of 116 patterns known.

    -sum(p ln p) / ln(5!) over the shares p of the orders that 5 neighbouring returns come in. So short a window of
    independent returns has 0.88, not 1: `entropy_z` measures how unlikely a value is. Null where over 10 % of the
    patterns hold equal returns.

    Source: Bandt & Pompe (2002), Physical Review Letters 88, 174102.
    """
    return np.where(tied_patterns > ties, np.nan, move_permutation_entropy.apply(returns, window, order, min_count))


@feature(family="predictability", unit="normal score", warmup=108, lower=-3.0, upper=3.0)
def entropy_z(entropy: Matrix, entropy_length: Matrix) -> Matrix:
    """Entropy as a normal score among independent returns of as many bars; high is more like noise than noise is.

    Entropy depends on ranks alone, so that the tails of the returns make no difference.
    """
    return normal_score(entropy, entropy_length, "entropy_5")


@feature(family="predictability", unit="exponent, 1/2 for independent returns", warmup=227)
def hurst(returns: Matrix, *, window: int = 252, smallest: int = 8, fewest: int = 2, min_count: int = 227) -> Matrix:
    """Hurst exponent of the returns of the last 252 bars by rescaled ranges less their expectation, 227 known.

    1/2 plus the slope of ln(R/S) - ln E[R/S] on ln n over blocks of n = 8, 16, 32 and 64 bars; not clipped. Independent
    returns give 0.50 with a standard deviation of 0.06.

    Source: Anis & Lloyd (1976), Biometrika 63(1).
    """
    return move_hurst.apply(returns, window, smallest, fewest, min_count)


@feature(family="predictability", unit="normal score", warmup=227, lower=-3.0, upper=3.0)
def hurst_z(hurst: Matrix, hurst_length: Matrix) -> Matrix:
    """Hurst exponent as a normal score among independent returns of as many bars; high persists, low reverts.

    The table is that of normal returns: t-distributed ones of 4 degrees of freedom have scores of mean -0.08 and
    deviation 0.96. A window that begins before the symbol does has fewer blocks, and scores spread by up to 1.2.
    """
    return normal_score(hurst, hurst_length, "hurst")


@feature(family="predictability", unit="exponent, 1/2 for independent returns", warmup=227)
def dfa(returns: Matrix, *, window: int = 252, smallest: int = 8, fewest: int = 2, min_count: int = 227) -> Matrix:
    """Exponent of detrended fluctuations of the returns of the last 252 bars, at least 227 of them known.

    1/2 plus the slope of ln F - ln E[F^2]^(1/2) on ln n over blocks of n = 8, 16, 32 and 64 bars; not clipped.

    Source: Peng et al. (1994), Physical Review E 49(2), order 1.
    """
    return move_dfa.apply(returns, window, smallest, fewest, min_count)


@feature(family="predictability", unit="correlation", warmup=109, lower=-1.0, upper=1.0)
def autocorrelation(returns: Matrix, *, window: int = 120, min_count: int = 108) -> Matrix:
    """Autocorrelation of neighbouring returns of the last 120 bars, at least 108 pairs known.

    Source: Box & Jenkins (1976), Time Series Analysis, section 2.1.5.
    """
    return move_autocorrelation.apply(returns, window, 1, min_count)


@feature(family="predictability", unit="chi-square with 5 degrees of freedom", warmup=108, lower=0.0)
def ljung_box(returns: Matrix, *, window: int = 120, lags: int = 5, min_count: int = 108) -> Matrix:
    """Ljung-Box statistic of the returns of the last 120 bars over lags 1 to 5 together, at least 108 known.

    n (n + 2) sum(rho^2 / pairs). Returns whose size is clustered are uncorrelated and yet above it more often.

    Source: Ljung & Box (1978), Biometrika 65(2).
    """
    return move_ljung_box.apply(returns, window, lags, min_count)


@feature(family="predictability", unit="probability", warmup=108, lower=0.0, upper=1.0)
def ljung_box_p(ljung_box: Matrix, *, lags: int = 5) -> Matrix:
    """Chance that independent returns have so large a Ljung-Box statistic over lags 1 to 5."""
    return chi_square_p(ljung_box, lags)


@feature(family="predictability", unit="ratio, 1 for independent returns", warmup=108, lower=0.0)
def variance_ratio(returns: Matrix, *, window: int = 120, lags: int = 4, min_count: int = 108) -> Matrix:
    """Variance of 5-bar returns over five times that of one bar, over the last 120 bars, at least 108 known.

    1 + 2 sum((1 - lag / 5) rho) over lags 1 to 4: above 1 returns trend, below they revert.

    Source: Cochrane (1988), Journal of Political Economy 96(5).
    """
    return move_variance_ratio.apply(returns, window, lags, min_count)


@feature(family="predictability", unit="bars", warmup=108, lower=0.0, upper=10.0)
def memory_depth(returns: Matrix, *, window: int = 120, lags: int = 10, min_count: int = 108) -> Matrix:
    """Lags in a row, from 1 on, at which returns of the last 120 bars correlate beyond chance; at most 10, 108 known.

    Chance is 2 / sqrt(n) on either side: independent returns have 0 in 95 of 100 windows.
    """
    return move_memory_depth.apply(returns, window, lags, min_count)


@feature(family="predictability", unit="bars", warmup=227, lower=0.0)
def half_life(steps: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Bars in which half of the log price's distance to its mean is gone, over the last 252 bars, 227 known.

    -ln(2) / b of a least squares of log returns on the log price before them; the log price is rebuilt from returns. A
    random walk has a median of some 40 bars: `adf` tests for reversion. Null where the price does not revert.

    Source: Chan (2013), Algorithmic Trading, chapter 2.
    """
    return move_half_life.apply(steps, window, min_count)


@feature(family="predictability", unit="t statistic", warmup=227)
def adf(steps: Matrix, *, window: int = 252, min_count: int = 227) -> Matrix:
    """Augmented Dickey-Fuller statistic of the log price over the last 252 bars, with constant and one lag, 227 known.

    The log price is rebuilt from returns. Below -2.87 a random walk is in 5 of 100 windows.

    Source: Said & Dickey (1984), Biometrika 71(3).
    """
    return move_adf.apply(steps, window, True, min_count)


@feature(family="predictability", unit="probability", warmup=227, lower=0.0, upper=1.0)
def adf_p(adf: Matrix) -> Matrix:
    """Chance that a random walk has so low a Dickey-Fuller statistic; near 1 the log price is not stationary.

    Source: MacKinnon (1994), Journal of Business & Economic Statistics 12(2).
    """
    return unit_root_p(adf)


@feature(family="predictability", unit="share, 7/8 for independent returns", warmup=104, lower=0.0, upper=1.0)
def turbulence(returns: Matrix, *, window: int = 120, levels: int = 3, min_count: int = 104) -> Matrix:
    """Share of the squared returns of the last 120 bars in Haar wavelets of 2, 4 and 8 bars, at least 104 known.

    Source: Percival & Walden (2000), Wavelet Methods for Time Series Analysis, section 4.6.
    """
    return move_turbulence.apply(returns, window, levels, min_count)


table = family_stage(__name__)
