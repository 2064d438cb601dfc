"""What differs between the code that made something and the code at hand."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quant_core.evidence.runs.manifest import CodeFacts

Change = tuple[str | None, str | None]
_SHOWN = 12


class CodeChange(BaseModel):
    """What differs between two states of the code; comments and docstrings do not count.

    Every mapping goes from name to (then, now), null where there is none. `modules` is null where a manifest, of an
    older version, has no hashes of modules: then `source` says whether any file differs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: Change
    source: bool = Field(description="Whether any source file of the core differs, be it in a comment.")
    modules: dict[str, Change] | None
    packages: dict[str, Change]
    python: tuple[str, str] | None = Field(description="Versions, where they differ.")

    @property
    def is_empty(self) -> bool:
        """Whether the same code means the same here as it did there."""
        modules = self.source if self.modules is None else bool(self.modules)
        return not modules and not self.packages and self.python is None


def code_change(then: CodeFacts, now: CodeFacts, *, python: tuple[str, str] | None = None) -> CodeChange:
    """Compare the code of two manifests, or of a manifest and of this checkout.

    Parameters
    ----------
    then, now : CodeFacts
    python : pair of str, optional
        Python versions; default: this one's, twice.
    """
    versions = python or (platform.python_version(), platform.python_version())
    modules = None if then.modules is None or now.modules is None else changed_items(then.modules, now.modules)
    return CodeChange(
        commit=(then.git_commit, now.git_commit),
        source=then.source_hash != now.source_hash,
        modules=modules,
        packages=changed_items(then.packages, now.packages),
        python=None if versions[0] == versions[1] else versions,
    )


def describe_code_change(code: CodeChange) -> str:
    """Say what differs in the code in one line."""
    if code.is_empty:
        return "The code means the same." + (" Only comments or docstrings differ." if code.source else "")
    said = []
    if code.modules is None and code.source:
        said.append("source files")
    if code.modules:
        said.append(f"modules {_join_names(sorted(code.modules))}")
    if code.packages:
        pairs = [f"{name} {then or 'none'} -> {now or 'none'}" for name, (then, now) in sorted(code.packages.items())]
        said.append(f"packages {_join_names(pairs)}")
    if code.python:
        said.append(f"Python {code.python[0]} -> {code.python[1]}")
    return f"The code differs: {'; '.join(said)}."


def changed_items(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return name to (then, now) of what differs, null where there is none."""
    names = sorted({*then, *now})
    return {name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}


def _join_names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
