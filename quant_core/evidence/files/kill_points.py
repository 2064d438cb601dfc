"""Named places of the commit protocol, so that a test can kill, fail or order a writer exactly there.

Only tests install a watcher. Without one, reaching a point costs one comparison. The steps between the points are in
store/store.py, documents.py and runs/commits.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

Point = Literal[
    "after_temp_open",
    "mid_write",
    "before_fsync",
    "after_fsync",
    "after_rename",
    "after_dirsync",
    "after_ledger",
]
POINTS: tuple[Point, ...] = get_args(Point)
"""The points in the order one commit reaches them; `mid_write` comes before each piece of a table's bytes."""

Watcher = Callable[[Point], None]

# A global of the process, not a context variable: polars writes from threads of its own.
_watcher: Watcher | None = None


def reach_point(point: Point) -> None:
    """Report to the watcher that a writer has reached `point`."""
    if _watcher is not None:
        _watcher(point)


@contextmanager
def watch_points(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with every point reached in this process inside the block; the writer raises what it raises."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before
