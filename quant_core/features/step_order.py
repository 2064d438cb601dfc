"""The steps a feature builds on, found by name: in which order they run, and how many bars they read.

Running them lives in engine.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quant_core.errors import UnknownNameError, UsageError
from quant_core.features.steps import INPUTS, Feature, FeatureCatalog, Ingredient, Step
from quant_core.graph.catalog import Catalog

NO_WINDOWS = ("min_count", "periods_per_year")
"""Whole numbers among the parameters that do not count bars a value reads."""


@dataclass(frozen=True)
class Reach:
    """The bars a step reads.

    Attributes
    ----------
    is_cross_sectional : bool
        Whether it reads other symbols, itself or through its inputs.
    memory : int, optional
        How many dates it reads, the newest included; None: all before it.
    """

    is_cross_sectional: bool
    memory: int | None


@dataclass(frozen=True, eq=False)
class Call:
    """A step as it will run.

    Attributes
    ----------
    step : Step
    inputs : names of bar columns, `returns` and other steps, in call order
    done_with : names no later call of the phase reads
    """

    step: Step
    inputs: tuple[str, ...]
    done_with: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Phase:
    """Calls that run one after the other on a tile: of some symbols, or of all where columns meet.

    Attributes
    ----------
    calls : Call, ...
    is_cross_sectional : bool
    keeps : names of steps that become columns of the table, wanted or read by a later phase
    """

    calls: tuple[Call, ...]
    is_cross_sectional: bool
    keeps: frozenset[str]


@dataclass(frozen=True, eq=False)
class FeaturePlan:
    """The phases and inputs to compute some features.

    Attributes
    ----------
    names : str, ...
        The features wanted, in that order.
    phases : Phase, ...
    reads : names of INPUTS that any step reads
    memory : int, optional
        Bars the values read, the newest included; None: all before it.
    """

    names: tuple[str, ...]
    phases: tuple[Phase, ...]
    reads: frozenset[str]
    memory: int | None

    @property
    def is_cross_sectional(self) -> bool:
        """Whether symbols meet in any of them."""
        return any(phase.is_cross_sectional for phase in self.phases)


def plan_of(names: Iterable[str], among: Catalog[Feature]) -> FeaturePlan:
    """Plan the computation of some features: each step once, as early as its inputs allow.

    Raises
    ------
    UnknownNameError, UsageError
        As `order_steps` does.
    """
    wanted = tuple(dict.fromkeys(names))
    inputs = {step: inputs_of(step, among) for step in order_steps(wanted, among)}
    at: dict[str, int] = {}
    # Even phases run on blocks of symbols, odd ones on all symbols.
    for step, sources in inputs.items():
        soonest = max((at[name] for name in sources if name in at), default=0)
        at[step.name] = soonest + (soonest % 2 != step.is_cross_sectional)
    phases = []
    for number in sorted(set(at.values())):
        own = {step: sources for step, sources in inputs.items() if at[step.name] == number}
        later = {name for step, sources in inputs.items() if at[step.name] > number for name in sources}
        keeps = {step.name for step in own} & {*wanted, *later}
        phases.append(Phase(_calls(own), bool(number % 2), frozenset(keeps)))
    reaches = reaches_of(wanted, among)
    memories = [reaches[name].memory for name in wanted]
    known = [bars for bars in memories if bars is not None]
    return FeaturePlan(
        wanted,
        tuple(phases),
        frozenset(name for sources in inputs.values() for name in sources if name in INPUTS),
        max(known, default=1) if len(known) == len(memories) else None,
    )


def _calls(inputs: Mapping[Step, Sequence[str]]) -> tuple[Call, ...]:
    last: dict[str, Step] = {}
    for step, sources in inputs.items():
        last |= dict.fromkeys((*sources, step.name), step)
    done: dict[Step, list[str]] = {}
    for name, step in last.items():
        done.setdefault(step, []).append(name)
    return tuple(Call(step, tuple(sources), tuple(done.get(step, ()))) for step, sources in inputs.items())


def order_steps(names: Iterable[str], among: Catalog[Feature]) -> tuple[Step, ...]:
    """Return the named features and the steps they build on, each once and after its inputs.

    Raises
    ------
    UnknownNameError
        A name, or the input of a step, that is not known; lists the near matches.
    UsageError
        Steps feed each other in a circle.
    """
    done: dict[str, Step] = {}

    def visit(entry: Step, path: tuple[str, ...]) -> None:
        if entry.name in path:
            raise UsageError(f"features feed each other in a circle: {' -> '.join((*path, entry.name))}.")
        for name in inputs_of(entry, among):
            if name not in INPUTS and name not in done:
                visit(find_step(name, among), (*path, entry.name))
        done[entry.name] = entry

    for name in names:
        if name not in done:
            visit(find_step(name, among), ())
    return tuple(done.values())


def find_step(name: str, among: Catalog[Feature]) -> Step:
    """Return the feature or ingredient of that name.

    Raises
    ------
    UnknownNameError
        An unknown name; lists the features with near names.
    """
    return _ingredients(among).get(name) or among[name]


def inputs_of(entry: Step, among: Catalog[Feature]) -> tuple[str, ...]:
    """Return the names of a step's inputs, in call order; in a grid, the name of a grid is its entry of that window.

    Raises
    ------
    UnknownNameError
        Neither a bar column nor a step; lists the near matches.
    UsageError
        The name is that of a step and of a grid.
    """
    return tuple(_input(entry, name, among) for name in entry.inputs)


def memory_of(name: str, among: Catalog[Feature]) -> int | None:
    """Return how many bars a value reads, the newest included; None: all before it; see `reaches_of`."""
    return 1 if name in INPUTS else reaches_of([name], among)[name].memory


def reaches_of(names: Iterable[str], among: Catalog[Feature]) -> dict[str, Reach]:
    """Return the reach of the named features and of the steps they build on, each after its inputs.

    A step reads the bars it declares; else all whole numbers among its parameters may be windows, over those of its
    inputs, and it reads at least the bars of its warm-up. It reads no less than any of its inputs.
    """
    found: dict[str, Reach] = {}
    for entry in order_steps(names, among):
        below = [found[name] if name in found else Reach(False, 1) for name in inputs_of(entry, among)]
        is_cross_sectional = entry.is_cross_sectional or any(reach.is_cross_sectional for reach in below)
        known = [reach.memory for reach in below if reach.memory is not None]
        if entry.has_infinite_memory or len(known) < len(below):
            memory = None
        elif entry.declared_memory is not None:
            memory = max(entry.declared_memory, *known)
        else:
            own = sum(value for key, value in entry.parameters.items() if type(value) is int and key not in NO_WINDOWS)
            memory = max(own + max(known), entry.warmup + 1 if isinstance(entry, Feature) else 1)
        found[entry.name] = Reach(is_cross_sectional, memory)
    return found


def _input(entry: Step, name: str, among: Catalog[Feature]) -> str:
    ingredients = _ingredients(among)
    in_grid = None if entry.window is None else f"{name}{entry.window}"
    is_grid = in_grid is not None and (in_grid in among or in_grid in ingredients)
    if name in INPUTS or name in among or name in ingredients:
        if is_grid:
            raise UsageError(f"input {name!r} of {entry.name!r} may also mean {in_grid!r}: rename one of them.")
        return name
    if in_grid is None or not is_grid:
        raise UnknownNameError(f"input of feature {entry.name!r}:", name, [*INPUTS, *among, *ingredients])
    return in_grid


def _ingredients(among: Catalog[Feature]) -> Mapping[str, Ingredient]:
    return among.ingredients if isinstance(among, FeatureCatalog) else {}
