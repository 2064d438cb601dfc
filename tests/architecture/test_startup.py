"""What a command loads before it does anything: heavy libraries are imported where they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

from quant_core.settings import CHECKOUT

FAR = {"pandas", "pandera", "scipy", "matplotlib", "skfolio", "sklearn", "numba", "cvxpy", "clarabel", "dagster"}
HELP = "quant_core.cli.quant.main(['--help'], standalone_mode=False)"
SUMMARY = "quant_core.cli.quant.main(['summary', 'nobody', '--home', {home!r}], standalone_mode=False)"
REGISTRY = "from quant_core.graph.registry import StageRegistry; StageRegistry.load('quant_core')"


def loaded_by(statement: str) -> set[str]:
    code = (
        "import contextlib, io, sys, quant_core.cli\n"
        "from quant_core.errors import MissingVersionError\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(MissingVersionError):\n"
        f"    {statement}\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (HELP, {"numpy", "polars", "pydantic", "jsonschema", "pyarrow", "jinja2"}),
        (SUMMARY, {"pyarrow", "jinja2"}),
        (REGISTRY, {"jsonschema", "pyarrow", "jinja2"}),
    ],
    ids=["help", "summary", "registry"],
)
def test_a_start_loads_no_library_it_does_not_use(statement: str, absent: set[str], tmp_path: Path) -> None:
    loaded = loaded_by(statement.format(home=str(tmp_path)))
    assert "quant_core" in loaded
    assert not loaded & (FAR | absent)
