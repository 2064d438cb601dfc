"""The catalogue of all features, and the two decorators that make functions its entries.

A feature is a function in a family file: its name is the column, its positional parameters are its inputs, its
keyword-only parameters are its parameters, the first sentence of its docstring describes it. An ingredient is a shared
input that is not a column. A grid is one function under several windows. Their types live in steps.py, running them in
compute.py, their tables in families.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar, overload

from quant_core.errors import UsageError
from quant_core.features.step_order import order_steps
from quant_core.features.steps import (
    INPUTS,
    Feature,
    FeatureCatalog,
    Function,
    Grid,
    Ingredient,
    Step,
    parameters_of,
    steps_of,
)
from quant_core.graph.catalog import collect

Bound = float | Callable[[int], float]
S = TypeVar("S", bound=Step)


@overload
def feature(
    *,
    family: str,
    unit: str,
    warmup: int,
    lower: float | None = ...,
    upper: float | None = ...,
    has_infinite_memory: bool = ...,
    is_cross_sectional: bool = ...,
    memory: int | None = ...,
    windows: None = ...,
) -> Callable[[Function], Feature]: ...


@overload
def feature(
    *,
    family: str,
    unit: str,
    warmup: int | Callable[[int], int],
    lower: Bound | None = ...,
    upper: Bound | None = ...,
    has_infinite_memory: bool = ...,
    is_cross_sectional: bool = ...,
    memory: int | Callable[[int], int] | None = ...,
    windows: Sequence[int],
) -> Callable[[Function], Grid[Feature]]: ...


def feature(
    *,
    family: str,
    unit: str,
    warmup: int | Callable[[int], int],
    lower: Bound | None = None,
    upper: Bound | None = None,
    has_infinite_memory: bool = False,
    is_cross_sectional: bool = False,
    memory: int | Callable[[int], int] | None = None,
    windows: Sequence[int] | None = None,
) -> Callable[[Function], Feature] | Callable[[Function], Grid[Feature]]:
    """Make a function a feature, or a grid of them; see `Step` and `Feature` for the arguments.

    Parameters
    ----------
    memory : int, optional
        `declared_memory`.
    windows : sequence of int, optional
        Makes one feature per window, which its keyword-only parameter `window` is given. `warmup`, `lower`, `upper`
        and `memory` may be functions of the window; the first sentence of the docstring must contain `{window}`.

    Raises
    ------
    UsageError
        The function has no input, a parameter without default, no docstring, or a grid without `{window}` in it.
    """

    def at(window: int | None, function: Function) -> Feature:
        return Feature(
            function,
            is_cross_sectional,
            has_infinite_memory,
            _at(memory, window),
            window,
            family=family,
            unit=unit,
            warmup=_at(warmup, window) or 0,
            lower=_at(lower, window),
            upper=_at(upper, window),
        )

    if windows is None:
        return lambda function: _check_step(at(None, function), "feature")
    return lambda function: _grid(function, "feature", [at(window, function) for window in windows])


@overload
def ingredient(function: Function, /) -> Ingredient: ...


@overload
def ingredient(
    *, is_cross_sectional: bool = ..., has_infinite_memory: bool = ..., memory: int | None = ..., windows: None = ...
) -> Callable[[Function], Ingredient]: ...


@overload
def ingredient(
    *,
    is_cross_sectional: bool = ...,
    has_infinite_memory: bool = ...,
    memory: int | Callable[[int], int] | None = ...,
    windows: Sequence[int],
) -> Callable[[Function], Grid[Ingredient]]: ...


def ingredient(
    function: Function | None = None,
    /,
    *,
    is_cross_sectional: bool = False,
    has_infinite_memory: bool = False,
    memory: int | Callable[[int], int] | None = None,
    windows: Sequence[int] | None = None,
) -> Ingredient | Callable[[Function], Ingredient] | Callable[[Function], Grid[Ingredient]]:
    """Make a function an ingredient, or a grid of them: an input for the features of its package, by its name.

    Written bare, `@ingredient`, or with the arguments `feature` takes. Raises as `feature` does.
    """

    def at(window: int | None, function: Function) -> Ingredient:
        return Ingredient(function, is_cross_sectional, has_infinite_memory, _at(memory, window), window)

    if function is not None:
        return _check_step(at(None, function), "ingredient")
    if windows is None:
        return lambda function: _check_step(at(None, function), "ingredient")
    return lambda function: _grid(function, "ingredient", [at(window, function) for window in windows])


@cache
def catalogue(package: str = "quant_core.features") -> FeatureCatalog:
    """Return every feature of a package by name.

    Raises
    ------
    UnknownNameError
        A feature names an input that is neither a bar column nor a step; lists the near matches.
    UsageError
        Two steps share a name, or steps feed each other in a circle.
    """
    found: dict[str, Step] = {}
    for kind in (Feature, Ingredient, Grid):
        for entry in (step for value in collect(package, kind).values() for step in steps_of([value])):
            if found.setdefault(entry.name, entry) is not entry:
                raise UsageError(f"two features or ingredients of {package} are named {entry.name!r}.")
    features = FeatureCatalog(
        (entry for entry in found.values() if isinstance(entry, Feature)),
        (entry for entry in found.values() if isinstance(entry, Ingredient)),
    )
    order_steps(found, features)
    return features


def _grid(function: Function, kind: str, entries: Sequence[S]) -> Grid[S]:
    if not entries or len({entry.name for entry in entries}) < len(entries) or min(e.window or 0 for e in entries) < 1:
        raise UsageError(f"{kind} {function.__name__!r}: windows are different whole numbers above zero.")
    if not any(p.name == "window" and p.kind is p.KEYWORD_ONLY for p in parameters_of(function)):
        raise UsageError(f"{kind} {function.__name__!r}: a grid needs the keyword-only parameter `window`.")
    if kind == "feature" and "{window}" not in replace(entries[0], window=None).description:
        raise UsageError(
            f"feature {function.__name__!r}: a grid's docstring must name {{window}} in its first sentence."
        )
    return Grid(function, tuple(_check_step(entry, kind) for entry in entries))


def _check_step(entry: S, kind: str) -> S:
    loose = [name for name, default in entry.parameters.items() if default is inspect.Parameter.empty]
    if not entry.inputs or loose or len(entry.inputs) + len(entry.parameters) != len(parameters_of(entry.function)):
        raise UsageError(f"{kind} {entry.name!r}: inputs are positional, parameters keyword-only with a default.")
    if not entry.description.endswith("."):
        raise UsageError(f"{kind} {entry.name!r} needs a docstring whose first sentence can describe it.")
    if entry.name in INPUTS:
        raise UsageError(f"{kind} {entry.name!r} has the name of an input; give it another name.")
    return entry


def _at(value: Any, window: int | None) -> Any:
    return value(window) if callable(value) else value
