"""NumericalWorkspace: matrices lent to kernels and reused, so that block after block allocates nothing.

A fresh matrix costs a page fault per 4 KiB, about as much as the moving mean that fills it. Scratch of a fixed size is
each kernel's own business.
"""

from __future__ import annotations

import math
import sys
import threading
from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_ACTIVE = threading.local()
# References to a matrix that is not in use: the list it is kept in, the loop variable, the argument of getrefcount.
_UNUSED = 3


class NumericalWorkspace(AbstractContextManager["NumericalWorkspace"]):
    """A store of matrices of one thread; within `with`, `Kernel.apply` takes its `out` from here.

    A matrix is free again as soon as nothing outside refers to it or to a view of it: nothing must be given back.

    Parameters
    ----------
    limit : int
        Bytes kept at most; beyond it matrices are allocated and forgotten as usual.
    """

    def __init__(self, limit: int = 1 << 28) -> None:
        self._limit = limit
        self._kept: list[Matrix] = []
        self._outer: NumericalWorkspace | None = None

    @property
    def nbytes(self) -> int:
        """Bytes kept, lent or not."""
        return sum(matrix.nbytes for matrix in self._kept)

    def lend(self, shape: tuple[int, ...]) -> Matrix:
        """Return a float64 matrix in C order; what it holds is left from its last use."""
        size = math.prod(shape)
        for matrix in self._kept:
            if matrix.size == size and sys.getrefcount(matrix) == _UNUSED:
                return matrix.reshape(shape)
        fresh = np.empty(size)
        if self.nbytes + fresh.nbytes <= self._limit:
            self._kept.append(fresh)
        return fresh.reshape(shape)

    def __enter__(self) -> NumericalWorkspace:
        self._outer = getattr(_ACTIVE, "workspace", None)
        _ACTIVE.workspace = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ACTIVE.workspace = self._outer


def empty(shape: tuple[int, ...]) -> Matrix:
    """Return a matrix of this thread's workspace, a fresh one where none is active."""
    workspace: NumericalWorkspace | None = getattr(_ACTIVE, "workspace", None)
    return np.empty(shape) if workspace is None else workspace.lend(shape)
