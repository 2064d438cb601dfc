"""Moving correlations and covariances of two series against numbagg, told to use one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module

import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contest, Entry, Skipped, lacking, named, scaled, topic
from benchmarks.market import with_gaps
from quant_core.kernels.pairs import move_correlation, move_covariance

Matrix = npt.NDArray[np.float64]


@topic("pairs")
def pairs(share: float) -> Iterator[Entry]:
    T, N = scaled(3_500, share, least=150), scaled(5_000, share, least=70)
    rng = np.random.default_rng(2)
    x = rng.normal(0.0005, 0.02, (T, N))
    y = 0.5 * x + rng.normal(0.0005, 0.02, (T, N))
    out = np.empty((T, N))
    for what, left, right in (("complete", x, y), ("with gaps", with_gaps(x), with_gaps(y[:, ::-1]))):
        for kernel, name in ((move_correlation, "move_corr"), (move_covariance, "move_cov")):
            for window in (20, 60):
                least = window if what == "complete" else window // 2
                title = f"{name}, window {window}, {T:,} x {N:,}, {what}"
                if why := lacking("numbagg"):
                    yield Skipped(title, "numbagg", why)
                    continue
                peer = partial(getattr(import_module("numbagg"), name), window=window, min_count=least)
                yield Contest(
                    name=title,
                    peer=f"{named('numbagg')} on [N, T]",
                    ours=partial(answer, kernel, left, right, window, least, out),
                    theirs=partial(peer, np.ascontiguousarray(left.T), np.ascontiguousarray(right.T)),
                    agree=is_transpose,
                    moved=3 * x.nbytes,
                    elements=x.size,
                )


def answer(
    kernel: Callable[..., None], left: Matrix, right: Matrix, window: int, min_count: int, out: Matrix
) -> Matrix:
    kernel(left, right, window, min_count, out)
    return out


def is_transpose(ours: Matrix, theirs: Matrix) -> None:
    np.testing.assert_allclose(ours, theirs.T, rtol=1e-6, atol=1e-8)
