"""A server on this machine that answers as scripted: faults first, each once, then the good answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import parse_qsl, urlsplit

from quant_core.ingest.reading.transport import Transport

Answer = Callable[[str, dict[str, str]], "bytes | Fault | None"]


@dataclass(frozen=True)
class Fault:
    """An answer that is not the good one.

    Attributes
    ----------
    withheld : int
        Bytes announced in Content-Length but never sent.
    closes : bool
        The connection is closed without a word.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    withheld: int = 0
    closes: bool = False


@dataclass
class FaultServer:
    """What a server is to answer, and what it was asked.

    Attributes
    ----------
    url : str
    answer : callable
        Takes path and query; returns the good body, None for a 404.
    faults : list of Fault
        Answered first, whatever is asked, if `where` is in the path.
    always : Fault, optional
        Answered whenever `where` is in the path.
    asked : list of str
        Paths with query, in order.
    """

    url: str = ""
    answer: Answer = lambda path, query: None
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    where: str = ""
    asked: list[str] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [path.partition("?")[0] for path in self.asked]

    def replied(self, target: str) -> Fault:
        parts = urlsplit(target)
        self.asked.append(target)
        if self.where in parts.path:
            if self.faults:
                return self.faults.pop(0)
            if self.always is not None:
                return self.always
        found = self.answer(parts.path, dict(parse_qsl(parts.query)))
        if isinstance(found, Fault):
            return found
        return Fault(404, b"not found") if found is None else Fault(200, found)


@dataclass
class FakeTime:
    """A clock that moves only when somebody sleeps."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def transport(self) -> Callable[..., Transport]:
        return partial(Transport, clock=self.clock, sleep=self.sleep, rng=Random(7))


@contextmanager
def served() -> Iterator[FaultServer]:
    script = FaultServer()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

        def do_GET(self) -> None:
            fault = script.replied(self.path)
            if fault.closes:
                self.close_connection = True
                return
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(fault.body) + fault.withheld))
            self.end_headers()
            self.wfile.write(fault.body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
