"""The landing: rows as their source sent them, in order of arrival, cut at the knowledge time of the run.

The only stage that touches the outside world, through the sources in sources/. Whether a row makes a trustworthy bar is
decided in bars.py.
"""

from __future__ import annotations

import polars as pl
from pydantic import Field, JsonValue

from quant_core.errors import ConfigError, SourceError
from quant_core.graph.stage import Params, stage
from quant_core.ingest.sessions import sessions_of
from quant_core.ingest.source import sources
from quant_core.market.calendar import Calendar, instant_of, next_midnight
from quant_core.market.contracts.ingest import Raw
from quant_core.market.contracts.split import Split, split
from quant_core.market.sleeves import Sleeve

# `split` numbers the rows it judges in a column `row`; the landing's own one steps aside meanwhile.


class RawParams(Params):
    """The `[source]` table of the sleeve file."""

    kind: str = Field(default="", description="Which source to read.")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="The source's own keys.")


# Most rows unreadable means the wrong file or the wrong column names, not a few bad rows.
@stage("ingest.raw", output=Raw, budgets={"*": 0.60})
def raw(*, params: RawParams, sleeve: Sleeve, as_of: str | None) -> Split:
    """Read the sleeve's source, number its rows, and leave out what was not known at `as_of`.

    A bar is known from its session's close, and not before the source's own stamp `known_at`. Rows of a later date
    than `as_of` are not excluded: for that run they do not exist yet.
    """
    if not params.kind:
        known = ", ".join(sources())
        raise ConfigError(f"the sleeve {sleeve.name!r} names no source: [source] needs kind, one of {known}.")
    source = sources()[params.kind]
    read = source(source.options(params.options), sleeve)
    given = read if isinstance(read, Split) else Split(read)
    judged = _judged(_landed(given.valid))
    parted = Split(judged.valid, pl.concat([given.exclusions, judged.exclusions]).sort("row"))
    if parted.valid.is_empty():
        reasons = ", ".join(f"{rule}: {count}" for rule, count in parted.excluded.items())
        raise SourceError(f"source {source.name!r} of sleeve {sleeve.name!r} has no usable row ({reasons or 'empty'}).")
    return parted if as_of is None else _known_at(parted, as_of, sleeve.market)


def _landed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with all columns of Raw in order: rows numbered, absent optional columns null."""
    if "row" not in frame.columns:
        frame = frame.with_row_index("row")
    absent = {name: pl.lit(None, dtype=kind) for name, kind in Raw.dtypes.items() if name not in frame.columns}
    return frame.with_columns(pl.col("row").cast(pl.Int64), **absent).select(*Raw.dtypes)


def _judged(frame: pl.DataFrame) -> Split:
    parted = split(frame, Raw)
    return Split(
        parted.valid, parted.exclusions.with_columns(frame["row"].gather(parted.exclusions["row"]).alias("row"))
    )


def _known_at(parted: Split, as_of: str, market: Calendar) -> Split:
    """Keep the rows and exclusions known at `as_of`; an exclusion whose date is not known stays."""
    moment = instant_of(as_of)
    closes = sessions_of(parted.valid["date"], market).select("date", "available_at")

    def is_over(frame: pl.DataFrame) -> pl.Series:
        known = frame.select("date").join(closes, on="date", how="left", maintain_order="left")
        return known.select(pl.col("available_at").fill_null(next_midnight()).fill_null(moment) <= moment).to_series()

    rows = parted.valid.filter(is_over(parted.valid) & (parted.valid["known_at"].fill_null(moment) <= moment))
    if rows.is_empty():
        first = parted.valid.select(pl.col("date").min()).item()
        raise SourceError(f"as_of={as_of} is before the first bar known, that of {first}.")
    return Split(rows, parted.exclusions.filter(is_over(parted.exclusions)))
