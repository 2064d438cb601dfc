"""Turns a step's exception into the one Dagster stores, without the secrets of the environment.

Dagster keeps the text and the stack of whatever a step raises, with every exception it came from.
assets/factory.py runs the steps.
"""

import os
import traceback
from types import TracebackType

import dagster as dg

from quant_core.errors import QuantError, UnavailableError
from quant_core.masking import mask_secrets


class Failing:
    """Catches the exception of a step's block; the step raises `failure` instead, once the block is left.

    Raised inside a handler, it would bring what it replaces along as its context.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._caught: Exception | None = None

    def __enter__(self) -> "Failing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self._caught = error if isinstance(error, Exception) else None  # an interrupt passes
        return self._caught is not None

    @property
    def failure(self) -> Exception:
        """The exception the step raises in place of the one caught."""
        assert self._caught is not None
        return failure_of(self._stage, self._caught)


def failure_of(stage: str, error: Exception) -> Exception:
    """Return the exception a step raises in place of `error`.

    Parameters
    ----------
    stage : str
    error : Exception

    Returns
    -------
    Exception
        An error of ours becomes a Failure that is not tried again, unless the source may answer later. One whose text
        or causes hold a secret is replaced by its masked text; its masked stack goes into the metadata of the Failure.
    """
    trace = "".join(traceback.format_exception(error))
    shown = mask_secrets(trace, os.environ)
    is_final = isinstance(error, QuantError) and not isinstance(error, UnavailableError)
    if shown == trace:
        if not is_final:
            return error
        failure = dg.Failure(f"{stage}: {error}", allow_retries=False)
        failure.__cause__ = error
        return failure
    text = mask_secrets(str(error), os.environ)
    if isinstance(error, UnavailableError):  # the retry policy tries again
        return UnavailableError(text)
    kind = "" if is_final else f"{type(error).__name__}: "
    stack = {"stack": dg.MetadataValue.text(shown)}
    return dg.Failure(f"{stage}: {kind}{text}", metadata=stack, allow_retries=not is_final)
