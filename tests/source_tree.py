"""The modules of both packages as syntax trees, and which of them imports which: what tests of their shape read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from quant_core.settings import CHECKOUT

PACKAGES = ("quant_core", "quant_assets")
OTHER_CODE = ("benchmarks", "examples", "docs")


def name_of(path: Path) -> str:
    """Return the dotted name of a module of the checkout; a package's is that of its folder."""
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Return the path of each module of both packages, by dotted name."""
    return {name_of(path): path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))}


@cache
def other_modules() -> dict[str, Path]:
    """Return the modules outside both packages that use them and are not tests."""
    folders = [path for folder in OTHER_CODE for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    return {name_of(path): path for path in [*folders, CHECKOUT / "definitions.py"]}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports_of(tree: ast.AST, known: Iterable[str]) -> Iterator[str]:
    """Return the modules of `known` that a tree imports anywhere, in its functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found = whole if whole in known else node.module
                if found in known:
                    yield found


@cache
def arrows() -> dict[str, frozenset[str]]:
    """Return the modules of both packages that each module imports."""
    known = modules()
    return {name: frozenset(imports_of(tree_of(path), known)) - {name} for name, path in known.items()}


def arrows_within(folder: str) -> dict[str, set[str]]:
    """Return the arrows between the children of a package, each sub-folder taken as one child."""
    depth = folder.count(".") + 2
    within: dict[str, set[str]] = {}
    for name, targets in arrows().items():
        if name.startswith(f"{folder}."):
            child = ".".join(name.split(".")[:depth])
            others = {".".join(target.split(".")[:depth]) for target in targets if target.startswith(f"{folder}.")}
            within.setdefault(child, set()).update(others - {child})
    return within


def find_circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes of one circle in order, the first of them again at the end; empty where there is none."""
    done: set[str] = set()

    def search(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        found = next((circle for other in sorted(graph.get(node, ())) if (circle := search(other, [*path, node]))), [])
        done.add(node)
        return found

    return next((circle for node in graph if (circle := search(node, []))), [])
