"""Ray behind the one seam for parallelism, `Compute`. The only importer of ray; serial is in graph/compute.py.

Work is pure, so it matters neither where a task runs nor that it runs again when its worker is lost.
"""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from threadpoolctl import threadpool_limits

from quant_assets.resources.orphans import ray_descendants, watch
from quant_core.errors import EngineError, QuantError

I = TypeVar("I")
R = TypeVar("R")

NAMESPACE = "quant"
# A task costs about 1 ms to send, so many items travel in groups; their borders depend on nothing but their number.
MOST_TASKS = 256
_IN_FLIGHT_PER_CPU = 4
_RETRIES = 1


class RayCompute:
    """Maps pure functions over Ray: the cluster `RAY_ADDRESS` names, else one started on this machine.

    It starts or attaches with its first map. `close`, or leaving it as a context manager, stops what it started and
    nothing else: a cluster it attached to goes on, and so does a connection this process had before.

    Attributes
    ----------
    name : str
        "ray".
    puts : int
        Objects put into Ray's store so far: one per map that shares something, however many tasks read it.
    """

    name = "ray"

    def __init__(self) -> None:
        self.puts = 0
        self._is_connected_by_us = False
        self._watcher: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def map(
        self,
        function: Callable[[I, Any], R],
        items: Iterable[I],
        *,
        shared: Any = None,
        cost: Callable[[I], float] | None = None,
    ) -> list[R]:
        """Return `function(item, shared)` for each item, in item order.

        Parameters
        ----------
        function : callable
            Pure and importable by name. It gets arrays in `shared` read-only, and its own come back read-only.
        items : iterable
        shared : object, optional
            Put into Ray's store once; tasks of one machine read the same memory.
        cost : callable, optional
            Relative cost of an item: the dearest are sent first.

        Raises
        ------
        QuantError
            As the function raised it.
        EngineError
            The function raised something else, or Ray failed. No other engine takes over.
        """
        work = list(items)
        if not work:
            return []
        self._connect()
        groups = groups_of(len(work))
        if cost is not None:
            costs = [cost(item) for item in work]
            groups.sort(key=lambda group: sum(costs[group.start : group.stop]), reverse=True)
        try:
            reference = None if shared is None else self._store_once(shared)
            calls = ((group, _task.remote(function, work[group.start : group.stop], reference)) for group in groups)
            answers = _gather(calls, most=_IN_FLIGHT_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1))))
        except RayError as error:
            raise EngineError(f"ray failed: {type(error).__name__}: {error}") from error
        return [answer for first in sorted(answers) for answer in answers[first]]

    def close(self) -> None:
        """Stop the Ray this object started. A later map starts it again."""
        if self._is_connected_by_us:
            self._is_connected_by_us = False
            ray.shutdown()
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            watcher.communicate()

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        address = os.environ.get("RAY_ADDRESS", "")
        if not address and os.environ.get("RAY_AUTH_MODE", "token") != "token":
            raise EngineError(
                "Ray runs the code of whoever reaches its ports. Unset RAY_AUTH_MODE: it asks for a token."
            )
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        started = {} if address else {"num_cpus": os.cpu_count(), "include_dashboard": False}
        before = ray_descendants()
        try:
            with _keep_sigterm():
                # "local", for without an address Ray attaches to any cluster that runs on this machine.
                ray.init(
                    address or "local",
                    namespace=NAMESPACE,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **started,
                )
        except (OSError, RuntimeError, ValueError, RayError) as error:
            if address:
                message = (
                    f"no Ray answers at RAY_ADDRESS={address}: {error}. If it asks for a token, RAY_AUTH_MODE=token."
                )
            else:
                message = f"Ray does not start on this machine: {error}"
            raise EngineError(message) from error
        self._is_connected_by_us = True
        if not address:
            self._watcher = watch(ray_descendants() - before)

    def _store_once(self, shared: Any) -> Any:
        self.puts += 1
        return ray.put(shared)


def ray_compute() -> RayCompute:
    """Return the engine of mode `ray`. Nothing starts before its first map."""
    return RayCompute()


def groups_of(n: int) -> list[range]:
    """Cut `n` items into at most `MOST_TASKS` groups of neighbours, up to the last of one size."""
    size = max(1, -(-n // MOST_TASKS))
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


@ray.remote(num_cpus=1, max_retries=_RETRIES)  # type: ignore[untyped-decorator]
def _task(function: Callable[[I, Any], R], items: Sequence[I], shared: Any) -> list[R]:
    """Apply `function` in a worker. One thread of BLAS: the last bits of its sums depend on their number."""
    with threadpool_limits(1):
        return [function(item, shared) for item in items]


def _gather(calls: Iterable[tuple[range, Any]], *, most: int) -> dict[int, list[Any]]:
    """Return the answers by the first item of their group, with at most `most` calls in flight at a time."""
    answers: dict[int, list[Any]] = {}
    pending: dict[Any, range] = {}
    try:
        for group, reference in calls:
            pending[reference] = group
            if len(pending) >= most:
                _collect(pending, answers)
        while pending:
            _collect(pending, answers)
    finally:
        # Calls are left only after an error or an interrupt; their answers are not read.
        for reference in pending:
            ray.cancel(reference)
    return answers


def _collect(pending: dict[Any, range], answers: dict[int, list[Any]]) -> None:
    """Move at least one finished call from `pending` to `answers`."""
    done: list[Any] = []
    while not done:
        # Ray's own wait is deaf to signals: returning each second lets an interrupt land.
        done, _ = ray.wait(list(pending), timeout=1)
    for reference in done:
        group = pending.pop(reference)
        try:
            answers[group.start] = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, QuantError):
                raise error.cause from error
            items = f"item {group.start}" if len(group) == 1 else f"an item from {group.start} to {group.stop - 1}"
            raise EngineError(f"{items} failed under ray: {type(error.cause).__name__}: {error.cause}") from error


@contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Restore the SIGTERM handler that Ray replaces, if there was one: a scheduler stops its runs by it."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main and before not in {signal.SIG_DFL, None}:
            signal.signal(signal.SIGTERM, before)
