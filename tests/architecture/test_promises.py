"""What docstrings, README and docs point to is there: files, pages and commands."""

import ast
import re
from pathlib import Path

import click
import pytest

from quant_core.cli import quant
from quant_core.settings import CHECKOUT
from tests.source_tree import modules, other_modules, tree_of

CODE = sorted([*modules().values(), *other_modules().values()])
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
FILES = {f"/{path.relative_to(CHECKOUT).as_posix()}" for path in [*CODE, *(CHECKOUT / "tests").rglob("*.py"), *PAGES]}


def docstrings_of(path: Path) -> str:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return "\n".join(ast.get_docstring(node) or "" for node in ast.walk(tree_of(path)) if isinstance(node, kinds))


def missing_files(text: str) -> set[str]:
    """Return the Python files a text names that are nowhere in the checkout."""
    named = set(re.findall(r"(?<![\w*>])\w[\w/]*\.py\b", text))
    return {name for name in named if not any(path.endswith(f"/{name}") for path in FILES)}


def missing_commands(text: str) -> set[str]:
    """Return the commands of `quant` a text names that it has not."""
    found = set()
    for words in re.findall(r"(?:`|bin/)quant ((?:[a-z]+ ?)+)", text):
        command: click.Command | None = quant
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            context = click.Context(command)
            if word not in command.list_commands(context):
                found.add(f"quant {words.strip()}")
                break
            command = command.get_command(context, word)
    return found


@pytest.mark.parametrize("path", [*CODE, *PAGES], ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_files_and_commands_that_are_named_exist(path: Path) -> None:
    text = docstrings_of(path) if path.suffix == ".py" else path.read_text()
    assert missing_files(text) == set()
    assert missing_commands(text) == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_of_pages_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text())
    assert {link for link in links if "://" not in link and not (path.parent / link).exists()} == set()


def test_what_is_not_there_is_found() -> None:
    assert missing_files("The words live in graph/stage.py and graph/words.py.") == {"graph/words.py"}
    assert missing_commands("`quant run X`, `quant ledger verify`, `quant trials`, `quant store mend`") == {
        "quant trials",
        "quant store mend",
    }
