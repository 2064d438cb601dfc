"""Correlation of two matrices, row by row over the pairs known in both. Windows down time live in kernels/."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quant_core.errors import PanelError
from quant_core.kernels.cross_section import rank_rows

Array = npt.NDArray[np.float64]
_MIN_PAIRS = 3
_BLOCK_CELLS = 1 << 20


def pearson_rows(x: Array, y: Array) -> Array:
    """Pearson correlation of each row of `x` with the same row of `y`.

    Parameters
    ----------
    x, y : ndarray [T, N]

    Returns
    -------
    ndarray [T]
        Between -1 and 1. NaN where a row has fewer than three pairs, or one side is constant over its pairs.

    NaN: a pair counts when both sides are known.
    """
    _check_shapes(x, y)
    out = np.full(x.shape[0], np.nan)
    for rows in _row_blocks(x.shape):
        out[rows] = _correlation(x[rows], y[rows], _pairs(x[rows], y[rows]))
    return out


def spearman_rows(x: Array, y: Array) -> Array:
    """Spearman correlation of each row of `x` with the same row of `y`: Pearson over average ranks of the pairs.

    Parameters
    ----------
    x, y : ndarray [T, N]

    Returns
    -------
    ndarray [T]
        Between -1 and 1. NaN where a row has fewer than three pairs, or one side is constant over its pairs.

    NaN: a pair counts when both sides are known; ranks are taken among pairs only.
    """
    _check_shapes(x, y)
    out = np.full(x.shape[0], np.nan)
    for rows in _row_blocks(x.shape):
        left, right = np.ascontiguousarray(x[rows]), np.ascontiguousarray(y[rows])
        pairs = _pairs(left, right)
        out[rows] = _correlation(rank_rows.apply(left, pairs), rank_rows.apply(right, pairs), pairs)
    return out


def pair_counts(x: Array, y: Array) -> npt.NDArray[np.int64]:
    """Return the number of pairs [T] known in each row of both `x` and `y` [T, N]."""
    _check_shapes(x, y)
    return np.asarray(np.sum(_pairs(x, y), axis=1), dtype=np.int64)


def _correlation(x: Array, y: Array, pairs: npt.NDArray[np.bool_]) -> Array:
    count = np.sum(pairs, axis=1)
    left, right = _centre_rows(x, pairs, count), _centre_rows(y, pairs, count)
    is_defined = (count >= _MIN_PAIRS) & _varies(x, pairs) & _varies(y, pairs)
    # Scaled by the largest deviation first, so that no square under- or overflows.
    left /= _largest(left, is_defined)
    right /= _largest(right, is_defined)
    shared = _row_sums(left * right)
    scale = np.sqrt(_row_sums(left * left)) * np.sqrt(_row_sums(right * right))
    ratio = np.full(count.shape, np.nan)
    np.divide(shared, scale, out=ratio, where=is_defined & (scale > 0.0))
    return np.clip(ratio, -1.0, 1.0)


def _centre_rows(values: Array, pairs: npt.NDArray[np.bool_], count: npt.NDArray[np.int64]) -> Array:
    """Return deviations [T, N] from the row's mean over pairs, 0 elsewhere."""
    held = np.where(pairs, values, 0.0)
    mean = _row_sums(held) / np.maximum(count, 1)
    return np.where(pairs, held - mean[:, None], 0.0)


def _row_sums(values: Array) -> Array:
    """Return the sum of each row, added from left to right: numpy's own sum depends on how many columns follow."""
    return np.add.accumulate(values, axis=1)[:, -1] if values.shape[1] else np.zeros(values.shape[0])


def _varies(values: Array, pairs: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return whether a row's pairs differ: compared as they are, since deviations from a mean carry rounding."""
    highest = np.max(np.where(pairs, values, -np.inf), axis=1, initial=-np.inf)
    lowest = np.min(np.where(pairs, values, np.inf), axis=1, initial=np.inf)
    return np.asarray(highest > lowest)


def _largest(deviations: Array, is_defined: npt.NDArray[np.bool_]) -> Array:
    largest = np.max(np.abs(deviations), axis=1, initial=0.0)
    return np.asarray(np.where(is_defined & (largest > 0.0), largest, 1.0)[:, None])


def _pairs(x: Array, y: Array) -> npt.NDArray[np.bool_]:
    return ~(np.isnan(x) | np.isnan(y))


def _row_blocks(shape: tuple[int, ...]) -> list[slice]:
    """Cut rows so that temporaries stay small; a row's answer does not depend on its block."""
    height = max(1, _BLOCK_CELLS // max(shape[1], 1))
    return [slice(start, start + height) for start in range(0, shape[0], height)]


def _check_shapes(x: Array, y: Array) -> None:
    if x.ndim != 2 or x.shape != y.shape:
        raise PanelError(f"rows are correlated one to one; got shapes {x.shape} and {y.shape}.")
