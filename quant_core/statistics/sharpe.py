"""The Sharpe ratio and how sure it is: standard error, interval, PSR, and what the best of many trials would show.

Everything is per period; only `sharpe` and `sharpe_interval` annualise, by a factor given. Returns are excess returns:
the caller subtracts a risk-free rate. Long-run variances live in hac.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from quant_core.errors import UsageError
from quant_core.statistics.hac import Array, critical_value, is_constant, known_values, long_run_variance

Method = Literal["ewc", "newey_west", "iid"]


@dataclass(frozen=True)
class Moments:
    """What a Sharpe ratio and its error are made of; NaN where too little is known.

    Attributes
    ----------
    observations : int
    sharpe : float
        Per period.
    skewness, kurtosis : float
        Kurtosis is not in excess: 3 for a normal distribution.
    """

    observations: int
    sharpe: float
    skewness: float
    kurtosis: float

    @property
    def variance(self) -> float:
        """Variance of sqrt(T - 1) times the estimate, for independent returns. Source: Mertens (2002)."""
        return 1.0 - self.skewness * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2


@dataclass(frozen=True)
class SharpeInterval:
    """A Sharpe ratio with its standard error and confidence interval, all in one unit.

    Attributes
    ----------
    sharpe, standard_error, lower, upper : float
    observations : int
    degrees_of_freedom : float
        Of the t critical values; infinity: normal.
    """

    sharpe: float
    standard_error: float
    lower: float
    upper: float
    observations: int
    degrees_of_freedom: float


def sharpe(returns: npt.ArrayLike, *, periods_per_year: float = 1.0) -> float:
    """Mean over standard deviation (ddof 1), times the root of `periods_per_year`.

    Parameters
    ----------
    returns : array [T]
        Excess simple returns per period, as fractions.
    periods_per_year : float
        1 leaves it per period. Scaling by the root takes returns for independent.

    Returns
    -------
    float
        NaN for fewer than two returns or returns that are all equal. Never clipped.

    NaN: skipped.
    Source: Sharpe (1994), Journal of Portfolio Management 21(1).
    """
    values = known_values(returns)
    if values.size < 2 or is_constant(values):
        return float("nan")
    return float(values.mean() / values.std(ddof=1) * np.sqrt(periods_per_year))


def moments(returns: npt.ArrayLike, *, ddof: int = 1, is_biased: bool = True) -> Moments:
    """Return the moments that enter the Sharpe ratio's error.

    Parameters
    ----------
    returns : array [T]
    ddof : int
        Of the standard deviation in the Sharpe ratio.
    is_biased : bool
        Population skewness and kurtosis; else corrected for sample size (G1, G2). The published formulas leave the
        choice open; with `ddof` 1 the biased ones are what skfolio uses.

    Returns
    -------
    Moments
        NaN for fewer than three returns (four when corrected) or returns that are all equal.

    NaN: skipped.
    Source: Joanes & Gill (1998), The Statistician 47(1), for G1 and G2.
    """
    values = known_values(returns)
    n = values.size
    if n < (3 if is_biased else 4) or is_constant(values):
        return Moments(n, float("nan"), float("nan"), float("nan"))
    centred = values - values.mean()
    second = float(np.mean(centred**2))
    skewness = float(np.mean(centred**3)) / second**1.5
    excess = float(np.mean(centred**4)) / second**2 - 3.0
    if not is_biased:
        skewness *= np.sqrt(n * (n - 1.0)) / (n - 2.0)
        excess = ((n + 1.0) * excess + 6.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0))
    ratio = float(values.mean()) / np.sqrt(second * n / (n - ddof))
    return Moments(n, float(ratio), float(skewness), excess + 3.0)


def sharpe_influence(returns: npt.ArrayLike) -> Array:
    """Influence [n] of each known return on the Sharpe ratio: z - S (z^2 - 1) / 2, z the standardised return.

    Its mean is zero, its variance is Mertens' term, and its long-run variance is what serial correlation makes of it.
    Empty where the Sharpe ratio is not known.

    Source: Lo (2002), Financial Analysts Journal 58(4), by the delta method on mean and variance.
    """
    values = known_values(returns)
    if values.size < 2 or is_constant(values):
        return np.empty(0)
    scale = values.std()
    z = (values - values.mean()) / scale
    return np.asarray(z - 0.5 * values.mean() / scale * (z * z - 1.0))


def sharpe_interval(
    returns: npt.ArrayLike, *, method: Method = "ewc", level: float = 0.95, periods_per_year: float = 1.0
) -> SharpeInterval:
    """Confidence interval of the Sharpe ratio.

    Parameters
    ----------
    returns : array [T]
        Excess simple returns per period, in time order.
    method : "ewc", "newey_west" or "iid"
        How serial correlation enters: equal-weighted cosines with t critical values, Newey-West with normal ones, or
        not at all (Mertens, normal).
    level : float
    periods_per_year : float
        Ratio, error and ends are all scaled by its root.

    Returns
    -------
    SharpeInterval
        Error and ends NaN for fewer than four returns ("iid": three), or where the variance is not positive.

    NaN: skipped.
    Source: Lo (2002); Mertens (2002); Lazarus, Lewis, Stock & Watson (2018).
    """
    found = moments(returns)
    n, scale = found.observations, float(np.sqrt(periods_per_year))
    if method == "iid":
        squared, freedom = found.variance / max(n - 1, 1), float("inf")
    else:
        variance, freedom = long_run_variance(sharpe_influence(returns), method=method)
        squared = variance / max(n, 1)
    ratio = sharpe(returns) * scale
    if not squared > 0.0:
        unknown = float("nan")
        return SharpeInterval(ratio, unknown, unknown, unknown, n, unknown)
    error = float(np.sqrt(squared)) * scale
    width = critical_value(level, freedom) * error
    return SharpeInterval(ratio, error, ratio - width, ratio + width, n, freedom)


def probabilistic_sharpe(
    returns: npt.ArrayLike, *, benchmark: float = 0.0, ddof: int = 1, is_biased: bool = True
) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark` (PSR), for independent returns of any shape.

    Parameters
    ----------
    returns : array [T]
        Excess simple returns per period.
    benchmark : float
        Sharpe ratio per period, not annualised.
    ddof, is_biased
        As in `moments`.

    Returns
    -------
    float
        NaN for fewer than three returns, equal returns, or a variance term that is not positive.

    NaN: skipped.
    Source: Bailey & Lopez de Prado (2012), Journal of Risk 15(2).
    """
    found = moments(returns, ddof=ddof, is_biased=is_biased)
    if not found.variance > 0.0:
        return float("nan")
    from scipy.special import ndtr

    return float(ndtr((found.sharpe - benchmark) * np.sqrt((found.observations - 1) / found.variance)))


def expected_max_sharpe(trials: float, variance: float) -> float:
    """Return the expected largest Sharpe ratio of `trials` independent trials without any skill.

    Parameters
    ----------
    trials : float
        At least 1; may be an effective number.
    variance : float
        Variance of the trials' Sharpe ratios, per period.

    Returns
    -------
    float
        Per period; 0 for one trial, never negative.

    Source: Bailey & Lopez de Prado (2014), Journal of Portfolio Management 40(5).
    """
    if not trials >= 1.0 or not variance >= 0.0 or np.isinf(trials) or np.isinf(variance):
        raise UsageError(f"trials={trials}, variance={variance}: give at least one trial and a variance of 0 or more.")
    if trials == 1.0:
        return 0.0
    from scipy.special import ndtri

    gamma = np.euler_gamma
    largest = (1.0 - gamma) * ndtri(1.0 - 1.0 / trials) + gamma * ndtri(1.0 - 1.0 / (trials * np.e))
    return max(0.0, float(np.sqrt(variance) * largest))


def deflated_sharpe(returns: npt.ArrayLike, *, trials: float, variance: float | None = None) -> float:
    """Probability that the true Sharpe ratio exceeds what the best of `trials` would show by luck (DSR).

    Parameters
    ----------
    returns : array [T]
        Excess simple returns per period of the strategy that was chosen.
    trials : float
        Distinct trials it was chosen from, itself included.
    variance : float, optional
        Of the trials' per-period Sharpe ratios. Never taken below 1 / (T - 1), the variance that sampling alone gives:
        few or similar trials would else deflate nothing. Unknown: that bound.

    Returns
    -------
    float
        NaN where the probabilistic Sharpe ratio is; equal to it at benchmark 0 for one trial.

    NaN: skipped.
    Source: Bailey & Lopez de Prado (2014), Journal of Portfolio Management 40(5).
    """
    n = known_values(returns).size
    if n < 3:
        return float("nan")
    bound = 1.0 / (n - 1)
    spread = bound if variance is None else max(variance, bound)
    return probabilistic_sharpe(returns, benchmark=expected_max_sharpe(trials, spread))
