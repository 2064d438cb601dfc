"""The one seam for parallelism: `Compute.map`. Serial is here, Ray in quant_assets/resources/compute.py.

Work handed to it is pure: it touches no file, ledger or tracker. No engine answers for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

I = TypeVar("I")
R = TypeVar("R")


@runtime_checkable
class Compute(Protocol):
    """Something that can apply a pure function to many items."""

    @property
    def name(self) -> str:
        """The engine's name, recorded with the run."""

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
            Pure and importable by name (a module-level function).
        items : iterable
        shared : object, optional
            The same large read-only input of all calls; sent once.
        cost : callable, optional
            Relative cost of an item, for engines that balance load.
        """


@dataclass(frozen=True)
class SerialCompute:
    """One call after the other in this process."""

    name: str = "serial"

    def map(
        self,
        function: Callable[[I, Any], R],
        items: Iterable[I],
        *,
        shared: Any = None,
        cost: Callable[[I], float] | None = None,
    ) -> list[R]:
        """Return `function(item, shared)` for each item, in item order."""
        return [function(item, shared) for item in items]
