"""A graph of three stages (tiny_graph) in a home of its own, run by a Dagster that keeps nothing."""

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import dagster as dg
import pytest

from quant_core.evidence.runs.manifest import code_facts

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # tiny_graph, tiny_location and tiny_desk are found by name, as quant_core is

from tiny_desk import Desk  # noqa: E402 - found by the line above

TINY = """
[sleeve]
name = "{name}"
calendar = "24/7"
[source]
kind = "ramp"
bars = 30
"""

QUIET = (
    # All are calls dagster makes itself.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning",
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20",
    "ignore:.*include_sources.*:dagster.BetaWarning",
    "ignore:Function `.*` is superseded:dagster.SupersessionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for quiet in QUIET:
                item.add_marker(pytest.mark.filterwarnings(quiet))


@pytest.fixture(autouse=True, scope="session")
def _quiet_dagster() -> None:
    logging.getLogger("dagster").setLevel(logging.CRITICAL)


_known_code = functools.cache(code_facts)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    sleeves = tmp_path / "sleeves"
    sleeves.mkdir()
    for name in ("tiny", "other"):
        (sleeves / f"{name}.toml").write_text(TINY.format(name=name))
    environ = {"QUANT_HOME": str(tmp_path / "home"), "QUANT_SLEEVES": str(sleeves)}
    for name in ("QUANT_COMPUTE", "QUANT_ENV", "QUANT_EXECUTOR", "QUANT_MLFLOW_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    # The code does not change while the tests run, and taking stock of it takes longer than a tiny run.
    monkeypatch.setattr("quant_core.graph.runner.code_facts", _known_code)
    with dg.DagsterInstance.ephemeral() as instance:
        made = Desk(tmp_path / "home", sleeves, instance, environ)
        monkeypatch.setitem(sys.modules, "quant_assets.resources.tracking", _tracker(made.projections.append))
        yield made


def _tracker(seen: Callable[[Path], None]) -> ModuleType:
    """Stand in for the door to mlflow: what is projected, and how, is tested beside it."""
    door = ModuleType("quant_assets.resources.tracking")

    def project(home: Path, uri: str | None = None, *, budget_s: float = 5.0) -> SimpleNamespace:
        seen(home)
        return SimpleNamespace(state="deferred", runs=0, reason="no tracker in this test")

    def create_store(home: Path) -> None:
        (home / "mlflow").mkdir(parents=True)

    def rebuild(home: Path, uri: str | None = None) -> SimpleNamespace:
        seen(home)
        return SimpleNamespace(state="projected", runs=3, reason="")

    door.__dict__.update(project=project, create_store=create_store, rebuild=rebuild)
    return door
