"""Defines a stage: a pure function, its inputs by id, its contract and its rules.

runner.py runs stages, judge.py judges their results, registry.py finds all of them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict

from quant_core.errors import UsageError
from quant_core.graph.compute import Compute
from quant_core.market.contracts.split import Contract, Split

Severity = Literal["block", "warn"]
INJECTED = ("params", "compute", "sleeve", "as_of", "contracts", "landing", "switched_off")
EVERY = ".*"


Shown = Literal["selection", "portfolio", "figures"]
C = TypeVar("C", bound="Context")


class Context(Protocol):
    """The state of a run, which can run a stage: `graph/context.py`."""

    def after(self: C, spec: StageSpec, *, compute: Compute | None = None) -> C:
        """Run a stage and return the context with one more reference."""


class Params(BaseModel):
    """Root of every stage's parameters: frozen, strict, JSON-typed, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NoParams(Params):
    """Parameters of a stage that has none."""


@dataclass(frozen=True)
class TableRule:
    """A tier 2 rule: a pure function that reads a whole valid table and reports what is wrong with it.

    Attributes
    ----------
    name : str
    check : callable
        Takes the table, returns None when it is satisfied, else one sentence saying what it saw.
    severity : "block" or "warn"
        A broken blocking rule commits nothing.
    """

    name: str
    check: Callable[[pl.DataFrame], str | None]
    severity: Severity = "block"

    @property
    def doc(self) -> str:
        """First line of the rule's docstring."""
        return (inspect.getdoc(self.check) or "").partition("\n")[0]


@dataclass(frozen=True)
class Derived:
    """A contract that follows from that of an input; it is known once a registry has joined the stages.

    Attributes
    ----------
    source : str
        Stage id of the input.
    contract : callable
        Takes the input's contract, returns the output's.
    """

    source: str
    contract: Callable[[Contract], Contract]


@dataclass(frozen=True)
class PerSleeve:
    """A contract that depends on the parameters of the sleeve.

    Attributes
    ----------
    default : Contract
        Of a sleeve that sets none of them: what the definition of the stage shows.
    contract : callable
        Takes params, the contracts of the inputs by argument, and the names whose tables are switched off; returns the
        contract of the sleeve's table.
    """

    default: Contract
    contract: Callable[[Any, Mapping[str, Contract], Collection[str]], Contract]


@dataclass(frozen=True)
class Switch:
    """How a sleeve turns a stage off; a stage that is off has an empty table.

    Attributes
    ----------
    is_on : callable
        Takes the params of the stage.
    remedy : str
        One sentence on how to turn it on.
    """

    is_on: Callable[[Any], bool]
    remedy: str


def derive_contract(source: str, contract: Callable[[Contract], Contract]) -> Derived:
    """Let the contract of a stage follow from that of the input `source`; see `Derived`."""
    return Derived(source, contract)


@dataclass(frozen=True)
class StageSpec:
    """A stage as found in its module: calling it calls the function.

    Attributes
    ----------
    id : str
        "room.table", for example "inference.conviction".
    function : callable
        Takes one DataFrame per input and one mapping of stage id to DataFrame per pattern, then keyword-only whichever
        of `params`, `compute`, `sleeve`, `as_of`, `contracts`, `landing`, `switched_off` it names. Returns a DataFrame
        or a Split. With `landing` it touches the outside world.
    inputs : mapping of argument to stage id
        "room.table" for the valid rows, "room.table#exclusions" for what was excluded there, "room.table#actions" for
        corporate actions that came with them. The registry adds the tables of the pattern, as "argument__table".
    declared : Contract, Derived or PerSleeve
        The contract as the stage declares it; `output` is the contract itself.
    params : type of Params
    rules : TableRule, ...
        Tier 2, judged before the commit.
    budgets : mapping of rule name to share of rows
        Above its share a rule fails the stage; "*" bounds the sum of all.
    carried : rule names
        Rules whose rows live on in another one, such as a later version: they count neither as rows nor as lost.
    conserves : str, optional
        The input whose rows must all come out, as valid rows or as exclusions.
    metrics : callable, optional
        Takes the valid table, returns aggregate numbers for the ledger.
    publishes : bool
        The table holds documents (name, media_type, content) that are also written under `reports/`.
    pattern : tuple of argument and room, optional
        An input "room.*": the tables of that room which hold a column named by `names`.
    names : callable, optional
        Takes params, returns the columns the stage reads through its pattern, each with who names it.
    switch : Switch, optional
        How a sleeve turns the stage off.
    takes : str, optional
        Table of the sleeve file its parameters come from: `kind`, and all other keys as `options`. Default: the table
        of its room.
    is_recomputable : bool
        Old versions of its table may be deleted, because replay computes the same bytes again.
    shows : "selection", "portfolio" or "figures", optional
        What a comparison of two runs reads from its table.
    input_contracts : mapping of argument to Contract
        Of the inputs that are valid rows. Filled in by the registry, offered as `contracts`.
    given : Params, optional
        The parameters of one sleeve, where the registry is that of its plan.
    switched_off : mapping of name to sentence
        Names whose table the sleeve has switched off, with what that means. Filled in by the registry of a plan.
    """

    id: str
    function: Callable[..., pl.DataFrame | Split]
    inputs: Mapping[str, str]
    declared: Contract | Derived | PerSleeve
    params: type[Params] = NoParams
    rules: Sequence[TableRule] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    carried: frozenset[str] = frozenset()
    conserves: str | None = None
    metrics: Callable[[pl.DataFrame], Mapping[str, float]] | None = None
    publishes: bool = False
    pattern: tuple[str, str] | None = None
    names: Callable[[Any], Mapping[str, str]] | None = None
    switch: Switch | None = None
    takes: str | None = None
    is_recomputable: bool = False
    shows: Shown | None = None
    input_contracts: Mapping[str, Contract] = field(default_factory=dict)
    given: Params | None = None
    switched_off: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def output(self) -> Contract:
        """The contract of the table.

        Raises
        ------
        UsageError
            It derives from an input and the stage does not come from a registry.
        """
        if isinstance(self.declared, Contract):
            return self.declared
        if isinstance(self.declared, PerSleeve):
            if self.given is None:
                return self.declared.default
            return self.declared.contract(self.given, self.input_contracts, self.switched_off)
        for argument, contract in self.input_contracts.items():
            if self.inputs[argument] == self.declared.source:
                return self.declared.contract(contract)
        raise UsageError(
            f"the contract of {self.id} derives from {self.declared.source}: take the stage of a registry."
        )

    @property
    def name(self) -> str:
        """The id."""
        return self.id

    @property
    def room(self) -> str:
        """First part of the id."""
        return self.id.partition(".")[0]

    @property
    def doc(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def wants(self) -> frozenset[str]:
        """Which of the injected keywords the function names."""
        return frozenset(inspect.signature(self.function).parameters) & frozenset(INJECTED)

    @property
    def parents(self) -> tuple[str, ...]:
        """Stage ids this one reads, without parts, in order, each once."""
        return tuple(dict.fromkeys(source.partition("#")[0] for source in self.inputs.values()))

    def is_in_pattern(self, argument: str) -> bool:
        """Whether an input is one of the tables of the pattern."""
        return self.pattern is not None and argument.startswith(f"{self.pattern[0]}__")

    def arguments(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
        """Return the function's arguments: its inputs as frames, those of the pattern as one mapping by stage id."""
        if self.pattern is None:
            return dict(frames)
        single = {name: frame for name, frame in frames.items() if not self.is_in_pattern(name)}
        several = {self.inputs[name]: frame for name, frame in frames.items() if name not in single}
        return {**single, self.pattern[0]: several}

    def columns(self, argument: str) -> tuple[str, ...] | None:
        """Return the columns read of an input, None for all; of a table of the pattern its key and the named ones."""
        if not self.is_in_pattern(argument) or self.names is None:
            return None
        contract = self.input_contracts[argument]
        named = self.names(self.given or self.params())
        return tuple(name for name in contract.names if name in contract.key or name in named)

    @property
    def whole_inputs(self) -> tuple[str, ...]:
        """Inputs that are read with all their columns: those outside the pattern."""
        return tuple(source for argument, source in self.inputs.items() if not self.is_in_pattern(argument))

    @property
    def is_edge(self) -> bool:
        """Whether it touches the outside world, so that it may fail and succeed later."""
        return "landing" in self.wants

    def __call__(self, *args: Any, **kwargs: Any) -> pl.DataFrame | Split:  # noqa: D102 - calls the function
        return self.function(*args, **kwargs)

    def execute(self, context: C, *, compute: Compute | None = None) -> C:
        """Load inputs by reference, run, judge, commit and record; return the context with one more reference."""
        return context.after(self, compute=compute)


def stage(
    id: str,
    *,
    inputs: Mapping[str, str] | None = None,
    output: Contract | Derived | PerSleeve,
    names: Callable[[Any], Mapping[str, str]] | None = None,
    switch: Switch | None = None,
    takes: str | None = None,
    is_recomputable: bool = False,
    shows: Shown | None = None,
    rules: Sequence[TableRule] = (),
    budgets: Mapping[str, float] | None = None,
    carried: Iterable[str] = (),
    conserves: str | None = None,
    metrics: Callable[[pl.DataFrame], Mapping[str, float]] | None = None,
    publishes: bool = False,
) -> Callable[[Callable[..., pl.DataFrame | Split]], StageSpec]:
    """Make a function a stage. Its params model is read from the annotation of its `params` keyword.

    Raises
    ------
    UsageError
        The function's arguments do not match `inputs`, `id` is not "room.table", `output` derives from what is not an
        input, or there is a pattern "room.*" without `names`, `names` without a pattern, or a second pattern.
    """
    sources = dict(inputs or {})
    patterns = [
        (argument, source.removesuffix(EVERY)) for argument, source in sources.items() if source.endswith(EVERY)
    ]
    if len(patterns) > 1 or bool(patterns) != (names is not None):
        raise UsageError(f"stage {id!r}: one input such as 'features.*' goes with one function of `names`.")
    if isinstance(output, Derived) and ("#" in output.source or output.source not in sources.values()):
        raise UsageError(f"stage {id!r}: its contract derives from {output.source!r}, which is not an input table.")

    def as_stage(function: Callable[..., pl.DataFrame | Split]) -> StageSpec:
        arguments = set(inspect.signature(function).parameters) - set(INJECTED)
        if arguments != set(sources) or id.count(".") != 1:
            raise UsageError(f"stage {id!r}: arguments {sorted(arguments)} do not match inputs {sorted(sources)}.")
        hints = typing.get_type_hints(function)
        return StageSpec(
            id=id,
            function=function,
            inputs={argument: source for argument, source in sources.items() if not source.endswith(EVERY)},
            declared=output,
            params=hints.get("params", NoParams),
            rules=tuple(rules),
            budgets=dict(budgets or {}),
            carried=frozenset(carried),
            conserves=conserves,
            metrics=metrics,
            publishes=publishes,
            pattern=patterns[0] if patterns else None,
            names=names,
            switch=switch,
            takes=takes,
            is_recomputable=is_recomputable,
            shows=shows,
        )

    return as_stage
