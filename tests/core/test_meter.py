import sys
import types

import pytest

from quant_core import meter as module
from quant_core.meter import counted, loading, metered


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at the last of these instants."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[-1])
    return now


def test_a_judgement_counts_once_though_it_asks_another(clock: list[float]) -> None:
    @counted
    def inner() -> None:
        clock.append(clock[-1] + 2.0)

    @counted
    def outer() -> str:
        inner()
        clock.append(clock[-1] + 1.0)
        return "kept"

    with metered() as meter:
        assert outer() == "kept"
        inner()
    assert (meter.seconds, meter.loading) == (5.0, 0.0)


def test_a_judgement_that_loads_a_library_is_told_apart(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    @counted
    def judge() -> None:
        monkeypatch.setitem(sys.modules, "a_library_nobody_has", types.ModuleType("a_library_nobody_has"))
        clock.append(clock[-1] + 3.0)

    with metered() as meter:
        judge()
        judge()
    assert (meter.seconds, meter.loading) == (3.0, 3.0)


def test_a_judgement_that_fails_took_its_time_all_the_same(clock: list[float]) -> None:
    @counted
    def refuse() -> None:
        clock.append(clock[-1] + 1.0)
        raise ValueError("refused")

    with metered() as meter, pytest.raises(ValueError, match="refused"):
        refuse()
    refuse_outside = counted(lambda: "not metered")
    assert refuse_outside() == "not metered"
    assert (meter.seconds, meter.depth) == (1.0, 0)


def test_imports_count_as_loading_and_not_as_validation(clock: list[float]) -> None:
    with metered() as meter:
        with loading():
            clock.append(2.0)
        counted(clock.append)(5.0)
    assert (meter.loading, meter.seconds) == (2.0, 3.0)


def test_loading_inside_loading_counts_once(clock: list[float]) -> None:
    with metered() as meter, loading():
        clock.append(1.0)
        with loading():
            clock.append(3.0)
    assert meter.loading == 3.0


def test_loading_outside_a_meter_is_not_counted() -> None:
    with loading():
        pass
