"""Finds the code a stage is made of: the files of its room and every module below that they import.

The graph, the ledger and the settings run a stage and are not part of it.
"""

import ast
import functools
import hashlib
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_RUNNERS = {"graph", "evidence", "settings", "errors", "cli"}


@functools.cache
def room_version(room: str) -> str:
    """Return the hash of a room's sources, as 16 hex digits.

    Parameters
    ----------
    room : str
        Dotted package, such as "quant_core.alpha". Every file of it counts, templates included, and every module under
        the same root that it imports, directly or not.
    """
    root = _root_of(room)
    own = [path for path in (root.parent / room.replace(".", "/")).rglob("*") if _is_source(path)]
    digest = hashlib.sha256()
    for path in sorted(_reachable_files(own, root)):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@functools.cache
def reaches(module: str, room: str) -> bool:
    """Return whether `module` imports something of `room` under the same root, directly or not.

    Imports of `market`, which all stages share, do not count.
    """
    root = _root_of(module)
    start = _file_of(module, root)
    found = _reachable_files([start] if start else [], root, passed=("market",))
    return any(path.relative_to(root).parts[0] == room for path in found)


def _reachable_files(start: Iterable[Path], root: Path, *, passed: Iterable[str] = ()) -> set[Path]:
    """Return the files imported from `start` on, directly or not; imports of the rooms `passed` are not followed."""
    found = set(start)
    todo = sorted(found)
    while todo:
        path = todo.pop()
        if path.relative_to(root).parts[0] in passed:
            continue
        fresh = _imported_files(path, root) - found
        found |= fresh
        todo += sorted(fresh)
    return found


@functools.cache
def _imported_files(path: Path, root: Path) -> frozenset[Path]:
    """Return the files under `root` that `path` imports, lazily or not, without those that only run stages."""
    if path.suffix != ".py":
        return frozenset()
    names = set(_names_in(ast.parse(path.read_bytes())))
    inside = [name for name in names if name.startswith(f"{root.name}.") and name.split(".")[1] not in _RUNNERS]
    return frozenset(file for name in inside if (file := _file_of(name, root)) is not None)


def _names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _root_of(module: str) -> Path:
    return Path(next(iter(importlib.import_module(module.partition(".")[0]).__path__)))


def _file_of(module: str, root: Path) -> Path | None:
    stem = root.parent / module.replace(".", "/")
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
