import ast
import subprocess
import sys
from pathlib import Path

import pytest

from quant_core.settings import CHECKOUT

CORE = sorted((CHECKOUT / "quant_core").rglob("*.py"))
DOORS = {
    "numba": "kernels/_jit.py",
    "exchange_calendars": "market/calendar.py",
    "pandera": "market/contracts/",
    "matplotlib": "report/",
    "skfolio": "allocation/",
    "ccxt": "ingest/sources/ccxt.py",
    "yfinance": "ingest/sources/yfinance.py",
    "requests": "ingest/reading/transport.py",
    "tenacity": "ingest/reading/transport.py",
}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sorted(m.partition('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_each_heavy_library_has_one_door(path: Path) -> None:
    place, found = str(path.relative_to(CHECKOUT / "quant_core")), imported(path)
    assert not found & {"dagster", "mlflow", "ray", "dagster_mlflow", "dagster_pandera", "quant_assets"}
    for library, door in DOORS.items():
        if library in found:
            assert place.startswith(door), f"{library} is imported outside {door}"


def test_loading_the_stages_loads_no_engine_no_compiler_no_plots() -> None:
    loaded = loaded_by("from quant_core.graph.registry import StageRegistry; StageRegistry.load('quant_core')")
    assert "quant_core" in loaded
    assert not loaded & {"dagster", "mlflow", "ray", "numba", "matplotlib", "skfolio", "scipy", "sklearn"}
    assert not loaded & {"ccxt", "yfinance", "requests", "tenacity"}


def test_the_current_settings_are_asked_for_only_at_the_edges() -> None:
    askers = {
        str(path.relative_to(CHECKOUT))
        for path in [*CORE, *(CHECKOUT / "quant_assets").rglob("*.py")]
        if "ThreadSafeConfig.current(" in path.read_text() and path.name != "settings.py"
    }
    assert all(
        a.startswith("quant_assets/") or a in {"quant_core/cli.py", "quant_core/graph/runner.py"} for a in askers
    )


def test_nothing_swallows_every_error() -> None:
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                caught = node.type
                assert caught is not None, f"bare except in {path}"
                is_broad = isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"}
                last = node.body[-1]
                assert not is_broad or (isinstance(last, ast.Raise) and last.exc is None), path
