"""What a stage is: a pure function, its inputs by id, its contract and its rules.

Running one lives in runner.py, judging its result in finish.py, finding all of them in registry.py.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from quant_core.errors import UsageError
from quant_core.market.contracts.split import Contract, Split

if TYPE_CHECKING:
    from quant_core.graph.compute import Compute
    from quant_core.graph.context import SelectionContext

Severity = Literal["block", "warn"]
INJECTED = ("params", "compute", "sleeve", "as_of", "contracts", "landing")


class Params(BaseModel):
    """Root of every stage's parameters: frozen, strict, JSON-typed, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NoParams(Params):
    """For stages with nothing to set."""


@dataclass(frozen=True)
class TableRule:
    """A tier 2 rule: a pure function that reads a whole valid table and says what is wrong with it.

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
    """A contract that follows from that of an input, known once a registry has brought the stages together.

    Attributes
    ----------
    source : str
        Stage id of the input.
    contract : callable
        Takes the input's contract, returns the output's.
    """

    source: str
    contract: Callable[[Contract], Contract]


def derived(source: str, contract: Callable[[Contract], Contract]) -> Derived:
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
        Takes one DataFrame per input, then keyword-only whichever of `params`, `compute`, `sleeve`, `as_of`,
        `contracts`, `landing` it names. Returns a DataFrame or a Split. With `landing` it touches the outside world.
    inputs : mapping of argument to stage id
        "room.table" for the valid rows, "room.table#exclusions" for what was excluded there, "room.table#actions" for
        corporate actions that came with them.
    declared : Contract or Derived
        What the stage says of its output; `output` is the contract itself.
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
    input_contracts : mapping of argument to Contract
        Of the inputs that are valid rows. Filled in by the registry, offered as `contracts`.
    """

    id: str
    function: Callable[..., pl.DataFrame | Split]
    inputs: Mapping[str, str]
    declared: Contract | Derived
    params: type[Params] = NoParams
    rules: Sequence[TableRule] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    carried: frozenset[str] = frozenset()
    conserves: str | None = None
    metrics: Callable[[pl.DataFrame], Mapping[str, float]] | None = None
    publishes: bool = False
    input_contracts: Mapping[str, Contract] = field(default_factory=dict)

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

    @property
    def is_edge(self) -> bool:
        """Whether it touches the outside world, and may therefore fail for a while."""
        return "landing" in self.wants

    def __call__(self, *args: Any, **kwargs: Any) -> pl.DataFrame | Split:  # noqa: D102 - calls the function
        return self.function(*args, **kwargs)

    def execute(self, context: SelectionContext, *, compute: Compute | None = None) -> SelectionContext:
        """Load inputs by reference, run, judge, commit and record; return the context with one more reference."""
        # The registry and the runner know stages, not the other way round.
        from quant_core.graph.registry import StageRegistry
        from quant_core.graph.runner import execute_stage

        return execute_stage(StageRegistry.load("quant_core").joined(self), context, compute=compute)


def stage(
    id: str,
    *,
    inputs: Mapping[str, str] | None = None,
    output: Contract | Derived,
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
        The function's arguments do not match `inputs`, `id` is not "room.table", or `output` derives from what is not
        an input.
    """
    sources = dict(inputs or {})
    if isinstance(output, Derived) and ("#" in output.source or output.source not in sources.values()):
        raise UsageError(f"stage {id!r}: its contract derives from {output.source!r}, which is not an input table.")

    def made(function: Callable[..., pl.DataFrame | Split]) -> StageSpec:
        arguments = set(inspect.signature(function).parameters) - set(INJECTED)
        if arguments != set(sources) or id.count(".") != 1:
            raise UsageError(f"stage {id!r}: arguments {sorted(arguments)} do not match inputs {sorted(sources)}.")
        hints = typing.get_type_hints(function)
        return StageSpec(
            id=id,
            function=function,
            inputs=sources,
            declared=output,
            params=hints.get("params", NoParams),
            rules=tuple(rules),
            budgets=dict(budgets or {}),
            carried=frozenset(carried),
            conserves=conserves,
            metrics=metrics,
            publishes=publishes,
        )

    return made
