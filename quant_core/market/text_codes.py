"""Numbers for the texts of a long column, so that a rule, a sort or a key looks at each distinct text once.

The loops live in kernels/keys.py. Panels find their own axes (panel.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.kernels.keys import look_up, number_views

S = TypeVar("S", bound=np.generic)
LONG = 1 << 17
"""Rows from which a table is worth the kernels: below, polars answers before numba is loaded."""
MOST_VIEWS = 1 << 18
_SLOTS = 1 << 19


@dataclass(frozen=True, eq=False)
class Codes:
    """The number of each row's text in a column.

    Attributes
    ----------
    texts : pl.Series of String [C]
        The distinct texts.
    code : int32 [R]
        Place of each row's text among them; -1 where it is null.
    """

    texts: pl.Series
    code: npt.NDArray[np.int32]

    def spread(self, values: npt.NDArray[S]) -> npt.NDArray[S]:
        """Return for each row the value [C + 1] of its text; the last value stands for null."""
        return _spread(self.code, values)


def codes_of(texts: pl.Series, *, is_sorted: bool = True) -> Codes:
    """Return the distinct texts of a column of strings and the number of each row's.

    Parameters
    ----------
    texts : pl.Series of String [R]
    is_sorted : bool
        Whether numbers go by the order of the texts, else by any: one pass less over a long column.
    """
    found = _code_by_address(texts, is_sorted=is_sorted) if len(texts) >= LONG else None
    if found is not None:
        return found
    distinct = texts.drop_nulls().unique().sort()
    code = texts.cast(pl.Enum(distinct)).to_physical().cast(pl.Int32).fill_null(-1)
    return Codes(distinct, code.to_numpy())


def order_of(code: npt.NDArray[np.int32], day: npt.NDArray[np.int32]) -> npt.NDArray[np.int64] | None:
    """Return the order of rows by code and day, rows with one key in their given order; None if already sorted.

    Parameters
    ----------
    code, day : int32 [R]
        Of each row: its symbol's number and its date's, both from 0 on.
    """
    key = code * (np.int64(day.max(initial=0)) + 1) + day
    if (key[1:] >= key[:-1]).all():
        return None
    if (day[1:] >= day[:-1]).all() and code.max() <= np.iinfo(np.uint16).max:
        # Sorted by day already, and numpy sorts short integers by their digits: no comparison.
        return np.argsort(code.astype(np.uint16), kind="stable")
    return np.argsort(key, kind="stable")


def _code_by_address(texts: pl.Series, *, is_sorted: bool) -> Codes | None:
    """Code texts by their address in memory, reading each distinct address once; None if there are too many."""
    slots = np.full(_SLOTS, -1, dtype=np.int32)
    seen, first = np.empty((MOST_VIEWS, 3), dtype=np.uint64), np.empty(MOST_VIEWS, dtype=np.int64)
    state, code = np.zeros(2, dtype=np.int64), np.empty(len(texts), dtype=np.int32)
    at = 0
    for number, chunk in enumerate(texts.get_chunks()):
        array = chunk.to_arrow(compat_level=pl.CompatLevel.newest())
        words = np.frombuffer(array.buffers()[1], dtype=np.uint64).reshape(-1, 2)
        views = words[array.offset : array.offset + len(array)]
        known = chunk.is_not_null().to_numpy() if chunk.null_count() else np.empty(0, dtype=np.bool_)
        number_views(views, known, number, at, slots, seen, first, state, code[at : at + len(array)])
        at += len(array)
        if state[1]:
            return None
    found = texts.gather(first[: state[0]])
    distinct = found.unique(maintain_order=True)
    if is_sorted:
        distinct = distinct.sort()
    if distinct.equals(found):
        return Codes(distinct, code)
    # A last entry for "not known": -1 reads it.
    rank = np.append(found.cast(pl.Enum(distinct)).to_physical().to_numpy().astype(np.int32), np.int32(-1))
    return Codes(distinct, _spread(code, rank))


def _spread(code: npt.NDArray[np.int32], values: npt.NDArray[S]) -> npt.NDArray[S]:
    if code.size < LONG:
        return values[code]
    out = np.empty(code.size, dtype=values.dtype)
    look_up(code, values, out)
    return out
