import threading
import tracemalloc

import numpy as np

from quant_core.kernels.moving import move_std
from quant_core.kernels.workspace import NumericalWorkspace, empty

SHAPE = (400, 300)


def test_a_matrix_is_lent_again_once_nobody_refers_to_it() -> None:
    workspace = NumericalWorkspace()
    first = workspace.lend(SHAPE)
    second = workspace.lend(SHAPE)
    assert not np.shares_memory(first, second)
    view = first[3:, 5:]
    del first
    third = workspace.lend(SHAPE)
    assert not np.shares_memory(third, view)
    del view, third
    assert workspace.lend((300, 400)).size == 120_000
    assert workspace.nbytes == 3 * 8 * 120_000


def test_no_more_than_the_limit_is_kept() -> None:
    workspace = NumericalWorkspace(limit=8 * 120_000)
    kept = [workspace.lend(SHAPE) for _ in range(4)]
    assert workspace.nbytes == 8 * 120_000
    assert all(matrix.shape == SHAPE for matrix in kept)


def test_each_thread_has_its_own_and_none_outside_of_with() -> None:
    found: list[bool] = []
    with NumericalWorkspace() as outer:
        mine = empty(SHAPE)
        assert outer.nbytes == mine.nbytes
        with NumericalWorkspace() as inner:
            empty(SHAPE)
            assert inner.nbytes == mine.nbytes
        thread = threading.Thread(target=lambda: found.append(empty(SHAPE).base is None))
        thread.start()
        thread.join()
    assert found == [True]
    assert empty(SHAPE).base is None


def test_a_second_call_allocates_nothing_that_grows_with_the_matrix() -> None:
    peaks = []
    for shape in ((90, 1100), (90, 2200), (360, 1100)):  # a strip is up to 1,024 columns wide
        x = np.random.default_rng(1).normal(size=shape)
        with NumericalWorkspace():
            move_std.apply(x, 20, 10)
            tracemalloc.start()
            move_std.apply(x, 20, 10)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert max(peaks) - min(peaks) < 1_000
    assert max(peaks) < 8 * 90 * 1100
