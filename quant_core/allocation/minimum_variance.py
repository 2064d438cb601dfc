"""Minimum variance within the caps: the covariance from skfolio, the quadratic program by Clarabel.

skfolio's own MeanRisk gives the same program to the same solver, but its modelling layer costs forty times the solver
at ten atoms (14 ms against 0.36 ms) and a loosely solved program is only a warning there. It is the tests' oracle.
"""

from __future__ import annotations

import numpy as np

from quant_core.allocation.allocator import allocator
from quant_core.allocation.caps import Caps
from quant_core.allocation.threads import one_thread
from quant_core.errors import InfeasibleError
from quant_core.market.panel import Matrix, Panel
from quant_core.meter import loading

_NOTHING = 1e-6
_GAP = 1e-6


@allocator()
def minimum_variance(returns: Panel, *, caps: Caps) -> Matrix:
    """Return the weights [K] of least variance within `caps`, by the Ledoit-Wolf covariance.

    The streams are scaled by their common size first, so that the solver's tolerance means the same at any volatility;
    weights below one millionth are the solver's zeros. Sums to the capacity of `caps`.

    Raises
    ------
    InfeasibleError
        The solver's answer is further than one millionth from the optimum.

    Source: Ledoit & Wolf (2004), Journal of Multivariate Analysis 88(2), for the covariance.
    """
    with loading():
        from skfolio.moments import LedoitWolf

    with one_thread():
        covariance = LedoitWolf().fit(returns.values / returns.values.std(ddof=1)).covariance_
        solution = _least_variance(covariance, caps)
    weights: Matrix = np.where(solution < _NOTHING, 0.0, solution)
    weights *= caps.capacity / weights.sum()
    return weights


def _least_variance(covariance: Matrix, caps: Caps) -> Matrix:
    """Minimise w'Sw / 2 with sum w = capacity, 0 <= w <= asset cap, sum of each cluster <= cluster cap."""
    with loading():
        import clarabel
        from scipy.sparse import csc_matrix

    size, clusters = covariance.shape[0], caps.membership
    left = np.vstack([np.ones((1, size)), clusters, np.eye(size), -np.eye(size)])
    right = np.concatenate(
        [[caps.capacity], np.full(clusters.shape[0], caps.cluster), np.full(size, caps.asset), np.zeros(size)]
    )
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(right.size - 1)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    program = (csc_matrix(np.triu(covariance)), np.zeros(size), csc_matrix(left), right, cones, settings)
    answer = clarabel.DefaultSolver(*program).solve()
    gap = abs(answer.obj_val - answer.obj_val_dual)
    if not gap <= _GAP * abs(answer.obj_val):
        raise InfeasibleError(
            f"minimum variance of {size} atoms within {caps.capacity:.4f} of wealth: solver status {answer.status}, "
            f"duality gap {gap:.2e}. Loosen the caps or drop the method."
        )
    return np.asarray(answer.x, dtype=np.float64)
