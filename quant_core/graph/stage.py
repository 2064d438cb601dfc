"""What a stage is: a pure function, its inputs by id, its contract and its rules.

Running one lives in runner.py, judging its result in finish.py, finding all of them in registry.py.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from quant_core.errors import UsageError
from quant_core.market.contracts.split import Contract, Split

if TYPE_CHECKING:
    from quant_core.graph.compute import Compute
    from quant_core.graph.context import SelectionContext

Severity = Literal["block", "warn"]
INJECTED = ("params", "compute", "sleeve", "as_of")


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
class StageSpec:
    """A stage as found in its module: calling it calls the function.

    Attributes
    ----------
    id : str
        "room.table", for example "inference.conviction".
    function : callable
        Takes one DataFrame per input, then keyword-only whichever of `params`, `compute`, `sleeve`, `as_of` it names.
        Returns a DataFrame or a Split.
    inputs : mapping of argument to stage id
        "room.table" for the valid rows, "room.table#exclusions" for what was excluded there.
    output : Contract
    params : type of Params
    rules : TableRule, ...
        Tier 2, judged before the commit.
    budgets : mapping of rule name to share of rows
        Above its share a rule fails the stage; "*" bounds the sum of all.
    conserves : str, optional
        The input whose rows must all come out, as valid rows or as exclusions.
    metrics : callable, optional
        Takes the valid table, returns aggregate numbers for the ledger.
    publishes : bool
        The table holds documents (name, media_type, content) that are also written under `reports/`.
    """

    id: str
    function: Callable[..., pl.DataFrame | Split]
    inputs: Mapping[str, str]
    output: Contract
    params: type[Params] = NoParams
    rules: Sequence[TableRule] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    conserves: str | None = None
    metrics: Callable[[pl.DataFrame], Mapping[str, float]] | None = None
    publishes: bool = False

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

    def __call__(self, *args: Any, **kwargs: Any) -> pl.DataFrame | Split:  # noqa: D102 - calls the function
        return self.function(*args, **kwargs)

    def execute(self, context: SelectionContext, *, compute: Compute | None = None) -> SelectionContext:
        """Load inputs by reference, run, judge, commit and record; return the context with one more reference."""
        from quant_core.graph.runner import execute_stage  # the runner knows stages, not the other way round

        return execute_stage(self, context, compute=compute)


def stage(
    id: str,
    *,
    inputs: Mapping[str, str] | None = None,
    output: Contract,
    rules: Sequence[TableRule] = (),
    budgets: Mapping[str, float] | None = None,
    conserves: str | None = None,
    metrics: Callable[[pl.DataFrame], Mapping[str, float]] | None = None,
    publishes: bool = False,
) -> Callable[[Callable[..., pl.DataFrame | Split]], StageSpec]:
    """Make a function a stage. Its params model is read from the annotation of its `params` keyword.

    Raises
    ------
    UsageError
        The function's arguments do not match `inputs`, or `id` is not "room.table".
    """
    sources = dict(inputs or {})

    def made(function: Callable[..., pl.DataFrame | Split]) -> StageSpec:
        arguments = set(inspect.signature(function).parameters) - set(INJECTED)
        if arguments != set(sources) or id.count(".") != 1:
            raise UsageError(f"stage {id!r}: arguments {sorted(arguments)} do not match inputs {sorted(sources)}.")
        hints = typing.get_type_hints(function)
        return StageSpec(
            id=id,
            function=function,
            inputs=sources,
            output=output,
            params=hints.get("params", NoParams),
            rules=tuple(rules),
            budgets=dict(budgets or {}),
            conserves=conserves,
            metrics=metrics,
            publishes=publishes,
        )

    return made
