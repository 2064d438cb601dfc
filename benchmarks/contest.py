"""What a benchmark is: two ways to one answer, timed in turn in one process. The contests stand in the other modules.

Times of two runs differ by what else the machine does; the ratio of neighbours in one run hardly does.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

LEAST_REPEATS, MOST_REPEATS = 5, 25

SLOW, ONCE = 2.0, 20.0
"""Seconds of a peer's call above which three repeats must do, and above which the call whose answer is checked is also
the one that counts."""


def plain_environment() -> dict[str, str]:
    """Return the environment of a process whose memory is to be what it is elsewhere, not what the contests keep."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}


@dataclass(frozen=True)
class Measured:
    """What a contest came to.

    Attributes
    ----------
    ours, theirs : float
        Median seconds.
    ratio, lower, upper : float
        Median and quartiles of theirs / ours in neighbouring repeats: how many times faster ours is.
    repeats : int
        Of the peer's call.
    bandwidth : float
        Bytes a second one thread reads and writes when it copies, just before.
    """

    contest: Contest
    ours: float
    theirs: float
    ratio: float
    lower: float
    upper: float
    repeats: int
    bandwidth: float

    @property
    def nanoseconds(self) -> float:
        """Of one of our cores for one element."""
        return 1e9 * self.ours * self.contest.threads[0] / max(self.contest.elements, 1)

    @property
    def copies(self) -> float:
        """How often the bytes that must be moved could have been copied meanwhile."""
        return self.ours * self.bandwidth / self.contest.moved


@dataclass(frozen=True)
class Target:
    """What a contest ought to come to.

    Attributes
    ----------
    text : str
    is_met : callable
        Judges what was measured.
    """

    text: str
    is_met: Callable[[Measured], bool]


def faster(times: float) -> Target:
    """Ask for at least `times` the peer's speed."""
    return Target(f"{times:g}x as fast", lambda found: found.ratio >= times)


def within(times: float) -> Target:
    """Ask for at most `times` the peer's time."""
    return Target(f"{times:g}x its time", lambda found: found.ratio * times >= 1.0)


def nanoseconds(limit: float) -> Target:
    """Ask for at most `limit` nanoseconds an element and core."""
    return Target(f"{limit:g} ns an element and core", lambda found: found.nanoseconds <= limit)


def copies(times: float) -> Target:
    """Ask for at most `times` the time of copying the bytes that must be moved."""
    return Target(f"{times:g}x copying its bytes", lambda found: found.copies <= times)


@dataclass(frozen=True)
class Contest:
    """Our way and a peer's way to one answer.

    Attributes
    ----------
    name : str
        What is computed, and of which size.
    peer : str
        The library we are measured against, with its version.
    ours, theirs : callable
        Without arguments; data are made beforehand.
    agree : callable
        Takes both answers and raises AssertionError when they differ: a faster wrong answer does not count.
    moved : int
        Bytes that must at least be read and written: how close to copying memory our way comes.
    elements : int
        Numbers that come out.
    threads : tuple of int
        Ours and theirs.
    targets : tuple of Target
    """

    name: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    agree: Callable[[Any, Any], None]
    moved: int
    elements: int = 0
    threads: tuple[int, int] = (1, 1)
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One figure of a reading.

    Attributes
    ----------
    text : str
    target : str
        Empty where nothing is asked for.
    is_met : bool, optional
    name : str
        What of the reading it is about; empty for all of it.
    """

    text: str
    target: str = ""
    is_met: bool | None = None
    name: str = ""


@dataclass(frozen=True)
class Reading:
    """What has no peer: figures of our way alone.

    Attributes
    ----------
    name : str
    take : callable
        Does the work and returns its figures.
    threads : int
    """

    name: str
    take: Callable[[], Sequence[Figure]]
    threads: int = 1


@dataclass(frozen=True)
class Skipped:
    """A contest that cannot be held here.

    Attributes
    ----------
    name, peer : str
    reason : str
    """

    name: str
    peer: str
    reason: str


Entry = Contest | Reading | Skipped


@dataclass(frozen=True)
class Topic:
    """A family of contests as found in its module.

    Attributes
    ----------
    name : str
    function : callable
        Takes the share of the full size to run at and yields contests; what they need lives until the next one.
    pools : tuple of int
        Thread pools it is run with, each in a process of its own: polars' and, where a peer has one, the peer's.
    is_heavy : bool
        Whether it takes minutes or gigabytes, and runs only when asked for.
    """

    name: str
    function: Callable[[float], Iterator[Entry]]
    pools: tuple[int, ...] = (1,)
    is_heavy: bool = False

    def __call__(self, share: float) -> Iterator[Entry]:  # noqa: D102 - see `function`
        return self.function(share)


def topic(
    name: str, *, pools: tuple[int, ...] = (1,), is_heavy: bool = False
) -> Callable[[Callable[[float], Iterator[Entry]]], Topic]:
    """Make a generator of contests a topic; see `Topic` for the arguments."""

    def made(function: Callable[[float], Iterator[Entry]]) -> Topic:
        return Topic(name, function, pools, is_heavy)

    return made


def measured(contest: Contest, *, seconds: float, size: int = 1 << 24) -> Measured:
    """Hold both answers against each other once, then time both in turn for about `seconds`, five times at least.

    Peers that take long are called less often; see SLOW and ONCE. `size` is that of the copy beside it.

    Raises
    ------
    AssertionError
        The answers differ.
    """
    answer = contest.ours()  # the first call may have to compile
    before = settled(contest.ours)
    start = time.perf_counter()
    expected = contest.theirs()
    once = time.perf_counter() - start
    after = settled(contest.ours) if once > ONCE else before
    contest.agree(answer, expected)
    del answer, expected
    bandwidth = copy_bandwidth(size)
    pairs = [(before, once), (after, once)] if once > ONCE else []
    least = LEAST_REPEATS if once <= SLOW else 3
    us, them = _calls(before, once), _calls(once, before)
    until = time.perf_counter() + seconds
    while once <= ONCE and (len(pairs) < least or (time.perf_counter() < until and len(pairs) < MOST_REPEATS)):
        if len(pairs) % 2:  # who goes first finds another cache
            theirs, ours = duration(contest.theirs, them), duration(contest.ours, us)
        else:
            ours, theirs = duration(contest.ours, us), duration(contest.theirs, them)
        pairs.append((ours, theirs))
    lower, ratio, upper = statistics.quantiles((theirs / ours for ours, theirs in pairs), n=4, method="inclusive")
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Measured(contest, ours, theirs, ratio, lower, upper, 1 if once > ONCE else len(pairs), bandwidth)


def _calls(own: float, other: float) -> int:
    """Return how many calls in a row take as long as one of the other side, ten at most, a tenth of a second at most.

    Where others share the machine, a long call is interrupted more often than a short one: the ratio would flatter the
    short one.
    """
    return max(1, min(10, round(min(other, 0.1) / own)))


def duration(function: Callable[[], Any], calls: int = 1) -> float:
    """Return the seconds a call takes, on the average of so many."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def settled(function: Callable[[], Any]) -> float:
    """Return the seconds a call takes once the process has room for its answer beside those that are held."""
    function()
    return duration(function)


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


def lacking(*modules: str) -> str:
    """Return why contests that need these modules cannot be held here; empty where they can."""
    absent = [name for name in modules if find_spec(name) is None]
    return f"{', '.join(absent)} not installed here; `make bench` brings it" if absent else ""
