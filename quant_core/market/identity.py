"""The meaning of a symbol: its venue, ticker, base, quote and kind, and the one asset behind several symbols.

What the ticker says depends on the venue, so the venue is read first and decides on the rule. Nothing here looks at
prices or dates: a ticker that came to mean another asset starts a new life, which is told in ingest/lives.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, overload

import polars as pl

from quant_core.errors import ContractError

SYMBOL = r"^[^\s:]+:\S+$"
"""What every symbol looks like: VENUE:TICKER."""

Kind = Literal["spot", "perpetual", "future", "equity", "fx", "unknown"]

# The venues of one row share one set of tickers. Coins and currency pairs are called the same on all venues.
_VENUES = {
    "crypto": "BINANCE BINANCECOINM BINANCEUS BINANCEUSDM BINGX BITFINEX BITGET BITMEX BITSTAMP BYBIT COINBASE "
    "COINBASEEXCHANGE CRYPTOCOM GATE GATEIO GEMINI HTX HUOBI KRAKEN KRAKENFUTURES KUCOIN KUCOINFUTURES MEXC OKEX OKX",
    "fx": "CAPITALCOM DUKASCOPY FOREXCOM FX FX_IDC FXCM ICMARKETS OANDA PEPPERSTONE SAXO THINKMARKETS",
}
_EQUITY_MARKETS = {
    "US": "US AMEX ARCA BATS IEX NASDAQ NYSE NYSEARCA OTC XASE XNAS XNYS",
    "GB": "LSE LON LSIN XLON",
    "DE": "XETR XETRA",
    "IN": "NSE BSE XNSE XBOM",
    "JP": "TSE XTKS",
    "HK": "HKEX XHKG",
    "CA": "TSX XTSE",
    "AU": "ASX XASX",
    "CH": "SIX XSWX",
    "PH": "PSE XPHS",
}
_FUTURES_MARKETS = {
    "CME": "CME CME_MINI CBOT CBOT_MINI COMEX COMEX_MINI NYMEX NYMEX_MINI",
    "ICEUS": "ICEUS",
    "ICEEUR": "ICEEUR",
    "EUREX": "EUREX",
}
# ARS, TRY and the like are quotes only where a base is left before them.
_CURRENCIES = (
    "USDT USDC DAI FDUSD USDS USDE USDP USD1 USD EURI EUR GBP JPY IDR TRY UAH ARS BRL ZAR VND THB PHP AUD CAD CHF KRW "
    "PLN RON MXN RUB CZK BTC ETH BNB"
)
# COINBASE:DOTUSD is DOT in USD, BINANCE:BTCTUSD is BTC in TUSD. One exchange quotes in these two; its coins that end in
# their first letter and are priced in plain dollars as well are named.
_BINANCE_DOLLARS = "BUSD TUSD"
_IN_BINANCE_DOLLARS = frozenset({"BINANCE", "BINANCEUSDM"})
_BEFORE_PLAIN_DOLLARS = "ANT APT ARB BAT BNB CKB DOT FTT GMT GRT LPT QNT SHIB SNT TRB USDT"
_COIN_ALIASES = {"XBT": "BTC", "XDG": "DOGE"}
# Its letters are another coin's: beside 1000000BOB the same venue lists BOB, at another price and on other moves.
_NO_UNITS = frozenset({"1000000BOB"})


def _market_of(table: Mapping[str, str]) -> dict[str, str]:
    return {venue: market for market, venues in table.items() for venue in venues.split()}


def _longest_first(*names: str) -> tuple[str, ...]:
    return tuple(sorted(" ".join(names).split(), key=lambda name: (-len(name), name)))


VENUES, EQUITY, FUTURES = _market_of(_VENUES), _market_of(_EQUITY_MARKETS), _market_of(_FUTURES_MARKETS)
QUOTES = _longest_first(_CURRENCIES)
BINANCE_QUOTES = _longest_first(_CURRENCIES, _BINANCE_DOLLARS)
_PLAIN = frozenset(_BEFORE_PLAIN_DOLLARS.split())

_CONTRACTS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"(?:\.P|[-_]PERP|[-_]SWAP)$"), "perpetual"),
    (re.compile(r"(?:\.F|[-_]\d{6})$"), "future"),
    (re.compile(r"[-_]SPOT$"), "spot"),
)
_SETTLED = re.compile(r"(?P<pair>[^:]+/[^:]+):[^:-]+(?P<expiry>-\d{6})?")
_SEPARATOR = re.compile(r"[-/_:]")
# Three characters must follow: 1MIL and 1000X are names, 1INCH has no multiplier at all.
_UNITS_FIRST = re.compile(r"(?P<units>10{3,8}|1M)(?P<coin>[A-Z][A-Z0-9]{2,})")
_UNITS_LAST = re.compile(r"(?P<coin>[A-Z]{3,})(?P<units>1000)")
_CONTRACT_MONTH = re.compile(r"(?P<root>.+?)(?:\d+!|[FGHJKMNQUVXZ](?:\d{4}|\d{1,2}))")
_SHARE_CLASS = re.compile(r"(?P<share>.+)[-/](?P<kind>[A-Z])")


@dataclass(frozen=True)
class Instrument:
    """The parts of one symbol.

    Attributes
    ----------
    venue, ticker : str
        The two parts of the symbol, as written.
    base : str
        The asset: a coin, a share, the root of a contract, the first currency of a pair; else the ticker.
    quote : str or None
        What it is priced in; None where the ticker does not say.
    kind : str
        "spot", "perpetual" or "future" on a crypto venue, "future", "equity" or "fx" elsewhere, "unknown" on a venue
        nobody declared.
    units : int
        How many of the base one price is for: 1000 for 1000PEPEUSDT.
    identity : str
        The economic identity; see `economic_identity`.
    """

    venue: str
    ticker: str
    base: str
    quote: str | None
    kind: Kind
    units: int
    identity: str


def parse(symbol: str) -> Instrument:
    """Read one symbol `VENUE:TICKER`.

    Raises
    ------
    ContractError
        Venue or ticker is missing.
    """
    name, _, ticker = symbol.partition(":")
    if not name or not ticker:
        raise ContractError(f"symbol {symbol!r} is not VENUE:TICKER.")
    venue, text = name.upper(), ticker.upper()
    if VENUES.get(venue) == "crypto":
        base, quote, kind, units = _coin(venue, text)
        return Instrument(name, ticker, base, quote, kind, units, base)
    if VENUES.get(venue) == "fx":
        pair = _SEPARATOR.sub("", text) or text
        is_pair = len(pair) == 6 and pair.isalpha()
        base, quote = (pair[:3], pair[3:]) if is_pair else (pair, None)
        return Instrument(name, ticker, base, quote, "fx", 1, pair)
    if venue in FUTURES:
        contract = _CONTRACT_MONTH.fullmatch(text)
        root = contract["root"] if contract else text
        return Instrument(name, ticker, root, None, "future", 1, f"{FUTURES[venue]}:{root}")
    if venue in EQUITY:
        share = _SHARE_CLASS.sub(r"\g<share>.\g<kind>", text) if _SHARE_CLASS.fullmatch(text) else text
        return Instrument(name, ticker, share, None, "equity", 1, f"{EQUITY[venue]}:{share}")
    return Instrument(name, ticker, ticker, None, "unknown", 1, ticker)


@overload
def economic_identity(symbols: pl.Series) -> pl.Series: ...
@overload
def economic_identity(symbols: pl.Expr) -> pl.Expr: ...
def economic_identity(symbols: pl.Series | pl.Expr) -> pl.Series | pl.Expr:
    """Return the asset behind each symbol, the same whatever the venue, quote or contract.

    A coin and a currency pair are known by their own name everywhere: `BTC` for BINANCE:BTCUSDT.P, COINBASE:BTCUSD and
    KRAKEN:XBTEUR, `EURUSD` for OANDA:EUR_USD. The letters of a share or of a contract mean something in their
    market only, so the market stays in front: `US:T` is no `T`, gold as `CME:GC` no coin `GC`, `GB:VOD` no `US:VOD`.
    A coin priced in a coin is the base: ETHBTC is `ETH`. 1000PEPE is `PEPE`; a wrapped or stable coin (WBTC, USDT) and
    a leveraged token (BTCUP) are assets of their own. On a venue nobody declared the ticker is taken as it is.

    When in doubt two symbols stay two assets: a pair whose quote is not known keeps its whole ticker.

    Parameters
    ----------
    symbols : Series or Expr of String
        `VENUE:TICKER`; null stays null.

    Returns
    -------
    Series or Expr of String
        Named as the input.

    Raises
    ------
    ContractError
        A symbol lacks its venue or its ticker.
    """
    if isinstance(symbols, pl.Expr):
        return symbols.map_batches(economic_identity, return_dtype=pl.String, is_elementwise=True)
    distinct = symbols.drop_nulls().unique().to_list()
    identities = {symbol: parse(symbol).identity for symbol in distinct}
    return symbols.cast(pl.String).replace_strict(identities, default=None, return_dtype=pl.String)


def _coin(venue: str, text: str) -> tuple[str, str | None, Kind, int]:
    """Return base, quote, kind and units of a ticker on a crypto venue."""
    text, kind = _pair_and_kind(text)
    parts = _SEPARATOR.split(text, maxsplit=1)
    if len(parts) == 2 and all(parts):
        coin, quote = parts[0], parts[1]
    else:
        coin, quote = _without_quote(venue, text)
    found = _UNITS_FIRST.fullmatch(coin) or _UNITS_LAST.fullmatch(coin)
    units = 1
    if found and coin not in _NO_UNITS:
        coin, units = found["coin"], int(found["units"].replace("M", "000000"))
    return _COIN_ALIASES.get(coin, coin), quote, kind, units


def _pair_and_kind(text: str) -> tuple[str, Kind]:
    """Separate the contract, named once at the end, from the pair."""
    settled = _SETTLED.fullmatch(text)
    if settled:
        return settled["pair"], "future" if settled["expiry"] else "perpetual"
    for pattern, kind in _CONTRACTS:
        match = pattern.search(text)
        if match and match.start() > 0:
            return text[: match.start()], kind
    return text, "spot"


def _without_quote(venue: str, text: str) -> tuple[str, str | None]:
    """Separate the longest known quote from a pair, once; a ticker that is itself a quote is that coin."""
    has_both = venue in _IN_BINANCE_DOLLARS and text.removesuffix("USD") not in _PLAIN
    quotes = BINANCE_QUOTES if has_both else QUOTES
    if text in quotes:
        return text, None
    for quote in quotes:
        if text.endswith(quote):
            return text.removesuffix(quote), quote
    return text, None
