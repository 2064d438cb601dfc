"""`validate_io`: the contracts of a library user's own function, checked where it is called.

Stages do not use it: the graph judges their tables once, on commit and on load.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import polars as pl

from quant_core.errors import ContractError, UsageError
from quant_core.market.contracts.split import Contract, validate

P = ParamSpec("P")
R = TypeVar("R")


def validate_io(*, output: Contract | None = None, **inputs: Contract) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check named DataFrame arguments, and the result, against contracts; once per call, also through `super()`.

    Parameters
    ----------
    output : Contract, optional
        What the result must keep.
    **inputs : Contract
        What each named argument must keep.

    Raises
    ------
    UsageError
        At decoration: the function has no argument of that name.
    ContractError
        At the call: a table breaks its contract; it says which.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        unknown = set(inputs) - set(signature.parameters)
        if unknown:
            raise UsageError(f"{function.__qualname__} has no argument {sorted(unknown)[0]!r} to validate.")

        @functools.wraps(function)
        def check_and_call(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            for name, contract in inputs.items():
                _check_table(f"{function.__qualname__}: argument {name}", bound.arguments.get(name), contract)
            result = function(*args, **kwargs)
            if output is not None:
                _check_table(f"{function.__qualname__}: result", result, output)
            return result

        return check_and_call

    return decorate


def _check_table(what: str, table: object, contract: Contract) -> None:
    if not isinstance(table, pl.DataFrame):
        raise ContractError(f"{what} is {type(table).__name__}, not a table of {contract.name}.")
    try:
        validate(table, contract)
    except ContractError as error:
        raise ContractError(f"{what}: {error}") from error
