import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.manifest import read_manifest
from quant_core.graph.runner import RunResult
from quant_core.settings import CHECKOUT

from .conftest import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Small = tuple[Place, RunResult]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
ABSENT = ("dagster", "dagster_mlflow", "dagster_pandera", "mlflow", "ray", "hatchling", "pytest")
USAGE = 2


@dataclass(frozen=True)
class Environment:
    """An environment of its own: the base lock and the wheel of this checkout, nothing else."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def call(self, command: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        bare = {"PATH": os.environ["PATH"], "HOME": str(self.folder.parent), **environ}
        return subprocess.run(
            [str(self.folder / "bin" / command), *arguments],
            cwd=self.folder.parent,
            env=bare,
            capture_output=True,
            text=True,
            check=False,
        )


def checked(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("base")
    made = Environment(folder / "environment")
    # The new environment has no build backend: the wheel is built by this one.
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(CHECKOUT)]
    lock = ["install", "--require-hashes", "--requirement", str(CHECKOUT / "locks" / "base.txt")]
    for command in ([sys.executable, *PIP, *build], [sys.executable, "-m", "venv", str(made.folder)]):
        checked(subprocess.run(command, capture_output=True, text=True, check=False))
    checked(subprocess.run([str(made.python), *PIP, *lock], capture_output=True, text=True, check=False))
    (wheel,) = folder.glob("*.whl")
    install = ["install", "--no-deps", "--no-index", str(wheel)]
    checked(subprocess.run([str(made.python), *PIP, *install], capture_output=True, text=True, check=False))
    return made


def test_the_base_lock_brings_no_engine_and_no_tool(base: Environment) -> None:
    ask = f"import importlib.util as u, json; print(json.dumps([n for n in {ABSENT} if u.find_spec(n)]))"
    assert json.loads(checked(base.call("python", "-c", ask))) == []
    where = checked(base.call("python", "-c", "import quant_core; print(quant_core.__file__)"))
    assert Path(where.strip()).is_relative_to(base.folder)


def test_what_is_installed_fits_together(base: Environment) -> None:
    checked(base.call("python", "-m", "pip", "check"))


def test_the_plain_script_yields_the_same_bytes_there(base: Environment, small_run: Small, tmp_path: Path) -> None:
    place, result = small_run
    script = str(CHECKOUT / "examples" / "plain_script.py")
    said = checked(base.call("python", script, "small", QUANT_HOME=str(tmp_path), QUANT_SLEEVES=str(place.folder)))
    evidence = Evidence(tmp_path)
    heads = {stage: record.data["valid"]["sha256"] for (stage, _), record in evidence.heads().items()}
    assert heads == {stage: ref.sha256 for stage, ref in result.refs.items()}
    assert all(sha256[:16] in said for sha256 in heads.values())
    (run,) = evidence.runs()
    code = read_manifest(tmp_path, run.run_id).code
    assert code.git_commit is None
    assert code.git_reason
    assert not {name.replace("_", "-") for name in ABSENT} & set(code.packages)


def test_the_command_runs_the_whole_graph_there(base: Environment, small_run: Small, tmp_path: Path) -> None:
    place, result = small_run
    options = ["--config", str(place.sleeve), "--home", str(tmp_path), "--json"]
    summary = json.loads(checked(base.call("quant", "run", "small", *options)))
    assert summary["refs"]["allocation.weights"]["sha256"] == result.refs["allocation.weights"].sha256


@pytest.mark.parametrize("command", [["run", "small", "--mode", "ray"], ["ui"], ["mlflow"]], ids=" ".join)
def test_what_needs_the_platform_names_the_extra(
    base: Environment, small_run: Small, tmp_path: Path, command: list[str]
) -> None:
    place, _ = small_run
    done = base.call("quant", *command, QUANT_HOME=str(tmp_path / "home"), QUANT_SLEEVES=str(place.folder))
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "quant-assets[platform]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "home").exists()
