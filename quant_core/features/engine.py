"""Run a plan over a table: tile by tile in threads, each step once per tile, each finished column written at once.

What a tile holds at a time is its live matrices: inputs and steps that a later step still reads, and the temporaries of
one step. A tile of symbols is [dates of its members, 32]; a tile of all symbols has at most CELLS cells, or four times
the memory of its features times N if that is more. Besides that there are the table's columns: those read, those asked
for, and those one phase leaves to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from quant_core.errors import PanelError
from quant_core.features.step_order import Call, FeaturePlan, Phase
from quant_core.features.tiles import ANY, LOWEST, SortedBars, Tile
from quant_core.kernels.scatter import Column, Places
from quant_core.kernels.threads import run_parts
from quant_core.kernels.workspace import NumericalWorkspace
from quant_core.market.panel import Mask, Matrix


@dataclass(frozen=True, eq=False)
class Job:
    """A plan for a table.

    Attributes
    ----------
    table : SortedBars
    plan : FeaturePlan
    context : mapping of str
        The values a step may name as keyword-only parameters beside its own settings.
    since : int64 [N]
        The date of each symbol from which on its rows are wanted.
    columns : mapping of str to float64 [R]
        Filled from there on: the features wanted.
    known : mapping of str to bool [R], optional
        Filled likewise: whether a value is known.
    """

    table: SortedBars
    plan: FeaturePlan
    context: Mapping[str, Any]
    since: Places
    columns: Mapping[str, Column]
    known: Mapping[str, Mask] = field(default_factory=dict)


def run(job: Job, *, threads: int | None = None) -> None:
    """Fill the columns of a job; the same bits at any number of threads.

    Raises
    ------
    PanelError
        A step returns another shape than it was given.
    """
    table, plan = job.table, job.plan
    values = dict(table.columns)
    if "returns" in plan.reads:
        values["returns"] = table.returns(threads=threads)
    # Rows from here on feed the windows of what is wanted.
    floor = 0 if plan.memory is None else max(int(job.since.min(initial=len(table.dates))) - plan.memory + 1, 0)
    for number, phase in enumerate(plan.phases):
        later = {name for after in plan.phases[number + 1 :] for call in after.calls for name in call.inputs}
        is_last = number == len(plan.phases) - 1
        since = job.since if is_last else np.full_like(job.since, floor)
        if phase.is_cross_sectional:
            tiles = table.tiles_of_dates(since, plan.memory, floor)
        else:
            tiles = table.tiles_of_symbols(since, plan.memory if is_last else 1)
        wanted = {name: job.columns[name] for name in phase.keeps & job.columns.keys()}
        passed = {
            name: wanted[name] if name in wanted and not job.since.any() else np.empty(table.row.size)
            for name in phase.keeps & later
        }
        run_parts(Pass(job, phase, values, wanted, passed), tiles, threads=threads)
        values = {name: column for name, column in (values | passed).items() if name in later}


@dataclass(frozen=True, eq=False)
class Pass:
    """One phase, applied to the tiles of a table one by one.

    Attributes
    ----------
    job, phase : Job, Phase
    values : mapping of str to float64 [R]
        Columns to read: of bars, `returns`, and what earlier phases left.
    wanted, passed : mapping of str to float64 [R]
        Columns to fill: where the job wants them, and for later phases.
    lent : local
        A workspace per thread: matrices go from tile to tile.
    """

    job: Job
    phase: Phase
    values: Mapping[str, Column]
    wanted: Mapping[str, Column]
    passed: Mapping[str, Column]
    lent: threading.local = field(default_factory=threading.local)

    @cached_property
    def calls(self) -> list[tuple[str, Call, dict[str, Any]]]:
        """Name of each step, its call, and what it is given by name: the same on every tile."""
        context = self.job.context
        calls = [(call, call.step.parameters) for call in self.phase.calls]
        return [(call.step.name, call, {key: context[key] for key in own if key in context}) for call, own in calls]

    def __call__(self, tile: Tile) -> None:
        """Run the phase on one tile."""
        if not hasattr(self.lent, "workspace"):
            self.lent.workspace = NumericalWorkspace()
        matrices: dict[str, Matrix] = {}
        since = np.maximum(tile.since, self.job.since[tile.members])
        # Overflow and 0 / 0 follow IEEE: what is not finite is not known.
        with self.lent.workspace, np.errstate(all="ignore"):
            for name, call, given in self.calls:
                matrices[name] = self._compute(call, given, matrices, tile)
                self._write_columns(name, matrices[name], tile, since)
                for done in call.done_with:
                    del matrices[done]

    def _compute(self, call: Call, given: Mapping[str, Any], matrices: dict[str, Matrix], tile: Tile) -> Matrix:
        for name in call.inputs:
            if name not in matrices:
                matrices[name] = self.job.table.matrix(self.values.get(name), tile, LOWEST.get(name, ANY))
        found = call.step(*(matrices[name] for name in call.inputs), **given)
        shape = tile.height, len(tile.members)
        if np.shape(found) != shape:
            raise PanelError(f"feature {call.step.name!r} made {np.shape(found)} of {shape}.")
        return np.ascontiguousarray(found, dtype=np.float64)

    def _write_columns(self, name: str, matrix: Matrix, tile: Tile, since: Places) -> None:
        wanted, passed = self.wanted.get(name), self.passed.get(name)
        if passed is not None and passed is not wanted:
            self.job.table.write(matrix, tile, tile.since, passed)
        if wanted is not None:
            self.job.table.write(matrix, tile, since, wanted, self.job.known.get(name))
