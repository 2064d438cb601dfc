"""How much of a universe died: the meter of survivorship, read off the table of intervals alone.

Who was a member when is decided in universe.py; when a symbol counts as dead, in lives.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import cast

import polars as pl

SURVIVAL_YEARS = 3.0
DAYS_PER_YEAR = 365.25


def universe_metrics(universe: pl.DataFrame) -> Mapping[str, float]:
    """Return how many symbols there are, how many are members on the last date, and the share of those that died."""
    counts = {
        "universe.symbols": universe["symbol"].n_unique(),
        "universe.members_last_date": universe.filter(pl.col("end").is_null() & pl.col("is_eligible")).height,
    }
    share = survivorship_share(universe)
    return counts if share is None else {**counts, "universe.survivorship_share": share}


def survivorship_share(universe: pl.DataFrame) -> float | None:
    """Return which share of the eligible days belongs to symbols that are dead at the end of the data.

    A symbol that paused for 20 sessions and came back does not count: a list of survivors has such pauses too.

    Parameters
    ----------
    universe : DataFrame
        Under the contract Universe.

    Returns
    -------
    float or None
        A fraction of calendar days; None where nobody was ever eligible.
    """
    died = universe.filter((pl.col("reason") == "dead") & pl.col("end").is_null())["symbol"]
    eligible = universe.filter("is_eligible")
    days = eligible.select("symbol", days=(pl.col("seen_until") - pl.col("start")).dt.total_days() + 1)
    total = int(days["days"].sum())
    return int(days.filter(pl.col("symbol").is_in(died.implode()))["days"].sum()) / total if total else None


def survivorship(universe: pl.DataFrame) -> str | None:
    """Demand that some member died, if the universe spans more than three years."""
    share = survivorship_share(universe)
    if share is None or share > 0.0:
        return None
    first, last = universe["start"].min(), universe["seen_until"].max()
    years = (cast("date", last) - cast("date", first)).days / DAYS_PER_YEAR
    if years <= SURVIVAL_YEARS:
        return None
    members = universe.filter("is_eligible")["symbol"].n_unique()
    return f"none of {members} members has died in {years:.1f} years: the universe was chosen by its survivors."
