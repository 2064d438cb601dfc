"""`extend_features`: bring a table of features up to newer bars, computing only what the new bars can change.

A feature is causal, so a changed bar changes nothing before its date, and reads a bounded number of bars, so that a new
row needs no older ones. Both are laws of every feature. How many bars a feature reads comes from step_order.py; one
that reads every earlier bar is run over all of them, for symbols that changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.errors import ContractError
from quant_core.features.catalogue import catalogue
from quant_core.features.compute import VolumeUnit, choose_features, context_of, features_table
from quant_core.features.engine import Job, run
from quant_core.features.step_order import FeaturePlan, plan_of, reaches_of
from quant_core.features.steps import Feature
from quant_core.features.tiles import SortedBars, as_read_only, sorted_bars
from quant_core.graph.catalog import Catalog
from quant_core.kernels.scatter import Column, Places, copy_rows, count_shared_rows, count_shared_values
from quant_core.kernels.threads import run_parts
from quant_core.market.calendar import Calendar
from quant_core.market.panel import Mask


@dataclass(frozen=True, eq=False)
class Answer:
    """A column of an earlier answer, as polars holds it.

    Attributes
    ----------
    values : float64 [Q]
    bits : bytes
        Which values are known, from the bit `offset` on; empty where all are.
    offset : int
    """

    values: Column
    bits: npt.NDArray[np.uint8]
    offset: int

    def known(self) -> Mask:
        """Return which values are known; empty where all are."""
        if not self.bits.size:
            return np.empty(0, dtype=np.bool_)
        return np.unpackbits(self.bits, bitorder="little")[self.offset :][: self.values.size].view(np.bool_)

    def at(self, rows: Places) -> Column:
        """Return the values of some rows, NaN where not known."""
        places = rows + self.offset
        is_known = self.bits[places >> 3] >> (places & 7).astype(np.uint8) & np.uint8(1) if self.bits.size else True
        return np.where(is_known, self.values[rows], np.nan)


@dataclass(frozen=True, eq=False)
class Change:
    """The rows that newer bars share with older ones.

    Attributes
    ----------
    old, new : SortedBars
    before : int64 [N]
        Place of each symbol among the old ones, -1 where it is new.
    kept : int64 [N]
        How many first rows of each symbol are the old ones, bit for bit.
    since : int64 [N]
        The first date at which the symbol may differ; T where nothing does.
    gone : int
        The first date of any symbol that is gone; T without one.
    """

    old: SortedBars
    new: SortedBars
    before: Places
    kept: Places
    since: Places
    gone: int


def extend_features(
    previous: pl.DataFrame,
    bars: pl.DataFrame,
    features: Sequence[str] | None = None,
    *,
    previous_bars: pl.DataFrame,
    calendar: Calendar | str,
    families: Sequence[str] | None = None,
    volume_unit: VolumeUnit = "units",
    threads: int | None = None,
    among: Catalog[Feature] | None = None,
) -> pl.DataFrame:
    """Return what `compute_features` returns for `bars`, bit for bit, from an earlier answer.

    Bars may have been appended, restated or deleted, symbols may have come or gone. Rows are computed from the first
    bar of the symbol that differs on; a feature that compares symbols, from the first bar of any symbol that differs.
    The newest row that stays is computed again and must come out the same.

    Parameters
    ----------
    previous : DataFrame
        The earlier answer; a feature it lacks is computed in full.
    bars : DataFrame
        All bars, old and new.
    previous_bars : DataFrame
        The bars `previous` was computed from: the differences are found from them.
    features, calendar, families, volume_unit, threads, among
        As for `compute_features`.

    Raises
    ------
    ContractError
        `previous` does not belong to `previous_bars`: other rows, or other values where both can be compared.
    UnknownNameError, PanelError
        As `compute_features` does.
    """
    known = catalogue() if among is None else among
    names = choose_features(features, families, among)
    context = context_of(calendar, volume_unit)
    reads = plan_of(names, known).reads
    old, new = sorted_bars(previous_bars, reads), sorted_bars(bars, reads)
    change = _compare_bars(old, new)
    answers = _read_answers(previous, old)
    columns: dict[str, Column] = {}
    is_known: dict[str, Mask] = {}
    for plan in _plans_by_reach(names, known, answers):
        # What the earlier answer lacks has no row that stays.
        share = change if plan.names[0] in answers else replace(change, kept=change.kept * 0, since=change.since * 0)
        job = _extend(plan, share, answers, context, threads)
        columns |= job.columns
        is_known |= job.known
    return features_table(new.labels, {name: columns[name] for name in dict.fromkeys(names)}, is_known, threads=threads)


def _plans_by_reach(names: Iterable[str], among: Catalog[Feature], answers: Mapping[str, Answer]) -> list[FeaturePlan]:
    """Make one plan per stretch of bars that features read: a window of one symbol, one of all symbols, all bars."""
    reaches = reaches_of(names, among)
    kinds: dict[tuple[bool, bool, bool], list[str]] = {}
    for name in names:
        reach = reaches[name]
        kinds.setdefault((reach.is_cross_sectional, reach.memory is None, name in answers), []).append(name)
    return [plan_of(part, among) for part in kinds.values()]


def _compare_bars(old: SortedBars, new: SortedBars) -> Change:
    """Compare two tables of bars, rows and values."""
    shared = min(len(old.dates), len(new.dates))
    differ = np.flatnonzero(old.dates[:shared] != new.dates[:shared])
    # A date that came in between moves every row after it: windows count dates.
    limit = int(differ[0]) if differ.size else shared
    if old.labels.schema != new.labels.schema:
        limit = 0
    place = {name: j for j, name in enumerate(_symbols(old))}
    before = np.array([place.pop(name, -1) for name in _symbols(new)], dtype=np.int64)
    gone = min((int(old.first[j]) for j in place.values()), default=len(new.dates))
    kept = np.empty(new.n_symbols, dtype=np.int64)
    count_shared_rows(old.row, old.starts, new.row, new.starts, before, limit, kept)
    absent = [as_read_only(np.full(table.row.size, np.nan)) for table in (old, new)]
    for name in old.columns.keys() | new.columns.keys():
        a, b = old.columns.get(name, absent[0]), new.columns.get(name, absent[1])
        count_shared_values(a, old.starts, b, new.starts, before, kept)
    since = np.full(new.n_symbols, len(new.dates), dtype=np.int64)
    for table, own in ((new, np.arange(new.n_symbols)), (old, before)):
        # The first row of either table beyond those they share.
        ends = np.flatnonzero(own >= 0)
        ends = ends[kept[ends] < np.diff(table.starts)[own[ends]]]
        since[ends] = np.minimum(since[ends], table.row[table.starts[own[ends]] + kept[ends]])
    if limit < len(old.dates):
        since = np.minimum(since, limit)
    return Change(old, new, before, kept, since, gone)


def _extend(
    plan: FeaturePlan, change: Change, answers: Mapping[str, Answer], context: Mapping[str, Any], threads: int | None
) -> Job:
    """Return a plan's columns, filled: rows that stay from the answers, the others by running it.

    Raises
    ------
    ContractError
        A row that stays comes out otherwise.
    """
    new, old = change.new, change.old
    kept, start = _rows_to_compute(change, is_alone=not plan.is_cross_sectional)
    columns = {name: np.empty(new.row.size) for name in plan.names}
    job = Job(new, plan, context, start, columns, {name: np.empty(new.row.size, np.bool_) for name in plan.names})
    stay = {name: answers[name] for name in plan.names if name in answers}

    def copy(name: str) -> None:
        said = stay[name]
        rows = (old.starts, new.starts, change.before, kept)
        copy_rows(said.values, said.known(), *rows, columns[name], job.known[name])

    run_parts(copy, [*stay], threads=threads)
    run(job, threads=threads)
    # The newest row that stays was run again where anything was.
    again = np.flatnonzero(kept > 0)
    again = again[new.row[new.starts[again] + kept[again] - 1] >= start[again]]
    here, there = new.starts[again] + kept[again] - 1, old.starts[change.before[again]] + kept[again] - 1
    for name, answer in stay.items():
        found, said = columns[name][here], answer.at(there)
        # Stored tables know no negative zero.
        wrong = np.flatnonzero((found != said) & ~(np.isnan(found) & np.isnan(said)))
        if wrong.size:
            day, symbol = new.labels.row(int(here[wrong[0]]))
            raise ContractError(
                f"in the earlier answer {name} of {symbol} at {day} is {said[wrong[0]]}; computed again it is "
                f"{found[wrong[0]]}. It came from other bars, another calendar or other code: compute it in full."
            )
    return job


def _rows_to_compute(change: Change, *, is_alone: bool) -> tuple[Places, Places]:
    """Return how many first rows of each symbol stay, and from which date on to run it, the newest such row with it."""
    new, kept = change.new, change.kept
    end = len(new.dates)
    if new.n_symbols == 0:
        return kept, kept
    if is_alone:
        has_changed = change.since < end
        if not has_changed.any():
            has_changed[np.argmax(new.last)] = True
        newest = new.row[new.starts[:-1] + np.maximum(kept - 1, 0)]
        return kept, np.where(has_changed, np.where(kept > 0, newest, change.since), end)
    since = min(int(change.since.min()), change.gone)
    kept = np.add.reduceat(new.row < since, new.starts[:-1], dtype=np.int64)
    newest = new.row[new.row < since].max(initial=0)
    return kept, np.full(new.n_symbols, newest, dtype=np.int64)


def _read_answers(previous: pl.DataFrame, old: SortedBars) -> dict[str, Answer]:
    """Return the columns of an earlier answer in the order of its bars.

    Raises
    ------
    ContractError
        Its rows are others, or a column is not a number.
    """
    if not {"date", "symbol"} <= set(previous.columns):
        raise ContractError(f"the earlier answer lacks date or symbol; got {', '.join(previous.columns) or 'none'}.")
    if not previous.select("date", "symbol").equals(old.labels):
        previous = previous.sort("symbol", "date")
    if not previous.select("date", "symbol").equals(old.labels):
        raise ContractError(
            f"the earlier answer has {previous.height} rows, its bars {old.row.size}, and they are not the same: "
            "give the bars it was computed from."
        )
    values = previous.drop("date", "symbol")
    if any(kind != pl.Float64 for kind in values.dtypes):
        raise ContractError("the earlier answer has a column that is not Float64.")
    return {column.name: _answer(column) for column in values}


def _answer(column: pl.Series) -> Answer:
    array = column.rechunk().to_arrow()
    bits, values = array.buffers()
    known = np.frombuffer(b"" if bits is None else bits, dtype=np.uint8)
    found = np.frombuffer(values, dtype=np.float64)[array.offset : array.offset + len(array)]
    return Answer(found, known, array.offset)


def _symbols(table: SortedBars) -> list[str]:
    return table.labels["symbol"].gather(table.starts[:-1]).cast(pl.String).to_list()
