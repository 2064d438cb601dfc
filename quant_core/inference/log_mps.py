"""The champion scorer, Log-MPS: the log multiplicative probability score. Other scorers get files of their own."""

from __future__ import annotations

import numpy as np

from quant_core.inference.catalogue import Array, Mask, Scored, scorer

PROBABILITY_FLOOR = 0.001
MISSING_PENALTY = 0.5
MIN_COVERAGE = 0.5


@scorer
def log_mps(probabilities: Array, weights: Array, is_available: Mask) -> Scored:
    """Weighted geometric mean of the probabilities, lowered where factors are missing.

    ln conviction = sum(w ln p) / sum(w) - 0.5 (1 - coverage), both sums over known factors, p at least 0.001. Coverage
    is known weight over available weight; below one half there is no conviction. A contribution is w ln p / sum(w), so
    that all of them and the penalty add up to ln conviction.

    Parameters
    ----------
    probabilities : ndarray [K, R]
        In [0, 1].
    weights : ndarray [K]
        Relative.
    is_available : bool [K, R]
        Whether a factor counts in the available weight of a row.

    Returns
    -------
    Scored
        Contributions are in units of ln conviction.

    NaN: a factor that is not known leaves both sums.
    """
    known_weight, all_weight = np.zeros(probabilities.shape[1]), np.zeros(probabilities.shape[1])
    for p, weight, is_there in zip(probabilities, weights, is_available, strict=True):
        known_weight += np.where(np.isnan(p), 0.0, weight)
        all_weight += np.where(is_there, weight, 0.0)
    coverage = np.full(known_weight.shape, np.nan)
    np.divide(known_weight, all_weight, out=coverage, where=all_weight > 0.0)
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
