import threading
from concurrent.futures import ThreadPoolExecutor
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
