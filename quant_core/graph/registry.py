"""All stages of the graph, found by type, in an order in which each can run. What one stage is lives in stage.py."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from graphlib import CycleError, TopologicalSorter

from quant_core.errors import UsageError
from quant_core.graph.catalog import Catalog, collect
from quant_core.graph.stage import StageSpec


class StageRegistry(Catalog[StageSpec]):
    """Stages by id, each told the contracts of its inputs; `get` of an unknown id is an error with the near matches.

    Raises
    ------
    UnknownNameError
        A stage reads one that is not among them.
    UsageError
        The stages feed each other in a circle.
    """

    def __init__(self, stages: Iterable[StageSpec]) -> None:
        super().__init__("stage", {spec.id: spec for spec in stages})
        for spec in self.values():
            for parent in spec.parents:
                self[parent]
        for spec in self.ordered():
            self._entries[spec.id] = self.joined(spec)

    @classmethod
    @cache
    def load(cls, package: str) -> StageRegistry:
        """Collect the stages of every room of `package`: its sub-packages, never its top modules."""
        root = importlib.import_module(package)
        rooms = [info.name for info in pkgutil.iter_modules(root.__path__) if info.ispkg]
        return cls(spec for room in rooms for spec in collect(f"{package}.{room}", StageSpec, title="stage").values())

    def get(self, id: str, default: object = None) -> StageSpec:
        """Return the stage of that id, or raise UnknownNameError with the near matches."""
        return self[id]

    def joined(self, spec: StageSpec) -> StageSpec:
        """Return a stage with the contracts of its inputs, as this registry has them."""
        sources = {argument: source for argument, source in spec.inputs.items() if "#" not in source}
        return replace(spec, input_contracts={argument: self[id].output for argument, id in sources.items()})

    def ordered(self, only: Iterable[str] | None = None) -> tuple[StageSpec, ...]:
        """Return the stages so that each follows its inputs; ties by id.

        Parameters
        ----------
        only : iterable of stage ids, optional
            Default: all.

        Raises
        ------
        UsageError
            The stages feed each other in a circle.
        """
        wanted = set(self if only is None else (self[id].id for id in only))
        sorter = TopologicalSorter({id: set(self[id].parents) for id in self})
        try:
            sorter.prepare()
        except CycleError as error:
            raise UsageError(f"stages feed each other in a circle: {' -> '.join(error.args[1])}.") from error
        order: list[StageSpec] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            order += [self[id] for id in ready if id in wanted]
            sorter.done(*ready)
        return tuple(order)
