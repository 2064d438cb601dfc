"""Compares a statistic with its distribution under independence: normal scores and p-values.

A normal score is the standard normal's quantile at the statistic's percentile: 0 is the middle, 1 beyond 84 of 100.
Closed forms where there are any, else null_tables.json, which null_tables.py makes.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np

from quant_core.errors import UnknownNameError
from quant_core.kernels._jit import Matrix

HIGHEST_SCORE = 3.0
"""The last score of the tables; whatever lies beyond is said to lie there."""

LOWEST_HALF_NORMAL = -8.0
"""Score of a half-normal value of zero."""

_SMALL_TAU = (2.1659, 1.4412, 0.038269)
_LARGE_TAU = (1.7339, 0.93202, -0.12745, -0.010368)
_LEAST_TAU, _BORDER_TAU, _MOST_TAU = -18.83, -1.61, 2.74


@cache
def _tables() -> dict[str, dict[int, Matrix]]:
    found = json.loads((Path(__file__).parent / "null_tables.json").read_text())
    tables = {name: rows for name, rows in found.items() if isinstance(rows, dict)}
    return {name: {int(n): np.array(row) for n, row in rows.items()} for name, rows in tables.items()} | {
        "scores": {0: np.array(found["scores"])}
    }


@cache
def null_quantiles(null: str, length: int) -> Matrix | None:
    """Return the quantiles of a statistic at the scores of the tables, linear in 1 / length between their rows.

    None outside of the table: with fewer than 90 values nothing is said.

    Raises
    ------
    UnknownNameError
        A statistic without a table; lists the near matches.
    """
    tables = _tables()
    if null not in tables or null == "scores":
        raise UnknownNameError("null table", null, sorted(set(tables) - {"scores"}))
    rows = tables[null]
    lengths = sorted(rows)
    if not lengths[0] <= length <= lengths[-1]:
        return None
    right = next(n for n in lengths if n >= length)
    left = max((n for n in lengths if n <= length), default=right)
    share = (1.0 / left - 1.0 / length) / (1.0 / left - 1.0 / right) if right > left else 0.0
    return np.asarray((1.0 - share) * rows[left] + share * rows[right])


def normal_score(values: Matrix, lengths: Matrix, null: str) -> Matrix:
    """Return the normal score of values under independence, at most 3 on either side.

    Parameters
    ----------
    values : ndarray
        The statistic, of any shape.
    lengths : ndarray
        Known values it was made of, same shape.
    null : str
        Its table: "entropy_5" or "hurst".

    Returns
    -------
    ndarray
        Same shape, no unit.

    NaN: where the value is, and where its length is under 90 or beyond the table.
    """
    scores = _tables()["scores"][0]
    found = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    for length in np.flatnonzero(np.bincount(lengths[known].astype(np.int64))):
        row = null_quantiles(null, int(length))
        if row is not None:
            here = known & (lengths == length)
            found[here] = np.interp(values[here], row, scores)
    return found


def half_normal_score(values: Matrix) -> Matrix:
    """Return the normal score of values that are half-normal under independence, at least -8. Same shape."""
    from scipy.special import erf, ndtr, ndtri

    # Above the middle the upper tail keeps its digits (down to the smallest number there is), below it the lower one.
    is_high = values > 0.5
    tail = np.where(is_high, 2.0 * ndtr(-np.minimum(values, 37.0)), erf(np.minimum(values, 1.0) / math.sqrt(2.0)))
    scores = ndtri(tail)
    return np.maximum(LOWEST_HALF_NORMAL, np.where(is_high, -scores, scores))


def chi_square_p(values: Matrix, freedom: int) -> Matrix:
    """Return the chance of a chi-square value at least as large, with `freedom` degrees of freedom. Same shape.

    From one or two degrees of freedom up in steps of two: exact, and a quarter of the time of the incomplete gamma.
    """
    from scipy.special import erfc

    half = 0.5 * values
    fall = np.exp(-half)
    chance = erfc(np.sqrt(half)) if freedom % 2 else fall
    for k in range(2 - freedom % 2, freedom - 1, 2):
        chance = chance + fall * half ** (0.5 * k) / math.gamma(0.5 * k + 1.0)
    return np.asarray(np.minimum(1.0, chance))


def unit_root_p(values: Matrix) -> Matrix:
    """Return the chance of a Dickey-Fuller t statistic (with a constant) at least as low on a random walk. Same shape.

    Source: MacKinnon (1994), Journal of Business & Economic Statistics 12(2), response surface for one series.
    """
    from scipy.special import ndtr

    inside = np.clip(values, _LEAST_TAU, _MOST_TAU)
    surface = np.where(
        inside <= _BORDER_TAU,
        np.polynomial.polynomial.polyval(inside, _SMALL_TAU),
        np.polynomial.polynomial.polyval(inside, _LARGE_TAU),
    )
    chance = np.asarray(ndtr(surface))
    return np.where(values < _LEAST_TAU, 0.0, np.where(values > _MOST_TAU, 1.0, chance))
