"""Decides how many may win and which recruits keep a seat: floor, cap, sector limit. ladder.py recruits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quant_core.market.arrays import run_starts
from quant_core.market.panel import Mask

Codes = npt.NDArray[np.int64]
_FLOOR, _CAP = 15, 25
# 0.29 x 100 is 28.999999999999996: a share that is a whole number of seats must stay one.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class SeatedRecruits:
    """Masks of the recruits that keep their seat, and of why the others do not, each bool [n]."""

    is_kept: Mask
    is_over_sector: Mask
    is_over_cap: Mask

    @property
    def count(self) -> int:
        """Number of seats kept."""
        return int(self.is_kept.sum())


def size_of(eligible: int, *, floor: int | None = None, cap: int | None = None) -> tuple[int, int]:
    """Return floor and cap for a number of eligible symbols.

    A given number is used as it is. One that is not given is min(15, ceil(N / 3)) for the floor and min(25, N // 2),
    at least 1, for the cap, and gives way to the other.
    """
    least = min(_FLOOR, -(-eligible // 3)) if floor is None else floor
    most = max(1, min(_CAP, eligible // 2)) if cap is None else cap
    if cap is None:
        most = max(most, least)
    return min(least, most), most


def best_of(codes: Codes, among: Mask) -> Mask:
    """Return the first row of each code, of the rows `among`; rows are sorted best first."""
    rows = np.flatnonzero(among)
    first = np.zeros(codes.size, dtype=np.bool_)
    first[rows[np.unique(codes[rows], return_index=True)[1]]] = True
    return first


def order_within(codes: Codes, among: Mask) -> Codes:
    """Return how many rows of `among` come before each row with its code; 0 for rows outside `among`."""
    rows = np.flatnonzero(among)
    by_code = rows[np.argsort(codes[rows], kind="stable")]
    run = codes[by_code]
    starts = np.flatnonzero(run_starts(run))
    order = np.zeros(codes.size, dtype=np.int64)
    order[by_code] = np.arange(run.size) - np.repeat(starts, np.diff(np.append(starts, run.size)))
    return order


def assign_seats(won: npt.NDArray[np.int8], sector: Codes, *, cap: int, sector_limit: float) -> SeatedRecruits:
    """Cut recruits to the sector limit and to the cap.

    The selection is the largest in which no known sector has more than `sector_limit` of all seats; one seat is always
    allowed. Within a sector and under the cap earlier stages come first, then conviction: no recruit loses a seat
    to a later stage. With fewer known sectors than the limit needs (two at 40 %), and no recruit of unknown sector,
    that is one seat each.

    Parameters
    ----------
    won : int8 [n]
        Stage that recruited each row, 0: none; rows are sorted best conviction first.
    sector : int64 [n]
        0: not known, which is exempt.
    cap : int
    sector_limit : float
        Share of the selection.
    """
    is_recruit = won > 0
    by_stage = np.argsort(won, kind="stable")
    order = np.empty(won.size, dtype=np.int64)
    order[by_stage] = order_within(sector[by_stage], is_recruit[by_stage])
    size = min(cap, int(is_recruit.sum()))
    while True:
        # The greatest fixed point: what a size allows never grows as the size shrinks, so this ends at the largest.
        seats = max(1, int(sector_limit * size + _ROUNDING))
        fits = is_recruit & ((sector == 0) | (order < seats))
        allowed = min(cap, int(fits.sum()))
        if allowed == size:
            break
        size = allowed
    is_kept = np.zeros(won.size, dtype=np.bool_)
    is_kept[by_stage[fits[by_stage]][:cap]] = True
    return SeatedRecruits(is_kept, is_recruit & ~fits, fits & ~is_kept)
