"""Permutation entropy and Hurst exponents against the original repository's compiled kernels, and against antropy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contest, Entry, Skipped, faster, lacking, named, nanoseconds, scaled, topic
from benchmarks.market import with_gaps
from benchmarks.original import NAME, lacking_original, of_original, original
from quant_core.kernels.complexity import move_permutation_entropy
from quant_core.kernels.scaling import estimate_hurst

Matrix = npt.NDArray[np.float64]
ORDER, WINDOW = 5, 120


@topic("complexity")
def complexity(share: float) -> Iterator[Entry]:
    T, N = scaled(1_260, share, least=300), scaled(1_000, share, least=4)
    complete = np.random.default_rng(1).normal(0.0005, 0.02, (T, N))
    out = np.empty((T, N))
    for what, x in (("complete", complete), ("with gaps", with_gaps(complete))):
        title = f"permutation entropy, order {ORDER}, window {WINDOW}, {T:,} x {N:,}, {what}"
        if why := lacking_original():
            yield Skipped(title, NAME, why)
            continue
        yield Contest(
            name=title,
            peer=original(),
            ours=partial(answer, move_permutation_entropy, x, WINDOW, ORDER, 1, out),
            theirs=partial(entropies, of_original("utils.predictability").compute_rolling_entropy_numba, x),
            agree=partial(are_entropies, x),
            moved=2 * x.nbytes,
            elements=x.size,
            targets=(faster(2_500.0), nanoseconds(15.0)),
        )
    yield from _hurst(complete)
    title = f"permutation entropy, order {ORDER}, all {T:,} rows of {N:,} symbols"
    if why := lacking("antropy"):
        yield Skipped(title, "antropy", why)
        return
    entropy = partial(import_module("antropy").perm_entropy, order=ORDER, normalize=True)
    yield Contest(
        name=title,
        peer=named("antropy"),
        ours=partial(answer, move_permutation_entropy, complete, T, ORDER, 1, out),
        theirs=partial(one_each, entropy, np.ascontiguousarray(complete.T)),
        agree=are_last,
        moved=complete.nbytes,
        elements=complete.size,
    )


def _hurst(x: Matrix) -> Iterator[Entry]:
    T, N = x.shape
    title = f"Hurst exponent by rescaled ranges, all {T:,} rows of {N:,} symbols"
    if why := lacking_original():
        yield Skipped(title, NAME, why)
        return
    exponent = of_original("utils.predictability").calculate_hurst_exponent
    yield Contest(
        name=title,
        peer=original(),
        ours=partial(answer, estimate_hurst, x, 8, 2, T, np.empty(N)),
        theirs=partial(one_each, exponent, np.ascontiguousarray(x.T)),
        agree=are_exponents,
        moved=x.nbytes,
        elements=x.size,
        targets=(faster(40.0),),
    )


def answer(kernel: Callable[..., None], x: Matrix, *rest: Any) -> Matrix:
    kernel(x, *rest)
    out: Matrix = rest[-1]
    return out


def entropies(theirs: Callable[..., Matrix], x: Matrix) -> Matrix:
    """Return theirs of each column, in nats."""
    counts, segment = np.zeros(4_000, dtype=np.int32), np.zeros(ORDER)
    columns = np.ascontiguousarray(x.T)
    return np.stack([theirs(column, WINDOW, counts, segment, ORDER, 1) for column in columns], axis=1)


def one_each(theirs: Callable[[Matrix], float], columns: Matrix) -> Matrix:
    return np.array([theirs(column) for column in columns])


def are_exponents(ours: Matrix, theirs: Matrix) -> None:
    """Compare with theirs, which lacks the slope of what is expected of noise: one number for all symbols."""
    np.testing.assert_allclose(theirs - ours, np.median(theirs - ours), atol=1e-12)


def are_last(ours: Matrix, theirs: Matrix) -> None:
    """Compare one number a symbol with what ours says, among all dates, of the last one."""
    np.testing.assert_allclose(ours[-1], theirs, rtol=1e-12)


def are_entropies(x: Matrix, ours: Matrix, theirs: Matrix) -> None:
    """Compare where the window is complete: theirs is compiled with fast-math, which deletes its tests for gaps."""
    known = np.cumsum(np.vstack([np.zeros(x.shape[1]), ~np.isnan(x)]), axis=0)
    is_complete = known[WINDOW:] - known[:-WINDOW] == WINDOW
    apart = np.abs(ours - theirs / math.log(math.factorial(ORDER)))[WINDOW - 1 :][is_complete]
    assert apart.max(initial=0.0) < 1e-12, f"{apart.max():.2g} apart"
