"""Differences between the code of two runs, or of a run and this checkout. Collecting code facts: manifest.py."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quant_core.evidence.runs.manifest import CodeFacts

Change = tuple[str | None, str | None]
_SHOWN = 12


class CodeChange(BaseModel):
    """Differences between two states of the code; comments and docstrings do not count.

    Every mapping goes from name to (then, now), null where one side has none. `modules` is null if a manifest of an
    older version has no hashes of modules; then `source` states whether any file differs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: Change
    source: bool = Field(description="Whether any source file of the core differs, even if only in a comment.")
    modules: dict[str, Change] | None
    packages: dict[str, Change]
    python: tuple[str, str] | None = Field(description="Versions, where they differ.")

    @property
    def is_empty(self) -> bool:
        """Whether nothing that can change a result differs."""
        modules = self.source if self.modules is None else bool(self.modules)
        return not modules and not self.packages and self.python is None


def code_change(then: CodeFacts, now: CodeFacts, *, python: tuple[str, str] | None = None) -> CodeChange:
    """Compare the code of two manifests, or of a manifest and of this checkout.

    Parameters
    ----------
    then, now : CodeFacts
    python : pair of str, optional
        Python versions, then and now; default: this version for both.
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
    """Return the code changes as one line of text."""
    if code.is_empty:
        return "The code means the same." + (" Only comments or docstrings differ." if code.source else "")
    changes = []
    if code.modules is None and code.source:
        changes.append("source files")
    if code.modules:
        changes.append(f"modules {_join_names(sorted(code.modules))}")
    if code.packages:
        pairs = [f"{name} {then or 'none'} -> {now or 'none'}" for name, (then, now) in sorted(code.packages.items())]
        changes.append(f"packages {_join_names(pairs)}")
    if code.python:
        changes.append(f"Python {code.python[0]} -> {code.python[1]}")
    return f"The code differs: {'; '.join(changes)}."


def changed_items(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return name to (then, now) of the items that differ; None where one side lacks the name."""
    names = sorted({*then, *now})
    return {name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}


def _join_names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
