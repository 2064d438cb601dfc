"""Moving means and deviations against copying memory, and against bottleneck, which keeps running sums.

Ours is shown on one wide panel, and on the same symbols in blocks of 32, which is how features call it: blocks of a few
columns lie close together in memory, the columns of a wide panel do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module

import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contest, Entry, Skipped, faster, lacking, named, scaled, topic, within
from benchmarks.market import with_gaps
from quant_core.kernels._jit import kernel
from quant_core.kernels.moving import move_mean, move_std
from quant_core.kernels.threads import BLOCK

Matrix = npt.NDArray[np.float64]
Moving = Callable[[Matrix, int, int, Matrix], None]


@topic("moving")
def moving(share: float) -> Iterator[Entry]:
    T, N = scaled(3_500, share, least=150), scaled(5_000, share, least=70)
    returns = np.random.default_rng(1).normal(0.0005, 0.02, (T, N))
    for what, x in (("complete", returns), ("with gaps", with_gaps(returns))):
        for layout, parts in (("one panel", [x]), (f"blocks of {BLOCK}", in_blocks(x))):
            for name, times in (("move_mean", 1.3), ("move_std", 3.5)):
                for window in (20, 60):
                    title = f"{name}, window {window}, {T:,} x {N:,} {what}, {layout}"
                    yield from _on(title, name, parts, x, window, times)


def _on(title: str, name: str, parts: Sequence[Matrix], x: Matrix, window: int, times: float) -> Iterator[Entry]:
    """Yield the contests on one layout of one panel: against copies where it is complete, against bottleneck."""
    ours = move_mean if name == "move_mean" else move_std
    outs = [np.empty(part.shape) for part in parts]
    is_complete = not np.isnan(x).any()
    least = window if is_complete else window // 2
    held = partial(
        Contest,
        name=title,
        ours=partial(answer, ours, parts, window, least, outs),
        moved=2 * x.nbytes,
        elements=x.size,
    )
    if is_complete:
        copying = partial(held, agree=is_filled, targets=(within(times),))
        copied = [np.empty(part.shape) for part in parts]
        yield copying(peer=f"{named('numpy')} copyto", theirs=partial(copy, np.copyto, copied, parts))
        yield copying(peer=f"a compiled copy, {named('numba')}", theirs=partial(copy, copy_cells, copied, parts))
    if why := lacking("bottleneck"):
        yield Skipped(title, "bottleneck", why)
        return
    settings = {"ddof": 1} if name == "move_std" else {}
    peer = partial(getattr(import_module("bottleneck"), name), window=window, min_count=least, axis=1, **settings)
    yield held(
        peer=f"{named('bottleneck')} on [N, T]",
        theirs=partial(peer, np.ascontiguousarray(x.T)),
        agree=are_transpose,
        targets=(faster(2.0 if is_complete else 1.0),),
    )


def in_blocks(x: Matrix) -> list[Matrix]:
    return [np.ascontiguousarray(x[:, first : first + BLOCK]) for first in range(0, x.shape[1], BLOCK)]


@kernel
def copy_cells(out: Matrix, x: Matrix) -> None:
    """Copy cell by cell. out, x: [T, N]."""
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[t, j] = x[t, j]


def copy(function: Callable[[Matrix, Matrix], None], outs: Sequence[Matrix], parts: Sequence[Matrix]) -> None:
    for out, part in zip(outs, parts, strict=True):
        function(out, part)


def answer(
    kernel: Moving, parts: Sequence[Matrix], window: int, min_count: int, outs: Sequence[Matrix]
) -> Sequence[Matrix]:
    for part, out in zip(parts, outs, strict=True):
        kernel(part, window, min_count, out)
    return outs


def is_filled(ours: Sequence[Matrix], _: None) -> None:
    """Ask that there is an answer: a copy has no other to give."""
    assert all(np.isfinite(out[-1]).all() for out in ours)


def are_transpose(ours: Sequence[Matrix], theirs: Matrix) -> None:
    np.testing.assert_allclose(np.hstack(ours), theirs.T, rtol=1e-6, atol=1e-11)
