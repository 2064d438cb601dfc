"""Columns as a file has them, turned into the types of the landing: value by value, nothing guessed.

Empty text and NaN mean not known; any other text that does not parse makes its row an exclusion that shows the text.
Where the columns come from is the sources' business; what a price must keep to, the contracts'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from quant_core.errors import SourceError
from quant_core.market.contracts.rule_names import defect_name
from quant_core.market.contracts.split import Split, excluded_rows

PRICES = ("open", "high", "low", "close", "volume")
COLUMNS = ("date", "timestamp", "symbol", *PRICES, "known_at")
# A day, perhaps with a clock, perhaps with an offset: 2024-01-31, 2024-01-31T00:00:00Z, 2024-01-31 00:00:00-05:00.
_STAMP = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_CLOCK = r"^\d{4}-\d{2}-\d{2}[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)"
_END_OF_DAY = pl.duration(days=1) - pl.duration(microseconds=1)


def parse_rows(frame: pl.DataFrame, where: str, *, venue: str | None = None, decimal: str = ".") -> Split:
    """Parse the columns of a table.

    Parameters
    ----------
    frame : DataFrame
        `row` and any of date or timestamp, symbol, open, high, low, close, volume, known_at, of whatever type the
        source has.
    where : str
        The source, for error messages.
    venue : str, optional
        Venue of symbols that name none.
    decimal : str
        The decimal sign of numbers in text, "." or ",": the other one makes a text no number. Thousands separators
        are never read.

    Returns
    -------
    Split
        Rows in the types of Raw (timestamp: Datetime us UTC; naive stamps are UTC), and rows with a value that does
        not parse: `close_not_a_number`, `close_not_finite` (inf, 1e400), `date_not_a_date`,
        `known_at_not_a_time`, `timestamp_not_a_time`. NaN is not known, like empty text.

    Raises
    ------
    SourceError
        A column has a type that cannot be read, dates have times within the day, or no row can be read.
    """
    columns: dict[str, pl.Series] = {"row": frame["row"]}
    faults: dict[str, pl.Series] = {}
    for name in frame.columns[1:]:
        parse, kind = _PARSERS.get(name, (partial(_numbers, decimal=decimal), "number"))
        values = parse(frame[name], where)
        is_bad = values.is_null() & frame[name].is_not_null()
        if frame.schema[name] == pl.String:
            is_bad &= frame[name].str.strip_chars() != ""
        if is_bad.any():
            faults[defect_name(name, f"not_a_{kind}")] = is_bad.alias(name)
        if values.dtype == pl.Float64:
            if values.is_infinite().any():
                faults[defect_name(name, "finite")] = values.is_infinite().fill_null(value=False).alias(name)
            values = values.fill_nan(None)
        columns[name] = values
    if venue is not None and "symbol" in columns:
        symbol = pl.col("symbol")
        named = pl.when(symbol.str.contains(":", literal=True)).then(symbol).otherwise(f"{venue}:" + symbol)
        columns["symbol"] = frame.select(columns["symbol"]).select(named.alias("symbol")).to_series()
    parsed = pl.DataFrame(columns)
    return _split_rows(frame, parsed, faults, where) if faults else Split(parsed)


def _split_rows(frame: pl.DataFrame, values: pl.DataFrame, faults: Mapping[str, pl.Series], where: str) -> Split:
    why = frame.with_columns(is_bad.alias(rule) for rule, is_bad in faults.items()).select(
        rule=pl.coalesce(pl.when(rule).then(pl.lit(rule)) for rule in faults),
        detail=pl.concat_str(
            [pl.when(rule).then(_show_value(bad.name)) for rule, bad in faults.items()],
            separator=", ",
            ignore_nulls=True,
        ),
    )
    is_bad = why["rule"].is_not_null()
    if is_bad.all():
        raise SourceError(f"{where}: none of its {frame.height} rows can be read; the first has {why['detail'][0]}.")
    why = why.filter(is_bad)
    # The record shows the row as the source has it, not as far as it could be parsed.
    record = frame.filter(is_bad).select(record=pl.struct(pl.exclude("row")).struct.json_encode())
    excluded = excluded_rows(values.filter(is_bad), why["rule"], why["detail"]).with_columns(record["record"])
    return Split(values.filter(~is_bad), excluded)


def _show_value(name: str) -> pl.Expr:
    return pl.format("{}='{}'", pl.lit(name), pl.col(name).cast(pl.String))


def _numbers(values: pl.Series, where: str, *, decimal: str = ".") -> pl.Series:
    if values.dtype == pl.String:
        texts = values.str.strip_chars()
        if decimal == ",":
            has_point = texts.str.contains(".", literal=True)
            point = pl.when(~pl.lit(has_point)).then(pl.lit(texts).str.replace(",", ".", literal=True))
            texts = pl.select(point.alias(values.name)).to_series()
        return texts.cast(pl.Float64, strict=False)
    if values.dtype.is_numeric() or values.dtype == pl.Null:
        return values.cast(pl.Float64)
    raise SourceError(f"{where}: {values.name} is {values.dtype}, not numbers.")


def _texts(values: pl.Series, where: str) -> pl.Series:
    if values.dtype.is_nested():
        raise SourceError(f"{where}: {values.name} is {values.dtype}, not text.")
    return values.cast(pl.String).str.strip_chars()


def _days(values: pl.Series, where: str) -> pl.Series:
    """Return the day of each stamp on its own clock; a stamp within the day is intraday data."""
    if values.dtype == pl.String:
        stamps = values.str.strip_chars()
        is_within = stamps.str.extract(_CLOCK, 1).str.strip_chars("0:.").fill_null("") != ""
        days = stamps.str.extract(_STAMP, 1).str.to_date("%Y-%m-%d", strict=False)
    elif isinstance(values.dtype, pl.Datetime):
        is_within = values.dt.time().cast(pl.Int64).fill_null(0) != 0
        days = values.dt.date()
    elif values.dtype in (pl.Date, pl.Null):
        return values.cast(pl.Date)
    else:
        raise SourceError(f"{where}: {values.name} is {values.dtype}, not a date.")
    if is_within.any():
        stamp = values.filter(is_within)[0]
        raise SourceError(
            f"{where}: {values.name} has times within the day, such as {stamp}; bars within the day are stamped in "
            'the column timestamp and need the option interval, such as interval = "1h".'
        )
    return days.alias(values.name)


def _instants(values: pl.Series, where: str) -> pl.Series:
    """Return UTC instants; a bare day means its end, a stamp without offset is UTC."""
    if values.dtype == pl.Null:
        return values.cast(pl.Datetime("us", "UTC"))
    if values.dtype == pl.Date:
        end = pl.col(values.name).cast(pl.Datetime("us")) + _END_OF_DAY
        return values.to_frame().select(end.dt.replace_time_zone("UTC")).to_series()
    if isinstance(values.dtype, pl.Datetime):
        aware = values if values.dtype.time_zone else values.dt.replace_time_zone("UTC")
        return aware.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    if values.dtype != pl.String:
        raise SourceError(f"{where}: {values.name} is {values.dtype}, not a time.")
    day, clock, seconds, offset = (pl.col("stamp").str.extract(_STAMP, k) for k in (1, 2, 3, 4))
    moment = pl.concat_str(day, pl.lit(" "), clock, seconds.fill_null(":00")).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    shift = offset.str.replace("Z", "+00:00").str.replace(":", "").fill_null("+0000").cast(pl.Int64, strict=False)
    minutes = shift.sign() * (shift.abs() // 100 * 60 + shift.abs() % 100)
    end = day.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")) + _END_OF_DAY
    stamped = pl.when(clock.is_null()).then(end).otherwise(moment - pl.duration(minutes=minutes))
    texts = values.str.strip_chars().to_frame("stamp")
    return texts.select(stamped.dt.replace_time_zone("UTC").alias(values.name)).to_series()


def _stamps(values: pl.Series, where: str) -> pl.Series:
    """Return UTC instants; a stamp without offset is UTC, a bare day is not an instant."""
    if values.dtype == pl.Date:
        raise SourceError(f"{where}: {values.name} is {values.dtype}, not a time.")
    if values.dtype != pl.String:
        return _instants(values, where)
    has_clock = values.str.contains(_CLOCK)
    return pl.select(pl.when(pl.lit(has_clock)).then(pl.lit(_instants(values, where))).alias(values.name)).to_series()


_PARSERS: Mapping[str, tuple[Callable[[pl.Series, str], pl.Series], str]] = {
    "date": (_days, "date"),
    "timestamp": (_stamps, "time"),
    "symbol": (_texts, "text"),
    "known_at": (_instants, "time"),
}
