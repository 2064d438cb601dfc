"""`lives_apart`: let a function of whole columns see every life of a ticker as a symbol of its own.

Prices of two lives mean nothing to each other. Features of one window mask it (`levels.within_life`); where windows
are nested and symbols are compared in between, a mask at the end comes too late.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quant_core.features.steps import Function
from quant_core.kernels._jit import Mask, Matrix


@dataclass(frozen=True, eq=False)
class Stay:
    """A life that leaves its ticker's column: which column, how many to the right it stays, and in which rows."""

    column: int
    aside: int
    is_here: Mask


def lives_apart(reach: int) -> Callable[[Function], Function]:
    """Give a function the further input `life`, and its other inputs a column more per life that would share a window.

    A ticker's columns are neighbours: what is summed across a row is summed in the same order, wherever rows begin.

    Parameters
    ----------
    reach : int
        Rows a value reads, its own included: two lives so far apart share a column.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def answer(*given: Matrix) -> Matrix:
            *inputs, life = given
            stays = stays_of(life, reach)
            if not stays:
                return function(*inputs)
            place = _places(stays, life.shape[1])
            found = function(*(_separate_lives(x, stays, place) for x in inputs))
            out = found[:, place[:-1]]
            for stay in stays:
                out[stay.is_here, stay.column] = found[stay.is_here, place[stay.column] + stay.aside]
            return np.ascontiguousarray(out)

        own = inspect.signature(function)
        life = inspect.Parameter("life", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Matrix)
        answer.__signature__ = own.replace(parameters=[*own.parameters.values(), life])  # type: ignore[attr-defined]
        return answer

    return decorate


def stays_of(life: Matrix, reach: int) -> list[Stay]:
    """Return the lives that begin while another one of their column is still in reach."""
    newest, oldest = np.fmax.reduce(life, axis=0, initial=-np.inf), np.fmin.reduce(life, axis=0, initial=np.inf)
    stays = []
    for column in np.flatnonzero(newest > oldest).tolist():
        last: list[int] = []
        for number in np.unique(life[~np.isnan(life[:, column]), column]):
            is_here = life[:, column] == number
            rows = np.flatnonzero(is_here)
            aside = next((k for k, row in enumerate(last) if row + reach <= rows[0]), len(last))
            last[aside : aside + 1] = [int(rows[-1])]
            if aside:
                stays.append(Stay(column, aside, is_here))
    return stays


def _places(stays: Sequence[Stay], columns: int) -> npt.NDArray[np.int64]:
    """Return where each ticker's columns begin, and after them the number of all columns."""
    further = np.zeros(columns, dtype=np.int64)
    for stay in stays:
        further[stay.column] = max(further[stay.column], stay.aside)
    return np.concatenate([[0], np.cumsum(further + 1)])


def _separate_lives(x: Matrix, stays: Sequence[Stay], place: npt.NDArray[np.int64]) -> Matrix:
    out = np.full((x.shape[0], place[-1]), np.nan)
    out[:, place[:-1]] = x
    for stay in stays:
        out[stay.is_here, place[stay.column] + stay.aside] = x[stay.is_here, stay.column]
        out[stay.is_here, place[stay.column]] = np.nan
    return out
