"""Every public name of both packages is used by more than its tests, or stands below with the reason it waits.

A name counts as used where the packages, the benchmarks, the examples, the definitions, a command of the Makefile or
of an entry point, or the code in README and docs use it, outside its own definition. What a decorator hands to a
catalogue or a framework (`@feature`, `@stage`, `@click.command`, `@dg.sensor` ...) is found by it and counts as used.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_core.settings import CHECKOUT
from tests.source_tree import modules, name_of, other_modules, tree_of

PLAIN_DECORATORS = {"cache", "contextmanager", "dataclass", "final", "kernel", "overload", "runtime_checkable"}
"""Decorators that hand a name to nobody."""
FRAMEWORK_METHODS = {
    "handle_output": "Dagster's IO manager",
    "load_input": "Dagster's IO manager",
    "setup_for_execution": "Dagster's resource",
    "teardown_after_execution": "Dagster's resource",
    "handle_comment": "html.parser",
    "handle_data": "html.parser",
    "handle_starttag": "html.parser",
    "unknown_decl": "html.parser",
}
"""Methods a library calls, and which one."""

WAITING = {
    "quant_core.market.alignment.union_dates": "the portfolio over several sleeves reads it",
    "quant_core.market.alignment.compounded_returns": "the portfolio over several sleeves reads it",
    "quant_core.market.alignment.missingness": "the portfolio over several sleeves reads it",
    "quant_core.statistics.sharpe.deflated_sharpe": "the registry of trials reads it",
    "quant_core.kernels.cross_section.neutralise_rows": "neutral factors read it",
    "quant_core.features.incremental.extend_features": "library users bring a table up to newer bars with it",
    "quant_core.features.files.read_features": "library users read with it what `write_features` wrote",
    "quant_core.market.contracts.validate_io.validate_io": "library users check their own functions with it",
    "quant_core.backtest.simulate.Simulation.final_holdings": "library users read it from a simulation",
    "quant_core.settings.ThreadSafeConfig.payload": "library users give it to processes they start",
    "quant_core.settings.ThreadSafeConfig.from_payload": "library users read it in processes they start",
    "quant_core.evidence.files.names.decode_name": "the inverse that proves that no two names share a file",
    "quant_core.evidence.files.kill_points.watch_points": "tests stop a writer at a point of the commit protocol",
    "quant_assets.resources.tracking.dump": "tests compare two MLflow stores with it",
    "quant_assets.resources.tracking.MLflowTracker.mlflow_run_of": "the way from a run to its MLflow run",
    "quant_assets.resources.tracking.MLflowTracker.run_of": "the way from an MLflow run to its run",
}
"""Names only tests use, and why they stay."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def decorators_of(node: Definition) -> set[str]:
    called = [entry.func if isinstance(entry, ast.Call) else entry for entry in node.decorator_list]
    return {entry.attr if isinstance(entry, ast.Attribute) else ast.unparse(entry) for entry in called}


def public_names(module: str, tree: ast.Module) -> Iterator[str]:
    """Return the public functions, classes and methods of a module that no decorator hands on, by dotted name."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            if not decorators_of(node) - PLAIN_DECORATORS:
                yield f"{module}.{node.name}"
            if isinstance(node, ast.ClassDef):
                inner = (entry for entry in node.body if isinstance(entry, ast.FunctionDef))
                yield from (f"{module}.{node.name}.{entry.name}" for entry in inner if entry.name[0] != "_")


def used_names(module: str, tree: ast.Module) -> Iterator[str]:
    """Return what a module uses: dotted names, and `.name` for each attribute or argument by name it mentions."""
    origins: dict[str, str] = {}
    by_text: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(source), names=names):
                origins |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in names}
                yield from (f"{source}.{alias.name}" for alias in names)
            case ast.Import(names=names):
                origins |= {alias.asname or alias.name: alias.name for alias in names}
            case ast.Constant(value=str(text)) if text in modules():
                by_text.add(text)  # what `import_module` is given
    for statement in tree.body:
        own = getattr(statement, "name", None)
        for node in ast.walk(statement):
            match node:
                case ast.Name(id=name) if name != own:
                    yield f"{module}.{name}"
                case ast.Attribute(value=value, attr=name):
                    yield f"{origins.get(ast.unparse(value), '')}.{name}"
                    yield from (f"{source}.{name}" for source in by_text)
                    yield f".{name}"
                case ast.Constant(value=str(text)) if text.isidentifier() and text != own:
                    yield f"{module}.{text}"  # an annotation in quotes, or a name looked up
                    yield f".{text}"
                case ast.keyword(arg=str(name)):
                    yield f".{name}"


def code_in_texts() -> str:
    """Return the Makefile, and of README and docs the blocks of code and the commands that made a page."""
    pages = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    pieces = [part for page in pages for part in re.findall(r"```.*?```|<!--.*?-->", page.read_text(), re.DOTALL)]
    return "\n".join([(CHECKOUT / "Makefile").read_text(), *pieces])


def entry_points() -> set[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    groups = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    return {target.replace(":", ".") for group in groups for target in group.values()}


def unused_names(sources: dict[str, ast.Module], users: dict[str, ast.Module], text: str = "") -> set[str]:
    used = {name for module, tree in (sources | users).items() for name in used_names(module, tree)}
    called = set(re.findall(r"\b\w+(?=\()|(?<=import )\w+", text))
    found = set()
    for module, tree in sources.items():
        for name in public_names(module, tree):
            short = name.rpartition(".")[2]
            is_method = name.count(".") > module.count(".") + 1
            if short not in called and (f".{short}" if is_method else name) not in used:
                found.add(name)
    return found


def trees(paths: dict[str, Path]) -> dict[str, ast.Module]:
    return {name: tree_of(path) for name, path in paths.items()}


def test_only_names_with_a_reason_wait_for_a_user() -> None:
    found = unused_names(trees(modules()), trees(other_modules()), code_in_texts()) - entry_points()
    found = {name for name in found if name.rpartition(".")[2] not in FRAMEWORK_METHODS}
    assert found - set(WAITING) == set(), "only tests use these: use or delete them, or state here what they wait for"
    assert set(WAITING) - found == set(), "these are used or gone: take them from the list"


@pytest.mark.parametrize(
    ("user", "unused"),
    [
        ("from a import work, Job\nwork(Job().run())", set()),
        ("import a\na.work(a.Job().run())", set()),
        ("from a import work\nwork()", {"a.Job", "a.Job.run"}),
        ("", {"a.work", "a.Job", "a.Job.run"}),
    ],
)
def test_what_nobody_uses_is_found(user: str, unused: set[str]) -> None:
    source = """
def work():
    return work()

class Job:
    def run(self): ...

@stage("a.table")
def table(): ...

def _own(): ...
"""
    assert unused_names({"a": ast.parse(source)}, {"b": ast.parse(user)}) == unused


def test_a_module_of_the_checkout_has_its_dotted_name() -> None:
    assert name_of(CHECKOUT / "quant_core" / "graph" / "__init__.py") == "quant_core.graph"
