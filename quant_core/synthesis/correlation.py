"""Correlation of return series that are not known on the same dates. clusters.py turns it into clusters.

Pairwise-complete by masked matrix products: pairs of fully known columns cost one product, and only columns with gaps
pay for the sums over common rows. The caller holds BLAS to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from quant_core.market.panel import Mask, Matrix

# Sum of squares on the common rows, relative to the whole column, below which the column counts as constant there:
# far above rounding (1e-16 per term), far below any series that moves.
_CONSTANT = 1e-13


def pairwise_correlation(block: Matrix, *, min_overlap: int) -> Matrix:
    """Pearson correlation of each pair of columns over the rows on which both are known.

    Parameters
    ----------
    block : ndarray [W, N]
        Simple returns; zero is a return like any other.
    min_overlap : int
        Fewest common rows.

    Returns
    -------
    ndarray [N, N]
        Symmetric, in [-1, 1]. NaN where a pair has too few common rows or one of the two is constant on them; a column
        that is constant or too short by itself is NaN throughout, its diagonal included.
    """
    known = ~np.isnan(block)
    standard, is_usable = _standardise(block, known, min_overlap)
    correlation = np.asarray(standard.T @ standard)
    gapped = np.flatnonzero(is_usable & ~known.all(axis=0))
    if gapped.size:
        strip = _gapped_strip(standard, known, gapped, correlation[:, gapped], min_overlap)
        strip[gapped] = (strip[gapped] + strip[gapped].T) / 2.0
        correlation[:, gapped] = strip
        correlation[gapped, :] = strip.T
    np.clip(correlation, -1.0, 1.0, out=correlation)
    np.fill_diagonal(correlation, 1.0)
    correlation[~is_usable, :] = np.nan
    correlation[:, ~is_usable] = np.nan
    return correlation


def mean_correlation(train: Matrix, lookbacks: Iterable[int], *, min_overlap: int) -> Matrix:
    """Average the pairwise correlations over several lookbacks from the last row.

    Parameters
    ----------
    train : ndarray [T, N]
        Simple returns.
    lookbacks : iterable of int
        Rows of each block; a block longer than T is all of it.
    min_overlap : int
        Fewest common rows within a block.

    Returns
    -------
    ndarray [N, N]
        A lookback at which a pair has no correlation is left out of that pair's mean; NaN where every one is.
    """
    size = train.shape[1]
    total, counted = np.zeros((size, size)), np.zeros((size, size))
    for bars in lookbacks:
        correlation = pairwise_correlation(train[-bars:], min_overlap=min_overlap)
        is_known = ~np.isnan(correlation)
        correlation[~is_known] = 0.0
        total += correlation
        counted += is_known
    return np.divide(total, counted, out=np.full_like(total, np.nan), where=counted > 0.0)


def find_mutual_columns(correlation: Matrix) -> Mask:
    """Choose columns of which every pair has a correlation.

    Parameters
    ----------
    correlation : ndarray [N, N]

    Returns
    -------
    bool [N]
        Columns without any correlation are dropped first; then, while a pair is unknown, the column with the most
        unknown pairs, and of equals the last one.
    """
    kept = ~np.isnan(np.diagonal(correlation))
    is_unknown = np.isnan(correlation) & kept & kept[:, None]
    unknown = is_unknown.sum(axis=0)
    while unknown.any():
        worst = unknown.size - 1 - int(np.argmax(unknown[::-1]))
        kept[worst] = False
        unknown -= is_unknown[worst]
        unknown[worst] = 0
        is_unknown[:, worst] = False
    return kept


def _standardise(block: Matrix, known: Mask, min_overlap: int) -> tuple[Matrix, Mask]:
    """Centre each column and scale it to unit length, 0 where unknown; return it with the mask of usable columns."""
    count = known.sum(axis=0)
    filled = np.where(known, block, 0.0)
    centred = np.where(known, block - filled.sum(axis=0) / np.maximum(count, 1), 0.0)
    length = np.sqrt(np.square(centred).sum(axis=0))
    highest = np.where(known, block, -np.inf).max(axis=0, initial=-np.inf)
    lowest = np.where(known, block, np.inf).min(axis=0, initial=np.inf)
    is_usable = (count >= max(min_overlap, 2)) & (highest > lowest) & (length > 0.0)
    return np.ascontiguousarray(centred / np.where(is_usable, length, np.inf)), is_usable


def _gapped_strip(
    standard: Matrix, known: Mask, gapped: npt.NDArray[np.intp], cross: Matrix, min_overlap: int
) -> Matrix:
    """Correlate all N columns with the P `gapped` ones on their common rows; `cross` [N, P] is the plain product."""
    mask = known.astype(np.float64)
    other_mask, other = np.ascontiguousarray(mask[:, gapped]), np.ascontiguousarray(standard[:, gapped])
    rows = mask.T @ other_mask
    divisor = np.maximum(rows, 1.0)
    sum_one, sum_other = standard.T @ other_mask, mask.T @ other
    square_one = np.square(standard).T @ other_mask - np.square(sum_one) / divisor
    square_other = mask.T @ np.square(other) - np.square(sum_other) / divisor
    is_defined = (rows >= max(min_overlap, 2)) & (square_one > _CONSTANT) & (square_other > _CONSTANT)
    scale = np.sqrt(np.where(is_defined, square_one * square_other, 1.0))
    return np.where(is_defined, (cross - sum_one * sum_other / divisor) / scale, np.nan)
