"""Threads over fixed blocks of columns: the only parallelism of kernels. Compiling them lives in _jit.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

P = TypeVar("P")

BLOCK = 32
"""Columns per block. A constant: blocks depend on the shape of the data, never on the number of workers, and 32 columns
of a 252-row window (64 KiB) stay in the second-level cache."""


def default_threads() -> int:
    """Return the number of threads used where the caller names none."""
    return os.cpu_count() or 1


def run_blocks(kernel_call: Callable[[slice], None], n_columns: int, *, threads: int | None = None) -> None:
    """Call `kernel_call` once per block of columns (or of rows), each filling its own part of a shared output.

    Parameters
    ----------
    kernel_call : callable
        Takes the block as a slice and writes only there, so the bits are the same at any number of threads. It runs
        in parallel as far as its kernels release the GIL.
    n_columns : int
    threads : int, optional
        Default: `default_threads()`.

    Raises
    ------
    Whatever a block raises; of several the first block's error.
    """
    blocks = [slice(first, min(first + BLOCK, n_columns)) for first in range(0, n_columns, BLOCK)]
    run_parts(kernel_call, blocks, threads=threads)


def run_parts(call: Callable[[P], None], parts: Sequence[P], *, threads: int | None = None) -> None:
    """Call `call` once per part of some work, in threads; see `run_blocks`, which cuts the parts itself."""
    workers = min(threads or default_threads(), len(parts))
    if workers <= 1:
        for part in parts:
            call(part)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="kernel") as pool:
        for done in [pool.submit(call, part) for part in parts]:
            done.result()
