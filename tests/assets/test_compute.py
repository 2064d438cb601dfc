import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from quant_assets.resources import compute, orphans
from quant_assets.resources.compute import MOST_TASKS, RayCompute, groups_of, ray_compute
from quant_core.errors import EngineError, InfeasibleError
from quant_core.graph.compute import Compute, SerialCompute

CHECKOUT = Path(compute.__file__).parents[2]

DRIVER = """
from quant_assets.resources.compute import RayCompute
from naps import nap
engine = RayCompute()
engine.map(nap, [0])
print("up", flush=True)
engine.map(nap, [600] * 4)
"""
NAPS = "import time\ndef nap(seconds, shared):\n    time.sleep(seconds)\n"
GUEST = """
import operator
import psutil
import ray
from quant_assets.resources.compute import RayCompute
with RayCompute() as engine:
    answers = engine.map(operator.add, [1, 2], shared=1)
    children = len(psutil.Process().children())
print(answers, children, ray.is_initialized())
"""
SECRET = "vk_9f31Qz-77c1e0"
HEAD = """
import sys
import ray
context = ray.init("local", num_cpus=1, include_dashboard=False)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


def rolling_moments(column: int, matrix: np.ndarray) -> np.ndarray:
    """Return sums whose last bits tell in which order they were added, and a product of matrices."""
    part = matrix[:, column : column + 5]
    return np.concatenate([part.std(axis=0), np.exp(part).sum(axis=0), (part.T @ part).ravel()])


def reciprocal(item: int, shared: Any) -> float:
    return 1.0 / item


def infeasible(item: int, shared: Any) -> int:
    if item == 3:
        raise InfeasibleError("caps of item 3 hold 0.9")
    return item


def refused(item: int, shared: Any) -> None:
    raise RuntimeError(f"401 for key {os.environ['VENDOR_API_KEY']}")


def overwritten(item: int, matrix: np.ndarray) -> None:
    matrix[item] = 0.0


def identity(item: int, shared: Any) -> int:
    return item


def where(item: int, shared: Any) -> tuple[int, int]:
    import threadpoolctl

    threads = max((pool["num_threads"] for pool in threadpoolctl.threadpool_info()), default=1)
    return os.getpid(), threads


def sum_of_matrix(item: int, matrix: np.ndarray) -> float:
    return float(matrix.sum()) + item


@pytest.fixture(scope="module")
def engine() -> Iterator[RayCompute]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
            patch.delenv(name, raising=False)
        # Workers import this module by name, as they import quant_core.
        patch.setenv("PYTHONPATH", str(CHECKOUT))
        patch.setenv("VENDOR_API_KEY", SECRET)
        with ray_compute() as engine:
            yield engine


def rays_of(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # gone meanwhile, or not waited for yet
            found += [child] if "ray" in " ".join(child.cmdline()) else []
    return found


def test_the_mode_is_found_by_its_entry_point_and_starts_nothing() -> None:
    (point,) = (point for point in entry_points(group="quant.modes") if point.name == "ray")
    engine = point.load()()
    assert isinstance(engine, Compute)
    assert engine.name == "ray"
    engine.close()
    assert not ray.is_initialized()


@pytest.mark.parametrize("n", [0, 1, MOST_TASKS, MOST_TASKS + 1, 1000, 13_000])
def test_groups_cover_all_items_once_and_depend_on_their_number_only(n: int) -> None:
    groups = groups_of(n)
    assert [item for group in groups for item in group] == list(range(n))
    assert len(groups) <= MOST_TASKS
    assert len({len(group) for group in groups[:-1]}) <= 1


def test_ray_gives_the_bits_of_serial_and_puts_the_matrix_once(engine: RayCompute) -> None:
    matrix = np.random.default_rng(7).normal(size=(4000, 60))
    puts = engine.puts
    columns = range(0, 55, 3)
    mapped = engine.map(rolling_moments, columns, shared=matrix)
    serial = SerialCompute().map(rolling_moments, columns, shared=matrix)
    assert [answer.tobytes() for answer in mapped] == [answer.tobytes() for answer in serial]
    assert engine.puts == puts + 1


def test_answers_keep_the_order_of_items_whatever_was_sent_first(engine: RayCompute) -> None:
    items = list(range(2 * MOST_TASKS + 7))
    assert engine.map(identity, iter(items), cost=lambda item: item % 11) == items


def test_no_items_are_no_answers_and_nothing_shared_is_nothing_put(engine: RayCompute) -> None:
    puts = engine.puts
    assert engine.map(identity, []) == []
    assert engine.map(identity, [1, 2]) == [1, 2]
    assert engine.puts == puts


def test_work_happens_elsewhere_with_one_thread_of_blas(engine: RayCompute) -> None:
    pids, threads = zip(*engine.map(where, range(8)), strict=True)
    assert os.getpid() not in pids
    assert set(threads) == {1}


def test_an_error_names_the_item(engine: RayCompute) -> None:
    with pytest.raises(EngineError, match="item 2 failed under ray: ZeroDivisionError"):
        engine.map(reciprocal, [2, 1, 0, 4])
    with pytest.raises(EngineError, match="an item from 0 to 2 failed under ray: ZeroDivisionError"):
        engine.map(reciprocal, [1, 0, *range(1, 3 * MOST_TASKS - 1)])


def test_an_error_of_ours_arrives_as_it_was_raised(engine: RayCompute) -> None:
    with pytest.raises(InfeasibleError, match="caps of item 3") as caught:
        engine.map(infeasible, range(20))
    assert type(caught.value) is InfeasibleError


def test_what_is_shared_cannot_be_written(engine: RayCompute) -> None:
    with pytest.raises(EngineError, match="read-only"):
        engine.map(overwritten, [0], shared=np.ones((200, 200)))


def test_after_an_error_the_engine_works_on(engine: RayCompute) -> None:
    with pytest.raises(EngineError):
        engine.map(reciprocal, range(600))
    assert engine.map(sum_of_matrix, [1, 2], shared=np.ones((10, 10))) == [101.0, 102.0]


def test_a_connection_somebody_else_made_stays_open(engine: RayCompute) -> None:
    engine.map(identity, [1])
    with RayCompute() as guest:
        assert guest.map(identity, [1, 2]) == [1, 2]
    assert ray.is_initialized()
    assert engine.map(identity, [3]) == [3]


def test_ports_ask_for_a_token(engine: RayCompute) -> None:
    engine.map(identity, [1])
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_nothing_is_left_after_close_and_no_secret_in_the_logs_and_a_later_map_starts_again(engine: RayCompute) -> None:
    with pytest.raises(EngineError, match="401 for key"):
        engine.map(refused, range(3))
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    ours = rays_of(os.getpid())
    assert ours
    engine.close()
    files = [path for path in session.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".log" for path in files)
    assert [path.name for path in files if SECRET.encode() in path.read_bytes()] == []
    assert not ray.is_initialized()
    _, alive = psutil.wait_procs(ours, timeout=20)
    assert alive == []
    engine.close()


def test_the_handler_a_scheduler_set_is_put_back() -> None:
    def chosen(number: int, frame: Any) -> None:
        """Stop nothing."""

    before = signal.signal(signal.SIGTERM, chosen)
    try:
        with compute._keep_sigterm():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is chosen
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_a_killed_driver_left_is_ended_and_a_reused_pid_is_not() -> None:
    left, other = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(2))
    try:
        told = [[left.pid, psutil.Process(left.pid).create_time()], [other.pid, 1.0], [2**22 + 1, 1.0]]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(orphans, "GRACE_S", 0.1)
            orphans.end(json.dumps(told))
        assert left.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_an_open_ray_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(EngineError, match="Unset RAY_AUTH_MODE"):
        RayCompute().map(identity, [1])
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_is_an_error_not_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(EngineError, match="no Ray answers at RAY_ADDRESS=nonsense"):
        RayCompute().map(identity, [1])


@contextmanager
def child(code: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run code in a process of its own until the block ends, and tidy up whatever it started."""
    (folder / "naps.py").write_text(NAPS)
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), str(folder)])
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
    with process:
        try:
            yield process
        finally:
            below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            for leftover in psutil.wait_procs(below, timeout=30)[1]:
                leftover.kill()


@pytest.mark.slow
def test_a_cluster_we_attached_to_goes_on(tmp_path: Path) -> None:
    with child(HEAD, tmp_path) as head:
        address = head.stdout.readline().strip()
        core = [p for p in psutil.Process(head.pid).children(recursive=True) if p.name() in {"gcs_server", "raylet"}]
        assert len(core) == 2
        for _ in range(2):
            environ = {**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token", "PYTHONPATH": str(CHECKOUT)}
            command = [sys.executable, "-c", GUEST]
            done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=60)
            assert done.stdout == "[2, 3] 0 False\n", done.stderr
            assert all(process.is_running() for process in core)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_driver_leaves_nothing_of_its_own_and_all_of_others(tmp_path: Path, number: signal.Signals) -> None:
    with child(HEAD, tmp_path) as foreign, child(DRIVER, tmp_path) as driver:
        foreign.stdout.readline()
        assert driver.stdout.readline().strip() == "up"
        ours, others = (psutil.Process(process.pid).children(recursive=True) for process in (driver, foreign))
        assert len(ours) > 5
        driver.send_signal(number)
        _, alive = psutil.wait_procs(ours, timeout=30)
        assert alive == []
        core = [process for process in others if process.is_running()]
        assert {"gcs_server", "raylet"} <= {process.name() for process in core}
