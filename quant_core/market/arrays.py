"""Arrays beside the rows of a table: the names of their types, and where runs of equal values begin.

Numbers for texts are in text_codes.py, matrices of dates and symbols in panel.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def run_starts(*columns: npt.NDArray[Any]) -> Mask:
    """Return which rows [R] differ from the row before in at least one column; the first row always does.

    Parameters
    ----------
    columns : ndarray [R], one or more
        NaN differs from everything.
    """
    is_start = np.ones(columns[0].size, dtype=np.bool_)
    np.not_equal(columns[0][1:], columns[0][:-1], out=is_start[1:])
    for column in columns[1:]:
        is_start[1:] |= column[1:] != column[:-1]
    return is_start
