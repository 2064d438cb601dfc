"""All stages of the graph, found by type, in an order in which each can run. What one stage is lives in stage.py.

A registry is that of the code, or that of one sleeve's plan: then a stage reads only the tables its own parameters
name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from graphlib import CycleError, TopologicalSorter

from quant_core.errors import UnknownKeyError, UnknownNameError, UsageError
from quant_core.graph.catalog import Catalog, collect
from quant_core.graph.stage import Params, StageSpec


class StageRegistry(Catalog[StageSpec]):
    """Stages by id, each with the contracts of its inputs; `get` of an unknown id is an error with the near matches.

    Parameters
    ----------
    stages : iterable of StageSpec
    params : mapping of stage id to Params, optional
        Parameters of one sleeve. Default: a pattern is expanded to what the default parameters name.

    Raises
    ------
    UnknownNameError
        A stage reads one that is not among them, or names a column that no table of its pattern holds.
    UsageError
        The stages feed each other in a circle, or two tables of a pattern hold a column of one name.
    """

    def __init__(self, stages: Iterable[StageSpec], params: Mapping[str, Params] | None = None) -> None:
        super().__init__("stage", {spec.id: spec for spec in stages})
        self._params = params
        for spec in [spec for spec in self.values() if spec.pattern]:
            self._entries[spec.id] = self._expand_pattern(spec)
        for spec in self.values():
            for parent in spec.parents:
                self[parent]
        for spec in self.order_stages():
            self._entries[spec.id] = self.join_contracts(spec)

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

    def join_contracts(self, spec: StageSpec) -> StageSpec:
        """Return a stage with the contracts of its inputs, as this registry has them."""
        sources = {argument: source for argument, source in spec.inputs.items() if "#" not in source}
        contracts = {argument: self[id].output for argument, id in sources.items()}
        return replace(spec, input_contracts=contracts, given=(self._params or {}).get(spec.id))

    def for_plan(self, params: Mapping[str, Params]) -> StageRegistry:
        """Return the stages as one sleeve runs them, with its parameters by stage id.

        Raises
        ------
        UnknownKeyError
            The sleeve names a column that no table of a pattern holds.
        """
        try:
            return StageRegistry(self.values(), params)
        except UnknownNameError as error:
            raise UnknownKeyError(error.kind, error.name, error.known) from error

    def _expand_pattern(self, spec: StageSpec) -> StageSpec:
        """Return a stage with the tables of its pattern that hold a named column, and with those switched off."""
        assert spec.pattern is not None
        assert spec.names is not None
        argument, room = spec.pattern
        given = self._params or {}
        tables = self._tables_by_column(room)
        named = spec.names(given.get(spec.id) or spec.params())
        off: dict[str, str] = {}
        for name, who in named.items():
            if name not in tables:
                raise UnknownNameError(f"column of {room}.* named by {who}", name, tables)
            table = self[tables[name]]
            if table.switch is not None and table.id in given and not table.switch.is_on(given[table.id]):
                off[name] = f"{who} reads {name}, and {table.id} is switched off. {table.switch.remedy}"
        read = sorted({tables[name] for name in named})
        inputs = {name: source for name, source in spec.inputs.items() if not spec.is_in_pattern(name)}
        inputs |= {f"{argument}__{id.partition('.')[2]}": id for id in read}
        return replace(spec, inputs=inputs, switched_off=off)

    def _tables_by_column(self, room: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for spec in self.values():
            if spec.room != room:
                continue
            for name in spec.output.names:
                if name not in spec.output.key and found.setdefault(name, spec.id) != spec.id:
                    raise UsageError(f"column {name!r} is in two tables: {found[name]} and {spec.id}.")
        return found

    def order_stages(self, only: Iterable[str] | None = None) -> tuple[StageSpec, ...]:
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
