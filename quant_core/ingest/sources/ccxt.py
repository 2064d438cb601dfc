"""Daily bars of crypto exchanges through ccxt, page by page from where the last landing stopped.

How often and how long is asked lives in reading/transport.py; which rows make trustworthy bars is decided in
../bars.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal, cast

import polars as pl
from pydantic import Field, model_validator

from quant_core.errors import MissingExtraError, SourceError, UnavailableError, UnknownKeyError
from quant_core.evidence.ledger.canonical import PayloadError, strict_json
from quant_core.graph.stage import Params
from quant_core.ingest.reading.transport import READ_SECONDS, Transport, beginning, bound_session, retry_after
from quant_core.ingest.sources.overlap import VALUES, changed_rows, remembered_rows
from quant_core.ingest.sources.source import Batch, IsoDay, Landed, source
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve
from quant_core.masking import fill_variables, mask_secrets

DAY = timedelta(days=1)
DAY_MS = 86_400_000
SCHEMA = {"date": pl.Date(), "symbol": pl.String(), **dict.fromkeys(VALUES, pl.Float64())}
_REFUSED = re.compile(r"^\S+ GET \S+ (?!408|418|429)4\d\d ")


class CcxtParams(Params):
    """The `[source]` table of kind "ccxt"."""

    exchange: str = Field(description="An exchange by its ccxt id, such as binance or kraken.")
    symbols: list[str] = Field(default_factory=list, description="Markets as ccxt names them: BTC/USDT, BTC/USDT:USDT.")
    quote: str | None = Field(default=None, description="Instead of symbols: all active markets in this currency.")
    timeframe: Literal["1d"] = Field(default="1d", description="Length of a bar.")
    since: IsoDay = Field(default="2017-01-01", description="First day to ask for, ISO date.")
    market: Literal["spot", "swap"] = Field(default="spot", description="Spot, or linear perpetuals.")
    limit: int = Field(default=1000, ge=2, le=5000, description="Most bars per page; fewer where the exchange says so.")
    overlap: int = Field(default=2, ge=0, le=100, description="Landed days asked for again, for restatements.")
    base_url: str | None = Field(
        default=None, pattern=r"^https?://[^\s?#]+$", description="Ask this address instead of the exchange's own."
    )

    @model_validator(mode="after")
    def _says_what(self) -> CcxtParams:
        if bool(self.symbols) == (self.quote is not None):
            raise ValueError("give either symbols or quote")
        return self


@source("ccxt", params=CcxtParams, grows=True, is_live=True, anchors=("exchange", "market", "since"))
def ccxt(params: CcxtParams, sleeve: Sleeve, landed: Landed) -> Iterator[Batch]:
    """Yield what an exchange has since the last landing, one batch per page of a market.

    A symbol is `BINANCE:BTCUSDT`, that of a perpetual `BINANCE:BTCUSDT.P`; volume is in units of the base currency. A
    bar is the UTC day it opened on; the one still forming is left out. The last `overlap` days are asked for again;
    what changed of them lands again. With `quote` the markets are those active now: what was delisted before the
    first landing is missing (survivorship).

    Raises
    ------
    UnknownKeyError
        No exchange of that name.
    UnavailableError
        The exchange did not answer in the end.
    SourceError
        It does not know a symbol, refused, sends the same page again, or sends malformed bars.
    """
    transport = Transport(landed.tell)
    exchange = _exchange(params)
    with closing(exchange.session):
        asking = _ExchangeClient(exchange, transport, params)
        for name, market in asking.markets().items():
            yield from _pages(asking, name, market, landed)


class _ExchangeClient:
    """An exchange reached through the transport; ccxt's errors become ours."""

    def __init__(self, exchange: Any, transport: Transport, params: CcxtParams) -> None:
        self.exchange, self.params, self._transport = exchange, params, transport

    def markets(self) -> dict[str, Mapping[str, Any]]:
        """Return the wanted markets by our symbol."""
        params = self.params
        self._ask(self.exchange.load_markets, "markets")
        known = {
            symbol: market
            for symbol, market in sorted(self.exchange.markets.items())
            if (market.get("swap") and market.get("linear") if params.market == "swap" else market.get("spot"))
        }
        wanted = dict.fromkeys(params.symbols)
        if params.quote is not None:
            active = (s for s, m in known.items() if m["quote"] == params.quote and m.get("active") is not False)
            wanted = dict.fromkeys(active)
        unknown = [symbol for symbol in wanted if symbol not in known]
        if unknown or not wanted:
            near = get_close_matches(unknown[0], known, n=3, cutoff=0.4) if unknown else []
            what = f"symbol {unknown[0]!r}" if unknown else f"active market in {params.quote!r}"
            hint = f" Near: {', '.join(near)}." if near else ""
            raise SourceError(f"ccxt {params.exchange}: no {params.market} {what} among its {len(known)}.{hint}")
        named: dict[str, Mapping[str, Any]] = {}
        for symbol in wanted:
            ticker = f"{known[symbol]['base']}{known[symbol]['quote']}" + (".P" if params.market == "swap" else "")
            name = f"{params.exchange.upper()}:{ticker}"
            if name in named:
                raise SourceError(f"ccxt {params.exchange}: {symbol} and {named[name]['symbol']} both would be {name}.")
            named[name] = known[symbol]
        return named

    def step(self, market: Mapping[str, Any]) -> int:
        """Return the bars per page the exchange and the sleeve both agree to."""
        most = self.exchange.feature_value(market["symbol"], "fetchOHLCV", "limit", None)
        return min(self.params.limit, most) if isinstance(most, int) and most > 1 else self.params.limit

    def page(self, market: Mapping[str, Any], start: date, limit: int) -> list[list[Any]]:
        """Return the bars from `start` on, checked to be bars: [ms, open, high, low, close, volume]."""
        symbol, what = market["symbol"], f"{market['symbol']} from {start}"
        since = (start - date(1970, 1, 1)) // DAY * DAY_MS
        bars = self._ask(lambda: self.exchange.fetch_ohlcv(symbol, self.params.timeframe, since, limit), what)
        if not bars and not _may_be_empty(self.answer):
            said = beginning(self.answer.encode())
            raise SourceError(f"ccxt {self.params.exchange}: {what}: answered {said}, no bars.")
        for bar in bars:
            if len(bar) < 6 or not isinstance(bar[0], int) or bar[0] % DAY_MS:
                raise SourceError(f"ccxt {self.params.exchange}: {what}: {bar!r} is not a bar of a UTC day.")
        return list(bars)

    @property
    def answer(self) -> str:
        """The last answer, as it came."""
        return str(self.exchange.last_http_response or "")

    def _ask(self, function: Any, what: str) -> Any:
        from ccxt import BaseError, DDoSProtection, OperationFailed, RateLimitExceeded

        seen: list[Exception] = []

        def once() -> Any:
            try:
                return function()
            except OperationFailed as error:
                said = mask_secrets(str(error), os.environ)  # the address as it was asked is in it
                if _REFUSED.match(str(error)):
                    raise SourceError(f"ccxt {self.params.exchange}: {what}: {said}") from error
                seen.append(error)
                raise UnavailableError(f"{type(error).__name__}: {said}") from error
            except BaseError as error:
                said = f"{type(error).__name__}: {mask_secrets(str(error), os.environ)}"
                raise SourceError(f"ccxt {self.params.exchange}: {what}: {said}") from error
            except RecursionError as error:
                raise SourceError(f"ccxt {self.params.exchange}: {what}: an answer nested too deep.") from error

        def pause() -> float | None:
            # The headers are those of the last answer, and a try that broke off has none.
            is_told = isinstance(seen[-1], DDoSProtection | RateLimitExceeded)
            return retry_after(self.exchange.last_response_headers or {}) if is_told else None

        return self._transport.call(once, what=f"ccxt {self.params.exchange}: {what}", pause=pause)


def _exchange(params: CcxtParams) -> Any:
    try:
        import ccxt
    except ModuleNotFoundError as error:
        raise MissingExtraError("source ccxt", "sources") from error
    if params.exchange not in ccxt.exchanges:
        raise UnknownKeyError("exchange", params.exchange, ccxt.exchanges)
    exchange = getattr(ccxt, params.exchange)({"enableRateLimit": True, "timeout": int(READ_SECONDS * 1000)})
    bound_session(exchange.session)
    exchange.enableLastHttpResponse = exchange.enableLastResponseHeaders = True
    # Only the markets asked for: of the others, some exchanges demand a key, some need a minute.
    exchange.has["fetchCurrencies"] = False
    kinds = exchange.options.get("fetchMarkets")
    if isinstance(kinds, dict) and isinstance(kinds.get("types"), list):
        wanted = {"spot": ("spot",), "swap": ("swap", "linear", "contract")}[params.market]
        kinds["types"] = [kind for kind in kinds["types"] if kind in wanted] or kinds["types"]
    if params.base_url is not None:
        exchange.urls["api"] = _move_addresses(
            exchange.urls["api"], fill_variables(params.base_url, os.environ).rstrip("/")
        )
    return exchange


def _move_addresses(urls: Any, base: str) -> Any:
    """Return addresses, nested as they are, with another scheme and host."""
    if isinstance(urls, dict):
        return {name: _move_addresses(url, base) for name, url in urls.items()}
    return re.sub(r"^https?://[^/]+", lambda _: base, urls) if isinstance(urls, str) else urls


def _pages(asking: _ExchangeClient, name: str, market: Mapping[str, Any], landed: Landed) -> Iterator[Batch]:
    """Yield the pages of one market, up to the last bar that is complete."""
    params, limit = asking.params, asking.step(market)
    end = landed.now.date()  # the bar that opened today is not complete
    last = date.fromisoformat(landed.marks[name]) if name in landed.marks else None
    if last is not None and last >= end - DAY:
        return
    since = date.fromisoformat(params.since)
    start = since if last is None else max(since, last + DAY - params.overlap * DAY)
    repeated, is_full = "", False
    while start < end:
        bars = asking.page(market, start, limit)
        newest = max(map(_day, bars), default=date.min)
        if newest < start:
            if asking.answer == repeated and is_full:
                raise SourceError(f"ccxt {params.exchange}: {market['symbol']} from {start}: the same page again.")
            if bars or asking.answer == repeated:
                return
            # Nothing from there on, or only nothing within one page from there: exchanges differ.
            start += limit * DAY
            continue
        repeated, is_full = asking.answer, len(bars) >= limit
        rows = _rows(bars, name, market).filter(pl.col("date") < end)
        new = changed_rows(rows, landed.marks.get(f"{name} overlap", ""))
        if not new.is_empty():
            until = cast("date", rows["date"].max())
            last = until if last is None else max(last, until)
            asked = {"exchange": params.exchange, "symbol": market["symbol"], "timeframe": params.timeframe}
            marks = {name: str(last), f"{name} overlap": remembered_rows(rows, params.overlap)}
            yield Batch(Split(new), {**asked, "since": str(start), "until": str(until)}, marks)
        start = newest + DAY


def _rows(bars: list[list[Any]], name: str, market: Mapping[str, Any]) -> pl.DataFrame:
    # Exchanges whose contract is not one unit of the base count contracts.
    size = float(market.get("contractSize") or 1.0) if market.get("swap") else 1.0
    rows = [(_day(bar), name, *bar[1:6]) for bar in bars]
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.with_columns(pl.col("volume") * size).with_columns(pl.col(VALUES).fill_nan(None))


def _day(bar: list[Any]) -> date:
    return datetime.fromtimestamp(bar[0] / 1000, UTC).date()


def _may_be_empty(answer: str) -> bool:
    """Return whether an answer may mean an empty page: JSON with a list that holds anything but words."""
    try:
        waiting = [strict_json(answer.encode())]
    except PayloadError:
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, list) and not any(isinstance(item, str) for item in value):
            return True
        waiting += list(value.values()) if isinstance(value, dict) else []
    return False
