import hashlib
import io
import json
import zipfile
from calendar import monthrange
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_core.errors import ConfigError, SourceError, UnavailableError
from quant_core.graph.landing import Landing
from quant_core.ingest.raw import RawParams, raw
from quant_core.ingest.sources import binance_dump as door
from quant_core.ingest.sources.source import Batch, Landed, sources
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve
from tests.core.ingest.reading.fault_server import FakeTime, Fault, FaultServer, served
from tests.core.ingest.sources.batches import marks_of, rows_of

pytest.importorskip("requests")
pytest.importorskip("tenacity")
SLEEVE = Sleeve(name="test", calendar="24/7")
LISTED = date(2024, 11, 5)
NOW = datetime(2025, 2, 4, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
Read = Callable[..., list[Batch]]
Stream = Callable[..., Generator[Batch, None, None]]


def line(day: date, close: float = 123.4, *, unit: int = 1000) -> str:
    opened = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * unit
    closed = opened + 86_400 * unit - 1
    return f"{opened},120.0,125.5,119.5,{close},27174.29,{closed},3353307.4,1000,13000.1,1604212.3,0"


def zipped(text: str | bytes, *names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)  # not the time of packing
    return packed.getvalue()


class Archive:
    """The dumps from LISTED on: months up to `month`, days up to `until`; in us from 2025 on."""

    def __init__(self) -> None:
        self.symbols = {"BTCUSDT": LISTED}
        self.month, self.until = date(2025, 1, 31), date(2025, 2, 3)
        self.texts: dict[str, str | bytes] = {}
        self.packed: dict[str, bytes] = {}
        self.header = ""

    def __call__(self, path: str, query: dict[str, str]) -> bytes | None:
        if path.endswith(".CHECKSUM"):
            body = self(path.removesuffix(".CHECKSUM"), query)
            name = path.removesuffix(".CHECKSUM").rpartition("/")[2]
            return None if body is None else f"{hashlib.sha256(body).hexdigest()}  {name}\n".encode()
        *_, period, kind, symbol, interval, name = path.removesuffix(".zip").split("/")
        assert (kind, interval) == ("klines", "1d")
        if name in self.packed:
            return self.packed[name]
        stamp = name.removeprefix(f"{symbol}-1d-")
        first = date.fromisoformat(stamp if period == "daily" else f"{stamp}-01")
        last = first if period == "daily" else first.replace(day=monthrange(first.year, first.month)[1])
        if last < self.symbols[symbol] or last > (self.until if period == "daily" else self.month):
            return None
        days = [first + k * DAY for k in range((last - first).days + 1)]
        lines = [line(day, unit=1000 if day.year < 2025 else 1_000_000) for day in days if day >= self.symbols[symbol]]
        return zipped(self.texts.get(name, self.header + "\n".join(lines) + "\n"), f"{name}.csv")


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def server(archive: Archive) -> Iterator[FaultServer]:
    with served() as script:
        script.answer = archive
        yield script


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(door, "Transport", fake.transport())
    return fake


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def stream(server: FaultServer, time: FakeTime, told: list[str]) -> Stream:
    def made(marks: dict[str, str] | None = None, now: datetime = NOW, **more: Any) -> Generator[Batch, None, None]:
        entry = sources()["binance_dump"]
        options = {"symbols": ["BTCUSDT"], "since": "2024-10-15", "base_url": server.url, **more}
        yield from entry.batches(entry.options(options), SLEEVE, Landed(marks or {}, now, told.append))

    return made


@pytest.fixture
def day(read: Read, archive: Archive) -> Callable[..., Batch]:
    """Read one daily file with that text in it."""

    def done(text: str | bytes) -> Batch:
        archive.texts["BTCUSDT-1d-2025-02-03"] = text
        january = {"BTCUSDT-1d-2025-02-01": "x", "BTCUSDT-1d-2025-02-02": "x"}
        [batch] = read(january, since="2025-02-01")
        return batch

    return done


def files_asked(server: FaultServer) -> list[str]:
    names = [path.rpartition("/")[2] for path in server.paths()]
    return [name.removesuffix(".zip").removeprefix("BTCUSDT-1d-") for name in names if name.endswith(".zip")]


def test_months_come_from_monthly_files_and_the_current_one_from_daily_ones(
    read: Read, server: FaultServer, told: list[str]
) -> None:
    batches = read()
    days = [LISTED + k * DAY for k in range((date(2025, 2, 3) - LISTED).days + 1)]
    rows = rows_of(batches)
    assert rows["date"].to_list() == days
    assert files_asked(server) == ["2024-10", "2024-11", "2024-12", "2025-01", "2025-02-01", "2025-02-02", "2025-02-03"]
    assert "BTCUSDT-1d-2024-10: the file does not exist" in told


def test_a_row_is_in_our_words_whatever_the_unit_of_time(read: Read) -> None:
    rows = rows_of(read())
    wanted = {"symbol": "BINANCE:BTCUSDT", "open": 120.0, "high": 125.5, "low": 119.5, "close": 123.4}
    for day in (date(2024, 12, 31), date(2025, 1, 1)):
        assert rows.row(by_predicate=pl.col("date") == day, named=True).items() >= wanted.items()
    assert rows.drop("row").schema == {
        "date": pl.Date(),
        "symbol": pl.String(),
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64()),
    }


def test_a_file_is_marked_by_its_hash_and_its_request_names_no_host(read: Read, archive: Archive) -> None:
    batch = read()[1]
    path = "data/spot/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2024-12.zip"
    sha256 = hashlib.sha256(archive(f"/{path}", {}) or b"").hexdigest()
    assert batch.request == {"path": path, "sha256": sha256}
    assert batch.marks == {"BTCUSDT-1d-2024-12": sha256}


def test_months_before_the_listing_are_marked_absent_and_never_asked_for_again(read: Read, server: FaultServer) -> None:
    batches = read()
    assert batches[0].marks["BTCUSDT-1d-2024-10"] == "absent"
    server.asked.clear()
    assert read(marks_of(batches)) == []
    assert server.asked == []


def test_a_daily_update_asks_for_the_new_day_only(read: Read, server: FaultServer, archive: Archive) -> None:
    marks = marks_of(read())
    server.asked.clear()
    archive.until += DAY
    [batch] = read(marks, NOW + DAY)
    assert batch.rows.valid["date"].to_list() == [date(2025, 2, 4)]
    assert len(server.asked) == 2  # the file and its checksum


def test_a_day_that_is_late_is_asked_for_again_and_is_absent_after_a_week(
    read: Read, server: FaultServer, archive: Archive, told: list[str]
) -> None:
    archive.until -= DAY
    marks = marks_of(read())
    assert "BTCUSDT-1d-2025-02-03: the file does not exist yet" in told
    assert "BTCUSDT-1d-2025-02-03" not in marks
    [batch] = read(marks, NOW + 8 * DAY)
    assert batch.rows.valid.is_empty()
    assert batch.marks == {"BTCUSDT-1d-2025-02-03": "absent", "BTCUSDT-1d-2025-02-04": "absent"}


def test_a_month_of_which_days_landed_is_read_from_its_days(read: Read, server: FaultServer, archive: Archive) -> None:
    archive.until = date(2025, 2, 28)
    marks = marks_of(read())
    server.asked.clear()
    archive.month = archive.until = date(2025, 3, 2)
    batches = read(marks, datetime(2025, 3, 3, 9, tzinfo=UTC))
    days = [date(2025, 2, 4) + k * DAY for k in range(27)]
    assert rows_of(batches)["date"].to_list() == days
    assert files_asked(server) == [str(day) for day in days]


def test_the_last_month_is_read_from_its_days_until_its_file_is_there(
    read: Read, server: FaultServer, archive: Archive
) -> None:
    archive.month = date(2024, 12, 31)
    rows = rows_of(read(since="2025-01-01"))
    assert rows.height == 31 + 3
    assert files_asked(server)[:2] == ["2025-01", "2025-01-01"]


def test_two_landings_make_bars_without_copies(
    server: FaultServer, time: FakeTime, archive: Archive, tmp_path: Path, new_landing: Callable[..., Landing]
) -> None:
    archive.symbols["ETHUSDT"] = date(2025, 1, 10)
    options: dict[str, Any] = {"symbols": ["BTCUSDT", "ETHUSDT"], "since": "2024-10-01", "base_url": server.url}
    params = RawParams(kind="binance_dump", options=options)
    raw(params=params, sleeve=SLEEVE, as_of=None, landing=new_landing(tmp_path, at=NOW))
    archive.until += DAY
    landing = new_landing(tmp_path, at=NOW + DAY)
    raw(params=params, sleeve=SLEEVE, as_of=None, landing=landing)
    latest = (NOW + DAY).isoformat()
    view = raw(params=params, sleeve=SLEEVE, as_of=latest, landing=new_landing(tmp_path, at=NOW + DAY))
    assert isinstance(view, Split)
    rows = view.valid
    assert rows["row"].to_list() == list(range(92 + 26))
    assert rows.select("date", "symbol").is_duplicated().any() is False
    assert rows["known_at"].null_count() == rows.height
    assert len(landing.batches) == 2


def test_an_interrupted_landing_goes_on_where_it_stopped(stream: Stream, read: Read, server: FaultServer) -> None:
    whole = rows_of(read())
    started = stream()
    first = list(islice(started, 2))
    started.close()
    server.asked.clear()
    rest = read(marks_of(first))
    assert files_asked(server) == ["2025-01", "2025-02-01", "2025-02-02", "2025-02-03"]
    assert rows_of([*first, *rest]).equals(whole)


def test_futures_have_a_folder_a_header_and_a_name_of_their_own(
    read: Read, server: FaultServer, archive: Archive
) -> None:
    archive.header = ",".join(door.COLUMNS) + "\n"
    rows = rows_of(read(market="um", since="2025-02-01"))
    assert rows["symbol"].unique().to_list() == ["BINANCE:BTCUSDT.P"]
    assert rows.height == 3
    assert server.paths()[0] == "/data/futures/um/daily/klines/BTCUSDT/1d/BTCUSDT-1d-2025-02-01.zip"


def test_a_bar_that_is_not_over_is_left_out(read: Read) -> None:
    archived_early = datetime(2025, 2, 3, 23, 59, tzinfo=UTC)
    assert rows_of(read(now=archived_early, since="2025-02-01"))["date"].to_list() == [
        date(2025, 2, 1),
        date(2025, 2, 2),
    ]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, headers={"Retry-After": "7"}),
        Fault(500, b"oops"),
        Fault(503),
        Fault(closes=True),
        Fault(200, b"PK\x03\x04", withheld=900),
    ],
    ids=str,
)
@pytest.mark.parametrize("where", [".zip", ".CHECKSUM"])
def test_what_may_pass_is_tried_again(read: Read, server: FaultServer, fault: Fault, where: str) -> None:
    server.where, server.faults = where, [fault]
    assert rows_of(read(since="2025-02-01")).height == 3
    assert len(server.asked) == 7


def test_an_archive_that_never_recovers_is_unavailable(read: Read, server: FaultServer) -> None:
    server.always = Fault(500)
    with pytest.raises(UnavailableError, match=r"BTCUSDT-1d-2024-10.zip: no answer after 5 tries"):
        read()
    assert len(server.asked) == 5


def test_a_wrong_checksum_is_read_once_more(read: Read, server: FaultServer, told: list[str]) -> None:
    wrong = Fault(200, b"0" * 64 + b"  BTCUSDT-1d-2025-02-01.zip\n")
    server.where, server.faults = ".CHECKSUM", [wrong]
    assert rows_of(read(since="2025-02-01")).height == 3
    assert len(server.asked) == 8
    server.asked.clear()
    server.faults = [wrong, wrong]
    with pytest.raises(SourceError, match="read twice, and its checksum is not the one stated"):
        read(since="2025-02-01")
    assert len(server.asked) == 4
    assert any("the checksum is not 0000" in said for said in told)


def test_a_missing_checksum_is_an_error(read: Read, server: FaultServer) -> None:
    server.where, server.always = ".CHECKSUM", Fault(404)
    with pytest.raises(SourceError, match="its checksum is missing; what cannot be verified does not land"):
        read(since="2025-02-01")


@pytest.mark.parametrize("body", [b"", b"<html>", b"0" * 64, b"g" * 64 + b"  BTCUSDT-1d-2025-02-01.zip", b"\xff\xfe"])
def test_a_checksum_that_is_none_is_an_error(read: Read, server: FaultServer, body: bytes) -> None:
    server.where, server.always = ".CHECKSUM", Fault(200, body)
    with pytest.raises(SourceError, match="no checksum of it"):
        read(since="2025-02-01")


def test_the_checksum_of_another_file_is_an_error(read: Read, server: FaultServer) -> None:
    server.where, server.always = ".CHECKSUM", Fault(200, b"0" * 64 + b"  ETHUSDT-1d-2025-02-01.zip")
    with pytest.raises(SourceError, match="no checksum of it"):
        read(since="2025-02-01")


def test_an_error_text_with_status_200_is_no_file(read: Read, server: FaultServer) -> None:
    server.where, server.always = ".zip", Fault(200, b"Exceeded the daily hits limit")
    with pytest.raises(SourceError, match="answered 'Exceeded the daily hits limit', no zip"):
        read()


NAME = "BTCUSDT-1d-2025-02-03"


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"PK\x03\x04 and no more", "cannot be read"),
        (zipped("x", "../../etc/passwd"), "a name that leads out"),
        (zipped("x", f"/{NAME}.csv"), "a name that leads out"),
        (zipped("x", "BTCUSDT-1d-2025-02-02.csv"), "not just"),
        (zipped("x", f"{NAME}.csv", "more.csv"), "not just"),
        (zipped("x"), "not just"),
        (zipped(b"0" * (32 << 20), f"{NAME}.csv"), "more than 1048576 bytes; refused"),
        (zipped(b"\xff\xfe\x00", f"{NAME}.csv"), "cannot be read"),
        (zipped("x", f"{NAME}.csv").replace(crc32(b"x").to_bytes(4, "little"), b"\0\0\0\0"), "cannot be read: Bad CRC"),
    ],
)
def test_a_zip_that_is_not_one_small_csv_of_its_name_is_refused(
    read: Read, archive: Archive, packed: bytes, said: str
) -> None:
    archive.packed[NAME] = packed
    with pytest.raises(SourceError, match=said):
        read(since="2025-02-01")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (line(date(2025, 2, 3)) + ",13\n", "13 cells in a line instead of 12"),
        ("1,2,3\n" + line(date(2025, 2, 3)) + "\n", "3 cells in a line instead of 12"),
        (",".join(door.COLUMNS).replace("close,", "last,") + "\n" + line(date(2025, 2, 3)), "has the columns .*last"),
        (",".join((*door.COLUMNS, "more")) + "\n" + line(date(2025, 2, 3)), "has the columns .*more"),
        ("Exceeded the daily hits limit\n", "has the columns Exceeded"),
        ("", "0 cells"),
        (",".join(door.COLUMNS) + "\n", "0 cells"),
    ],
)
def test_a_schema_that_drifted_is_refused(day: Callable[..., Batch], text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        day(text)


def test_columns_nobody_reads_may_be_renamed(day: Callable[..., Batch]) -> None:
    names = ",".join(door.COLUMNS).replace("count", "trades")
    assert day(f"{names}\n{line(date(2025, 2, 3))}\n").rows.valid.height == 1


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("abc", "close_not_a_number"),
        ("--", "close_not_a_number"),
        ("1_0", "close_not_a_number"),
        ("1e400", "close_not_finite"),
    ],
)
def test_a_cell_that_is_no_number_excludes_its_row(day: Callable[..., Batch], cell: str, rule: str) -> None:
    batch = day(line(date(2025, 2, 3)).replace("123.4", cell) + "\n")
    assert batch.rows.valid.is_empty()
    [reason] = batch.rows.exclusions.rows(named=True)
    assert (reason["rule"], reason["row"], reason["symbol"]) == (rule, 0, "BINANCE:BTCUSDT")
    assert json.loads(reason["record"])["close"] == cell


def test_a_month_without_a_readable_row_is_refused(read: Read, archive: Archive) -> None:
    archive.texts["BTCUSDT-1d-2024-12"] = (line(date(2024, 12, 1)).replace("123.4", "x") + "\n") * 31
    with pytest.raises(SourceError, match="none of its 31 rows can be read"):
        read()


@pytest.mark.parametrize("stamp", ["soon", "1738540800", "1738544400000000", "-1"])
def test_a_bar_that_does_not_open_at_midnight_is_excluded(day: Callable[..., Batch], stamp: str) -> None:
    cells = line(date(2025, 2, 3)).split(",")
    batch = day(",".join([stamp, *cells[1:]]) + "\n")
    assert batch.rows.valid.is_empty()
    assert batch.rows.excluded == {"date_not_a_date": 1}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=1, max_value=130))
def test_a_line_that_breaks_off_never_becomes_another_number(cut: int) -> None:
    whole = "\n".join(line(date(2024, 12, 1) + k * DAY) for k in range(3)) + "\n"
    text = whole[: max(len(whole) - cut, 1)]
    parted = door._rows(text, door._File("BTCUSDT", date(2024, 12, 1), date(2024, 12, 31)), "spot")
    assert parted.valid["close"].is_in([123.4]).all()
    assert parted.valid.height + parted.exclusions.height == len(text.splitlines())
    assert set(parted.excluded) <= {"truncated_line"}
    assert parted.valid.height >= 1


def test_wrong_rows_of_a_month_leave_and_the_others_stay(read: Read, archive: Archive) -> None:
    lines = [line(date(2024, 12, 1) + k * DAY) for k in range(31)]
    lines[4] = lines[4].replace("123.4", "n/a")
    archive.texts["BTCUSDT-1d-2024-12"] = "\n".join(lines)[:-50]
    batch = next(batch for batch in read() if "BTCUSDT-1d-2024-12" in batch.marks)
    assert batch.rows.valid["row"].to_list() == [k for k in range(30) if k != 4]
    assert batch.rows.exclusions.select("rule", "row").rows() == [("close_not_a_number", 4), ("truncated_line", 30)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"symbols": []}, "symbols"),
        ({"symbols": ["../BTCUSDT"]}, "each must be another symbol"),
        ({"symbols": ["BTC/USDT"]}, "each must be another symbol"),
        ({"symbols": ["BTCUSDT_250328"]}, "each must be another symbol"),
        ({"symbols": ["BTCUSDT", "BTCUSDT"]}, "each must be another symbol"),
        ({"market": "cm"}, "market"),
        ({"since": "2024"}, "since"),
        ({"base_url": "ftp://x"}, "base_url"),
    ],
)
def test_a_wrong_option_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sources()["binance_dump"].options({"symbols": ["BTCUSDT"], **more})
