import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.runner import RunResult
from quant_core.settings import CHECKOUT
from tests.builders import up_to

from .conftest import Place

Small = tuple[Place, RunResult]
# Tools leave these in any checkout; none of them is ours.
CACHES = {".git", ".venv", ".venv-bench", ".quant", "__pycache__"}


class Seen(NamedTuple):
    """What can be seen of a file from outside."""

    size: int
    changed_ns: int
    sha256: str


def listing(root: Path, is_left_out: Callable[[Path], bool] = lambda path: False) -> dict[str, Seen]:
    found = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not is_left_out(Path(folder, name))]
        for name in files:
            path = Path(folder, name)
            status = path.stat()
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = Seen(status.st_size, status.st_mtime_ns, sha256)
    return found


def is_cache(path: Path) -> bool:
    return path.name in CACHES or path.name.endswith("_cache") or path.name == ".hypothesis"


def test_a_run_in_one_home_touches_no_other_home(small_run: Small, tmp_path: Path) -> None:
    place, result = small_run
    before = listing(result.home)
    assert "audit.jsonl" in before
    again = Place(place.folder, tmp_path / "home").run(only=up_to("allocation.weights"))
    assert listing(result.home) == before
    assert again.refs.items() <= result.refs.items()
    assert "allocation.weights" in again.refs
    assert {run.run_id for run in Evidence(tmp_path / "home").runs()} == {again.run_id}


def test_a_run_changes_neither_its_inputs_nor_the_checkout(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    inputs, checkout = listing(place.folder), listing(CHECKOUT, is_cache)
    place.run()
    assert listing(place.folder) == inputs
    assert listing(CHECKOUT, is_cache) == checkout
    assert {path.name for path in place.folder.parent.iterdir()} == {place.folder.name, place.home.name}


@pytest.mark.slow
def test_the_command_leaves_traces_only_in_the_home_it_is_given(place: Place, tmp_path: Path) -> None:
    user, scratch = tmp_path / "user", tmp_path / "scratch"
    for folder in (user, scratch):
        folder.mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(user), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    status = ["git", "--no-optional-locks", "-C", str(CHECKOUT), "status", "--porcelain", "--untracked-files=all"]
    before, said = listing(CHECKOUT, is_cache), subprocess.check_output(status)
    command = [str(Path(sys.executable).with_name("quant")), "run", "small"]
    options = ["--config", str(place.sleeve), "--home", str(place.home)]
    done = subprocess.run([*command, *options], cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert listing(CHECKOUT, is_cache) == before
    assert subprocess.check_output(status) == said
    assert listing(scratch) == {}
    # matplotlib keeps its list of the machine's fonts per user, the kernels their machine code, for every home
    per_user = {(".cache", "matplotlib"), (".config", "matplotlib"), (".cache", "quant-assets")}
    assert {Path(name).parts[:2] for name in listing(user)} <= per_user
