from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels.moving import move_std
from quant_core.kernels.threads import BLOCK, run_blocks


def blocks_seen(n: int, threads: int) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    run_blocks(lambda block: seen.append((block.start, block.stop)), n, threads=threads)
    return sorted(seen)


@pytest.mark.parametrize("n", [0, 1, BLOCK, BLOCK + 1, 5 * BLOCK - 1])
def test_blocks_part_the_columns_and_do_not_depend_on_the_threads(n: int) -> None:
    one = blocks_seen(n, 1)
    assert [k for first, stop in one for k in range(first, stop)] == list(range(n))
    assert one == blocks_seen(n, 2) == blocks_seen(n, 7)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_block_s_error_is_raised(threads: int) -> None:
    def refuse(block: slice) -> None:
        if block.start:
            raise ValueError(f"block {block.start}")

    with pytest.raises(ValueError, match=f"^block {BLOCK}$"):
        run_blocks(refuse, 4 * BLOCK, threads=threads)


def test_kernels_may_work_on_views_of_a_panel() -> None:
    x = np.random.default_rng(2).normal(size=(50, 2 * BLOCK + 3))
    out = np.empty(x.shape)
    run_blocks(lambda block: move_std(x[:, block], 10, 10, out[:, block]), x.shape[1], threads=2)
    assert np.array_equal(out, move_std.apply(x, 10, 10), equal_nan=True)
