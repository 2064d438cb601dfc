import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from random import Random

import pytest

from quant_core.errors import MissingExtraError, SourceError, UnavailableError
from quant_core.ingest.reading.transport import Transport, beginning, retry_after
from tests.core.ingest.reading.fault_server import FakeTime, Fault, FaultServer, served

pytest.importorskip("requests")
pytest.importorskip("tenacity")
GOOD = b"one,two\n1,2\n"
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with served() as script:
        script.answer = lambda path, query: None if path == "/absent" else GOOD
        yield script


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def transport(time: FakeTime, told: list[str]) -> Iterator[Transport]:
    made = time.transport()(told.append)
    yield made
    made.close()


def test_a_good_answer_is_asked_for_once_and_told(server: FaultServer, transport: Transport, told: list[str]) -> None:
    assert transport.get(f"{server.url}/x") == GOOD
    assert server.asked == ["/x"]
    assert told == [f"GET {server.url}/x: answered in try 1"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(408),
        Fault(418),
        Fault(429),
        Fault(500),
        Fault(502, b"<html>bad gateway</html>"),
        Fault(503),
        Fault(closes=True),
        Fault(200, GOOD[:7], withheld=len(GOOD) - 7),
        Fault(200, b"", withheld=5),
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again(
    server: FaultServer, transport: Transport, told: list[str], time: FakeTime, fault: Fault
) -> None:
    server.faults = [fault, fault]
    assert transport.get(f"{server.url}/x") == GOOD
    assert len(server.asked) == 3
    assert len(time.waits) == 2
    assert [line.partition("/x: ")[2].partition(":")[0] for line in told] == ["try 1", "try 2", "answered in try 3"]


def test_the_other_side_says_how_long_to_wait_in_seconds(
    server: FaultServer, transport: Transport, time: FakeTime
) -> None:
    server.faults = [Fault(429, headers={"Retry-After": "7"}), Fault(503, headers={"Retry-After": "0"})]
    assert transport.get(f"{server.url}/x") == GOOD
    assert time.waits[0] == 7.0
    assert 0.0 <= time.waits[1] <= 2.0


def test_a_date_to_come_back_at_counts_from_the_date_of_the_answer() -> None:
    later = format_datetime(NOON + timedelta(seconds=90), usegmt=True)
    now = format_datetime(NOON, usegmt=True)
    assert retry_after({"Retry-After": later, "Date": now}) == 90.0
    assert retry_after({"Retry-After": now, "Date": later}) == 0.0
    assert retry_after({"Retry-After": "12", "Date": now}) == 12.0
    for said in ({}, {"Retry-After": later}, {"Retry-After": "soon", "Date": now}, {"Retry-After": "-5", "Date": now}):
        assert retry_after(said) is None


def test_a_server_that_never_recovers_is_given_up_after_five_tries(
    server: FaultServer, transport: Transport, told: list[str], time: FakeTime
) -> None:
    server.always = Fault(500)
    with pytest.raises(UnavailableError, match=r"no answer after 5 tries .*; the last one: HTTP 500. Ask again later"):
        transport.get(f"{server.url}/x")
    assert len(server.asked) == 5
    assert len(time.waits) == 4
    assert told[-1].endswith("try 5: HTTP 500; given up")


def test_pauses_are_drawn_below_a_bound_that_doubles() -> None:
    def down() -> None:
        raise OSError

    waits = []
    for seed in range(40):
        time = FakeTime()
        patient = Transport(lambda said: None, clock=time.clock, sleep=time.sleep, rng=Random(seed))
        with pytest.raises(UnavailableError):
            patient.call(down, what="x", retry_on=(OSError,))
        waits.append(time.waits)
    for k, drawn in enumerate(zip(*waits, strict=True)):
        assert all(0.0 <= wait <= 2.0**k for wait in drawn)
        assert min(drawn) < 0.25 * 2.0**k
        assert max(drawn) > 0.75 * 2.0**k


def test_a_pause_past_the_deadline_is_not_begun(server: FaultServer, transport: Transport, time: FakeTime) -> None:
    server.always = Fault(418, headers={"Retry-After": "86400"})
    with pytest.raises(UnavailableError, match=r"after 1 tries in 0 s and 86400 s to wait; the last one: HTTP 418"):
        transport.get(f"{server.url}/x")
    assert (len(server.asked), time.waits) == (1, [])


def test_an_answer_that_drips_past_the_deadline_is_broken_off(server: FaultServer, time: FakeTime) -> None:
    ticks = count(0.0, 1000.0)
    hasty = Transport(lambda said: None, clock=lambda: next(ticks), sleep=time.sleep, deadline=500.0)
    with pytest.raises(UnavailableError, match="12 bytes of 12 when the time was over"):
        hasty.get(f"{server.url}/x")
    hasty.close()


def test_nobody_listening_is_unavailable(transport: Transport) -> None:
    with served() as gone:
        url = gone.url
    with pytest.raises(UnavailableError, match="no answer after 5 tries"):
        transport.get(url)


def test_what_is_not_there_is_told_apart_and_not_tried_again(server: FaultServer, transport: Transport) -> None:
    assert transport.find(f"{server.url}/absent") is None
    with pytest.raises(SourceError, match="HTTP 404, nothing exists at this address") as caught:
        transport.get(f"{server.url}/absent")
    assert not isinstance(caught.value, UnavailableError)
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 410, 451])
def test_what_is_refused_is_not_tried_again(server: FaultServer, transport: Transport, status: int) -> None:
    server.always = Fault(status)
    with pytest.raises(SourceError, match=f"refused with HTTP {status}") as caught:
        transport.get(f"{server.url}/x")
    assert not isinstance(caught.value, UnavailableError)
    assert len(server.asked) == 1


def test_a_redirection_is_not_followed(server: FaultServer, transport: Transport) -> None:
    server.faults = [Fault(302, headers={"Location": "http://169.254.169.254/secret"})]
    with pytest.raises(SourceError, match=r"HTTP 302, to http://169.254.169.254/secret, .*not followed"):
        transport.get(f"{server.url}/x")
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "/etc/passwd", "http://", "data:text/csv,1"])
def test_only_web_addresses_are_asked(transport: Transport, url: str) -> None:
    with pytest.raises(SourceError, match="only http and https"):
        transport.get(url)


def test_an_answer_too_large_is_refused(server: FaultServer, time: FakeTime) -> None:
    small = Transport(lambda said: None, largest=11, sleep=time.sleep)
    with pytest.raises(SourceError, match="more than 11 bytes; refused"):
        small.get(f"{server.url}/x")
    small.close()
    assert len(server.asked) == 1


def test_messages_hold_no_password_and_no_query(server: FaultServer, transport: Transport, told: list[str]) -> None:
    server.always = Fault(500)
    with pytest.raises(UnavailableError) as caught:
        transport.get(server.url.replace("http://", "http://me:secret@") + "/x?key=secret")
    assert "secret" not in str(caught.value) + "".join(told)
    assert server.asked[0] == "/x?key=secret"


def test_a_client_library_is_called_again_for_the_errors_named_and_its_pause_is_kept(
    transport: Transport, time: FakeTime
) -> None:
    answers = iter([TimeoutError("slow"), UnavailableError("busy"), None])

    def asked() -> str:
        error = next(answers)
        if error is not None:
            raise error
        return "bars"

    assert transport.call(asked, what="bars", retry_on=(TimeoutError,), pause=lambda: 9.0) == "bars"
    assert time.waits == [9.0, 9.0]


def test_other_errors_of_a_client_library_pass(transport: Transport, time: FakeTime) -> None:
    def asked() -> str:
        raise KeyError("schema")

    with pytest.raises(KeyError):
        transport.call(asked, what="bars", retry_on=(TimeoutError,))
    assert time.waits == []


@pytest.mark.parametrize("module", ["requests", "tenacity"])
def test_without_the_optional_packages_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, transport: Transport, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"quant-assets\[sources\]"):
        transport.get("http://127.0.0.1:9/x")


def test_the_beginning_of_a_wrong_answer_is_shown() -> None:
    assert beginning(b"Exceeded the daily hits limit") == "'Exceeded the daily hits limit'"
    assert len(beginning(b"\xff" * 10_000)) < 200
