"""Limits on atoms and clusters, and the projection of weights onto them. Methods are one per file beside this one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quant_core.market.panel import Mask, Matrix

_FULL = 1.0 - 1e-12


@dataclass(frozen=True, eq=False)
class Caps:
    """The most that K atoms may weigh.

    Attributes
    ----------
    asset : float
        Limit of one atom, a share of wealth.
    cluster : float
        Limit of the atoms of one cluster together.
    labels : int [K]
        Cluster of each atom.
    """

    asset: float
    cluster: float
    labels: npt.NDArray[np.int64]

    @classmethod
    def none(cls, size: int) -> Caps:
        """Return caps that bind nothing."""
        return cls(1.0, 1.0, np.zeros(size, dtype=np.int64))

    @property
    def membership(self) -> Matrix:
        """Which atom is in which cluster [C, K], 1 or 0; clusters ascending."""
        is_in: Mask = np.unique(self.labels)[:, None] == self.labels[None, :]
        return is_in.astype(np.float64)

    @property
    def capacity(self) -> float:
        """The most all atoms together may weigh, at most 1."""
        per_cluster = np.minimum(self.cluster, self.asset * self.membership.sum(axis=1))
        total = float(per_cluster.sum())
        return 1.0 if total >= _FULL else total


def apply_caps(weights: Matrix, caps: Caps) -> Matrix:
    """Return the weights within `caps` that are closest to the proportions of `weights`.

    The projection in relative entropy: within a cluster, and between clusters, all that is not at a limit keeps its
    proportions, so what is at a limit is cut and what was cut is shared among the rest. Exact: water levels are solved,
    not iterated to a tolerance.

    Parameters
    ----------
    weights : ndarray [K]
        Not negative.
    caps : Caps

    Returns
    -------
    ndarray [K]
        Sums to the sum of `weights`, at most 1, or to what the caps hold where that is less; a weight of 0 stays 0.
    """
    weights = np.asarray(weights, dtype=np.float64)
    groups = [np.flatnonzero(row) for row in caps.membership]
    total = min(float(weights.sum()), 1.0)
    room = np.array([min(caps.cluster, caps.asset * np.count_nonzero(weights[group])) for group in groups])
    budgets = room if room.sum() <= total else _cluster_budgets(weights, groups, caps, total)
    result = np.zeros_like(weights)
    for group, budget in zip(groups, budgets, strict=True):
        result[group] = _fill_to_level(weights[group], caps.asset, float(budget))
    return result


def _cluster_budgets(weights: Matrix, groups: list[npt.NDArray[np.intp]], caps: Caps, total: float) -> Matrix:
    """Share `total` among clusters: raise one level for all, and fix each cluster that meets its cap.

    Fixing a cluster raises the level of the others, so a fixed cluster stays fixed and at most C rounds are needed.
    """
    budgets = np.zeros(len(groups))
    is_held = np.zeros(len(groups), dtype=np.bool_)
    while True:
        members = np.concatenate([group[:0] if held else group for held, group in zip(is_held, groups, strict=True)])
        trial = np.zeros_like(weights)
        trial[members] = _fill_to_level(weights[members], caps.asset, total - caps.cluster * is_held.sum())
        sums = np.array([trial[group].sum() for group in groups])
        over = ~is_held & (sums > caps.cluster)
        if not over.any():
            budgets[~is_held] = sums[~is_held]
            budgets[is_held] = caps.cluster
            return budgets
        is_held |= over


def _fill_to_level(weights: Matrix, cap: float, total: float) -> Matrix:
    """Return min(cap, level x weights) with the level at which it sums to `total`; beyond every cap, the cap."""
    positive = int(np.count_nonzero(weights))
    if total >= cap * positive:
        return np.where(weights > 0.0, cap, 0.0)
    order = np.argsort(-weights, kind="stable")
    ranked = weights[order][:positive]
    rest = ranked[::-1].cumsum()[::-1]
    levels = (total - cap * np.arange(positive)) / rest
    full = int(np.argmax(levels * ranked <= cap))
    filled: Matrix = np.minimum(cap, levels[full] * weights)
    return filled
