"""Moving ranks, quantiles and medians against bottleneck and polars, in the layout that is best for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.contest import Contest, Entry, Skipped, faster, lacking, named, scaled, topic
from benchmarks.market import with_gaps
from quant_core.kernels.ordered import move_median, move_quantile, move_rank

Matrix = npt.NDArray[np.float64]


@topic("ordered")
def ordered(share: float) -> Iterator[Entry]:
    T, N = scaled(3_500, share, least=150), scaled(5_000, share, least=70)
    complete = 100.0 * np.exp(np.cumsum(np.random.default_rng(6).normal(0.0, 0.02, (T, N)), axis=0))
    out = np.empty((T, N))
    held = partial(Contest, moved=2 * complete.nbytes, elements=complete.size)
    for what, x in (("complete", complete), ("with gaps", with_gaps(complete))):
        columns = np.ascontiguousarray(x.T)
        wide = pl.DataFrame(columns.T, orient="row").fill_nan(None) if what == "with gaps" else pl.DataFrame(columns.T)
        for window in (20, 60):
            least = window if what == "complete" else window // 2
            size = f"window {window}, {T:,} x {N:,}, {what}"
            rank = partial(answer, move_rank, x, window, least, out)
            if why := lacking("bottleneck"):
                yield Skipped(f"move_rank, {size}", "bottleneck", why)
                yield Skipped(f"move_median, {size}", "bottleneck", why)
            else:
                bottleneck = import_module("bottleneck")
                peer = f"{named('bottleneck')} on [N, T]"
                settings = {"window": window, "min_count": least, "axis": 1}
                yield held(
                    name=f"move_rank, {size}",
                    peer=peer,
                    ours=rank,
                    theirs=partial(bottleneck.move_rank, columns, **settings),
                    agree=partial(are_ranks, x, window),
                    targets=(faster(7.0),),
                )
                yield held(
                    name=f"move_median, {size}",
                    peer=peer,
                    ours=partial(answer, move_median, x, window, least, out),
                    theirs=partial(bottleneck.move_median, columns, **settings),
                    agree=is_transpose,
                )
            in_window: dict[str, Any] = {"window_size": window, "min_samples": least}
            yield held(
                name=f"move_quantile 0.8, {size}",
                peer=f"{named('polars')}, a column a symbol",
                ours=partial(answer, move_quantile, x, window, 0.8, least, out),
                theirs=partial(wide.select, pl.all().rolling_quantile(0.8, interpolation="linear", **in_window)),
                agree=is_same,
                targets=(faster(2.0),),
            )


def answer(kernel: Callable[..., None], x: Matrix, *rest: Any) -> Matrix:
    kernel(x, *rest)
    out: Matrix = rest[-1]
    return out


def are_ranks(x: Matrix, window: int, ours: Matrix, theirs: Matrix) -> None:
    """Compare with bottleneck, which puts ranks on -1 .. 1 and a window's only value on 0."""
    known = np.cumsum(~np.isnan(x), axis=0)
    known[window:] -= known[:-window].copy()
    rank = ((theirs.T + 1.0) / 2.0 * (known - 1) + 1.0) / np.maximum(known, 1)
    np.testing.assert_allclose(ours, rank, rtol=1e-9)


def is_transpose(ours: Matrix, theirs: Matrix) -> None:
    np.testing.assert_allclose(ours, theirs.T, rtol=1e-12)


def is_same(ours: Matrix, theirs: pl.DataFrame) -> None:
    np.testing.assert_allclose(ours, theirs.to_numpy(), rtol=1e-9)
