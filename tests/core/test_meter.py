import sys
import types

import pytest

from quant_core import meter as module
from quant_core.meter import count_validation, loading, measure_validation


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at the last of these instants."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[-1])
    return now


def test_a_judgement_counts_once_though_it_asks_another(clock: list[float]) -> None:
    @count_validation
    def inner() -> None:
        clock.append(clock[-1] + 2.0)

    @count_validation
    def outer() -> str:
        inner()
        clock.append(clock[-1] + 1.0)
        return "kept"

    with measure_validation() as meter:
        assert outer() == "kept"
        inner()
    assert (meter.seconds, meter.loading) == (5.0, 0.0)


def test_a_judgement_that_loads_a_library_is_told_apart(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    @count_validation
    def judge() -> None:
        monkeypatch.setitem(sys.modules, "a_library_nobody_has", types.ModuleType("a_library_nobody_has"))
        clock.append(clock[-1] + 3.0)

    with measure_validation() as meter:
        judge()
        judge()
    assert (meter.seconds, meter.loading) == (3.0, 3.0)


def test_a_judgement_that_fails_took_its_time_all_the_same(clock: list[float]) -> None:
    @count_validation
    def refuse() -> None:
        clock.append(clock[-1] + 1.0)
        raise ValueError("refused")

    with measure_validation() as meter, pytest.raises(ValueError, match="refused"):
        refuse()
    refuse_outside = count_validation(lambda: "not measure_validation")
    assert refuse_outside() == "not measure_validation"
    assert (meter.seconds, meter.depth) == (1.0, 0)


def test_imports_count_as_loading_and_not_as_validation(clock: list[float]) -> None:
    with measure_validation() as meter:
        with loading():
            clock.append(2.0)
        count_validation(clock.append)(5.0)
    assert (meter.loading, meter.seconds) == (2.0, 3.0)


def test_loading_inside_loading_counts_once(clock: list[float]) -> None:
    with measure_validation() as meter, loading():
        clock.append(1.0)
        with loading():
            clock.append(3.0)
    assert meter.loading == 3.0


def test_loading_outside_a_meter_is_not_counted() -> None:
    with loading():
        pass
