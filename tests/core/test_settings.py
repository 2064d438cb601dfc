import asyncio
import multiprocessing
import random
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from quant_core.errors import ConfigError, UsageError
from quant_core.settings import CHECKOUT, Settings, ThreadSafeConfig


def test_the_home_lies_beside_the_checkout_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_environment({}).home == CHECKOUT / ".quant"


def test_what_is_given_beats_the_environment() -> None:
    environ = {"QUANT_HOME": "/a", "QUANT_COMPUTE": "ray"}
    settings = Settings.from_environment(environ, home=Path("/b"), compute=None)
    assert (settings.home, settings.compute) == (Path("/b"), "ray")


def test_a_value_that_is_not_allowed_names_its_variable() -> None:
    with pytest.raises(ConfigError, match="QUANT_HOME"):
        Settings.from_environment({}, home=3)


def test_an_installation_without_a_checkout_has_no_default_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quant_core.settings.CHECKOUT", tmp_path)
    with pytest.raises(ConfigError, match="set QUANT_HOME"):
        Settings.from_environment({})
    assert Settings.from_environment({"QUANT_HOME": "/a"}).home == Path("/a")


def test_unset_settings_are_an_error_not_a_default() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="no settings"):
        pool.submit(ThreadSafeConfig.current).result()


def test_two_threads_never_see_each_others_settings() -> None:
    barrier = threading.Barrier(2)

    def seen(name: str) -> str:
        with ThreadSafeConfig.use(Settings(compute=name)):
            barrier.wait(10)
            return ThreadSafeConfig.current().compute

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(seen, ["a", "b"])) == ["a", "b"]


def test_a_payload_carries_the_settings_to_a_worker() -> None:
    with ThreadSafeConfig.use(Settings(compute="ray")):
        assert ThreadSafeConfig.from_payload(ThreadSafeConfig.payload()) == ThreadSafeConfig.current()


def crossed(name: str, rounds: int = 200) -> int:
    """Enter settings of that name again and again, nested in others, and count what was seen of anybody else's."""
    wrong = 0
    for k in range(rounds):
        with ThreadSafeConfig.use(Settings(compute=name)):
            wrong += ThreadSafeConfig.current().compute != name
            with ThreadSafeConfig.use(Settings(compute=f"{name}-{k}")):
                time.sleep(random.random() * 1e-5)  # hands over to another thread at any place
                wrong += ThreadSafeConfig.current().compute != f"{name}-{k}"
            wrong += ThreadSafeConfig.current().compute != name
    return wrong


def test_eight_threads_never_cross_in_thousands_of_entries() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(crossed, [f"t{i}" for i in range(8)])) == 0


def test_tasks_of_one_loop_never_cross_at_any_await() -> None:
    async def task(name: str) -> int:
        wrong = 0
        with ThreadSafeConfig.use(Settings(compute=name)):
            for k in range(50):
                await asyncio.sleep(0)
                wrong += ThreadSafeConfig.current().compute != name
                with ThreadSafeConfig.use(Settings(compute=f"{name}-{k}")):
                    await asyncio.sleep(0)
                    wrong += ThreadSafeConfig.current().compute != f"{name}-{k}"
                wrong += await asyncio.to_thread(lambda: ThreadSafeConfig.current().compute) != name
        return wrong

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(task(f"a{i}") for i in range(40))))

    assert asyncio.run(all_of_them()) == 0
    with pytest.raises(UsageError, match="no settings"):
        ThreadSafeConfig.current()


def in_worker(payload: str) -> tuple[str, bool]:
    try:
        ThreadSafeConfig.current()
        is_unset = False
    except UsageError:
        is_unset = True
    with ThreadSafeConfig.use(ThreadSafeConfig.from_payload(payload)):
        return ThreadSafeConfig.current().compute, is_unset


def test_a_process_pool_shared_by_two_contexts_never_crosses_and_starts_unset() -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:

        def ask(name: str) -> list[tuple[str, bool]]:
            with ThreadSafeConfig.use(Settings(compute=name)):
                payloads = [ThreadSafeConfig.payload() for _ in range(100)]
            return list(pool.map(in_worker, payloads, chunksize=7))

        with ThreadPoolExecutor(2) as threads:
            for name, seen in zip("AB", threads.map(ask, "AB"), strict=True):
                assert seen == [(name, True)] * 100
