"""One BLAS thread while a number that is committed is computed: more of them would change its last bits.

How windows are spread over processes is the compute engine's business (graph/compute.py).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from quant_core.meter import loading


def one_thread() -> AbstractContextManager[Any]:
    """Limit every linear algebra library to one thread."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1)
    return limited


@cache
def _controller() -> ThreadpoolController:
    """Look for the libraries once, after all of them are loaded: 1.1 ms that each window would pay per method."""
    with loading():
        import skfolio.optimization  # noqa: F401 - loads every library the methods use

    return ThreadpoolController()
