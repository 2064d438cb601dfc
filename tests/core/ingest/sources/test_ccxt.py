import gzip
import json
import sys
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from quant_core.errors import ConfigError, MissingExtraError, SourceError, UnavailableError, UnknownKeyError
from quant_core.ingest.sources import ccxt as door
from quant_core.ingest.sources.source import Batch, Landed, sources
from quant_core.market.sleeves import Sleeve
from tests.core.ingest.reading.fault_server import FakeTime, Fault, FaultServer, served
from tests.core.ingest.sources.batches import marks_of, rows_of

library = pytest.importorskip("ccxt")
SLEEVE = Sleeve(name="test", calendar="24/7")
DAY_MS = 86_400_000
FIRST = date(2024, 1, 1)
NOW = datetime(2024, 1, 11, 15, 30, tzinfo=UTC)  # the bar of the 11th is forming
Read = Callable[..., list[Batch]]
Stream = Callable[..., Generator[Batch, None, None]]


def bar(day: date, close: float = 42_000.5) -> list[Any]:
    opened = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    prices = [f"{price:.2f}" for price in (close - 1, close + 2, close - 3, close)]
    return [opened, *prices, "27174.29", opened + DAY_MS - 1, "0", 1, "0", "0", "0"]


class Binance:
    """Klines from FIRST to the forming bar of `now`, per symbol."""

    def __init__(self) -> None:
        self.ids = ["BTCUSDT", "ETHUSDT"]
        self.bars = {name: [bar(FIRST + timedelta(days=k), 42_000.5 + k) for k in range(11)] for name in self.ids}

    def __call__(self, path: str, query: dict[str, str]) -> bytes | None:
        if path.endswith("/exchangeInfo"):
            return json.dumps({"symbols": [self.market(name, "fapi" in path) for name in self.ids]}).encode()
        if not path.endswith("/klines"):
            return None
        start, limit = int(query["startTime"]), int(query["limit"])
        found = [row for row in self.bars[query["symbol"]] if row[0] >= start][:limit]
        return json.dumps(found).encode()

    def market(self, name: str, is_perpetual: bool) -> dict[str, Any]:
        base = name.removesuffix("USDT")
        market = {"symbol": name, "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT", "filters": []}
        spot = {"isSpotTradingAllowed": True, "permissions": ["SPOT"]}
        swap = {"contractType": "PERPETUAL", "marginAsset": "USDT", "pair": name, "deliveryDate": 4133404800000}
        return {**market, "onboardDate": 0, **(swap if is_perpetual else spot)}


@pytest.fixture
def exchange() -> Binance:
    return Binance()


@pytest.fixture
def server(exchange: Binance) -> Iterator[FaultServer]:
    with served() as script:
        script.answer, script.where = exchange, "klines"
        yield script


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(door, "Transport", fake.transport())
    # The library's own rate limit really sleeps.
    monkeypatch.setattr(library.Exchange, "throttle", lambda self, cost=None: None)
    return fake


@pytest.fixture
def options(server: FaultServer) -> dict[str, Any]:
    return {"exchange": "binance", "symbols": ["BTC/USDT"], "since": str(FIRST), "base_url": server.url}


@pytest.fixture
def stream(options: dict[str, Any], time: FakeTime) -> Stream:
    def made(marks: dict[str, str] | None = None, now: datetime = NOW, **more: Any) -> Generator[Batch, None, None]:
        given = {**options, **more}
        if "quote" in more:
            del given["symbols"]
        entry = sources()["ccxt"]
        yield from entry.batches(entry.options(given), SLEEVE, Landed(marks or {}, now))

    return made


def asked_bars(server: FaultServer) -> int:
    return sum(path.endswith("/klines") for path in server.paths())


def test_a_page_becomes_rows_in_our_words_and_the_forming_bar_is_left_out(read: Read, server: FaultServer) -> None:
    [batch] = read()
    rows = batch.rows.valid
    assert rows.height == 10
    assert rows.row(0) == (FIRST, "BINANCE:BTCUSDT", 41_999.5, 42_002.5, 41_997.5, 42_000.5, 27174.29)
    assert rows.schema == door.SCHEMA
    assert rows["date"].max() == date(2024, 1, 10)
    assert batch.rows.exclusions.is_empty()
    assert batch.marks["BINANCE:BTCUSDT"] == "2024-01-10"
    assert batch.request == {
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframe": "1d",
        "since": "2024-01-01",
        "until": "2024-01-10",
    }
    assert server.paths() == ["/api/v3/exchangeInfo", "/api/v3/klines"]


def test_pages_follow_each_other_and_give_what_one_page_gives(read: Read, server: FaultServer) -> None:
    whole = rows_of(read())
    server.asked.clear()
    paged = read(limit=4)
    assert [batch.rows.valid.height for batch in paged] == [4, 4, 2]
    assert rows_of(paged).equals(whole)
    assert asked_bars(server) == 3


def test_a_perpetual_has_a_name_of_its_own(read: Read, server: FaultServer) -> None:
    [batch] = read(market="swap", symbols=["BTC/USDT:USDT"])
    assert batch.rows.valid["symbol"].unique().to_list() == ["BINANCE:BTCUSDT.P"]
    assert server.paths() == ["/fapi/v1/exchangeInfo", "/fapi/v1/klines"]


def test_volume_of_contracts_is_turned_into_units_of_the_base() -> None:
    opened = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
    market = {"swap": True, "contractSize": 0.01}
    rows = door._rows(
        [[opened, 1.0, 2.0, 0.5, 1.5, 300.0], [opened + DAY_MS, 1, 2, 1, 2, None]], "OKX:BTCUSDT.P", market
    )
    assert rows["volume"].to_list() == [3.0, None]


def test_all_markets_of_a_quote_currency_are_read_in_order(read: Read) -> None:
    batches = read(quote="USDT")
    assert [batch.rows.valid["symbol"][0] for batch in batches] == ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"]


def test_a_daily_update_asks_one_page_and_lands_the_new_day(read: Read, server: FaultServer, exchange: Binance) -> None:
    marks = marks_of(read())
    server.asked.clear()
    exchange.bars["BTCUSDT"].append(bar(date(2024, 1, 12)))
    [batch] = read(marks, NOW + timedelta(days=1))
    assert batch.rows.valid["date"].to_list() == [date(2024, 1, 11)]
    assert batch.request["since"] == "2024-01-09"
    assert asked_bars(server) == 1
    server.asked.clear()
    assert read({**marks, **batch.marks}, NOW + timedelta(days=1)) == []
    assert asked_bars(server) == 0


def test_a_restated_day_within_the_overlap_lands_again_and_others_do_not(read: Read, exchange: Binance) -> None:
    marks = marks_of(read())
    exchange.bars["BTCUSDT"][8] = bar(date(2024, 1, 9), 50_000.0)
    exchange.bars["BTCUSDT"].append(bar(date(2024, 1, 12)))
    [batch] = read(marks, NOW + timedelta(days=1))
    assert batch.rows.valid.select("date", "close").rows() == [
        (date(2024, 1, 9), 50_000.0),
        (date(2024, 1, 11), 42_010.5),
    ]


def test_days_missed_are_caught_up(read: Read, server: FaultServer) -> None:
    marks = marks_of(read(now=NOW - timedelta(days=6)))
    assert marks["BINANCE:BTCUSDT"] == "2024-01-04"
    [batch] = read(marks)
    assert batch.rows.valid["date"].to_list() == [date(2024, 1, day) for day in range(5, 11)]


def test_an_interrupted_landing_goes_on_where_it_stopped(stream: Stream, read: Read, server: FaultServer) -> None:
    both = {"symbols": ["BTC/USDT", "ETH/USDT"], "limit": 4}
    whole = rows_of(read(**both))
    server.asked.clear()
    started = stream(**both)
    first = list(islice(started, 2))
    started.close()
    assert asked_bars(server) == 2
    rest = read(marks_of(first), **both)
    assert asked_bars(server) == 2 + 1 + 3
    assert rows_of([*first, *rest]).equals(whole)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, b"{}", headers={"Retry-After": "7"}),
        Fault(418, b"{}", headers={"Retry-After": "7"}),
        Fault(500, b"oops"),
        Fault(503, b"<html>maintenance</html>"),
        Fault(closes=True),
        Fault(200, b'[[1704067200000,"123.4","', withheld=500),
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again(read: Read, server: FaultServer, time: FakeTime, fault: Fault) -> None:
    server.faults = [fault]
    [batch] = read()
    assert batch.rows.valid.height == 10
    assert asked_bars(server) == 2
    assert len(time.waits) == 1
    assert not fault.headers or time.waits == [7.0]


def test_an_exchange_that_never_recovers_is_unavailable(read: Read, server: FaultServer) -> None:
    server.always = Fault(500, b"oops")
    with pytest.raises(UnavailableError, match="BTC/USDT from 2024-01-01: no answer after 5 tries"):
        read()
    assert asked_bars(server) == 5


def test_markets_are_tried_again_too(read: Read, server: FaultServer) -> None:
    server.where, server.faults = "exchangeInfo", [Fault(500, b"oops"), Fault(closes=True)]
    assert len(read()) == 1


@pytest.mark.parametrize("status", [403, 451])
def test_a_refusal_is_not_tried_again(read: Read, server: FaultServer, status: int) -> None:
    server.always = Fault(status, b'{"msg":"restricted location"}')
    with pytest.raises(SourceError, match=str(status)) as caught:
        read()
    assert not isinstance(caught.value, UnavailableError)
    assert asked_bars(server) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"Exceeded the daily hits limit",
        b"<html>blocked</html>",
        b'{"error":"quota"}',
        b"",
        b'["no more today"]',
        b"null",
    ],
)
def test_an_error_text_with_status_200_is_no_empty_page(read: Read, server: FaultServer, body: bytes) -> None:
    server.always = Fault(200, body)
    with pytest.raises(SourceError, match=r"answered .*, no bars"):
        read()


def test_a_row_that_is_no_bar_of_a_utc_day_is_an_error(read: Read, server: FaultServer) -> None:
    server.always = Fault(200, json.dumps([[1704067200000 + 3_600_000, "1", "2", "1", "2", "3"]]).encode())
    with pytest.raises(SourceError, match="is not a bar of a UTC day"):
        read()


def test_a_cell_that_is_no_number_is_not_known(read: Read, server: FaultServer, exchange: Binance) -> None:
    exchange.bars["BTCUSDT"][0][4] = None
    exchange.bars["BTCUSDT"][1][4] = "n/a"
    [batch] = read()
    assert batch.rows.valid["close"].to_list()[:3] == [None, None, 42_002.5]


def test_an_exchange_that_sends_the_same_page_for_ever_is_stopped(read: Read, server: FaultServer) -> None:
    first = json.dumps([bar(FIRST + timedelta(days=k)) for k in range(4)]).encode()
    server.always = Fault(200, first)
    with pytest.raises(SourceError, match="BTC/USDT from 2024-01-05: the same page again"):
        read(limit=4)
    assert asked_bars(server) == 2


def test_a_market_that_stopped_trading_ends_where_it_ends(read: Read, server: FaultServer, exchange: Binance) -> None:
    del exchange.bars["BTCUSDT"][6:]
    batches = read(limit=4)
    assert [batch.rows.valid.height for batch in batches] == [4, 2]
    server.asked.clear()
    assert read(marks_of(batches), limit=4) == []
    assert asked_bars(server) <= 3


def test_pages_that_are_empty_before_the_listing_are_passed_over(
    read: Read, server: FaultServer, exchange: Binance
) -> None:
    def windowed(path: str, query: dict[str, str]) -> bytes | None:
        found = exchange(path, query)
        if not path.endswith("/klines"):
            return found
        end = int(query["startTime"]) + int(query["limit"]) * DAY_MS
        return json.dumps([row for row in json.loads(found or b"[]") if row[0] < end]).encode()

    server.answer = windowed
    batches = read(since="2023-12-10", limit=10)
    assert rows_of(batches)["date"].to_list() == [FIRST + timedelta(days=k) for k in range(10)]


def test_bars_out_of_order_and_sent_twice_are_kept(read: Read, exchange: Binance) -> None:
    exchange.bars["BTCUSDT"][2:2] = [bar(FIRST, 1.0), bar(date(2024, 1, 2), 2.0)]
    [batch] = read()
    assert batch.rows.valid.height == 12
    assert batch.marks["BINANCE:BTCUSDT"] == "2024-01-10"


def test_an_unknown_symbol_names_near_ones(read: Read) -> None:
    with pytest.raises(SourceError, match=r"no spot symbol 'BTC/USTD' among its 2. Near: BTC/USDT"):
        read(symbols=["BTC/USTD"])
    with pytest.raises(SourceError, match="no spot active market in 'EUR'"):
        read(quote="EUR")


def test_a_symbol_the_exchange_refuses_is_an_error(read: Read, server: FaultServer) -> None:
    server.always = Fault(400, b'{"code":-1121,"msg":"Invalid symbol."}')
    with pytest.raises(SourceError, match="BadSymbol"):
        read()
    assert asked_bars(server) == 1


def test_an_unknown_exchange_names_near_ones(read: Read) -> None:
    with pytest.raises(UnknownKeyError, match=r"unknown exchange 'binanse'\. Did you mean binance"):
        read(exchange="binanse")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"symbols": []}, "either symbols or quote"),
        ({"since": "yesterday"}, "since"),
        ({"timeframe": "1h"}, "timeframe"),
        ({"base_url": "file:///x"}, "base_url"),
        ({"api_key": "x"}, "api_key"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sources()["ccxt"].options({**options, **more})


def test_without_the_library_the_extra_is_named(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(MissingExtraError, match=r"source ccxt needs .*\[sources\]"):
        read()


def test_an_answer_nested_without_end_is_an_error(read: Read, server: FaultServer) -> None:
    server.always = Fault(200, b"[" * 100_000)
    with pytest.raises(SourceError, match=r"nested too deep|no bars"):
        read()


def test_an_answer_that_unpacks_without_end_is_refused(read: Read, server: FaultServer) -> None:
    packed = gzip.compress(bytes(1 << 20)) * 80
    server.always = Fault(200, packed, {"Content-Encoding": "gzip"})
    with pytest.raises(SourceError, match=r"klines: more than 67108864 bytes; refused"):
        read()


def test_a_password_of_the_address_comes_from_the_environment_and_is_told_nobody(
    read: Read, server: FaultServer, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options["base_url"] = server.url.replace("://", "://me:${MIRROR_PASSWORD}@")
    with pytest.raises(ConfigError, match="MIRROR_PASSWORD, which is not set"):
        read()
    monkeypatch.setenv("MIRROR_PASSWORD", "pa/ss word")
    assert read()[0].rows.valid.height == 10
    server.always = Fault(403, b"no")
    with pytest.raises(SourceError, match=r"GET http://\*\*\*@127\.0\.0\.1") as caught:
        read()
    assert "ss" not in str(caught.value).partition("GET")[2].partition("403")[0]
