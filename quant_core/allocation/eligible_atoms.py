"""Chooses the atoms with enough known bars in a train window. The others are reported with a reason, never filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quant_core.market.panel import Mask, Matrix

SHORT_HISTORY, CONSTANT = "short_history", "constant_stream"


@dataclass(frozen=True, eq=False)
class History:
    """The part of a train window that every kept atom shares.

    Attributes
    ----------
    is_kept : bool [K]
    is_common : bool [train]
        Bars on which every kept atom has a return.
    reasons : tuple of (column, rule, detail)
        Why each other atom is left out.
    """

    is_kept: Mask
    is_common: Mask
    reasons: tuple[tuple[int, str, str], ...]


def common_history(streams: Matrix, *, min_observations: int) -> History:
    """Keep the atoms that share at least `min_observations` known bars; leave out as few as possible.

    While too few bars are common to all, the atom with the fewest known bars leaves (the last of equals). A stream that
    does not move on the common bars has no risk to weigh and leaves too.

    Parameters
    ----------
    streams : ndarray [train, K]
        Atom returns, NaN where not known.
    min_observations : int
        At least 2.
    """
    is_known = ~np.isnan(streams)
    known = is_known.sum(axis=0)
    is_kept = np.ones(streams.shape[1], dtype=np.bool_)
    reasons: list[tuple[int, str, str]] = []
    is_common = _shared_rows(is_known)
    while is_kept.any() and is_common.sum() < min_observations:
        kept = np.flatnonzero(is_kept)
        worst = int(kept[::-1][np.argmin(known[kept][::-1])])
        detail = (
            f"{known[worst]} train bars known, {is_common.sum()} common to {kept.size} atoms; {min_observations} needed"
        )
        reasons.append((worst, SHORT_HISTORY, detail))
        is_kept[worst] = False
        is_common = _shared_rows(is_known[:, is_kept])
    if is_kept.any():
        shared = streams[is_common]
        is_flat = is_kept & ~(shared.max(axis=0, initial=-np.inf) > shared.min(axis=0, initial=np.inf))
        reasons += [(int(k), CONSTANT, f"one value on {is_common.sum()} train bars") for k in np.flatnonzero(is_flat)]
        is_kept &= ~is_flat
    return History(is_kept, is_common, tuple(reasons))


def _shared_rows(is_known: Mask) -> Mask:
    rows: Mask = np.all(is_known, axis=1)
    return rows
