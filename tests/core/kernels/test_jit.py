from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from quant_core.kernels import _jit, cross_section
from quant_core.kernels._jit import cache_folder, kernel, report_compilations, use_cache_folder

FACTOR = 2.0

CALLEE = """
from quant_core.kernels._jit import kernel

@kernel
def doubled(value):
    return 2.0 * value
"""

CALLER = """
import json, sys
import numpy as np
from callee import doubled
from quant_core.kernels._jit import kernel, use_cache_folder

@kernel
def raised(value):
    return doubled(value) + 1.0

@kernel
def fill_raised(x, out):
    for t in range(x.shape[0]):
        out[t] = raised(x[t])

if __name__ == "__main__":
    was_lazy = "numba" not in sys.modules
    use_cache_folder(sys.argv[1])
    out = np.empty(3)
    fill_raised(np.arange(3.0), out)
    stats = fill_raised.dispatcher().stats
    print(json.dumps([out.tolist(), was_lazy, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""


@kernel
def scaled(value: float) -> float:
    return FACTOR * value


@kernel
def fill_scaled(x: np.ndarray, out: np.ndarray) -> None:
    for t in range(x.shape[0]):
        out[t] = scaled(x[t])


@kernel
def fill_inverse(x: np.ndarray, out: np.ndarray) -> None:
    for t in range(x.shape[0]):
        out[t] = 1.0 / x[t]


@pytest.fixture
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jit, "_root", tmp_path)


def run(script: Path, cache: Path) -> list[object]:
    root = str(Path(_jit.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, script.name, str(cache)], cwd=script.parent, env=environment, capture_output=True, check=True
    )
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_the_second_process_reads_machine_code_instead_of_compiling(tmp_path: Path) -> None:
    (tmp_path / "callee.py").write_text(CALLEE)
    script = tmp_path / "caller.py"
    script.write_text(CALLER)
    assert run(script, tmp_path / "cache") == [[1.0, 3.0, 5.0], True, 0, 1]
    assert run(script, tmp_path / "cache") == [[1.0, 3.0, 5.0], True, 1, 0]


@pytest.mark.usefixtures("_own_root")
def test_a_kernel_calls_another_kernel() -> None:
    out = np.empty(4)
    fill_scaled(np.arange(4.0), out)
    assert out.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert fill_scaled.apply(np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]


def test_the_plain_function_stays_at_hand() -> None:
    assert scaled.python(4.0) == 8.0
    assert scaled.__name__ == "scaled"
    assert (cross_section.rank_rows.__doc__ or "").startswith("Rank each row")


@pytest.mark.usefixtures("_own_root")
def test_a_division_by_zero_is_infinity_and_not_an_exception() -> None:
    assert fill_inverse.apply(np.array([0.0, -0.0, 4.0])).tolist() == [np.inf, -np.inf, 0.25]


@pytest.mark.usefixtures("_own_root")
def test_a_kernel_that_kernels_call_is_called_from_python_too() -> None:
    out = np.empty(3)
    fill_scaled(np.arange(3.0), out)
    assert scaled(3.0) == 6.0
    assert kernel(fill_scaled.python).apply(np.arange(3.0)).tolist() == out.tolist() == [0.0, 2.0, 4.0]


@pytest.mark.usefixtures("_own_root")
@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_of_cycles_is_left_as_it_was(is_on: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        assert kernel(scaled.python)(1.0) == 2.0
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if was else gc.disable)()


@pytest.mark.usefixtures("_own_root")
def test_threads_that_meet_at_the_first_call_share_one_dispatcher() -> None:
    @kernel
    def shifted(value: float) -> float:
        return value + FACTOR

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shifted, [1.0, 2.0, 3.0, 4.0]))
        dispatchers = {id(made) for made in pool.map(lambda _: shifted.dispatcher(), range(8))}
    assert found == [3.0, 4.0, 5.0, 6.0]
    assert len(dispatchers) == 1


def test_a_kernel_travels_to_another_process_by_name() -> None:
    assert pickle.loads(pickle.dumps(cross_section.rank_rows)) is cross_section.rank_rows


def test_numba_s_own_setting_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    monkeypatch.setattr(_jit, "_root", tmp_path)
    before = numba.config.CACHE_DIR
    kernel(lambda value: value).dispatcher()
    assert before == numba.config.CACHE_DIR


def test_a_folder_that_cannot_be_written_means_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(_jit, "_root", _jit._root)
    use_cache_folder(file)
    assert kernel(scaled.python)(3.0) == 6.0
    assert file.is_file()


def test_the_folder_is_named_by_sources_and_numba_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    monkeypatch.setattr(_jit, "_root", tmp_path)
    now = cache_folder()
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    _jit._source_hash.cache_clear()
    other_version = cache_folder()
    monkeypatch.undo()
    _jit._source_hash.cache_clear()
    assert now.parent == other_version.parent == tmp_path
    assert now.name == cache_folder().name != other_version.name


def test_a_changed_file_of_kernels_recompiles_itself_and_its_callers_and_no_others() -> None:
    room = Path(_jit.__file__).parent
    sources = {path.stem: set(_jit._sources_of(path)) for path in room.glob("[a-z]*.py")}
    assert sources["moving"] == {"moving.py", "doubling.py", "exact.py", "_jit.py", "workspace.py"}
    assert sources["doubling"] == {"doubling.py", "_jit.py", "workspace.py"}
    assert {"pairs.py", "moving.py", "doubling.py"} <= sources["pairs"]
    assert len(_jit._sources_of(Path(__file__))) == len(list(room.rglob("*.py")))


IN_FOLDERS = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from quant_core.kernels import _jit

room = Path(_jit.__file__).parent
print(*(_jit.cache_folder(room / name).name for name in ("outer.py", "sums/inner.py", "other.py")))
"""


@pytest.mark.parametrize(
    "import_line",
    [
        "from quant_core.kernels.sums.inner import f",
        pytest.param("import quant_core.kernels.sums", marks=pytest.mark.slow),
    ],
)
def test_a_changed_file_in_a_sub_folder_changes_the_cache_folder_of_its_callers(
    tmp_path: Path, import_line: str
) -> None:
    room = Path(_jit.__file__).parent
    copy = tmp_path / "quant_core" / "kernels"
    (copy / "sums").mkdir(parents=True)
    for name in ("__init__.py", "_jit.py", "workspace.py"):
        (copy / name).write_text((room / name).read_text())
    (copy.parent / "meter.py").write_text((room.parent / "meter.py").read_text())
    for folder in (copy.parent, copy / "sums"):
        (folder / "__init__.py").touch()
    (copy / "outer.py").write_text(f"{import_line}\n")
    (copy / "other.py").touch()

    def folders(source: str) -> list[str]:
        (copy / "sums" / "inner.py").write_text(source)
        done = subprocess.run(
            [sys.executable, "-c", IN_FOLDERS, str(tmp_path)], cwd=tmp_path, capture_output=True, check=True, text=True
        )
        return done.stdout.split()

    before, after, again = folders("f = 1\n"), folders("f = 2\n"), folders("f = 1\n")
    assert again == before
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True]


@pytest.mark.usefixtures("_own_root")
def test_a_compilation_is_told_and_reading_machine_code_is_not() -> None:
    told: list[str] = []
    with report_compilations(told.append):
        kernel(fill_inverse.python).apply(np.ones(3))
        kernel(fill_inverse.python).apply(np.ones(3))
    kernel(fill_scaled.python).apply(np.ones(3))
    assert told == ["compiling fill_inverse, once per machine"]


def test_importing_kernels_and_features_loads_no_heavy_library() -> None:
    heavy = ["numba", "scipy", "skfolio", "matplotlib", "exchange_calendars", "pandera", "pandas"]
    code = (
        "import sys, quant_core.features as f; from quant_core.kernels import cross_section; f.catalogue();"
        "from quant_core.features.compute import context_of; context_of('XNYS', 'units');"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    root = Path(_jit.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
