"""Names of rules on single rows, by the defect they find, and the names homes of version 0.1.0 know them by.

Up to 0.1.0 a rule read off a contract bore the name of the demand (`close:greater_than`). Whatever reads rule names out
of a ledger, a table or a command goes through `current_name` or `with_current_names`; nothing stored is rewritten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

# Check of a column to the defect, where the bound is zero and where it is not.
_DEFECTS = {
    "greater_than": ("not_positive", "too_low"),
    "greater_than_or_equal_to": ("negative", "too_low"),
    "less_than": ("not_negative", "too_high"),
    "less_than_or_equal_to": ("positive", "too_high"),
    "in_range": ("out_of_range", "out_of_range"),
    "isin": ("not_allowed", "not_allowed"),
    "str_matches": ("malformed", "malformed"),
}
_PLAIN = {
    "known": "not_known",
    "finite": "not_finite",
    "not_a_number": "not_a_number",
    "not_a_date": "not_a_date",
    "not_a_time": "not_a_time",
}
# The only column of version 0.1.0 whose bounds were not zero, among tables whose rows come from outside.
_BOUNDED_ELSEWHERE = ("date",)
_OTHERS = {"notional_matches": "notional_mismatch"}
_OLD = re.compile(rf"\b([A-Za-z_]\w*):({'|'.join(sorted({*_DEFECTS, *_PLAIN}, key=len, reverse=True))})\b")


def defect_name(column: str, check: str, bound: Any = 0) -> str:
    """Return the name of the rule that a column keeps a check: `close_not_positive`.

    Parameters
    ----------
    column : str
    check : str
        A check of pandera, or "known", "finite", "not_a_number", "not_a_date", "not_a_time".
    bound : object
        Of the check, where it has one.
    """
    if check in _PLAIN:
        return f"{column}_{_PLAIN[check]}"
    return f"{column}_{_DEFECTS[check][0 if bound == 0 else 1]}"


def current_name(rule: str) -> str:
    """Return today's name of a rule; a name of today is returned as it is."""
    return _OTHERS.get(rule, current_text(rule))


def current_text(text: str) -> str:
    """Return a text in which rules have the names of today."""
    return _OLD.sub(lambda found: _rename_rules(*found.groups()), text)


def current_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Return rows per rule under today's names, sorted by name."""
    found: Counter[str] = Counter()
    for rule, count in counts.items():
        found[current_name(rule)] += count
    return dict(sorted(found.items()))


def with_current_names(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table of exclusions or documents in which rules have the names of today.

    The columns `rule`, `detail` and `content` are looked at, where the table has them; every other one stays.
    """
    if table.schema.get("rule") == pl.String and not table["rule"].str.contains(":", literal=True).any():
        return table
    for name in ("rule", "detail", "content"):
        if table.schema.get(name) == pl.String:
            texts = table[name].unique().drop_nulls()
            changes = {old: new for old in texts if (new := current_name(old)) != old}
            table = table.with_columns(pl.col(name).replace(changes)) if changes else table
    return table


def is_equal_under_current_names(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether two tables hold the same rows once rules have the names of today; new names sort in another order."""
    first, second = (_sort_rows(with_current_names(table)) for table in (one, other))
    return first.equals(second)


def _sort_rows(table: pl.DataFrame) -> pl.DataFrame:
    if table.schema.get("content") == pl.String:
        table = table.with_columns(pl.col("content").str.split("\n").list.sort().list.join("\n"))
    return table.sort(table.columns)


def _rename_rules(column: str, check: str) -> str:
    return defect_name(column, check, 1 if column in _BOUNDED_ELSEWHERE else 0)
