import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import ContractError
from quant_core.market.identity import BINANCE_QUOTES, EQUITY, FUTURES, QUOTES, VENUES, economic_identity, parse
from quant_core.settings import CHECKOUT

# symbol: base, quote, kind, units, identity
INSTRUMENTS = {
    # one coin, many venues, quotes and contracts
    "BINANCE:BTCUSDT.P": ("BTC", "USDT", "perpetual", 1, "BTC"),
    "BINANCE:BTCUSDT": ("BTC", "USDT", "spot", 1, "BTC"),
    "BINANCE:BTCBUSD": ("BTC", "BUSD", "spot", 1, "BTC"),
    "BINANCE:BTCTUSD": ("BTC", "TUSD", "spot", 1, "BTC"),
    "BINANCE:BTCFDUSD": ("BTC", "FDUSD", "spot", 1, "BTC"),
    "BINANCE:BTCUSD_PERP": ("BTC", "USD", "perpetual", 1, "BTC"),
    "BINANCE:BTCUSDT_240628": ("BTC", "USDT", "future", 1, "BTC"),
    "BINANCE:BTC/USDT:USDT": ("BTC", "USDT", "perpetual", 1, "BTC"),
    "BINANCE:BTC/USDT:USDT-240628": ("BTC", "USDT", "future", 1, "BTC"),
    "binance:btcusdt": ("BTC", "USDT", "spot", 1, "BTC"),
    "COINBASE:BTCUSD": ("BTC", "USD", "spot", 1, "BTC"),
    "COINBASE:BTC-USD": ("BTC", "USD", "spot", 1, "BTC"),
    "COINBASE:BTCEUR": ("BTC", "EUR", "spot", 1, "BTC"),
    "COINBASE:BTC-PERP": ("BTC", None, "perpetual", 1, "BTC"),
    "BYBIT:BTCUSDT": ("BTC", "USDT", "spot", 1, "BTC"),
    "OKX:BTC-USDT-SWAP": ("BTC", "USDT", "perpetual", 1, "BTC"),
    "OKX:BTC-USDT-SPOT": ("BTC", "USDT", "spot", 1, "BTC"),
    "OKX:BTC-USD-240628": ("BTC", "USD", "future", 1, "BTC"),
    "GATEIO:BTC_USDT": ("BTC", "USDT", "spot", 1, "BTC"),
    "KRAKEN:XBTUSD": ("BTC", "USD", "spot", 1, "BTC"),
    "KRAKEN:BTCUSD.F": ("BTC", "USD", "future", 1, "BTC"),
    "BITMEX:XBTUSD.P": ("BTC", "USD", "perpetual", 1, "BTC"),
    "BINANCE:ETHBTC": ("ETH", "BTC", "spot", 1, "ETH"),
    "BINANCE:BNBETH": ("BNB", "ETH", "spot", 1, "BNB"),
    "BINANCE:BNBUSDT": ("BNB", "USDT", "spot", 1, "BNB"),
    "BINANCE:BTC": ("BTC", None, "spot", 1, "BTC"),
    # the letters of a quote inside a base
    "BINANCE:AEURUSDT": ("AEUR", "USDT", "spot", 1, "AEUR"),
    "BINANCE:EURUSDT": ("EUR", "USDT", "spot", 1, "EUR"),
    "BINANCE:AUDUSDT": ("AUD", "USDT", "spot", 1, "AUD"),
    "BINANCE:USDTTRY": ("USDT", "TRY", "spot", 1, "USDT"),
    "BINANCE:USDCUSDT": ("USDC", "USDT", "spot", 1, "USDC"),
    "BINANCE:TUSDUSDT": ("TUSD", "USDT", "spot", 1, "TUSD"),
    "BINANCE:BUSDUSDT": ("BUSD", "USDT", "spot", 1, "BUSD"),
    "BINANCE:BUSDT.P": ("B", "USDT", "perpetual", 1, "B"),
    "BINANCE:TUSDT.P": ("T", "USDT", "perpetual", 1, "T"),
    "BINANCE:BUSD": ("BUSD", None, "spot", 1, "BUSD"),
    "COINBASE:TUSD": ("T", "USD", "spot", 1, "T"),
    "COINBASE:DOTUSD": ("DOT", "USD", "spot", 1, "DOT"),
    "COINBASE:SHIBUSD": ("SHIB", "USD", "spot", 1, "SHIB"),
    "COINBASE:USDTUSD": ("USDT", "USD", "spot", 1, "USDT"),
    "BINANCE:DOTTUSD": ("DOT", "TUSD", "spot", 1, "DOT"),
    "BINANCE:DOTUSD.P": ("DOT", "USD", "perpetual", 1, "DOT"),
    "BINANCE:BNBUSD.P": ("BNB", "USD", "perpetual", 1, "BNB"),
    "BINANCE:BNBBUSD": ("BNB", "BUSD", "spot", 1, "BNB"),
    "BINANCE:BTCSTUSDT": ("BTCST", "USDT", "spot", 1, "BTCST"),
    "BINANCE:BTCUPUSDT": ("BTCUP", "USDT", "spot", 1, "BTCUP"),
    "BINANCE:WBTCUSDT": ("WBTC", "USDT", "spot", 1, "WBTC"),
    "BINANCE:WBETHETH": ("WBETH", "ETH", "spot", 1, "WBETH"),
    "BINANCE:LUNA2USDT.P": ("LUNA2", "USDT", "perpetual", 1, "LUNA2"),
    "BINANCE:BTCXYZ": ("BTCXYZ", None, "spot", 1, "BTCXYZ"),
    # no coin is a metal
    "BINANCE:PAXGUSDT": ("PAXG", "USDT", "spot", 1, "PAXG"),
    "BINANCE:GCUSDT": ("GC", "USDT", "spot", 1, "GC"),
    # one coin in several units, and names that only look like it
    "BINANCE:1000PEPEUSDT.P": ("PEPE", "USDT", "perpetual", 1_000, "PEPE"),
    "BINANCE:PEPEUSDT": ("PEPE", "USDT", "spot", 1, "PEPE"),
    "BINANCE:1000SHIBUSDT.P": ("SHIB", "USDT", "perpetual", 1_000, "SHIB"),
    "BYBIT:SHIB1000USDT": ("SHIB", "USDT", "spot", 1_000, "SHIB"),
    "BYBIT:10000SATSUSDT.P": ("SATS", "USDT", "perpetual", 10_000, "SATS"),
    "BINANCE:1000000MOGUSDT.P": ("MOG", "USDT", "perpetual", 1_000_000, "MOG"),
    "BINANCE:1000000BOBUSDT.P": ("1000000BOB", "USDT", "perpetual", 1, "1000000BOB"),
    "BINANCE:1MBABYDOGEUSDT.P": ("BABYDOGE", "USDT", "perpetual", 1_000_000, "BABYDOGE"),
    "BINANCE:1000CATUSDT.P": ("CAT", "USDT", "perpetual", 1_000, "CAT"),
    "BINANCE:1INCHUSDT": ("1INCH", "USDT", "spot", 1, "1INCH"),
    "BINANCE:4USDT.P": ("4", "USDT", "perpetual", 1, "4"),
    "BINANCE:0GUSDT.P": ("0G", "USDT", "perpetual", 1, "0G"),
    "BINANCE:BANANAS31USDT.P": ("BANANAS31", "USDT", "perpetual", 1, "BANANAS31"),
    "BYBIT:1000XUSDT": ("1000X", "USDT", "spot", 1, "1000X"),
    "MEXC:1MILUSDT": ("1MIL", "USDT", "spot", 1, "1MIL"),
    # shares keep their letters and belong to a market
    "NYSE:PLTR": ("PLTR", None, "equity", 1, "US:PLTR"),
    "US:SIRI": ("SIRI", None, "equity", 1, "US:SIRI"),
    "NASDAQ:SIRI": ("SIRI", None, "equity", 1, "US:SIRI"),
    "NASDAQ:GOOGLX": ("GOOGLX", None, "equity", 1, "US:GOOGLX"),
    "NYSE:BRK.B": ("BRK.B", None, "equity", 1, "US:BRK.B"),
    "US:BRK-B": ("BRK.B", None, "equity", 1, "US:BRK.B"),
    "NYSE:BRK.A": ("BRK.A", None, "equity", 1, "US:BRK.A"),
    "NYSE:BAC.P": ("BAC.P", None, "equity", 1, "US:BAC.P"),
    "US:BAC_E": ("BAC_E", None, "equity", 1, "US:BAC_E"),
    "US:CLNS_C-CL": ("CLNS_C-CL", None, "equity", 1, "US:CLNS_C-CL"),
    "US:T": ("T", None, "equity", 1, "US:T"),
    "LSE:VOD": ("VOD", None, "equity", 1, "GB:VOD"),
    "NASDAQ:VOD": ("VOD", None, "equity", 1, "US:VOD"),
    "XETR:SAP": ("SAP", None, "equity", 1, "DE:SAP"),
    "NSE:CCCL": ("CCCL", None, "equity", 1, "IN:CCCL"),
    "NSE:BAJAJ-AUTO": ("BAJAJ-AUTO", None, "equity", 1, "IN:BAJAJ-AUTO"),
    "AMEX:BTCUSD": ("BTCUSD", None, "equity", 1, "US:BTCUSD"),
    # pairs of currencies stay pairs
    "FX:EURUSD": ("EUR", "USD", "fx", 1, "EURUSD"),
    "FX_IDC:EURUSD": ("EUR", "USD", "fx", 1, "EURUSD"),
    "OANDA:EUR_USD": ("EUR", "USD", "fx", 1, "EURUSD"),
    "FXCM:EURGBP": ("EUR", "GBP", "fx", 1, "EURGBP"),
    "OANDA:XAUUSD": ("XAU", "USD", "fx", 1, "XAUUSD"),
    "OANDA:US30USD": ("US30USD", None, "fx", 1, "US30USD"),
    # futures have a root, on venues of futures alone
    "COMEX:GC1!": ("GC", None, "future", 1, "CME:GC"),
    "COMEX:GCZ2024": ("GC", None, "future", 1, "CME:GC"),
    "CME_MINI:ES1!": ("ES", None, "future", 1, "CME:ES"),
    "CME_MINI:M2K2!": ("M2K", None, "future", 1, "CME:M2K"),
    "CME:6EH25": ("6E", None, "future", 1, "CME:6E"),
    "CBOT:ZSH5": ("ZS", None, "future", 1, "CME:ZS"),
    "NYMEX:PL1!": ("PL", None, "future", 1, "CME:PL"),
    "ICEUS:SB1!": ("SB", None, "future", 1, "ICEUS:SB"),
    "NYMEX:CL": ("CL", None, "future", 1, "CME:CL"),
    # nobody declared the venue
    "SIM:S0001": ("S0001", None, "unknown", 1, "S0001"),
    "COINGECKO:bitcoin": ("bitcoin", None, "unknown", 1, "bitcoin"),
    "A:GC1!": ("GC1!", None, "unknown", 1, "GC1!"),
    "A:BTCUSDT.P": ("BTCUSDT.P", None, "unknown", 1, "BTCUSDT.P"),
    "A:B:C": ("B:C", None, "unknown", 1, "B:C"),
}


@pytest.mark.parametrize("symbol", INSTRUMENTS)
def test_a_symbol_says_what_it_stands_for(symbol: str) -> None:
    found = parse(symbol)
    assert (found.base, found.quote, found.kind, found.units, found.identity) == INSTRUMENTS[symbol]
    assert (found.venue, found.ticker) == tuple(symbol.split(":", 1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NYSE:PLTR", "NYMEX:PL1!"),
        ("NASDAQ:SIRI", "COMEX:SI1!"),
        ("BINANCE:PAXGUSDT", "NYMEX:PA1!"),
        ("BINANCE:GCUSDT", "COMEX:GC1!"),
        ("BINANCE:AEURUSDT", "NYSE:A"),
        ("BINANCE:AEURUSDT", "BINANCE:AUSDT.P"),
        ("COINBASE:TUSD", "NYSE:T"),
        ("LSE:T", "NYSE:T"),
        ("BINANCE:1000000BOBUSDT.P", "BINANCE:BOBUSDT.P"),
        ("KRAKEN:EURUSD", "FX:EURUSD"),
        ("BINANCE:BTCUPUSDT", "BINANCE:BTCDOWNUSDT"),
        ("BINANCE:LUNA2USDT.P", "BINANCE:LUNAUSDT"),
        ("NYSE:BRK.A", "NYSE:BRK.B"),
    ],
)
def test_two_assets_are_never_one(one: str, other: str) -> None:
    assert parse(one).identity != parse(other).identity


def test_a_series_and_an_expression_say_the_same_and_null_stays_null() -> None:
    symbols = pl.Series("symbol", ["COINBASE:BTCUSD", None, "BINANCE:BTCUSDT.P", "COINBASE:BTCUSD", "US:T"])
    expected = pl.Series("symbol", ["BTC", None, "BTC", "BTC", "US:T"])
    assert economic_identity(symbols).equals(expected, check_names=True)
    frame = symbols.to_frame()
    assert frame.select(economic_identity(pl.col("symbol"))).to_series().equals(expected, check_names=True)
    assert frame.lazy().select(economic_identity(pl.col("symbol"))).collect_schema() == {"symbol": pl.String}
    assert economic_identity(symbols.clear()).dtype == pl.String
    assert economic_identity(pl.Series([None, None], dtype=pl.String)).to_list() == [None, None]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BINANCE:", ":BTC", ""])
def test_a_symbol_without_venue_or_ticker_is_refused(symbol: str) -> None:
    with pytest.raises(ContractError, match="is not VENUE:TICKER"):
        parse(symbol)
    with pytest.raises(ContractError, match="is not VENUE:TICKER"):
        economic_identity(pl.Series([symbol]))


def test_no_venue_is_declared_twice() -> None:
    assert not VENUES.keys() & EQUITY.keys()
    assert not VENUES.keys() & FUTURES.keys()
    assert not EQUITY.keys() & FUTURES.keys()


COINS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=6)


@given(coin=COINS, quote=st.sampled_from(["USDT", "USDC", "FDUSD", "JPY"]), suffix=st.sampled_from(["", ".P", ".F"]))
def test_a_coin_is_the_same_on_every_venue_that_spells_it_out(coin: str, quote: str, suffix: str) -> None:
    plain = parse(f"BINANCE:{coin}{quote}{suffix}")
    parted = parse(f"OKX:{coin}-{quote}")
    assert (plain.base, plain.quote) == (parted.base, parted.quote)
    assert plain.identity == parse(f"BYBIT:1000{coin}{quote}").identity or len(coin) < 3


TICKERS = st.from_regex(r"[A-Z0-9./_!:-]{1,14}", fullmatch=True)


@settings(max_examples=1_000)
@given(venue=st.sampled_from(sorted({*VENUES, *EQUITY, *FUTURES, "A"})), ticker=TICKERS)
def test_every_symbol_has_an_identity_and_a_base(venue: str, ticker: str) -> None:
    found = parse(f"{venue}:{ticker}")
    assert found.base
    assert found.identity.endswith(found.base) or found.kind == "fx"
    assert found.units >= 1


def test_quotes_are_tried_longest_first() -> None:
    for quotes in (QUOTES, BINANCE_QUOTES):
        assert len(set(quotes)) == len(quotes)
        assert [len(name) for name in quotes] == sorted((len(name) for name in quotes), reverse=True)


def closes_of(name: str) -> pl.DataFrame:
    """Real closes per one unit of the asset: date, symbol, identity, close."""
    path = Path(os.environ.get("QUANT_SHARED_DATA", CHECKOUT.parent / "shared" / "data")) / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"no {path}; set QUANT_SHARED_DATA to the folder of real prices")
    rows = pl.read_parquet(path, columns=["date", "symbol", "close"]).unique(["date", "symbol"])
    units = {symbol: float(parse(symbol).units) for symbol in rows["symbol"].unique()}
    return rows.with_columns(
        pl.col("close") / pl.col("symbol").replace_strict(units, return_dtype=pl.Float64),
        identity=economic_identity(rows["symbol"]),
    )


@pytest.mark.parametrize("name", ["crypto_binance_perp_1d", "crypto_binance_spot_1d", "crypto_binance_2021_2022_1d"])
def test_every_real_pair_has_a_base_and_is_alone_in_its_file(name: str) -> None:
    symbols = closes_of(name)["symbol"].unique()
    found = [parse(symbol) for symbol in symbols]
    assert {instrument.quote for instrument in found} == {"USDT"}
    assert {instrument.kind for instrument in found} == ({"perpetual"} if "perp" in name else {"spot"})
    assert economic_identity(symbols).n_unique() == len(symbols)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("crypto_binance_perp_1d", "crypto_binance_spot_1d", 20),
        ("crypto_binance_2021_2022_1d", "crypto_binance_spot_1d", 20),
        ("crypto_coinbase_1d", "crypto_binance_spot_1d", 1),
    ],
)
def test_symbols_of_one_identity_have_one_price_per_unit(one: str, other: str, shared: int) -> None:
    both = closes_of(one).join(closes_of(other), on=["date", "identity"])
    ratios = both.group_by("identity").agg((pl.col("close") / pl.col("close_right")).median())["close"]
    assert len(ratios) == shared
    assert ratios.is_between(0.995, 1.005).all()
