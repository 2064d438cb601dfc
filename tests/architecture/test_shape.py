"""How large folders, modules and functions may grow, and that no import leads back to where it began.

Which heavy library has which door, and which room may import which, is in test_imports.py and pyproject.toml.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest

from quant_core.settings import CHECKOUT
from tests.source_tree import arrows, arrows_within, find_circle, modules, tree_of

FOLDER = 28
"""Python files a folder may hold, its `__init__.py` included."""
SMALL_ROOMS = {"quant_core/ingest": 14, "quant_core/evidence": 14}
"""Fewer in these folders and the folders in them."""
MODULE_LINES, FUNCTION_LINES, KERNEL_LINES = 400, 60, 100

PATHS = sorted(modules().values())
FOLDERS = sorted({path.parent.relative_to(CHECKOUT).as_posix() for path in PATHS})


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function from `def` on, without decorators and docstring."""
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_no_circle_leads_through_modules() -> None:
    assert find_circle(arrows()) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_circle_leads_through_the_rooms_and_modules_of_a_folder(folder: str) -> None:
    assert find_circle(arrows_within(folder.replace("/", "."))) == []


@pytest.mark.parametrize(
    ("graph", "circle"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, []),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c", "b"]),
        ({"a": ["a"]}, ["a", "a"]),
    ],
)
def test_a_circle_is_found_where_there_is_one(graph: dict[str, list[str]], circle: list[str]) -> None:
    assert find_circle(graph) == circle


def test_an_import_within_a_function_is_an_arrow() -> None:
    arrow = "quant_assets.resources.tracking"  # imported where it is used: it takes seconds
    assert arrow in arrows()["quant_assets.commands"]


def test_folders_stay_small_enough_to_read() -> None:
    counts = Counter(path.parent.relative_to(CHECKOUT).as_posix() for path in PATHS)
    limits = {
        folder: next((most for room, most in SMALL_ROOMS.items() if f"{folder}/".startswith(f"{room}/")), FOLDER)
        for folder in counts
    }
    assert {folder: count for folder, count in counts.items() if count > limits[folder]} == {}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_modules_and_functions_stay_short_and_a_module_opens_with_its_card(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MODULE_LINES
    assert lines[0].startswith('"""'), "a module opens with its card"
    is_kernel = path.relative_to(CHECKOUT).as_posix().startswith("quant_core/kernels/")
    limit = KERNEL_LINES if is_kernel else FUNCTION_LINES
    functions = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    assert {function.name: lines_of(function) for function in functions if lines_of(function) > limit} == {}
