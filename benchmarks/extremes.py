"""Moving extremes against TA-Lib, symbol by symbol in its best layout, and against bottleneck where there are gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module

import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contest, Entry, Skipped, faster, lacking, named, scaled, topic
from benchmarks.market import with_gaps
from quant_core.kernels.extremes import move_argmax, move_max, move_min

Matrix = npt.NDArray[np.float64]
Moving = Callable[[Matrix, int, int, Matrix], None]


@topic("extremes")
def extremes(share: float) -> Iterator[Entry]:
    T, N = scaled(3_500, share, least=150), scaled(5_000, share, least=70)
    prices = 100.0 * np.exp(np.cumsum(np.random.default_rng(6).normal(0.0, 0.02, (T, N)), axis=0))
    out, pool = np.empty((T, N)), ThreadPoolExecutor(2)
    halves = tuple(np.ascontiguousarray(half) for half in np.array_split(prices, 2, axis=1))
    held = partial(Contest, moved=2 * prices.nbytes, elements=prices.size)
    for window in (20, 60):
        for ours, name in ((move_max, "MAX"), (move_min, "MIN")):
            title = f"move_{name.lower()}, window {window}, {T:,} x {N:,}, complete"
            if why := lacking("talib"):
                yield Skipped(title, "TA-Lib", why)
                continue
            talib = partial(getattr(import_module("talib"), name), timeperiod=window)
            theirs = partial(each, talib, np.empty((N, T)), np.ascontiguousarray(prices.T))
            contest = partial(
                held, name=title, peer=f"{named('TA-Lib')}, a loop over symbols", theirs=theirs, agree=is_transpose
            )
            yield contest(ours=partial(answer, ours, prices, window, window, out), targets=(faster(1.0),))
            yield contest(
                ours=partial(on_two, ours, pool, halves, window),
                threads=(2, 1),
                targets=(faster(2.0),),
                agree=are_halves,
            )
        gapped = with_gaps(prices)
        for ours, name in ((move_max, "move_max"), (move_argmax, "move_argmax")):
            title = f"{name}, window {window}, {T:,} x {N:,}, with gaps"
            if why := lacking("bottleneck"):
                yield Skipped(title, "bottleneck", why)
                continue
            peer = partial(getattr(import_module("bottleneck"), name), window=window, min_count=window // 2, axis=1)
            yield held(
                name=title,
                peer=f"{named('bottleneck')} on [N, T]",
                ours=partial(answer, ours, gapped, window, window // 2, out),
                theirs=partial(peer, np.ascontiguousarray(gapped.T)),
                agree=is_transpose,
            )


def answer(kernel: Moving, x: Matrix, window: int, min_count: int, out: Matrix) -> Matrix:
    kernel(x, window, min_count, out)
    return out


def on_two(kernel: Moving, pool: ThreadPoolExecutor, halves: tuple[Matrix, ...], window: int) -> list[Matrix]:
    """Give each of two threads half of the symbols."""
    outs = [np.empty(half.shape) for half in halves]
    started = [pool.submit(kernel, half, window, window, out) for half, out in zip(halves, outs, strict=True)]
    for done in started:
        done.result()
    return outs


def each(function: Callable[..., Matrix], out: Matrix, *series: Matrix) -> Matrix:
    """Call a function of one symbol's series [T] for each row of [N, T]."""
    for rows in zip(out, *series, strict=True):
        rows[0][:] = function(*rows[1:])
    return out


def is_transpose(ours: Matrix, theirs: Matrix) -> None:
    np.testing.assert_array_equal(ours, theirs.T)


def are_halves(ours: list[Matrix], theirs: Matrix) -> None:
    is_transpose(np.hstack(ours), theirs)
