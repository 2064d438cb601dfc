"""Score maps: how a raw factor becomes a probability across the members of a date.

A factor declares its map by name; nothing here looks at the data to choose one. What a factor measures is in trend.py,
quality.py and tail.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quant_core.graph.catalog import Catalog
from quant_core.kernels.cross_section import rank_rows, zscore_rows
from quant_core.market.panel import Mask, Matrix

FLOOR = 0.001
"""No map but the ranks comes closer to 0 or 1 than this."""

_WIDEST = 3.0


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """A score map as found in this module.

    Attributes
    ----------
    function : callable
        Raw values [T, N] and the mask [T, N] of members in; probabilities [T, N] in (0, 1) out, larger is better.
        NaN outside the mask and where the raw value is not known. A date without spread, or with one known member,
        has 0.5. The map of -x is one minus the map of x.
    """

    function: Callable[[Matrix, Mask], Matrix]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, values: Matrix, mask: Mask) -> Matrix:
        """Return the probabilities."""
        return self.function(values, mask)


@ScoreMap
def rank(values: Matrix, mask: Mask) -> Matrix:
    """Map by rank, p = (rank - 0.5) / n; equal values share their average rank."""
    return rank_rows.apply(values, mask)


@ScoreMap
def rank_desc(values: Matrix, mask: Mask) -> Matrix:
    """Map by rank, the smallest value being the best: one minus the rank map."""
    return 1.0 - rank_rows.apply(values, mask)


@ScoreMap
def cdf(values: Matrix, mask: Mask) -> Matrix:
    """Map by the normal distribution function of the cross-sectional z-score."""
    from scipy.special import ndtr

    return _raise_to_floor(ndtr(_standardise(values, mask)))


@ScoreMap
def logistic(values: Matrix, mask: Mask) -> Matrix:
    """Map by the logistic function of the cross-sectional z-score."""
    from scipy.special import expit

    return _raise_to_floor(expit(_standardise(values, mask)))


@ScoreMap
def zscore(values: Matrix, mask: Mask) -> Matrix:
    """Map linearly by the cross-sectional z-score, clipped at three standard deviations."""
    return _raise_to_floor(0.5 + np.clip(_standardise(values, mask), -_WIDEST, _WIDEST) / (2.0 * _WIDEST))


@ScoreMap
def minmax(values: Matrix, mask: Mask) -> Matrix:
    """Map linearly between the lowest and the highest member."""
    is_known = mask & ~np.isnan(values)
    lowest = np.min(np.where(is_known, values, np.inf), axis=1, keepdims=True, initial=np.inf)
    highest = np.max(np.where(is_known, values, -np.inf), axis=1, keepdims=True, initial=-np.inf)
    # Halved first: the width of a row that spans the range of float64 would overflow.
    width = 0.5 * highest - 0.5 * lowest
    share = np.full(values.shape, 0.5)
    np.divide(0.5 * values - 0.5 * lowest, width, out=share, where=is_known & (width > 0.0))
    return _raise_to_floor(np.where(is_known, share, np.nan))


SCORE_MAPS = Catalog(
    "score map", {found.name: found for found in tuple(vars().values()) if isinstance(found, ScoreMap)}
)
"""Every score map by name."""


def _standardise(values: Matrix, mask: Mask) -> Matrix:
    """Return the z-score of each known member, 0 in rows without spread, NaN elsewhere."""
    z = zscore_rows.apply(values, mask)
    return np.where(np.isnan(z) & mask & ~np.isnan(values), 0.0, z)


def _raise_to_floor(p: Matrix) -> Matrix:
    return np.clip(p, FLOOR, 1.0 - FLOOR)
