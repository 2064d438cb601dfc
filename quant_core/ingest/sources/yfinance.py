"""Daily bars of stocks and funds from Yahoo through yfinance, from where the last landing stopped.

How often and how long is asked lives in reading/transport.py; which rows make trustworthy bars is decided in
../bars.py.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Literal, cast

import polars as pl
from pydantic import Field, field_validator

from quant_core.errors import ConfigError, MissingExtraError, SourceError, UnavailableError
from quant_core.graph.stage import Params
from quant_core.ingest.reading.transport import LARGEST, READ_SECONDS, Transport, bound_session
from quant_core.ingest.sources.overlap import changed_rows, remembered_rows, restatement
from quant_core.ingest.sources.source import Batch, IsoDay, Landed, source
from quant_core.market.contracts.split import Split
from quant_core.market.sessions import sessions_of
from quant_core.market.sleeves import Sleeve

DAY = timedelta(days=1)
PRICES = {"open": "Open", "high": "High", "low": "Low", "close": "Close"}
NUMBERS = (*PRICES.values(), "Adj Close", "Volume", "Dividends", "Stock Splits")
# Days before the last one landed that are asked for again.
OVERLAP = 5
# A landed close that came out as another by more than this was adjusted again: by a late split, or a dividend.
RESTATED = {"split": 0.05, "total": 1e-4}
_NOTHING_THERE = re.compile(r"no data found|doesn't exist|delisted|no price data|no timezone", re.IGNORECASE)


class YfinanceParams(Params):
    """The `[source]` table of kind "yfinance"."""

    symbols: list[str] = Field(min_length=1, description="Tickers as Yahoo writes them: AAPL, BRK-B, VOD.L.")
    since: IsoDay = Field(default="2000-01-01", description="First day to ask for, ISO date.")
    venue: str = Field(default="US", pattern=r"^[^\s:]+$", description="Venue of the symbols.")
    prices: Literal["split", "total"] = Field(
        default="split", description="Adjusted for splits, or for splits and dividends; as the sleeve declares."
    )

    @field_validator("symbols")
    @classmethod
    def _are_tickers(cls, symbols: list[str]) -> list[str]:
        wrong = [symbol for symbol in symbols if re.fullmatch(r"[A-Z0-9.^=-]{1,20}", symbol) is None]
        if wrong or len(set(symbols)) != len(symbols):
            raise ValueError(f"symbols must be distinct tickers such as AAPL; got {wrong or 'a duplicate'}")
        return symbols


@source("yfinance", params=YfinanceParams, grows=True, is_live=True, anchors=("venue", "prices", "since"))
def yfinance(params: YfinanceParams, sleeve: Sleeve, landed: Landed) -> Iterator[Batch]:
    """Yield what Yahoo has since the last landing, one batch per symbol.

    A symbol is `US:AAPL`. Yahoo's prices are adjusted for splits, as of the day they are asked for; with
    ``prices = "total"`` they are multiplied by its Adj Close / Close, and volume is divided by it, so that close x
    volume stays the traded value. A later split, and for "total" a later dividend, adjusts all earlier prices again:
    then the symbol's whole history is asked for again. A session not over yet is left out. Yahoo's volume cannot be
    told from 0 where it is not known.

    Raises
    ------
    ConfigError
        The sleeve declares another adjustment.
    UnavailableError
        Yahoo did not answer in the end.
    SourceError
        Yahoo returned no data for any symbol, or returned malformed prices.
    """
    if sleeve.adjustment not in (None, params.prices):
        raise ConfigError(f"prices = {params.prices!r}, but the sleeve declares adjustment = {sleeve.adjustment!r}.")
    transport = Transport(landed.tell)
    absent, asked = [], 0
    for symbol in params.symbols:
        mark = landed.marks.get(f"{params.venue}:{symbol}")
        if mark is not None and not _sessions_since(date.fromisoformat(mark), sleeve, landed):
            continue
        asked += 1
        batch = _batch(symbol, mark, params, sleeve, landed, transport)
        if batch is None:
            absent.append(symbol)
            landed.tell(f"yfinance: {symbol}: Yahoo has nothing; delisted, or another name")
        elif not batch.rows.valid.is_empty():
            yield batch
    if asked and len(absent) == asked:
        raise SourceError(f"yfinance: Yahoo returned no data for {', '.join(absent[:5])} or any other symbol.")


def _batch(
    symbol: str, mark: str | None, params: YfinanceParams, sleeve: Sleeve, landed: Landed, transport: Transport
) -> Batch | None:
    """Return the new rows of a symbol; None where Yahoo has nothing."""
    name, first = f"{params.venue}:{symbol}", date.fromisoformat(params.since)
    last = first if mark is None else date.fromisoformat(mark)
    start = first if mark is None else max(first, last - OVERLAP * DAY)
    remembered = landed.marks.get(f"{name} overlap", "")
    rows = _complete_rows(_fetch_with_retries(symbol, start, transport), name, params, sleeve, landed)
    if mark is not None and rows is not None:
        why = _explain_restatement(rows, last, remembered, params.prices)
        if why is not None:
            landed.tell(f"yfinance: {symbol}: {why}; asking for its whole history")
            start, remembered = first, ""
            rows = _complete_rows(_fetch_with_retries(symbol, start, transport), name, params, sleeve, landed)
    if rows is None:
        return None
    rows = rows.drop("dividend", "split")
    new = changed_rows(rows, remembered)
    until = cast("date | None", rows["date"].max()) or last
    request = {"symbol": symbol, "timeframe": "1d", "since": str(start), "until": str(until)}
    marks = {name: str(max(until, last)), f"{name} overlap": remembered_rows(rows, OVERLAP + 1)}
    return Batch(Split(new), request, marks)


def _explain_restatement(rows: pl.DataFrame, last: date, remembered: str, prices: str) -> str | None:
    """Return why landed prices no longer match new ones, None if they do."""
    new = rows.filter(pl.col("date") > last)
    events = {"split": "split", "dividend": "dividend"} if prices == "total" else {"split": "split"}
    for name, kind in events.items():
        days = new.filter(pl.col(name) > 0.0)["date"]
        if len(days):
            return f"a {kind} on {days[0]}"
    change = restatement(rows, remembered)
    return f"a landed close changed by {100.0 * change:.2g} %" if change > RESTATED[prices] else None


def _complete_rows(
    frame: pl.DataFrame, name: str, params: YfinanceParams, sleeve: Sleeve, landed: Landed
) -> pl.DataFrame | None:
    """Return the rows of sessions that are over, under our names; None of a table without rows."""
    if frame.is_empty():
        return None
    missing = [column for column in ("date", *NUMBERS) if column not in frame.columns]
    if missing:
        raise SourceError(f"yfinance: {name} came without {', '.join(missing)}; it has {', '.join(frame.columns)}.")
    numbers = frame.with_columns(pl.col(NUMBERS).cast(pl.Float64).fill_nan(None))
    adjusted, close = pl.col("Adj Close"), pl.col("Close")
    factor = pl.when(adjusted > 0.0, close > 0.0).then(adjusted / close) if params.prices == "total" else pl.lit(1.0)
    rows = numbers.select(
        "date",
        pl.lit(name).alias("symbol"),
        **{ours: pl.col(theirs) * factor for ours, theirs in PRICES.items()},
        volume=pl.col("Volume") / factor,
        dividend="Dividends",
        split="Stock Splits",
    )
    closes = sessions_of(rows["date"], sleeve.market).select("date", "available_at")
    known = rows.join(closes, on="date", how="left", maintain_order="left")
    return known.filter(pl.col("available_at") <= landed.now).drop("available_at")


def _sessions_since(last: date, sleeve: Sleeve, landed: Landed) -> int:
    """Return how many sessions after `last` are over."""
    today = landed.now.date()
    if last >= today:
        return 0
    return sleeve.market.sessions(last + DAY, today).filter(pl.col("closes_at") <= landed.now).height


def _fetch_with_retries(symbol: str, start: date, transport: Transport) -> pl.DataFrame:
    return transport.call(lambda: _fetch(symbol, start), what=f"yfinance: {symbol} from {start}")


def _fetch(symbol: str, start: date) -> pl.DataFrame:
    """Ask Yahoo once: `date` and NUMBERS, no rows where Yahoo has nothing. Tests put recorded rows in its place.

    Raises
    ------
    UnavailableError
        Asking again may help.
    SourceError
        What came cannot be read.
    """
    try:
        import yfinance
        from yfinance import exceptions
    except ModuleNotFoundError as error:
        raise MissingExtraError("source yfinance", "sources") from error

    # By default what goes wrong is logged, and comes back as a table without rows: as if delisted.
    settings = yfinance.config.debug
    was, settings.hide_exceptions = settings.hide_exceptions, False
    try:
        # The library keeps answers by their question, also those that were errors.
        yfinance.data.YfData().cache_get.cache_clear()
        table = yfinance.Ticker(symbol, session=_session()).history(
            start=start.isoformat(), interval="1d", auto_adjust=False, actions=True, timeout=READ_SECONDS
        )
    except exceptions.YFTickerMissingError as error:
        if _NOTHING_THERE.search(str(error)):
            return pl.DataFrame()
        raise UnavailableError(str(error)) from error
    except (exceptions.YFRateLimitError, exceptions.YFDataException, OSError, ValueError) as error:
        # Of a ticker it does not know Yahoo is asked for the time zone, too.
        if getattr(getattr(error, "response", None), "status_code", None) == 404:
            return pl.DataFrame()
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
    except (exceptions.YFException, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"yfinance: {symbol}: {type(error).__name__}: {error}") from error
    finally:
        settings.hide_exceptions = was
    columns = {name: [float(value) for value in table[name]] for name in NUMBERS if name in table}
    return pl.DataFrame(
        {"date": [stamp.date() for stamp in table.index], **columns}, schema_overrides={"date": pl.Date}
    )


@functools.cache
def _session(largest: int = LARGEST) -> Any:
    """Return the library's own kind of session, which refuses answers of more than `largest` bytes, unpacked."""
    from yfinance._http import HAS_CURL_CFFI, new_session

    if not HAS_CURL_CFFI:
        session = new_session()
        bound_session(session, largest)
        return session
    from curl_cffi import requests
    from curl_cffi.curl import CURL_WRITEFUNC_ERROR

    session_class: Any = requests.Session  # takes far more than is passed on here

    class Bounded(session_class):  # type: ignore[misc]
        def request(self, method: str, url: str, **given: Any) -> Any:
            parts: list[bytes] = []
            size = 0

            def take(part: bytes) -> int:
                nonlocal size
                size += len(part)
                if size > largest:
                    return int(CURL_WRITEFUNC_ERROR)
                parts.append(part)
                return len(part)

            try:
                response = super().request(method, url, content_callback=take, **given)
            except requests.exceptions.RequestException as error:
                if size > largest:
                    raise SourceError(f"yfinance: an answer of more than {largest} bytes; refused.") from error
                raise
            response.content = b"".join(parts)
            return response

    return Bounded(impersonate="chrome")
