"""Explains why a symbol was in or out: one decision from the raw rows to the weight, each step with its hash.

It reads the tables of one run and recomputes nothing. Every step names the version it was read from and the ledger
record that committed it, so that each line can be checked against the store.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from quant_core.errors import MissingVersionError, UnknownNameError, UsageError
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.evidence.store.refs import DataRef, Part
from quant_core.lifecycle.runs import RunTables, find_run, tables_of

_SHOWN = 12
_AROUND = dt.timedelta(days=30)


class WhyStep(BaseModel):
    """The rows of one table about the symbol.

    `rows` are the first rows as JSON values, without columns that do not matter; `note` states how many more there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    stage: str
    part: Part
    sha256: str
    seq: int | None = Field(description="Ledger record that committed the version; null if an earlier run did.")
    rows: tuple[dict[str, Any], ...]
    note: str = ""


class Why(BaseModel):
    """One decision and the rows it is based on, from the raw row up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    sleeve: str
    run_id: str
    date: str = Field(description="The date of the question.")
    rebalance: str = Field(description="The rebalance that decided: the last one up to that date.")
    verdict: str
    steps: tuple[WhyStep, ...]


def explain_decision(
    evidence: EvidenceReader, symbol: str, *, sleeve: str, date: dt.date | None = None, run: str | None = None
) -> Why:
    """Explain one decision of a run.

    Parameters
    ----------
    evidence : EvidenceReader
    symbol : str
        VENUE:TICKER, or the ticker alone where only one symbol has it.
    sleeve : str
    date : date, optional
        Default: the last rebalance.
    run : str, optional
        A name that `find_run` accepts; default: the newest finished run of the sleeve.

    Raises
    ------
    UnknownNameError
        No run has that name, or the run does not have that symbol; lists the near matches.
    UsageError
        The date is before the first rebalance.
    MissingVersionError
        The run has no decisions, or their bytes were collected.
    """
    tables = tables_of(evidence, find_run(evidence, run or sleeve))
    if tables.manifest.sleeve != sleeve:
        raise UsageError(f"run {tables.run.run_id} is of sleeve {tables.manifest.sleeve}, not of {sleeve}.")
    raw = tables.frame(evidence, "ingest.raw")
    decisions = tables.frame(evidence, "synthesis.decisions")
    symbol = _symbol(symbol, {*raw["symbol"].drop_nulls().unique(), *decisions["symbol"].unique()})
    rebalance = _rebalance(decisions, date)
    asked = date or rebalance
    book = _Book(evidence, tables, symbol, rebalance)
    steps = tuple(book.steps(raw, decisions, asked))
    return Why(
        symbol=symbol,
        sleeve=sleeve,
        run_id=tables.run.run_id,
        date=str(asked),
        rebalance=str(rebalance),
        verdict=_verdict(symbol, rebalance, decisions),
        steps=steps,
    )


def describe_decision(found: Why) -> str:
    """Return a decision and its steps as lines of text."""
    lines = [found.verdict, f"run {found.run_id} of {found.sleeve}, date {found.date}"]
    for step in found.steps:
        seq = "" if step.seq is None else f", record {step.seq}"
        part = "" if step.part == "valid" else f"#{step.part}"
        lines += ["", f"{step.title}  [{step.stage}{part} {step.sha256[:12]}{seq}]"]
        lines += [f"  {_describe_row(row)}" for row in step.rows] or ["  nothing"]
        if step.note:
            lines.append(f"  {step.note}")
    return "\n".join(lines)


class _Book:
    """Reads the tables of a run about one symbol at one rebalance."""

    def __init__(self, evidence: EvidenceReader, tables: RunTables, symbol: str, rebalance: dt.date) -> None:
        self._evidence, self._tables = evidence, tables
        self._symbol, self._rebalance = symbol, rebalance
        self._seqs = {record.data["stage"]: record.seq for record in tables.run.commits}

    def steps(self, raw: pl.DataFrame, decisions: pl.DataFrame, asked: dt.date) -> Iterator[WhyStep]:
        """Yield the steps from the raw row to the order."""
        mine, at = pl.col("symbol") == self._symbol, pl.col("date") == self._rebalance
        on_day = mine & (at | (pl.col("date") == asked))
        yield from self._raw(raw.filter(on_day))
        yield from self._step(
            "excluded within 30 days", "ingest.exclusions", mine & self._near(asked), drop=("symbol",)
        )
        yield from self._step("bar", "ingest.bars", on_day)
        yield from self._step("lives", "ingest.lives", mine & (pl.col("date") <= self._rebalance))
        yield from self._step("quarantine", "ingest.health", mine & (pl.col("date") <= self._rebalance))
        is_in = mine & (pl.col("start") <= self._rebalance)
        is_in &= pl.col("end").is_null() | (pl.col("end") >= self._rebalance)
        yield from self._step("universe", "ingest.universe", is_in)
        for family in sorted(stage for stage in self._tables.parts if stage.startswith("features.")):
            yield from self._step(f"features, {family.partition('.')[2]}", family, mine & at, is_optional=True)
        yield from self._step("factors (cross-sectional probabilities)", "alpha.factors", mine & at)
        scorer = self._tables.manifest.params.get("synthesis.decisions", {}).get("scorer")
        is_champion = pl.lit(value=True) if scorer is None else pl.col("scorer") == scorer
        yield from self._step("score and its parts", "inference.conviction", mine & at & is_champion)
        yield from self._step("decision", "synthesis.decisions", mine & at)
        yield from self._peers(decisions.filter(at))
        yield from self._step("weights", "allocation.weights", mine & at)
        yield from self._step("last portfolio", "report.portfolio", mine)
        yield from self._step("order", "report.orders", mine)

    def _raw(self, rows: pl.DataFrame) -> Iterator[WhyStep]:
        """Yield one step per landed batch that holds a row of the day."""
        ref = self._tables.parts["ingest.raw"]["valid"]
        landed = {record.data["valid"]["sha256"]: record for record in self._landed_batches()}
        for version in self._evidence.store.versions(ref):
            record = landed.get(version.sha256)
            numbers = self._evidence.store.read(version, ["row"])["row"]
            own = rows.filter(pl.col("row").is_in(numbers.implode()))
            if own.height:
                source = "" if record is None else f"landed from {record.data['source']} at {record.ts}"
                yield self._build_step("raw row", version, own, seq=None if record is None else record.seq, note=source)

    def _landed_batches(self) -> Sequence[Any]:
        return self._evidence.landed_batches("ingest.raw", self._tables.manifest.sleeve)

    def _near(self, asked: dt.date) -> pl.Expr:
        return pl.col("date").is_between(min(asked, self._rebalance) - _AROUND, max(asked, self._rebalance))

    def _peers(self, decisions: pl.DataFrame) -> Iterator[WhyStep]:
        """Yield the symbols of its cluster and direction, by rank."""
        ref = self._tables.ref("synthesis.decisions")
        own = decisions.filter(pl.col("symbol") == self._symbol).select("cluster", "direction")
        if ref is None or own.is_empty():
            return
        peers = decisions.join(own.unique(), on=["cluster", "direction"], how="semi").sort(
            "direction", "rank", "conviction", nulls_last=True, descending=[False, False, True]
        )
        shown = peers.select("symbol", "direction", "cluster", "rank", "conviction", "stage", "reason")
        yield self._build_step("its cluster, by rank", ref, shown, seq=self._seqs.get(ref.stage))

    def _step(
        self, title: str, stage: str, rows: pl.Expr, *, drop: Sequence[str] = (), is_optional: bool = False
    ) -> Iterator[WhyStep]:
        ref = self._tables.ref(stage)
        if ref is None:
            return
        try:
            found = self._evidence.store.read(ref).filter(rows)
        except MissingVersionError as error:
            yield self._build_step(title, ref, pl.DataFrame(), seq=self._seqs.get(stage), note=str(error))
            return
        if found.height or not is_optional:
            yield self._build_step(title, ref, found.drop(drop, strict=False), seq=self._seqs.get(stage))

    def _build_step(self, title: str, ref: DataRef, rows: pl.DataFrame, *, seq: int | None, note: str = "") -> WhyStep:
        left = rows.height - _SHOWN
        more = f"and {left} more rows" if left > 0 else ""
        return WhyStep(
            title=title,
            stage=ref.stage,
            part=ref.part,
            sha256=ref.sha256,
            seq=seq,
            rows=tuple({name: _plain(value) for name, value in row.items()} for row in rows.head(_SHOWN).to_dicts()),
            note="; ".join(text for text in (note, more) if text),
        )


def _symbol(name: str, known: set[str]) -> str:
    if name in known:
        return name
    found = [symbol for symbol in known if symbol.partition(":")[2] == name]
    if len(found) == 1:
        return found[0]
    raise UnknownNameError("symbol", name, known)


def _rebalance(decisions: pl.DataFrame, date: dt.date | None) -> dt.date:
    dates = decisions["date"] if date is None else decisions.filter(pl.col("date") <= date)["date"]
    last = dates.max()
    if isinstance(last, dt.date):
        return last
    first = decisions.select(pl.col("date").min().dt.to_string("iso")).item()
    raise UsageError(f"no rebalance up to {date}; the first rebalance is {first or 'not there'}.")


def _verdict(symbol: str, rebalance: dt.date, decisions: pl.DataFrame) -> str:
    own = decisions.filter((pl.col("symbol") == symbol) & (pl.col("date") == rebalance))
    if own.is_empty():
        return f"{symbol} was not a candidate on {rebalance}."
    verdicts = []
    for row in own.iter_rows(named=True):
        vetoes = f" ({row['vetoes']})" if row["reason"] == "vetoed" and row["vetoes"] else ""
        rank = "" if row["rank"] is None else f", rank {row['rank']} in cluster {row['cluster']}"
        stage = "" if row["stage"] is None else f" at stage {row['stage']}"
        verdicts.append(
            f"{symbol} {row['direction']} was {'selected' if row['is_selected'] else 'not selected'} on {rebalance}"
            f"{stage}: {row['reason']}{vetoes}{rank}."
        )
    return " ".join(verdicts)


def _describe_row(row: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_short(value)}" for name, value in row.items() if value is not None)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
