"""Sends requests over the network: what is retried, for how long, and which answers are accepted.

Each source decides what to request and how to read the answer (sources/).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from quant_core.errors import MissingExtraError, SourceError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response, Session
    from tenacity import RetryCallState

T = TypeVar("T")
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
CHUNK = 1 << 16
LARGEST = 64 << 20
# Asked too much (418 is Binance's word for a ban), or too slow to ask; whatever else is below 500 stays wrong.
_AGAIN = (408, 418, 429)


class _NoAnswerError(UnavailableError):
    """A failed try; `wait` is the number of seconds the server asks to wait."""

    def __init__(self, said: str, wait: float | None = None) -> None:
        super().__init__(said)
        self.wait = wait


@dataclass
class Transport:
    """Sends requests, and retries when that may help. A lasting failure is raised, never replaced.

    A try that fails is followed by a pause drawn between zero and a bound that doubles (full jitter, so that many
    clients do not come back at once), or by the pause the other side asks for, if that is longer.

    Attributes
    ----------
    tell : callable
        Takes one line per try.
    tries, deadline : int, float
        Tries and seconds per question, pauses included: a pause that reaches past the deadline is not begun.
    largest : int
        Bytes of an answer above which it is refused.
    clock, sleep, rng
        Seconds that only move forward, how to wait, where the jitter comes from.
    """

    tell: Callable[[str], None]
    tries: int = 5
    deadline: float = 300.0
    largest: int = LARGEST
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = field(default_factory=random.Random)
    _session: Session | None = field(default=None, init=False, repr=False)

    def get(self, url: str) -> bytes:
        """Return the body at `url`.

        Raises
        ------
        UnavailableError
            No whole answer in time: 408, 418, 429, 5xx, no connection, too slow, fewer bytes than announced.
        SourceError
            Another status, a redirection, a body too large, or no http(s) address.
        """
        body = self.find(url)
        if body is None:
            raise SourceError(f"{_show_address(url)}: HTTP 404, nothing exists at this address.")
        return body

    def find(self, url: str) -> bytes | None:
        """Return the body at `url`, or None where the server has none (404); see `get`."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise SourceError(f"{_show_address(url)}: only http and https addresses are allowed.")
        session, until = self._get_session(), self.clock() + self.deadline
        return self.call(lambda: self._try_once(session, url, until), what=f"GET {_show_address(url)}")

    def call(
        self,
        function: Callable[[], T],
        *,
        what: str,
        retry_on: tuple[type[Exception], ...] = (),
        pause: Callable[[], float | None] = lambda: None,
    ) -> T:
        """Return what `function` returns, calling it again when it raises UnavailableError or one of `retry_on`.

        Parameters
        ----------
        function : callable
            A question put through a client library.
        what : str
            The question, for people: no secret.
        retry_on : tuple of exception types
        pause : callable
            Asked after a failure: seconds the other side wants to be left alone, None if it did not say.

        Raises
        ------
        UnavailableError
            The tries or the deadline are used up. Other exceptions of `function` pass.
        """
        try:
            from tenacity import Retrying, retry_if_exception_type
        except ModuleNotFoundError as error:
            raise MissingExtraError("asking over the network", "sources") from error
        start = self.clock()
        passing: tuple[type[Exception], ...] = (UnavailableError, *retry_on)

        def once() -> T:
            try:
                return function()
            except _NoAnswerError:
                raise
            except passing as error:
                raise _NoAnswerError(_one_line(error), pause()) from error

        def is_over(state: RetryCallState) -> bool:
            # The wait is drawn before this is asked; one past the deadline would only delay the bad news.
            return state.attempt_number >= self.tries or self.clock() - start + state.upcoming_sleep > self.deadline

        def report_retry(state: RetryCallState) -> None:
            self.tell(f"{what}: try {state.attempt_number}: {_failure(state)}; waiting {state.upcoming_sleep:.1f} s")

        def give_up(state: RetryCallState) -> T:
            failure = _failure(state)
            self.tell(f"{what}: try {state.attempt_number}: {failure}; given up")
            wait = f" and {failure.wait:.0f} s to wait" if failure.wait else ""
            spent = f"{state.attempt_number} tries in {self.clock() - start:.0f} s{wait}"
            said = f"{what}: no answer after {spent}; the last one: {failure}. Ask again later."
            raise UnavailableError(said) from failure

        retrying = Retrying(
            retry=retry_if_exception_type(_NoAnswerError),
            wait=self._wait,
            stop=is_over,
            sleep=self.sleep,
            before_sleep=report_retry,
            retry_error_callback=give_up,
        )
        answer = retrying(once)
        self.tell(f"{what}: answered in try {retrying.statistics['attempt_number']}")
        return answer

    def close(self) -> None:
        """Close the connections kept open."""
        if self._session is not None:
            self._session.close()

    def _wait(self, state: RetryCallState) -> float:
        drawn = self.rng.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (state.attempt_number - 1)))
        return max(drawn, _failure(state).wait or 0.0)

    def _get_session(self) -> Session:
        try:
            from requests import Session
        except ModuleNotFoundError as error:
            raise MissingExtraError("asking over the network", "sources") from error
        if self._session is None:
            self._session = Session()
            # A compressed body has another length than the one announced for it.
            self._session.headers.update({"Accept-Encoding": "identity", "User-Agent": "quant-assets"})
        return self._session

    def _try_once(self, session: Session, url: str, until: float) -> bytes | None:
        from requests import exceptions

        seconds = (CONNECT_SECONDS, READ_SECONDS)
        try:
            # Where a redirection leads was not agreed on: it may be another host, or one inside this network.
            with session.get(url, stream=True, timeout=seconds, allow_redirects=False) as response:
                if response.status_code == 404:
                    return None
                self._check_status(response)
                return self._body(response, until)
        except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
            raise _NoAnswerError(_one_line(error)) from error
        except exceptions.RequestException as error:
            raise SourceError(f"{_show_address(url)}: {_one_line(error)}") from error

    def _check_status(self, response: Response) -> None:
        status, place = response.status_code, _show_address(response.url)
        if status in _AGAIN or status >= 500:
            raise _NoAnswerError(f"HTTP {status}", retry_after(response.headers))
        if status >= 400:
            raise SourceError(f"{place}: refused with HTTP {status}.")
        if status != 200:
            to = f", to {_show_address(response.headers['Location'])}" if "Location" in response.headers else ""
            raise SourceError(f"{place}: HTTP {status}{to}, instead of an answer; redirections are not followed.")

    def _body(self, response: Response, until: float) -> bytes:
        announced = response.headers.get("Content-Length", "")
        parts, size = [], 0
        for part in response.iter_content(CHUNK):
            parts.append(part)
            size += len(part)
            if size > self.largest:
                raise SourceError(f"{_show_address(response.url)}: more than {self.largest} bytes; refused.")
            if self.clock() > until:
                raise _NoAnswerError(f"{size} bytes of {announced or '?'} when the time was over")
        if announced.isdigit() and "Content-Encoding" not in response.headers and size != int(announced):
            raise _NoAnswerError(f"{size} bytes instead of the {announced} announced")
        return b"".join(parts)


def bound_session(session: Session, largest: int = LARGEST) -> None:
    """Make a client library's session refuse answers of more than `largest` bytes after unpacking.

    A question put through it then raises SourceError as soon as an answer is too large.
    """

    def within(response: Response, *args: object, **given: object) -> Response:
        parts, size = [], 0
        for part in response.iter_content(CHUNK):
            parts.append(part)
            size += len(part)
            if size > largest:
                response.close()
                raise SourceError(f"{_show_address(response.url)}: more than {largest} bytes; refused.")
        response._content = b"".join(parts)  # what `content` hands out, read whole and without bounds if it is not set
        return response

    session.hooks["response"].append(within)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds the header Retry-After asks for, None if it does not; a date counts from the answer's own."""
    given = headers.get("Retry-After", "").strip()
    if given.isdecimal():
        return float(given)
    try:
        then, now = (parsedate_to_datetime(text) for text in (given, headers.get("Date", "")))
    except ValueError:
        return None
    seconds = (then.replace(tzinfo=then.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)).total_seconds()
    return max(seconds, 0.0)


def beginning(body: bytes) -> str:
    """Return the printable beginning of a body, for messages about an unexpected answer."""
    return repr(body[:120].decode("utf-8", errors="replace"))


def _failure(state: RetryCallState) -> _NoAnswerError:
    failure = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(failure, _NoAnswerError)
    return failure


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:300]


def _show_address(url: str) -> str:
    """Return an address without its possible secrets: user, password, query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
