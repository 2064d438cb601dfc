"""Rules on whole tables: drift and gaps of the newest rows against earlier ones, and histories that start together.

They judge data, not markets, warn and block nothing. What a single row or series must keep to is said elsewhere; the
catalogue of all rules is ../rules.py. Which stage applies which rule is said by that stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import wraps
from typing import NamedTuple, TypeVar, cast
from weakref import ref

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.market.text_codes import codes_of
from quant_core.statistics.kolmogorov import kolmogorov_distance, kolmogorov_p

A = TypeVar("A")
Values = npt.NDArray[np.float64]

NEWEST, REFERENCE = 60, 250
# Deciles, and above 0.25 "the population has shifted": the bounds in use since Lewis (1994), An Introduction to Credit
# Scoring; see Siddiqi (2017), Intelligent Credit Scoring.
BINS = 10
HIGHEST_PSI = 0.25
# With 10^5 values any difference is significant, so the distance must be large as well: our own choice.
LOWEST_P, HIGHEST_DISTANCE = 1e-3, 0.1
# Bins of fewer values than this say more about chance than about the data: at 500, PSI is 0.02 when nothing changed.
LEAST_VALUES = 500
# The bounds below are our own choice, measured to be silent on real files without the fault.
MISSING_RISE = 0.05
SMALLEST_SIZE, LARGEST_SIZE = 0.8, 1.5
STALE_FROM, DEAD_FROM, STALE_SHARE = 3, 20, 0.05
BLOCK_SHARE, LEAST_BLOCK = 0.2, 5
_NULLABLE = ("open", "high", "low", "volume")


class Shift(NamedTuple):
    """The distance between two samples: population stability index, Kolmogorov-Smirnov distance and its p value."""

    psi: float
    distance: float
    p: float


def _share_last_answer(answer: Callable[[pl.DataFrame], A]) -> Callable[[pl.DataFrame], A]:
    """Cache the answer for the last table, so that a rule and the metrics share it while the table is alive.

    The table itself is not kept, only its answer.
    """
    last: tuple[ref[pl.DataFrame], A] | None = None

    @wraps(answer)
    def share_answer(table: pl.DataFrame) -> A:
        nonlocal last
        known = last
        if known is None or known[0]() is not table:
            last = known = (ref(table), answer(table))
        return known[1]

    return share_answer


def drift(returns: pl.DataFrame) -> str | None:
    """Demand that the returns of the newest 60 dates are distributed like those of the 250 dates before."""
    return _describe_shift("returns", _returns_shift(returns))


def drift_numbers(returns: pl.DataFrame) -> Mapping[str, float]:
    """Return PSI, KS distance and p value of the newest returns; nothing where there are too few."""
    return _numbers("drift.returns", _returns_shift(returns))


def volume_drift(bars: pl.DataFrame) -> str | None:
    """Demand that the log volume changes of the newest 60 dates are distributed like those of the 250 before."""
    return _describe_shift("log volume changes", _volume_shift(bars))


def volume_drift_numbers(bars: pl.DataFrame) -> Mapping[str, float]:
    """Return PSI, KS distance and p value of the newest log volume changes; nothing where there are too few."""
    return _numbers("drift.volume", _volume_shift(bars))


def missingness_drift(bars: pl.DataFrame) -> str | None:
    """Demand that the newest 60 dates miss at most 5 points more of their bars, or of a value, than the 250 before."""
    before, newest = _missing_shares(bars)
    risen = {name: (before[name], share) for name, share in newest.items() if share - before[name] > MISSING_RISE}
    if not risen:
        return None
    said = ", ".join(f"{name} {was:.1%} -> {now:.1%}" for name, (was, now) in risen.items())
    return f"more is missing in the newest {NEWEST} dates than in the {REFERENCE} before: {said}."


def size_drift(bars: pl.DataFrame) -> str | None:
    """Demand that a date of the newest 60 has between 0.8 and 1.5 times the symbols of one of the 250 before."""
    sizes = _sizes(bars)
    if sizes is None or SMALLEST_SIZE * sizes[0] <= sizes[1] <= LARGEST_SIZE * sizes[0]:
        return None
    before, newest = sizes
    return (
        f"a date of the newest {NEWEST} has {newest:g} symbols, one of the {REFERENCE} before had {before:g} (medians)."
    )


def staleness(bars: pl.DataFrame) -> str | None:
    """Demand that at most 5 % of the symbols alive lag the last date by more than 3 sessions."""
    stale, alive = _count_lagging(bars)
    if stale <= STALE_SHARE * alive:
        return None
    return f"{stale} of {alive} symbols have no bar of the last {STALE_FROM + 1} dates, though of the last {DEAD_FROM}."


def history_alignment(bars: pl.DataFrame) -> str | None:
    """Demand that no fifth of the symbols begins on one date other than the first: listings are never that many."""
    starts = _starts(bars)
    symbols = int(starts["symbols"].sum())
    later = starts[1:].sort("symbols", "date", descending=[True, False])
    if later.is_empty() or later["symbols"][0] < max(LEAST_BLOCK, BLOCK_SHARE * symbols):
        return None
    day, block = later.row(0)
    return f"{block} of {symbols} symbols begin on {day}, which is not the first date: histories were cut there."


def bar_numbers(bars: pl.DataFrame) -> Mapping[str, float]:
    """Return the numbers that the rules on bars check: missing shares, sizes, stale symbols, full histories."""
    (before, newest), sizes, (stale, alive), starts = (
        _missing_shares(bars),
        _sizes(bars),
        _count_lagging(bars),
        _starts(bars),
    )
    numbers = {f"missing.{name}": share for name, share in newest.items()}
    numbers |= {f"missing.{name}_before": share for name, share in before.items()}
    if sizes is not None:
        numbers |= {"size.newest": sizes[1], "size.before": sizes[0]}
    if alive:
        full = starts["symbols"][0] / int(starts["symbols"].sum())
        numbers |= {"stale.share": stale / alive, "history.full_share": full}
    return numbers


def population_stability(reference: Values, newest: Values) -> float:
    """Return the population stability index over the quantile bins of the reference.

    ``sum (q - p) ln(q / p)`` with p and q the shares of a bin in the reference and in the newest values: 0 when they
    agree. A bin ends with the smallest value at or below which its tenths of the reference lie, so nothing hangs on
    rounding; equal ones (many equal values) make fewer bins; an empty bin counts half a value.
    """
    ranks = (np.arange(1, BINS) * reference.size + BINS - 1) // BINS
    edges = np.unique(np.sort(reference)[ranks - 1])
    p, q = (_shares(np.searchsorted(edges, values, side="left"), edges.size + 1) for values in (reference, newest))
    return float(np.sum((q - p) * np.log(q / p)))


def measure_shift(reference: Values, newest: Values) -> Shift | None:
    """Measure how far two samples are apart; None if one of them is too small."""
    if min(reference.size, newest.size) < LEAST_VALUES:
        return None
    distance = kolmogorov_distance(newest, reference)
    p = kolmogorov_p(distance, newest.size, reference.size)
    return Shift(population_stability(reference, newest), distance, p)


def _shares(bins: npt.NDArray[np.intp], count: int) -> Values:
    return np.maximum(np.bincount(bins, minlength=count), 0.5) / bins.size


def _describe_shift(what: str, shift: Shift | None) -> str | None:
    if shift is None:
        return None
    is_far = shift.distance > HIGHEST_DISTANCE and shift.p < LOWEST_P
    if shift.psi <= HIGHEST_PSI and not is_far:
        return None
    return (
        f"{what} of the newest {NEWEST} dates differ from those of the {REFERENCE} before: "
        f"PSI {shift.psi:.2f}, KS distance {shift.distance:.2f} (p {shift.p:.1g})."
    )


def _numbers(name: str, shift: Shift | None) -> Mapping[str, float]:
    if shift is None:
        return {}
    return {f"{name}_psi": shift.psi, f"{name}_ks": shift.distance, f"{name}_ks_p": shift.p}


@_share_last_answer
def _returns_shift(returns: pl.DataFrame) -> Shift | None:
    recent, days = _newest_rows(returns.select("date", value="simple_return"), NEWEST + REFERENCE)
    return None if len(days) < NEWEST + REFERENCE else _shift(recent.drop_nulls(), days)


@_share_last_answer
def _volume_shift(bars: pl.DataFrame) -> Shift | None:
    recent, days = _newest_rows(bars.select("date", "symbol", "volume"), NEWEST + REFERENCE + 1)
    if len(days) < NEWEST + REFERENCE + 1 or recent["volume"].null_count() == recent.height:
        return None
    volume, before = pl.col("volume"), pl.col("volume").shift(1)
    is_known = (pl.col("symbol") == pl.col("symbol").shift(1)) & (volume > 0.0) & (before > 0.0)
    change = pl.when(is_known).then(volume.log() - before.log())
    return _shift(recent.sort("symbol", "date").select("date", value=change).drop_nulls(), days[1:])


def _shift(values: pl.DataFrame, days: pl.Series) -> Shift | None:
    """Compare values of the newest dates with those before, each less the median of its date.

    The market's own move is common to all symbols: sixty days are sixty draws of it, however many symbols there are,
    and would look like drift by chance alone.
    """
    medians = values.group_by("date").agg(middle=pl.col("value").median())
    own = values.join(medians, on="date", how="left").select("date", value=pl.col("value") - pl.col("middle"))
    is_newest = own["date"] >= days[REFERENCE]
    return measure_shift(own["value"].filter(~is_newest).to_numpy(), own["value"].filter(is_newest).to_numpy())


def _newest_rows(table: pl.DataFrame, count: int) -> tuple[pl.DataFrame, pl.Series]:
    """Return the rows of the last `count` dates of a table, and these dates, ascending; all if there are fewer."""
    last = cast("date | None", table["date"].max())
    if last is None:
        return table, table["date"]
    # Most tables are much longer than what is looked at: twice the days hold the dates of any calendar.
    near = table.filter(pl.col("date") > last - timedelta(days=2 * count + 30))
    days = near["date"].unique().sort()
    if len(days) < count:
        near, days = table, table["date"].unique().sort()
    days = days.tail(count)
    return near.filter(pl.col("date") >= days[0]), days


@_share_last_answer
def _missing_shares(bars: pl.DataFrame) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the share of missing values per column, and of missing bars, before and in the newest dates.

    A bar is missing on a date between its symbol's first and last bar in the window. Empty for too few dates.
    """
    recent, days = _newest_rows(bars.select("date", "symbol", *_NULLABLE), NEWEST + REFERENCE)
    if len(days) < NEWEST + REFERENCE:
        return {}, {}
    number = np.searchsorted(days.to_physical(), recent["date"].to_physical())
    parts = [recent.with_columns(number=number).filter(is_in) for is_in in (number < REFERENCE, number >= REFERENCE)]
    return _missing_in(parts[0]), _missing_in(parts[1])


def _missing_in(rows: pl.DataFrame) -> Mapping[str, float]:
    span = pl.col("number").max() - pl.col("number").min() + 1
    spans = int(rows.group_by("symbol").agg(span)["number"].sum())
    return {**{name: rows[name].null_count() / rows.height for name in _NULLABLE}, "bars": 1.0 - rows.height / spans}


@_share_last_answer
def _sizes(bars: pl.DataFrame) -> tuple[float, float] | None:
    """Return the median number of symbols of a date before, and of the newest dates; None for too few dates."""
    recent, days = _newest_rows(bars.select("date"), NEWEST + REFERENCE)
    if len(days) < NEWEST + REFERENCE:
        return None
    sizes = recent.group_by("date").len().sort("date")["len"].to_numpy()
    return float(np.median(sizes[:REFERENCE])), float(np.median(sizes[REFERENCE:]))


@_share_last_answer
def _count_lagging(bars: pl.DataFrame) -> tuple[int, int]:
    """Return how many symbols lag the last date by more than STALE_FROM dates, of how many that are not dead."""
    recent, days = _newest_rows(bars.select("date", "symbol"), DEAD_FROM)
    if len(days) <= STALE_FROM:
        return 0, recent["symbol"].n_unique()
    last = recent.group_by("symbol").agg(pl.col("date").max())["date"]
    return int((last < days[-1 - STALE_FROM]).sum()), len(last)


@_share_last_answer
def _starts(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the first dates of symbols with the number of symbols that begin there, in order."""
    symbol = pl.Series("symbol", codes_of(bars["symbol"], is_sorted=False).code)
    first = bars.select("date", symbol).group_by("symbol").agg(pl.col("date").min())
    return first.group_by("date").agg(symbols=pl.len()).sort("date")
