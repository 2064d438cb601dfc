"""Remembers the last landed days as text, so that requesting them again lands only changes.

Where that text is kept is the landing's business: it is a mark of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import inf

import polars as pl

VALUES = ("open", "high", "low", "close", "volume")
# Sources that adjust prices on the fly send the same price with other last digits every day.
NOISE = 1e-6
_CLOSE = VALUES.index("close")
Values = Sequence[float | None]


def remembered_rows(rows: pl.DataFrame, count: int) -> str:
    """Return the last `count` rows of one symbol as text.

    Parameters
    ----------
    rows : DataFrame
        date, open, high, low, close, volume; of rows with one date the last counts.
    count : int
        Rows to remember.
    """
    last = rows.unique("date", keep="last", maintain_order=True).sort("date").tail(count)
    told = last.select("date", *VALUES).rows()
    return ";".join(f"{day} " + " ".join("-" if v is None else f"{v:.9g}" for v in values) for day, *values in told)


def changed_rows(rows: pl.DataFrame, remembered: str) -> pl.DataFrame:
    """Return `rows` without those equal to a remembered row up to rounding."""
    known = _recall(remembered)
    again = rows["date"].is_in(list(known)).arg_true()
    told = zip(again, rows[again].select("date", *VALUES).rows(), strict=True)
    same = [row for row, (day, *values) in told if all(map(_is_same, values, known[day]))]
    return rows.filter(~pl.int_range(pl.len()).is_in(same)) if same else rows


def restatement(rows: pl.DataFrame, remembered: str) -> float:
    """Return the largest relative change of a remembered close; infinite where one is lost, 0 where none came again."""
    now = dict(rows.select("date", "close").rows())
    largest = 0.0
    for day, values in _recall(remembered).items():
        was = values[_CLOSE]
        if day in now and not _is_same(was, now[day]):
            largest = max(largest, abs(now[day] / was - 1.0) if was and now[day] is not None else inf)
    return largest


def _recall(remembered: str) -> dict[date, list[float | None]]:
    lines = (line.split(" ") for line in remembered.split(";") if line)
    return {date.fromisoformat(day): [None if v == "-" else float(v) for v in values] for day, *values in lines}


def _is_same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= NOISE * max(abs(one), abs(other))
