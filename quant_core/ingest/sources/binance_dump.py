"""Daily bars from the archive Binance publishes as files: a month or a day of one symbol each, with a checksum.

How often and how long is asked lives in reading/transport.py; how values are parsed in reading/parsing.py.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal
from urllib.parse import quote

import polars as pl
from pydantic import Field, field_validator

from quant_core.errors import SourceError
from quant_core.graph.stage import Params
from quant_core.ingest.reading.parsing import parse_rows
from quant_core.ingest.reading.transport import Transport, beginning
from quant_core.ingest.reading.unpacking import only_member
from quant_core.ingest.sources.source import Batch, IsoDay, Landed, source
from quant_core.market.contracts.split import Split, excluded_rows
from quant_core.market.sleeves import Sleeve
from quant_core.masking import fill_variables

DAY = timedelta(days=1)
DAY_MS = 86_400_000
COLUMNS = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time"),
    *("quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
PRICES = COLUMNS[1:6]
READ = 7
FOLDERS = {"spot": "spot", "um": "futures/um"}
LARGEST = 1 << 20  # a month of daily bars has 6 kB
# Until then a file that is not there may still come: days appear the day after, months in the first days of the next.
LATE_DAYS, LATE_MONTH_DAYS = 7, 40
MICROSECONDS_FROM = 10**14
_CHECKSUM = re.compile(r"([0-9a-f]{64})[ \t]+\*?(\S+)")


class BinanceDumpParams(Params):
    """The `[source]` table of kind "binance_dump"."""

    market: Literal["spot", "um"] = Field(default="spot", description="Spot, or USD-margined perpetuals (um).")
    symbols: list[str] = Field(min_length=1, description="Symbols as Binance writes them: BTCUSDT.")
    since: IsoDay = Field(default="2017-08-01", description="A day of the first month to read, ISO date.")
    base_url: str = Field("https://data.binance.vision", pattern=r"^https?://[^\s?#]+$", description="The archive.")

    @field_validator("symbols")
    @classmethod
    def _are_names(cls, symbols: list[str]) -> list[str]:
        wrong = [symbol for symbol in symbols if re.fullmatch(r"[^\W_a-z]{2,40}", symbol) is None]
        if wrong or len(set(symbols)) != len(symbols):
            raise ValueError(f"each must be another symbol like BTCUSDT; got {wrong or 'one twice'}")
        return symbols


@dataclass(frozen=True)
class _File:
    """A file of the archive: a month, or a day, of one symbol."""

    symbol: str
    first: date
    last: date

    @property
    def is_month(self) -> bool:
        """Whether it holds a month."""
        return self.first != self.last

    @property
    def name(self) -> str:
        """Name without suffix, which is also its mark."""
        return f"{self.symbol}-1d-{self.first.isoformat()[: 7 if self.is_month else 10]}"

    def path(self, market: str) -> str:
        """Return its path in the archive."""
        folder = f"{FOLDERS[market]}/{'monthly' if self.is_month else 'daily'}"
        return f"data/{folder}/klines/{self.symbol}/1d/{self.name}.zip"

    def days(self, until: date) -> list[_File]:
        """Return the daily files of a month, before `until`."""
        days = [self.first + k * DAY for k in range((min(self.last + DAY, until) - self.first).days)]
        return [_File(self.symbol, day, day) for day in days]


@source("binance_dump", params=BinanceDumpParams, grows=True, anchors=("market",))
def binance_dump(params: BinanceDumpParams, sleeve: Sleeve, landed: Landed) -> Iterator[Batch]:
    """Yield the files that have not landed yet, one batch each.

    A symbol is `BINANCE:BTCUSDT`, that of a perpetual `BINANCE:BTCUSDT.P`; volume is in units of the base currency. A
    month is read from its monthly file, or, once a day of it landed, from its days, so that no bar is read twice. A
    file is marked by its hash and never asked for again; one that is absent for good, such as those before the
    listing, is marked so.

    The archive is not live: a day is published the day after, with a checksum, and stays. What the first landing finds
    was known at the close of each bar; what later ones add is known from their landing on, as for any source.

    Raises
    ------
    UnavailableError
        The archive did not answer in the end.
    SourceError
        A checksum is missing, or wrong twice; a file is not a zip with one CSV of its own name and the known columns.
    """
    with closing(Transport(landed.tell, largest=LARGEST)) as transport:
        archive = _Archive(params, landed, transport)
        for symbol in params.symbols:
            yield from _new_files(symbol, archive)
            if archive.absent:
                yield archive.absent_batch()


def _new_files(symbol: str, archive: _Archive) -> Iterator[Batch]:
    """Yield the files of a symbol that have not landed."""
    today, marks = archive.landed.now.date(), archive.landed.marks
    first = date.fromisoformat(archive.params.since).replace(day=1)
    while first < today:
        last = (first + 31 * DAY).replace(day=1) - DAY
        month, first = _File(symbol, first, last), last + DAY
        if month.name in marks:
            continue
        days = month.days(today)
        new = [day for day in days if day.name not in marks]
        if last < today and new == days:
            batch = archive.batch(month)
            if batch is not None:
                yield batch
            if batch is not None or month.name in archive.absent:
                continue
        for day in new:
            batch = archive.batch(day)
            if batch is not None:
                yield batch


@dataclass
class _Archive:
    """The archive, read through the transport. `absent` are the files it will never have, to be marked so."""

    params: BinanceDumpParams
    landed: Landed
    transport: Transport
    absent: dict[str, str] = field(default_factory=dict)

    def batch(self, file: _File) -> Batch | None:
        """Return the rows of a file; None where the file does not exist."""
        body = self._download(file)
        if body is None:
            age = (self.landed.now.date() - file.last).days
            is_final = age > (LATE_MONTH_DAYS if file.is_month else LATE_DAYS)
            self.landed.tell(f"{file.name}: the file does not exist{'' if is_final else ' yet'}")
            if is_final:
                self.absent[file.name] = "absent"
            return None
        rows = _rows(_unpack_csv(body, file), file, self.params.market)
        is_complete = pl.col("close_time") < self.landed.now.timestamp() * 1000.0
        parted = Split(rows.valid.filter(is_complete).drop("close_time"), rows.exclusions)
        sha256, absent = hashlib.sha256(body).hexdigest(), self.absent
        self.absent = {}
        return Batch(parted, {"path": file.path(self.params.market), "sha256": sha256}, {**absent, file.name: sha256})

    def absent_batch(self) -> Batch:
        """Return a batch without rows that marks the files found absent since the last one."""
        empty = {"date": pl.Date(), "symbol": pl.String(), **dict.fromkeys(PRICES, pl.Float64())}
        absent, self.absent = self.absent, {}
        return Batch(Split(pl.DataFrame(schema=empty)), {"absent": len(absent)}, absent)

    def _download(self, file: _File) -> bytes | None:
        path = file.path(self.params.market)
        url = f"{fill_variables(self.params.base_url, os.environ).rstrip('/')}/{quote(path)}"
        for k in (1, 2):  # the first may have been broken off on its way
            body = self.transport.find(url)
            if body is None:
                return None
            if not body.startswith(b"PK"):
                raise SourceError(f"{path}: answered {beginning(body)}, no zip.")
            told = self.transport.find(f"{url}.CHECKSUM")
            if told is None:
                raise SourceError(f"{path}: its checksum is missing; what cannot be verified does not land.")
            stated = _CHECKSUM.fullmatch(told.decode("utf-8", errors="replace").strip())
            if stated is None or stated[2] != f"{file.name}.zip":
                raise SourceError(f"{path}: answered {beginning(told)}, no checksum of it.")
            if hashlib.sha256(body).hexdigest() == stated[1]:
                return body
            self.landed.tell(f"{file.name}: try {k}: the checksum is not {stated[1]} as stated")
        raise SourceError(f"{path}: read twice, and its checksum is not the one stated.")


def _unpack_csv(body: bytes, file: _File) -> str:
    """Return the one CSV of a zip, read no further than it may be long."""
    content = only_member(body, f"{file.name}.csv", largest=LARGEST, where=f"{file.name}.zip")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{file.name}.zip cannot be read: {error}") from error


def _rows(text: str, file: _File, market: str) -> Split:
    """Read lines of twelve cells, under their names or none. Keeps `close_time`, in ms.

    The last line may break off: of one with fewer cells nobody knows what is missing. One with all twelve is whole as
    far as it is read, for each cell read is followed by a comma.
    """
    lines = [line.split(",") for line in text.splitlines() if line.strip()]
    if lines and re.search(r"\d", ",".join(lines[0])) is None:
        if len(lines[0]) != len(COLUMNS) or tuple(cell.strip() for cell in lines[0][:READ]) != COLUMNS[:READ]:
            raise SourceError(f"{file.name}.csv has the columns {', '.join(lines[0])}; expected {', '.join(COLUMNS)}.")
        lines = lines[1:]
    cut = lines.pop() if lines and len(lines[-1]) < len(COLUMNS) else None
    wrong = next((line for line in lines if len(line) != len(COLUMNS)), None)
    if wrong is not None or not (lines or cut):
        raise SourceError(f"{file.name}.csv: {len(wrong or [])} cells in a line instead of {len(COLUMNS)}: {wrong}.")
    symbol = f"BINANCE:{file.symbol}" + (".P" if market == "um" else "")
    cells = pl.DataFrame(lines, schema=dict.fromkeys(COLUMNS, pl.String()), orient="row").with_row_index("row")
    opened = _milliseconds("open_time")
    day = pl.when(opened % DAY_MS == 0).then(pl.from_epoch(opened, time_unit="ms").dt.strftime("%Y-%m-%d"))
    opens = pl.coalesce(day, "open_time").alias("date")
    closes = pl.coalesce(_milliseconds("close_time").cast(pl.String()), "close_time")
    frame = cells.select("row", opens, pl.lit(symbol).alias("symbol"), *PRICES, closes.alias("close_time"))
    # A table of which no row can be read is refused as the wrong one; the file of a day has just one row.
    rows = parse_rows(pl.concat([frame, frame.clear(0 if file.is_month else 1)]), f"{file.name}.csv")
    rows = Split(rows.valid.filter(pl.col("row").is_not_null()), rows.exclusions)
    if cut is None:
        return rows
    line = pl.DataFrame({"row": [len(lines)], "symbol": [symbol], "line": [",".join(cut)]})
    broken = excluded_rows(line, "truncated_line", "the source ends inside this line")
    return Split(rows.valid, pl.concat([rows.exclusions, broken]))


def _milliseconds(name: str) -> pl.Expr:
    """Return an instant in ms: those of spot files are in us from 2025 on."""
    stamp = pl.col(name).str.strip_chars().cast(pl.Int64, strict=False)
    return pl.when(stamp > MICROSECONDS_FROM).then(stamp // 1000).otherwise(stamp)
