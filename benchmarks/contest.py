"""What a benchmark is: two ways to one answer, timed in turn in one process. The contests stand in the other modules.

Times of two runs differ by what else the machine does; the ratio of neighbours in one run hardly does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

LEAST_REPEATS, MOST_REPEATS = 5, 25


@dataclass(frozen=True)
class Contest:
    """Our way and a peer's way to one answer.

    Attributes
    ----------
    name : str
        What is computed, and of which size.
    peer : str
        Whom we are held against, with its version.
    ours, theirs : callable
        Without arguments; data are made beforehand.
    agree : callable
        Takes both answers and raises AssertionError when they differ: a faster wrong answer is no answer.
    moved : int
        Bytes that must at least be read and written: how close to copying memory our way comes.
    """

    name: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    agree: Callable[[Any, Any], None]
    moved: int


@dataclass(frozen=True)
class Topic:
    """A family of contests as found in its module.

    Attributes
    ----------
    name : str
    function : callable
        Takes the share of the full size to run at and yields contests; what they need lives until the next one.
    """

    name: str
    function: Callable[[float], Iterator[Contest]]

    def __call__(self, share: float) -> Iterator[Contest]:  # noqa: D102 - see `function`
        return self.function(share)


def topic(name: str) -> Callable[[Callable[[float], Iterator[Contest]]], Topic]:
    """Make a generator of contests a topic."""

    def made(function: Callable[[float], Iterator[Contest]]) -> Topic:
        return Topic(name, function)

    return made


@dataclass(frozen=True)
class Measured:
    """What a contest came to.

    Attributes
    ----------
    ours, theirs : float
        Median seconds.
    ratio, lower, upper : float
        Median and quartiles of ours / theirs in neighbouring repeats; below 1 ours is faster.
    repeats : int
    """

    contest: Contest
    ours: float
    theirs: float
    ratio: float
    lower: float
    upper: float
    repeats: int


def measured(contest: Contest, *, seconds: float) -> Measured:
    """Hold both answers against each other once, then time both in turn for about `seconds`, five times at least.

    Raises
    ------
    AssertionError
        The answers differ.
    """
    contest.agree(contest.ours(), contest.theirs())
    pairs: list[tuple[float, float]] = []
    until = time.perf_counter() + seconds
    while len(pairs) < LEAST_REPEATS or (time.perf_counter() < until and len(pairs) < MOST_REPEATS):
        if len(pairs) % 2:  # who goes first finds another cache
            theirs, ours = duration(contest.theirs), duration(contest.ours)
        else:
            ours, theirs = duration(contest.ours), duration(contest.theirs)
        pairs.append((ours, theirs))
    lower, ratio, upper = statistics.quantiles((ours / theirs for ours, theirs in pairs), n=4)
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Measured(contest, ours, theirs, ratio, lower, upper, len(pairs))


def duration(function: Callable[[], Any]) -> float:
    """Return the seconds a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def copy_bandwidth(size: int = 1 << 27) -> float:
    """Return how many bytes a second one thread reads and writes when it copies `size` bytes: median of nine."""
    source = np.ones(size // 8)
    target = np.zeros_like(source)
    return 2.0 * size / statistics.median(duration(lambda: np.copyto(target, source)) for _ in range(9))


def scaled(full: int, share: float, *, least: int) -> int:
    """Return `share` of a full size, `least` at the least."""
    return max(least, round(full * share))


def named(package: str) -> str:
    """Return a package with its version."""
    return f"{package} {version(package)}"
