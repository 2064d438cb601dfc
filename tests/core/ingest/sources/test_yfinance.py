import gzip
import json
import sys
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import ConfigError, MissingExtraError, SourceError, UnavailableError
from quant_core.ingest.sources import yfinance as door
from quant_core.ingest.sources.source import Batch, Landed, sources
from quant_core.market.calendar import calendar
from quant_core.market.sleeves import Sleeve
from tests.core.ingest.reading.fault_server import FakeTime, Fault, FaultServer, served
from tests.core.ingest.sources.batches import marks_of

pytest.importorskip("tenacity")
FIRST = date(2024, 1, 2)
NOW = datetime(2024, 1, 12, 20, 30, tzinfo=UTC)  # Friday, half an hour before New York closes
SESSIONS = calendar("XNYS").sessions(FIRST, date(2024, 2, 29))["date"].to_list()
Read = Callable[..., list[Batch]]
Stream = Callable[..., Generator[Batch, None, None]]


class Yahoo:
    """Recorded rows up to `today`, adjusted as Yahoo adjusts them: as of the day they are asked for."""

    def __init__(self) -> None:
        self.today = date(2024, 1, 12)
        self.known = {"AAPL", "MSFT"}
        self.splits: dict[date, float] = {}
        self.dividends: dict[date, float] = {}
        self.told_late: set[date] = set()
        self.asked: list[tuple[str, date]] = []
        self.errors: list[Exception] = []

    def __call__(self, symbol: str, start: date) -> pl.DataFrame:
        self.asked.append((symbol, start))
        if self.errors:
            raise self.errors.pop(0)
        if symbol not in self.known:
            return pl.DataFrame()
        rows = [self.row(k, day) for k, day in enumerate(SESSIONS) if start <= day <= self.today]
        names = ["date", "Open", "High", "Low", "Close", "Adj Close", "Volume", "Dividends", "Stock Splits"]
        return pl.DataFrame(rows, schema=names, orient="row")

    def row(self, k: int, day: date) -> tuple[Any, ...]:
        later = {at: ratio for at, ratio in self.splits.items() if day < at <= self.today}
        factor = 1.0
        for ratio in later.values():
            factor /= ratio
        paid = 1.0
        for at, share in self.dividends.items():
            paid *= 1.0 - share if day < at <= self.today else 1.0
        close = (100.0 + k) * factor
        told = 0.0 if day in self.told_late else self.splits.get(day, 0.0)
        bar = (close - 1, close + 2, close - 3, close, close * paid, 1000.0 / factor)
        return (day, *bar, self.dividends.get(day, 0.0) * close, told)


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Yahoo:
    recorded = Yahoo()
    monkeypatch.setattr(door, "_fetch", recorded)
    return recorded


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(door, "Transport", fake.transport())
    return fake


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def stream(time: FakeTime, told: list[str]) -> Stream:
    def made(
        marks: dict[str, str] | None = None, now: datetime = NOW, adjustment: str | None = None, **more: Any
    ) -> Generator[Batch, None, None]:
        entry = sources()["yfinance"]
        sleeve = Sleeve.model_validate({"name": "test", "calendar": "XNYS", "adjustment": adjustment})
        options = {"symbols": ["AAPL"], "since": str(FIRST), **more}
        yield from entry.batches(entry.options(options), sleeve, Landed(marks or {}, now, told.append))

    return made


def later(yahoo: Yahoo, day: date) -> datetime:
    yahoo.today = day
    return datetime(day.year, day.month, day.day, 23, tzinfo=UTC)


def test_rows_are_in_our_words_and_the_session_not_over_is_left_out(read: Read, yahoo: Yahoo) -> None:
    [batch] = read()
    rows = batch.rows.valid
    assert rows["date"].to_list() == [day for day in SESSIONS if day < date(2024, 1, 12)]
    assert rows.row(0) == (FIRST, "US:AAPL", 99.0, 102.0, 97.0, 100.0, 1000.0)
    assert rows.columns == ["date", "symbol", "open", "high", "low", "close", "volume"]
    assert batch.marks["US:AAPL"] == "2024-01-11"
    assert batch.request == {"symbol": "AAPL", "timeframe": "1d", "since": "2024-01-02", "until": "2024-01-11"}
    assert read(now=NOW + timedelta(minutes=31))[0].rows.valid["date"].max() == date(2024, 1, 12)


def test_total_prices_are_scaled_by_what_was_paid_and_the_traded_value_stays(read: Read, yahoo: Yahoo) -> None:
    yahoo.dividends = {date(2024, 1, 8): 0.1}
    [split], [total] = read(), read(prices="total")
    is_before = pl.col("date") < date(2024, 1, 8)
    assert total.rows.valid.filter(~is_before).equals(split.rows.valid.filter(~is_before))
    scaled = total.rows.valid.filter(is_before)
    plain = split.rows.valid.filter(is_before)
    for name in ("open", "high", "low", "close"):
        assert (scaled[name] / plain[name]).to_list() == pytest.approx([0.9] * 4)
    traded, before = (table["close"] * table["volume"] for table in (scaled, plain))
    assert traded.to_list() == pytest.approx(before.to_list())


def test_a_price_without_its_adjusted_close_is_not_known(
    read: Read, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = yahoo("AAPL", FIRST).with_columns(
        pl.Series("Adj Close", [None, float("nan"), 0.0, *[1.0] * 6]), pl.Series("Close", [1.0] * 8 + [0.0])
    )
    monkeypatch.setattr(door, "_fetch", lambda symbol, start: broken)
    [batch] = read(prices="total", now=NOW + DAY)
    assert batch.rows.valid["close"].to_list() == [None, None, None, *[1.0] * 5, None]
    assert batch.rows.valid["volume"].null_count() == 4


DAY = timedelta(days=1)


def test_a_daily_update_asks_once_and_lands_the_new_session(read: Read, yahoo: Yahoo) -> None:
    marks = marks_of(read())
    yahoo.asked.clear()
    [batch] = read(marks, later(yahoo, date(2024, 1, 16)))
    assert batch.rows.valid["date"].to_list() == [date(2024, 1, 12), date(2024, 1, 16)]
    assert yahoo.asked == [("AAPL", date(2024, 1, 6))]


def test_nothing_is_asked_while_no_session_is_over(read: Read, yahoo: Yahoo) -> None:
    marks = marks_of(read(now=later(yahoo, date(2024, 1, 12))))
    yahoo.asked.clear()
    assert read(marks, datetime(2024, 1, 15, 23, tzinfo=UTC)) == []  # a weekend and a holiday
    assert yahoo.asked == []


def test_a_new_split_brings_the_whole_history_again(read: Read, yahoo: Yahoo, told: list[str]) -> None:
    marks = marks_of(read())
    yahoo.splits = {date(2024, 1, 16): 4.0}
    yahoo.asked.clear()
    [batch] = read(marks, later(yahoo, date(2024, 1, 17)))
    assert [start for _, start in yahoo.asked] == [date(2024, 1, 6), FIRST]
    assert batch.rows.valid["date"].to_list() == [day for day in SESSIONS if day <= date(2024, 1, 17)]
    assert batch.rows.valid["close"][0] == 25.0
    assert batch.request["since"] == str(FIRST)
    assert any("a split on 2024-01-16; asking for its whole history" in said for said in told)
    yahoo.asked.clear()
    [batch] = read(marks_of([batch]), later(yahoo, date(2024, 1, 18)))
    assert batch.rows.valid["date"].to_list() == [date(2024, 1, 18)]
    assert len(yahoo.asked) == 1


def test_a_split_of_the_first_landing_needs_no_second_question(read: Read, yahoo: Yahoo) -> None:
    yahoo.splits = {date(2024, 1, 8): 4.0}
    read()
    assert len(yahoo.asked) == 1


def test_a_split_told_late_is_seen_by_the_prices_it_moved(read: Read, yahoo: Yahoo, told: list[str]) -> None:
    marks = marks_of(read())
    yahoo.splits, yahoo.told_late = {date(2024, 1, 12): 2.0}, {date(2024, 1, 12)}
    [batch] = read(marks, later(yahoo, date(2024, 1, 16)))
    assert batch.rows.valid["date"][0] == FIRST
    assert any("a landed close changed by 50 %" in said for said in told)


def test_a_dividend_restates_total_prices_only(read: Read, yahoo: Yahoo) -> None:
    split, total = marks_of(read()), marks_of(read(prices="total"))
    yahoo.dividends = {date(2024, 1, 16): 0.01}
    now = later(yahoo, date(2024, 1, 16))
    assert read(split, now)[0].rows.valid.height == 2
    [batch] = read(total, now, prices="total")
    assert batch.rows.valid["date"][0] == FIRST
    assert batch.rows.valid["close"][0] == pytest.approx(99.0)


def test_a_corrected_close_lands_again_alone(read: Read, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = marks_of(read())
    now = later(yahoo, date(2024, 1, 12))
    corrected = yahoo("AAPL", date(2024, 1, 6)).with_columns(
        pl.when(pl.col("date") == date(2024, 1, 11)).then(pl.col("Close") * 1.01).otherwise("Close").alias("Close")
    )
    monkeypatch.setattr(door, "_fetch", lambda symbol, start: corrected)
    [batch] = read(marks, now)
    assert batch.rows.valid["date"].to_list() == [date(2024, 1, 11), date(2024, 1, 12)]


def test_an_interrupted_landing_goes_on_where_it_stopped(stream: Stream, read: Read, yahoo: Yahoo) -> None:
    yahoo.known = {"AAPL", "MSFT", "NVDA"}
    all_three = {"symbols": ["AAPL", "MSFT", "NVDA"]}
    started = stream(**all_three)
    first = list(islice(started, 2))
    started.close()
    yahoo.asked.clear()
    rest = read(marks_of(first), **all_three)
    assert [symbol for symbol, _ in yahoo.asked] == ["NVDA"]
    assert [batch.rows.valid["symbol"][0] for batch in (*first, *rest)] == ["US:AAPL", "US:MSFT", "US:NVDA"]


def test_a_symbol_yahoo_has_nothing_of_is_told_and_all_of_them_are_an_error(
    read: Read, yahoo: Yahoo, told: list[str]
) -> None:
    assert len(read(symbols=["AAPL", "APPL"])) == 1
    assert "yfinance: APPL: Yahoo has nothing; delisted, or another name" in told
    with pytest.raises(SourceError, match="Yahoo returned no data for"):
        read(symbols=["APPL", "MFST"])


def test_what_may_pass_is_tried_again_and_given_up_in_the_end(read: Read, yahoo: Yahoo, time: FakeTime) -> None:
    yahoo.errors = [UnavailableError("YFRateLimitError: Too Many Requests")] * 2
    assert len(read()) == 1
    assert len(time.waits) == 2
    yahoo.errors = [UnavailableError("busy")] * 9
    with pytest.raises(UnavailableError, match="AAPL from 2024-01-02: no answer after 5 tries"):
        read()


def test_a_table_with_other_columns_is_refused(read: Read, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = yahoo("AAPL", FIRST).rename({"Adj Close": "Adjusted"})
    monkeypatch.setattr(door, "_fetch", lambda symbol, start: renamed)
    with pytest.raises(SourceError, match="US:AAPL came without Adj Close; it has date, Open"):
        read()


@pytest.mark.parametrize(("adjustment", "prices"), [("total", "split"), ("split", "total")])
def test_a_sleeve_that_declares_another_adjustment_is_refused(
    read: Read, yahoo: Yahoo, adjustment: str, prices: str
) -> None:
    with pytest.raises(ConfigError, match=f"prices = '{prices}', but the sleeve declares adjustment = '{adjustment}'"):
        read(adjustment=adjustment, prices=prices)


@pytest.mark.parametrize(
    ("more", "said"),
    [({"symbols": []}, "symbols"), ({"symbols": ["A/B"]}, "symbols must be distinct"), ({"prices": "raw"}, "prices")],
)
def test_a_wrong_option_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sources()["yfinance"].options({"symbols": ["AAPL"], **more})


def test_without_the_library_the_extra_is_named(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(MissingExtraError, match=r"source yfinance needs .*\[sources\]"):
        read()


def charted(path: str, query: dict[str, str]) -> bytes | Fault | None:
    """Answer as Yahoo's chart does: six sessions of AAPL with a split, nothing of any other."""
    if not path.endswith("/v8/finance/chart/AAPL"):
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return Fault(404, json.dumps({"chart": {"result": None, "error": error}}).encode())
    days = SESSIONS[:6]
    stamps = [int(datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC).timestamp()) for day in days]
    closes: list[float | None] = [10.0, 11.0, 12.0, 13.0, None, 15.0]
    quote: dict[str, list[Any]] = dict.fromkeys(("open", "high", "low", "close"), closes)
    period = {"timezone": "EST", "start": stamps[0], "end": stamps[0], "gmtoffset": -18000}
    meta = {
        "currency": "USD",
        "symbol": "AAPL",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EST",
        "instrumentType": "EQUITY",
        "validRanges": ["1d", "max"],
        "gmtoffset": -18000,
        "currentTradingPeriod": dict.fromkeys(("pre", "regular", "post"), period),
    }
    result = {
        "meta": meta,
        "timestamp": stamps,
        "indicators": {"quote": [{**quote, "volume": [100] * 6}], "adjclose": [{"adjclose": closes}]},
        "events": {"splits": {"1": {"date": stamps[2], "numerator": 2, "denominator": 1, "splitRatio": "2:1"}}},
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultServer]:
    """Stand in for Yahoo below the library, whose addresses are private names imported into many modules."""
    library = pytest.importorskip("yfinance")
    with served() as script:
        script.answer = charted
        loaded = [module for name, module in sys.modules.items() if name.partition(".")[0] == "yfinance"]
        for module in loaded:
            for name in ("_BASE_URL_", "_QUERY1_URL_", "_ROOT_URL_", "_QUOTE_SUMMARY_URL_"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, script.url)
        if not hasattr(library.scrapers.history, "_BASE_URL_") or not hasattr(
            library.data.YfData, "_get_cookie_and_crumb"
        ):
            pytest.skip("this yfinance keeps its addresses elsewhere")
        monkeypatch.setattr(library.data.YfData, "_get_cookie_and_crumb", lambda *_, **__: ("crumb", "basic"))
        library.set_tz_cache_location(str(tmp_path))
        yield script


def test_the_library_itself_is_asked_and_its_answer_read(read: Read, server: FaultServer) -> None:
    [batch] = read(symbols=["AAPL", "NONE"], now=NOW + DAY)
    rows = batch.rows.valid
    assert rows["date"].to_list() == SESSIONS[:6]
    assert rows["close"].to_list() == [10.0, 11.0, 12.0, 13.0, None, 15.0]
    assert rows["symbol"].unique().to_list() == ["US:AAPL"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, b"Too Many Requests"),
        Fault(500, b"oops"),
        Fault(200, b"Exceeded the daily hits limit"),
        Fault(200, b'{"chart":', withheld=99),
        Fault(closes=True),
    ],
    ids=str,
)
def test_what_may_pass_below_the_library_is_tried_again(
    read: Read, server: FaultServer, time: FakeTime, fault: Fault
) -> None:
    # The library itself asks a second time after a status of 400 and above.
    server.faults = [fault] * 2
    [batch] = read(now=NOW + DAY)
    assert batch.rows.valid.height == 6
    assert len(time.waits) in (1, 2)


def test_a_library_that_hides_errors_does_not_turn_them_into_a_delisting(read: Read, server: FaultServer) -> None:
    server.always = Fault(500, b"oops")
    with pytest.raises(UnavailableError, match="no answer after 5 tries"):
        read()


def test_an_answer_that_unpacks_without_end_is_refused(
    read: Read, server: FaultServer, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = door._session(1 << 20)
    monkeypatch.setattr(door, "_session", lambda: session)
    server.always = Fault(200, gzip.compress(bytes(8 << 20)), {"Content-Encoding": "gzip"})
    with pytest.raises(SourceError, match="more than 1048576 bytes; refused"):
        read()
    assert time.waits == []
