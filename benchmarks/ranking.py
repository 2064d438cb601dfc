"""Ranks across symbols against scipy, which ranks whole rows; ours leave out who is unknown or not a member."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from benchmarks.contest import Contest, named, scaled, topic
from quant_core.kernels.cross_section import rank_rows

Matrix = npt.NDArray[np.float64]


@topic("ranking")
def ranking(share: float) -> Iterator[Contest]:
    T, N = scaled(1_260, share, least=8), scaled(1_000, share, least=8)
    # Rounded, so that values tie as they do in real features.
    values = np.random.default_rng(2).normal(size=(T, N)).round(2)
    members, out = np.ones((T, N), dtype=np.bool_), np.empty((T, N))
    yield Contest(
        name=f"rank_rows with ties, {T:,} x {N:,}",
        peer=named("scipy"),
        ours=partial(ours, values, members, out),
        theirs=partial(theirs, values),
        agree=partial(np.testing.assert_allclose, rtol=1e-12),
        moved=2 * values.nbytes + members.nbytes,
    )


def ours(values: Matrix, members: npt.NDArray[np.bool_], out: Matrix) -> Matrix:
    rank_rows(values, members, out)
    return out


def theirs(values: Matrix) -> Matrix:
    ranks: Matrix = (rankdata(values, axis=1) - 0.5) / values.shape[1]
    return ranks
