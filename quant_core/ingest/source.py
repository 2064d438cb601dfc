"""What a source is: a function that reads rows from outside, its parameters, and how it is found by its kind.

The sources themselves are the files in sources/; what a row must keep to is judged by the landing (raw.py).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl
from pydantic import ValidationError

from quant_core.errors import ConfigError
from quant_core.graph.catalog import Catalog, collect
from quant_core.graph.stage import Params
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve, first_fault

P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class Source:
    """A source as found in its module: calling it reads it.

    Attributes
    ----------
    name : str
        The `kind` a sleeve file names.
    function : callable
        Takes (params, sleeve) and returns rows with date, symbol, close and any of open, high, low, volume, known_at,
        row, in order of arrival; or a Split where rows could not be read, `row` giving their position in the source.
    params : type of Params
        The other keys of the `[source]` table.
    """

    name: str
    function: Callable[[Any, Sleeve], pl.DataFrame | Split]
    params: type[Params]

    @property
    def doc(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    def __call__(self, params: Params, sleeve: Sleeve) -> pl.DataFrame | Split:  # noqa: D102 - see `function`
        return self.function(params, sleeve)

    def options(self, given: Mapping[str, Any]) -> Params:
        """Return the `[source]` keys as this source's parameters.

        Raises
        ------
        ConfigError
            An unknown key or a value of the wrong type or size; names the key.
        """
        try:
            return self.params.model_validate_json(json.dumps(given))
        except ValidationError as error:
            known = ", ".join(self.params.model_fields) or "none"
            said = f"table [source] of kind {self.name!r}: {first_fault(error)}. Its keys: {known}."
            raise ConfigError(said) from error


def source(name: str, *, params: type[P]) -> Callable[[Callable[[P, Sleeve], pl.DataFrame | Split]], Source]:
    """Make a function a source of the kind `name`."""

    def made(function: Callable[[P, Sleeve], pl.DataFrame | Split]) -> Source:
        return Source(name, function, params)

    return made


def sources() -> Catalog[Source]:
    """Return every source by its kind; an unknown kind is an error that lists the near matches."""
    return collect("quant_core.ingest.sources", Source, title="source kind")
