"""Chooses the allocation method of the first page, which is turned into orders."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from quant_core.errors import UnknownNameError
from quant_core.graph.stage import Params


class HeadlineParams(Params):
    """Parameters of stages that show one method first; allocation decides which."""

    headline: str = Field(
        default="",
        description="Allocation method shown first and traded; empty: the first of `methods`.",
        json_schema_extra={"from": "allocation.weights.headline"},
    )
    methods: tuple[str, ...] = Field(
        default=(),
        description="Allocation methods in the order the sleeve lists them.",
        json_schema_extra={"from": "allocation.weights.methods"},
    )


def headline_of(params: HeadlineParams, present: Iterable[str]) -> str:
    """Return the headline method.

    Parameters
    ----------
    params : HeadlineParams
    present : iterable of str
        Methods found in the table at hand. A method of `params.methods` may be absent: it holds nothing.

    Returns
    -------
    str
        `headline`, else the first of `methods`, else the first present by name, else "".

    Raises
    ------
    UnknownNameError
        The headline is neither present nor among `methods`, while some method is.
    """
    known = sorted({*present, *params.methods})
    name = params.headline or (params.methods or tuple(known) or ("",))[0]
    if known and name not in known:
        raise UnknownNameError("allocation method", name, known)
    return name
