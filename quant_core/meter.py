"""Meters: how much of a stage's time is validation of tables, and how much is loading of libraries.

What validation finds is the business of market/contracts; who imports a heavy library wraps the import in `loading()`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from time import perf_counter
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Meter:
    """Seconds of validation and of loading while it ran; one inside another counts once.

    Attributes
    ----------
    seconds : float
        Validation.
    loading : float
        Imports, and validation that had to load a library first; both happen once in a process.
    """

    seconds: float = 0.0
    loading: float = 0.0
    depth: int = 0


_running: ContextVar[Meter | None] = ContextVar("validation_meter", default=None)


@contextmanager
def measure_validation() -> Iterator[Meter]:
    """Measure the time of validation and of loading inside the block."""
    meter = Meter()
    token = _running.set(meter)
    try:
        yield meter
    finally:
        _running.reset(token)


@contextmanager
def loading() -> Iterator[None]:
    """Count what is imported inside as loading; inside a validation that is done already."""
    meter = _running.get()
    if meter is None or meter.depth:
        yield
        return
    meter.depth += 1
    start = perf_counter()
    try:
        yield
    finally:
        meter.depth -= 1
        meter.loading += perf_counter() - start


def count_validation(function: Callable[P, R]) -> Callable[P, R]:
    """Let the time of a function count as validation."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        meter = _running.get()
        if meter is None:
            return function(*args, **kwargs)
        meter.depth += 1
        start, loaded = perf_counter(), len(sys.modules)
        try:
            return function(*args, **kwargs)
        finally:
            meter.depth -= 1
            if meter.depth == 0 and len(sys.modules) > loaded:
                meter.loading += perf_counter() - start
            elif meter.depth == 0:
                meter.seconds += perf_counter() - start

    return call
