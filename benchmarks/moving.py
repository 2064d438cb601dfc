"""Moving moments against bottleneck, which keeps running sums where ours sum every window anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import bottleneck  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contest, named, scaled, topic
from quant_core.kernels.moving import move_mean, move_std

Matrix = npt.NDArray[np.float64]
Moving = Callable[[Matrix, int, int, Matrix], None]


@topic("moving")
def moving(share: float) -> Iterator[Contest]:
    T, N = scaled(1_260, share, least=80), scaled(1_000, share, least=8)
    rng = np.random.default_rng(1)
    returns = rng.normal(0.0005, 0.02, (T, N))
    returns[rng.random((T, N)) < 0.02] = np.nan
    peers: dict[str, tuple[Moving, Callable[..., Matrix]]] = {
        "move_mean": (move_mean, bottleneck.move_mean),
        "move_std": (move_std, partial(bottleneck.move_std, ddof=1)),
    }
    for name, (kernel, peer) in peers.items():
        for window in (20, 60):
            yield Contest(
                name=f"{name}, window {window}, {T:,} x {N:,}",
                peer=named("bottleneck"),
                ours=partial(answer, kernel, returns, window, np.empty((T, N))),
                theirs=partial(peer, returns, window=window, min_count=window // 2, axis=0),
                agree=partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-12),
                moved=2 * returns.nbytes,
            )


def answer(kernel: Moving, x: Matrix, window: int, out: Matrix) -> Matrix:
    kernel(x, window, window // 2, out)
    return out
