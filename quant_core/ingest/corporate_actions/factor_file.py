"""Corporate actions from one Parquet or CSV file, as a table of cumulative factors or as a list of actions.

Which of them a run knows and may use is decided in known_actions.py, what they do to rows in effects.py.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from quant_core.errors import SourceError
from quant_core.ingest.reading.tabular import text_bytes
from quant_core.ingest.reading.untrusted import untrusted_parquet
from quant_core.market.contracts.ingest import Actions

FACTORS = ("date", "symbol", "price_factor", "split_factor")
SENT = tuple(name for name in Actions.dtypes if name != "row")
LISTED = ("date", "symbol", "kind", "factor")
_OPTIONAL = ("to", "known_at")
_KINDS: dict[str, pl.DataType] = {**Actions.dtypes, "price_factor": pl.Float64(), "split_factor": pl.Float64()}
_UNREADABLE = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
_DAY = r"^\d{4}-\d{2}-\d{2}$"


def read_factors(path: Path, *, venue: str | None = None) -> pl.DataFrame:
    """Read the splits, dividends and ticker changes of a sleeve's prices.

    The file has either the columns date, symbol, price_factor, split_factor (cumulative factors that hold up to and
    including their date, as in LEAN's factor files), or date (the ex-date), symbol, kind (split, dividend, rename) and
    factor, perhaps with `to` and `known_at`; further columns are not read. A file of factors is believed as a whole or
    not at all: one value that does not parse would leave a false jump.

    Parameters
    ----------
    path : Path
        A .parquet or .csv file.
    venue : str, optional
        Venue of symbols that name none.

    Returns
    -------
    DataFrame
        Columns of Actions without `row`; in the file's order if it lists actions.

    Raises
    ------
    SourceError
        The file is missing, cannot be read, has neither form, or holds a value that is none.
    """
    if not path.is_file():
        raise SourceError(f"{path}: {'not a file' if path.exists() else 'no such file'}.")
    if path.suffix not in (".parquet", ".csv"):
        raise SourceError(f"{path}: expected a name that ends in .parquet or .csv.")
    table = _read_columns(path)
    form = next((form for form in (FACTORS, LISTED) if set(form) <= set(table.columns)), None)
    if form is None:
        forms = " or ".join(", ".join(form) for form in (FACTORS, LISTED))
        raise SourceError(f"{path} has {', '.join(table.columns) or 'no columns'}; it needs {forms}.")
    named = (*form, *(name for name in _OPTIONAL if form is LISTED and name in table.columns))
    read = pl.DataFrame({name: _parse_column(table[name], path) for name in named})
    if venue is not None:
        read = read.with_columns(_with_venue(name, venue) for name in ("symbol", "to") if name in read.columns)
    if form is FACTORS:
        return actions_of_factors(read)
    absent = {name: pl.lit(None, dtype=_KINDS[name]) for name in _OPTIONAL if name not in read.columns}
    return read.with_columns(**absent).select(*SENT)


def actions_of_factors(factors: pl.DataFrame) -> pl.DataFrame:
    """Turn cumulative factors into actions.

    The table is that of LEAN's factor files: price_factor (dividends) and split_factor hold up to and including the
    row's date, the last row of a symbol being dated far in the future. Each ratio of a row's factor to the next row's
    is an action. Its ex-date is the day after the row's date, with no calendar asked: every row up to that date, and no
    later one, is then adjusted, whatever the calendar. On a day without trade an action has no effect before the next
    row.

    Parameters
    ----------
    factors : DataFrame
        date, symbol, price_factor and split_factor; further columns are not read.

    Returns
    -------
    DataFrame
        Columns of Actions without `row`, sorted by symbol, date and kind; `known_at` null: known from the ex-date on.

    Raises
    ------
    SourceError
        A symbol has two rows of one date, or a factor is not a positive number: the ratios beside it are not known.

    Source: QuantConnect LEAN, factor file format (Data/equity/usa/factor_files/readme.md).
    """
    names = {"dividend": "price_factor", "split": "split_factor"}
    ordered = factors.sort("symbol", "date")
    is_number = pl.all_horizontal(pl.col(name).is_finite() & (pl.col(name) > 0.0) for name in names.values())
    is_known = is_number & pl.col("date").is_not_null() & pl.col("symbol").is_not_null()
    unknown = ordered.filter(~is_known.fill_null(value=False))
    if unknown.height:
        raise SourceError(f"{unknown.height} rows of factors hold no positive number, such as {unknown.row(0)}.")
    again = ordered.filter(pl.struct("symbol", "date").is_duplicated())
    if again.height:
        raise SourceError(f"{again.height} rows of factors share symbol and date, such as {again.row(0)}.")
    kinds = [
        ordered.select(
            pl.col("date").dt.offset_by("1d"),
            "symbol",
            kind=pl.lit(kind),
            factor=pl.col(name) / pl.col(name).shift(-1).over("symbol"),
        )
        for kind, name in names.items()
    ]
    return _as_actions(pl.concat(kinds).filter(pl.col("factor") != 1.0)).sort("symbol", "date", "kind")


def _as_actions(found: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of Actions a source sends; absent ones are null."""
    absent = {name: pl.lit(None) for name in SENT if name not in found.columns}
    return found.with_columns(**absent).select(pl.col(name).cast(Actions.dtypes[name]) for name in SENT)


def _read_columns(path: Path) -> pl.DataFrame:
    """Return the columns of a file that are read; of a Parquet file in neither form, its names without rows."""
    try:
        if path.suffix == ".csv":
            return pl.read_csv(text_bytes(path), infer_schema=False)
        with untrusted_parquet(path) as file:
            found = file.names()
            if not any(set(form) <= set(found) for form in (FACTORS, LISTED)):
                return pl.DataFrame(schema=dict.fromkeys(found, pl.Null))
            return file.columns([name for name in found if name in _KINDS])
    except _UNREADABLE as error:
        said = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise SourceError(f"{path} cannot be read: {said}") from error


def _parse_column(values: pl.Series, path: Path) -> pl.Series:
    """Return a column in its type here; empty text and NaN are null."""
    kind = _KINDS[values.name]
    if values.dtype == pl.String:
        text = values.str.strip_chars()
        given = text.set(text == "", None)
        parsed = _parse_text(given, kind)
    else:
        given = values.fill_nan(None) if values.dtype.is_float() else values
        is_day = kind == Actions.dtypes["known_at"] and values.dtype == pl.Date
        is_unlike = not is_day and (kind == pl.String or values.dtype.is_temporal() != kind.is_temporal())
        if is_unlike and values.null_count() < len(values):
            raise SourceError(f"{path}: {values.name} is {values.dtype}, not {kind}.")
        parsed = _end_of_day(given) if is_day else given.cast(kind, strict=False)
    is_bad = parsed.is_null() & given.is_not_null()
    if is_bad.any():
        place = int(is_bad.arg_max() or 0)
        raise SourceError(f"{path}: {values.name} {values[place]!r} in row {place} is no {kind}.")
    return parsed.fill_nan(None) if parsed.dtype == pl.Float64 else parsed


def _parse_text(text: pl.Series, kind: pl.DataType) -> pl.Series:
    if kind == pl.Date():
        return text.str.to_date("%Y-%m-%d", strict=False)
    if kind.is_temporal():
        days = _end_of_day(text.str.to_date("%Y-%m-%d", strict=False))
        stamps = text.str.replace(" ", "T", literal=True).str.replace("Z$", "+00:00")
        offset = r"[+-]\d{2}:?\d{2}$"
        aware = stamps.to_frame("stamp").select(
            pl.when(pl.col("stamp").str.contains(offset)).then("stamp").otherwise(pl.col("stamp") + "+00:00")
        )
        moments = aware.to_series().str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)
        return moments.dt.convert_time_zone("UTC").zip_with(~text.str.contains(_DAY).fill_null(value=False), days)
    return text.cast(kind, strict=False)


def _end_of_day(days: pl.Series) -> pl.Series:
    """Return the last microsecond of each day: a bare day is known when it is over."""
    return (days.cast(pl.Datetime("us")) + timedelta(days=1, microseconds=-1)).dt.replace_time_zone("UTC")


def _with_venue(name: str, venue: str) -> pl.Expr:
    symbol = pl.col(name)
    return pl.when(symbol.str.contains(":", literal=True)).then(symbol).otherwise(f"{venue}:" + symbol).alias(name)
