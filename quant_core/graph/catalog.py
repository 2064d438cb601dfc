"""Entries found by their type: a decorated function is a frozen value in its module, and `collect` gathers them.

Nothing registers itself at import, no list is kept, a module that fails to import fails loudly.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Protocol, TypeVar

from quant_core.errors import UnknownNameError, UsageError


class Named(Protocol):
    """Anything with a name of its own."""

    @property
    def name(self) -> str:
        """The name it is looked up by."""


E = TypeVar("E", bound=Named)


class Catalog(Mapping[str, E]):
    """Entries of one kind by name; an unknown name is an error that lists the near matches."""

    def __init__(self, kind: str, entries: Mapping[str, E]) -> None:
        self.kind = kind
        self._entries = dict(sorted(entries.items()))

    def __getitem__(self, name: str) -> E:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, self._entries) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


def collect(package: str, kind: type[E], *, title: str | None = None) -> Catalog[E]:
    """Import every module of `package` and return its module-level values of type `kind`.

    Parameters
    ----------
    package : str
        Dotted name of a package or module.
    kind : type
        The entry type looked for.
    title : str, optional
        What an entry is called in error messages; default: the type's name in lower case.

    Raises
    ------
    UsageError
        Two different entries bear one name.
    """
    found: dict[str, E] = {}
    for module in _modules(importlib.import_module(package)):
        for value in vars(module).values():
            if isinstance(value, kind):
                other = found.setdefault(value.name, value)
                if other is not value:
                    raise UsageError(f"two entries of type {kind.__name__} are named {value.name!r}.")
    return Catalog(title or kind.__name__.lower(), found)


def _modules(root: ModuleType) -> Iterator[ModuleType]:
    yield root
    if hasattr(root, "__path__"):
        for info in sorted(pkgutil.walk_packages(root.__path__, prefix=f"{root.__name__}."), key=lambda i: i.name):
            yield importlib.import_module(info.name)
