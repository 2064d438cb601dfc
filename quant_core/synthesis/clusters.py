"""Stage synthesis.clusters: groups symbols that move together, per rebalance. Correlations are in correlation.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, field_validator
from threadpoolctl import ThreadpoolController

from quant_core.graph.compute import Compute
from quant_core.graph.stage import Params, stage
from quant_core.market.contracts.synthesis import Clusters
from quant_core.market.panel import Matrix, axes_of
from quant_core.market.universe import universe_mask
from quant_core.meter import loading
from quant_core.synthesis.correlation import find_mutual_columns, mean_correlation

Labels = npt.NDArray[np.int32]
_FEWEST, _MOST, _PER_ROOT = 4, 25, 1.25


class ClusterParams(Params):
    """How similarity is measured and cut into clusters."""

    lookbacks: tuple[int, ...] = Field(default=(60, 120, 200), description="Bars of each correlation averaged.")
    clusters: int | None = Field(default=None, ge=1, description="Clusters; null: round(1.25 sqrt(N)) within 4 to 25.")
    min_overlap: int = Field(default=20, ge=2, description="Fewest common returns for a correlation.")

    @field_validator("lookbacks")
    @classmethod
    def _check_lookbacks(cls, lookbacks: tuple[int, ...]) -> tuple[int, ...]:
        if not lookbacks or min(lookbacks) < 2:
            raise ValueError("needs at least one lookback, each of at least 2 bars")
        return lookbacks


def cluster_metrics(table: pl.DataFrame) -> Mapping[str, float]:
    """Return the mean number of clusters and the mean share of the largest one, over the rebalance dates."""
    if table.is_empty():
        return {}
    largest = table.group_by("date").agg(
        pl.col("cluster").max().alias("clusters"), (pl.col("cluster") == 1).sum().alias("first"), pl.len()
    )
    return {
        "synthesis.mean_clusters": float(largest["clusters"].to_numpy().mean()),
        "synthesis.largest_cluster_share": float((largest["first"] / largest["len"]).sort().to_numpy().mean()),
    }


@stage(
    "synthesis.clusters",
    inputs={"returns": "ingest.returns", "universe": "ingest.universe", "schedule": "backtest.schedule"},
    output=Clusters,
    metrics=cluster_metrics,
)
def clusters(
    returns: pl.DataFrame,
    universe: pl.DataFrame,
    schedule: pl.DataFrame,
    *,
    params: ClusterParams,
    compute: Compute,
) -> pl.DataFrame:
    """Group the eligible symbols of each rebalance by how alike their train returns moved.

    Ward linkage on sqrt((1 - rho) / 2), rho averaged over the lookbacks, cut into a fixed number of clusters. Label 1
    is the largest cluster, ties by first symbol. A symbol with fewer than `min_overlap` returns in the shortest
    lookback, or without a defined correlation, has no row.

    Source: Ward (1963); Mantegna (1999) for the distance.
    """
    axes = axes_of(returns)
    first = axes.dates.search_sorted(schedule["train_start"]).to_list()
    shared = {
        "returns": axes.panel(returns["simple_return"]).values,
        "eligible": universe_mask(universe, schedule["date"], axes.symbols),
        "lookbacks": params.lookbacks,
        "clusters": params.clusters,
        "min_overlap": params.min_overlap,
    }
    windows = list(zip(range(schedule.height), first, schedule["row"].to_list(), strict=True))
    labels = np.array(compute.map(window_labels, windows, shared=shared), dtype=np.int32)
    window, column = np.nonzero(labels.reshape(schedule.height, len(axes.symbols)))
    return pl.DataFrame(
        {
            "date": schedule["date"].gather(window),
            "symbol": pl.Series(list(axes.symbols), dtype=pl.String).gather(column),
            "cluster": pl.Series(labels[window, column], dtype=pl.Int32),
        }
    ).select(*Clusters.dtypes)


def window_labels(window: tuple[int, int, int], shared: Mapping[str, Any]) -> Labels:
    """Cluster one rebalance.

    Parameters
    ----------
    window : (int, int, int)
        Number of the window, first train row, rebalance row (the last train row).
    shared : mapping
        returns [T, N], eligible [R, N], lookbacks, clusters, min_overlap.

    Returns
    -------
    int32 [N]
        Label from 1; 0 where a symbol could not be clustered.
    """
    number, first, last = window
    train = shared["returns"][first : last + 1]
    lookbacks = [bars for bars in shared["lookbacks"] if bars <= train.shape[0]] or [train.shape[0]]
    known = ~np.isnan(train[-min(lookbacks) :])
    columns = np.flatnonzero(shared["eligible"][number] & (known.sum(axis=0) >= shared["min_overlap"]))
    labels = np.zeros(train.shape[1], dtype=np.int32)
    if columns.size == 0:
        return labels
    with _libraries().limit(limits=1, user_api="blas"):
        longest = np.ascontiguousarray(train[-max(lookbacks) :, columns])
        correlation = mean_correlation(longest, lookbacks, min_overlap=shared["min_overlap"])
        kept = find_mutual_columns(correlation)
        if kept.any():
            labels[columns[kept]] = ward_labels(correlation[np.ix_(kept, kept)], shared["clusters"])
    return labels


@cache
def _libraries() -> ThreadpoolController:
    """Find the BLAS libraries once, when all of them are loaded: it saves 1 to 3 ms per window."""
    with loading():
        import scipy.cluster.hierarchy  # noqa: F401 - brings a BLAS of its own

    return ThreadpoolController()


def ward_labels(correlation: Matrix, clusters: int | None = None) -> Labels:
    """Cut a Ward tree of the columns into clusters.

    Parameters
    ----------
    correlation : ndarray [N, N]
        Without NaN; columns in the order of their names.
    clusters : int, optional
        Default: `default_clusters(N)`. Never more than N; fewer where heights tie.

    Returns
    -------
    int32 [N]
        Labels from 1, by size descending, ties by first column.
    """
    size = correlation.shape[0]
    wanted = min(default_clusters(size) if clusters is None else clusters, size)
    if wanted == 1:
        return np.ones(size, dtype=np.int32)
    with loading():
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

    distance = np.sqrt(np.maximum((1.0 - correlation) / 2.0, 0.0))
    tree = linkage(squareform(distance, checks=False), method="ward")
    _, first, raw, count = np.unique(
        fcluster(tree, wanted, criterion="maxclust"), return_index=True, return_inverse=True, return_counts=True
    )
    label = np.empty(count.size, dtype=np.int32)
    label[np.lexsort((first, -count))] = np.arange(1, count.size + 1, dtype=np.int32)
    return label[raw]


def default_clusters(size: int) -> int:
    """Return the number of clusters for `size` symbols: round(1.25 sqrt(size)) within 4 to 25, never above `size`."""
    return min(max(_FEWEST, min(_MOST, round(_PER_ROOT * math.sqrt(size)))), size)
