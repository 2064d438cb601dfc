"""Texts keep to plain English: the words of plain_words.txt are not used, no function is named by a participle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from quant_core.settings import CHECKOUT

LIST = Path(__file__).with_name("plain_words.txt")
PACKAGES = ("quant_core", "quant_assets", "examples")
# Made by programs from texts that are checked where they are written.
MADE = {"docs/features.md", "docs/benchmarks.md", "docs/rules.md"}
ADJECTIVES = ("is", "has", "was", "may")


@cache
def entries(kind: str) -> tuple[str, ...]:
    lines = (line.strip() for line in LIST.read_text().splitlines())
    return tuple(line.removeprefix(kind).strip() for line in lines if line.startswith(f"{kind} "))


def phrases() -> dict[str, str]:
    """Return each banned expression and what to write instead."""
    return {expression: instead for expression, _, instead in (line.partition("  ->  ") for line in entries("phrase"))}


def allowed() -> set[tuple[str, str]]:
    return {(path, name) for path, name, *_ in (re.split(r"\s{2,}", line) for line in entries("allow"))}


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((CHECKOUT / package).rglob("*.py"))


def texts() -> Iterator[Path]:
    yield from sources()
    yield from (path for path in sorted(CHECKOUT.glob("*.md")) + sorted((CHECKOUT / "docs").rglob("*.md")))


def is_participle(name: str) -> bool:
    """Whether the last word of a function's name is a participle, so that it says neither what it does nor returns."""
    words = name.strip("_").split("_")
    if words[0] in ADJECTIVES:
        return False
    listed = {word for line in entries("participle") for word in line.split()}
    return words[-1] in listed or (len(words[-1]) > 3 and words[-1].endswith(("ed", "en")))


def functions(tree: ast.AST) -> Iterator[str]:
    """Yield the names of functions that act or return: not of properties, which may be adjectives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__"):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if not decorators & {"property", "cached_property"}:
                yield node.name


def test_no_text_uses_a_banned_phrase() -> None:
    found = []
    for path in texts():
        where = path.relative_to(CHECKOUT).as_posix()
        if where in MADE:
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            for expression, instead in phrases().items():
                hit = re.search(expression, line, re.IGNORECASE)
                if hit and not any(at == where and words in line for at, words in allowed()):
                    found.append(f"{where}:{number}: {hit[0]!r}; write: {instead}")
    assert not found, "\n".join(found)


def test_no_function_is_named_by_a_participle() -> None:
    found = []
    for path in sources():
        where = path.relative_to(CHECKOUT).as_posix()
        names = {name for name in functions(ast.parse(path.read_text())) if is_participle(name)}
        found += [f"{where}: {name}" for name in sorted(names) if (where, name) not in allowed()]
    assert not found, "\n".join(found)


def test_every_exception_is_still_needed_and_has_a_reason() -> None:
    for line in entries("allow"):
        path, name, *reason = re.split(r"\s{2,}", line)
        assert reason, f"{path} {name}: say why it may stay"
        assert name in (CHECKOUT / path).read_text(), f"{path} no longer has {name!r}"


def test_class_names_are_unique_in_the_tree() -> None:
    places: dict[str, list[str]] = {}
    for path in sources():
        if path.is_relative_to(CHECKOUT / "benchmarks"):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path.relative_to(CHECKOUT).as_posix())
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not twice, twice
