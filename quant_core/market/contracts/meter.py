"""How long tables were held against their contracts: what validation costs a run. What it finds is split.py's."""

from __future__ import annotations

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
    """Seconds spent in judging tables while it ran; a judgement inside another counts once."""

    seconds: float = 0.0
    depth: int = 0


_running: ContextVar[Meter | None] = ContextVar("validation_meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what the metered calls inside take."""
    meter = Meter()
    token = _running.set(meter)
    try:
        yield meter
    finally:
        _running.reset(token)


def counted(function: Callable[P, R]) -> Callable[P, R]:
    """Let the time of a function count as validation."""

    @wraps(function)
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        meter = _running.get()
        if meter is None:
            return function(*args, **kwargs)
        meter.depth += 1
        start = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            meter.depth -= 1
            if meter.depth == 0:
                meter.seconds += perf_counter() - start

    return timed
