"""The champion scorer, Log-MPS: the log multiplicative probability score. Other scorers get files of their own."""

from __future__ import annotations

import numpy as np

from quant_core.inference.catalogue import Array, Scored, scorer

PROBABILITY_FLOOR = 0.001
MISSING_PENALTY = 0.5
MIN_COVERAGE = 0.5


@scorer
def log_mps(probabilities: Array, weights: Array) -> Scored:
    """Weighted geometric mean of the probabilities, lowered where factors are missing.

    ln conviction = sum(w ln p) / sum(w) - 0.5 (1 - coverage), both sums over known factors, p at least 0.001. Coverage
    is known weight over the weight of all factors, whether anybody has them or not; below one half there is no
    conviction. A contribution is w ln p / sum(w), so that all of them and the penalty add up to ln conviction.

    Parameters
    ----------
    probabilities : ndarray [K, R]
        In [0, 1].
    weights : ndarray [K]
        Relative.

    Returns
    -------
    Scored
        Contributions are in units of ln conviction.

    NaN: a factor that is not known leaves both sums.
    """
    # Both sums in one order: a row that knows everything has a coverage of exactly 1.
    known_weight, all_weight = np.zeros(probabilities.shape[1]), 0.0
    for p, weight in zip(probabilities, weights, strict=True):
        known_weight += np.where(np.isnan(p), 0.0, weight)
        all_weight += weight
    coverage = known_weight / all_weight
    contributions = np.full(probabilities.shape, np.nan)
    total = np.zeros(known_weight.shape)
    for own, p, weight in zip(contributions, probabilities, weights, strict=True):
        if weight > 0.0:
            is_known = ~np.isnan(p)
            np.divide(weight * np.log(np.maximum(p, PROBABILITY_FLOOR)), known_weight, out=own, where=is_known)
            total += np.where(is_known, own, 0.0)
    # The sum of weights 1/3, 1/3, 1/3 may miss 1 by a rounding; a probability of 1 must not become more than certain.
    conviction = np.exp(np.minimum(total - MISSING_PENALTY * (1.0 - coverage), 0.0))
    conviction[~(coverage >= MIN_COVERAGE)] = np.nan
    return Scored(conviction, coverage, contributions)
