"""The landing: rows as their source sent them, kept batch by batch, and the view of them at the run's knowledge time.

The only stage that touches the outside world, through the sources in sources/. Where batches are kept is graph/
landing.py's; whether a row makes a trustworthy bar is decided in bars.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl
from pydantic import Field, JsonValue

from quant_core.errors import ConfigError, SourceError
from quant_core.graph.landing import Landing, last_row
from quant_core.graph.landing_view import View
from quant_core.graph.stage import Params, stage
from quant_core.ingest.corporate_actions.known_actions import demand_factors
from quant_core.ingest.rules import budgets_of, carried_rules
from quant_core.ingest.sources.source import Batch, Landed, Source, sources
from quant_core.market.calendar import Calendar, instant_of, next_midnight
from quant_core.market.contracts.ingest import Actions, Raw
from quant_core.market.contracts.split import Contract, Split, split
from quant_core.market.sessions import sessions_of
from quant_core.market.sleeves import Sleeve
from quant_core.market.text_codes import codes_of

STAGE = "ingest.raw"
# Small answers are kept together up to here; a landing that is interrupted repeats at most one such batch. The record
# of a batch, requests and marks included, is one line of the ledger.
BATCH_ROWS = 200_000
BATCH_TEXT = 32 * 1024
BATCH_SECONDS = 60.0
_NAMELESS = "symbol_malformed"


class RawParams(Params):
    """The `[source]` table of the sleeve file."""

    kind: str = Field(default="", description="Which source to read.")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="The source's own keys.")


def landing_counts(rows: pl.DataFrame) -> Mapping[str, float]:
    """Count landed rows by trait: symbols, rows out of order, zero or missing volumes, missing opens."""
    coded = codes_of(rows["symbol"], is_sorted=False)
    told = rows.select("date", "volume", "open", pl.Series("symbol", coded.code))
    is_same = pl.col("symbol") == pl.col("symbol").shift(1)
    symbols = len(coded.texts)
    is_grouped = told.select((~is_same).fill_null(value=True).sum()).item() == symbols
    ordered = told if is_grouped else told.sort("symbol", maintain_order=True)
    counted = ordered.select(
        out_of_order=(is_same & (pl.col("date") < pl.col("date").shift(1))).sum(),
        zero_volume=(pl.col("volume") == 0.0).sum(),
        no_volume=pl.col("volume").null_count(),
        no_open=pl.col("open").null_count(),
        symbols=pl.lit(symbols),
    )
    return {f"raw.{name}": float(value) for name, value in counted.row(0, named=True).items()}


@stage(
    STAGE,
    output=Raw,
    budgets=budgets_of(STAGE),
    carried=carried_rules(STAGE),
    metrics=landing_counts,
    takes="source",
)
def raw(*, params: RawParams, sleeve: Sleeve, as_of: str | None, landing: Landing) -> View:
    """Land what the sleeve's source has new, number its rows, and leave out what was not known at `as_of`.

    What has landed is never changed. A snapshot (a file) replaces the one before in the view, batches of a source that
    grows add to it. A run with a knowledge time asks a source only if it is not live and its first landing was never
    completed; it sees the batches that had landed then, those of the first landing of a source that is not live always,
    and of their rows those that were known: from their session's close, and not before the source's own stamp
    `known_at`. Later rows are not excluded: for that run they do not exist yet.

    Raises
    ------
    ConfigError
        The sleeve names no source, an option the source refuses, or raw prices of a source without splits.
    SourceError
        The source cannot be read, or no usable row had landed.
    """
    if not params.kind:
        known = ", ".join(sources())
        raise ConfigError(f"the sleeve {sleeve.name!r} names no source: [source] needs kind, one of {known}.")
    source = sources()[params.kind]
    options = source.options(params.options)
    if "factors" not in source.params.model_fields:
        demand_factors(sleeve, None)
    landing.begin(STAGE, source=source.name, fingerprint=_fingerprint(source, options))
    if as_of is None or (landing.is_first and not source.is_live):
        _land(source, options, sleeve, landing)
    demand_factors(sleeve, Actions.empty() if landing.has_actions(as_of) else None)
    view = landing.view(as_of)
    if view is None:
        raise SourceError(
            f"nothing of source {source.name!r} of sleeve {sleeve.name!r} had landed at {as_of or 'all'}."
        )
    if not (sum(ref.rows for ref in view.versions["valid"]) if view.versions else view.valid.height):
        reasons = ", ".join(f"{rule}: {count}" for rule, count in view.counts.items())
        hint = (
            " A symbol is VENUE:TICKER; [source] venue names that of bare tickers." if _NAMELESS in view.counts else ""
        )
        said = f"source {source.name!r} of sleeve {sleeve.name!r} has no usable row ({reasons or 'empty'}).{hint}"
        raise SourceError(said)
    return view if as_of is None else _known_at(view, as_of, sleeve.market)


def _fingerprint(source: Source, options: Params) -> str:
    """Return a hash of what a source reads: all options of a snapshot, else those it is anchored to."""
    given = options.model_dump(mode="json")
    # A file that moves with its folder is the same file.
    given |= {name: Path(given[name]).name for name in ("path", "factors") if isinstance(given.get(name), str)}
    told = {name: given[name] for name in source.anchors} if source.grows else given
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class _Pending:
    """Batches that wait to be landed together.

    Attributes
    ----------
    row, action : int
        Numbers of the next row and the next action.
    floor : datetime, optional
        The instant before which nobody knew what waits; None: rows are known since their own stamps, or always.
    """

    row: int
    action: int
    floor: datetime | None
    rows: list[pl.DataFrame] = field(default_factory=list)
    lost: list[pl.DataFrame] = field(default_factory=list)
    actions: list[pl.DataFrame] = field(default_factory=list)
    requests: list[Mapping[str, JsonValue]] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)
    made_of: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the pending rows are enough for a version of their own."""
        return sum(frame.height for frame in self.rows) >= BATCH_ROWS

    def has_room_for(self, batch: Batch) -> bool:
        """Whether the record of the pending batches stays short enough with one more."""
        return not self.rows or len(json.dumps([self.requests, self.marks, batch.request, batch.marks])) < BATCH_TEXT

    def add(self, batch: Batch) -> None:
        """Judge a batch by its contract and number it; exclusions keep the position of their row in the answer."""
        judged = _judge_rows(_shape_rows(batch.rows.valid, Raw, self.floor), Raw)
        lost = pl.concat([batch.rows.exclusions, judged.exclusions]).sort("row")
        moved = pl.col("row") + self.row
        self.rows.append(judged.valid.with_columns(moved))
        self.lost.append(lost.with_columns(moved))
        self.row = 1 + max(self.row - 1, *(last_row(frame) for frame in (self.rows[-1], self.lost[-1])))
        if batch.actions is not None:
            # The rules on actions are checked in actions.py, where a row can be excluded.
            shaped = _shape_rows(batch.actions, Actions, self.floor)
            self.actions.append(shaped.with_columns(pl.col("row") + self.action))
            self.action += shaped.height
        if batch.request:
            self.requests.append(batch.request)
        self.marks |= batch.marks
        self.made_of += judged.valid.height if batch.made_of is None else batch.made_of

    def land(self, landing: Landing, *, replaces: bool, known_from: datetime | None) -> None:
        """Land the pending batches and start with none."""
        if self.rows:
            parted = Split(pl.concat(self.rows), pl.concat(self.lost))
            landing.land(
                parted,
                pl.concat([Actions.empty(), *self.actions]),
                replaces=replaces,
                known_from=known_from,
                marks=self.marks,
                request=self.requests,
                has_actions=bool(self.actions),
                made_of=self.made_of,
            )
        self.made_of = 0
        self.rows, self.lost, self.actions, self.requests, self.marks = [], [], [], [], {}


def _land(source: Source, options: Params, sleeve: Sleeve, landing: Landing) -> None:
    """Read the source and land its batches, also if it fails half way: the next landing goes on from there."""
    now = since = landing.clock()
    row, action = (landing.next_row, landing.next_action) if source.grows else (0, 0)
    is_stamped = source.is_live or (source.grows and not landing.is_first)
    waiting = _Pending(row, action, now if is_stamped else None)

    def keep() -> None:
        # Asked for each batch: who has looked at the first batches in between goes on seeing no more than those.
        known_from = landing.clock() if source.is_live or not landing.is_first else None
        waiting.land(landing, replaces=not source.grows, known_from=known_from)

    try:
        for batch in source.batches(options, sleeve, Landed(landing.marks, now, landing.tell)):
            if not waiting.has_room_for(batch):
                keep()
            waiting.add(batch)
            if waiting.is_full or (landing.clock() - since).total_seconds() >= BATCH_SECONDS:
                keep()
                since = landing.clock()
    finally:
        keep()


def _shape_rows(frame: pl.DataFrame, contract: Contract, floor: datetime | None) -> pl.DataFrame:
    """Return all columns of a contract in order: rows numbered, known from `floor` at the earliest, the rest null."""
    if "row" not in frame.columns:
        frame = frame.with_row_index("row")
    absent = {name: pl.lit(None, dtype=kind) for name, kind in contract.dtypes.items() if name not in frame.columns}
    shaped = frame.with_columns(pl.col("row").cast(pl.Int64), **absent).select(*contract.dtypes)
    if floor is None:
        return shaped
    landed = pl.lit(floor, contract.dtypes["known_at"])
    return shaped.with_columns(known_at=pl.max_horizontal("known_at", landed))


def _judge_rows(frame: pl.DataFrame, contract: Contract) -> Split:
    # `split` numbers the rows it checks in a column `row`; the landing's own one steps aside meanwhile.
    parted = split(frame, contract)
    return Split(
        parted.valid, parted.exclusions.with_columns(frame["row"].gather(parted.exclusions["row"]).alias("row"))
    )


def _known_at(view: View, as_of: str, market: Calendar) -> View:
    """Keep the rows, exclusions and actions known at `as_of`; an exclusion whose date is not known stays."""
    moment = instant_of(as_of)
    closes = sessions_of(view.valid["date"], market).select("date", "available_at")

    def is_over(frame: pl.DataFrame) -> pl.Series:
        known = frame.select("date").join(closes, on="date", how="left", maintain_order="left")
        return known.select(pl.col("available_at").fill_null(next_midnight()).fill_null(moment) <= moment).to_series()

    rows = view.valid.filter(is_over(view.valid) & (view.valid["known_at"].fill_null(moment) <= moment))
    if rows.is_empty():
        first = view.valid.select(pl.col("date").min()).item()
        raise SourceError(f"as_of={as_of} is before the first bar known, that of {first}.")
    exclusions = view.exclusions.filter(is_over(view.exclusions))
    return View(rows, exclusions, view.actions, counts=Split(rows, exclusions).excluded)
