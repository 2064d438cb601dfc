"""Hierarchical risk parity, by skfolio. Its variant is fixed here because HRP has no single right answer."""

from __future__ import annotations

import numpy as np

from quant_core.allocation.allocator import allocator
from quant_core.allocation.threads import one_thread
from quant_core.market.panel import Matrix, Panel
from quant_core.meter import loading


@allocator()
def hrp(returns: Panel) -> Matrix:
    """Return weights [K] by recursive bisection: each half gets the share of the other half's variance.

    Sample covariance (ddof 1), distance sqrt((1 - rho) / 2), Ward linkage, leaves in optimal order, halves cut in the
    middle, inverse-variance weights within a half. Atoms enter in the order of their names, since an odd number of
    leaves is cut differently when the tree is mirrored.

    Source: Lopez de Prado (2016), Journal of Portfolio Management 42(4); Ward in place of single linkage.
    """
    if returns.shape[1] == 1:
        return np.ones(1)
    with loading():
        from skfolio.cluster import HierarchicalClustering
        from skfolio.optimization import HierarchicalRiskParity
        from skfolio.seriation import HierarchicalSeriation

    # HRP reads the order of the leaves only. Told a number of clusters, skfolio does not search for the best one, which
    # costs a fifth of the fit; the weights are the same to the bit.
    leaves = HierarchicalSeriation(hierarchical_clustering_estimator=HierarchicalClustering(max_clusters=1))
    order = np.argsort(np.array(returns.symbols), kind="stable")
    streams = returns.values[:, order] / returns.values.std(ddof=1)
    with one_thread():
        weights: Matrix = np.empty(order.size)
        weights[order] = HierarchicalRiskParity(seriation_estimator=leaves).fit(streams).weights_
    return weights
