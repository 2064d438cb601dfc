"""Finds which rows break which rule: each rule checks the whole table first, single rows only if that fails.

What the rules are is a contract's (split.py); what becomes of a broken row is decided there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.kernels.keys import mark_superseded
from quant_core.market.text_codes import LONG, Codes, codes_of
from quant_core.meter import count_validation

Rows = npt.NDArray[np.int64]
VERDICT_SCHEMA = {"row": pl.Int64(), "rule": pl.String(), "detail": pl.String()}
DUPLICATE, _AGAIN = "duplicate_key", "a later row has the same key"
_BITS_PER_ROW = 64
_FEW = 4
_NONE = np.empty(0, dtype=np.int64)


@count_validation
def verdicts(frame: pl.DataFrame, rules: Mapping[str, pl.Expr], key: Sequence[str] = ()) -> pl.DataFrame:
    """List the rows that break a rule, and of rows with one key all but the last that breaks none.

    Parameters
    ----------
    frame : DataFrame
    rules : mapping of name to Expr
        True where a row keeps the rule; null counts as kept. Each looks at one row only. In the order of blame.
    key : sequence of str
        Columns no two rows may agree in; none: rows may repeat.

    Returns
    -------
    DataFrame
        Sorted by row: row (position), rule (the first one broken, or `duplicate_key`), detail (every rule broken).
    """
    texts = _texts(frame, rules, key)
    looks_at = {name: text for name, holds in rules.items() if (text := _text_of(holds)) in texts}
    plain = {name: holds for name, holds in rules.items() if name not in looks_at}
    # Kernels and polars both let go of Python: the texts are told apart while the numbers are judged.
    with ThreadPoolExecutor(1) as pool:
        coding = {name: pool.submit(codes_of, frame[name], is_sorted=False) for name in texts}
        found = _rows_of(frame, plain)
        codes = {name: coded.result() for name, coded in coding.items()}
    found |= {name: _rows_of_texts(codes[text], rules[name], frame[text]) for name, text in looks_at.items()}
    broken = {name: found[name] for name in rules if name in found and found[name].size}
    failed = np.unique(np.concatenate([_NONE, *broken.values()]))
    again = _superseded_rows(frame, key, failed, codes) if key else _NONE
    lost = np.sort(np.concatenate([failed, again]))
    return _reasons(broken, lost) if lost.size else pl.DataFrame(schema=VERDICT_SCHEMA)


def _texts(frame: pl.DataFrame, rules: Mapping[str, pl.Expr], key: Sequence[str]) -> set[str]:
    """Return the texts of a long table that the key or some rule looks at; null checks do not count as reading it."""
    if frame.height < LONG:
        return set()
    wanted = {*key, *(_text_of(holds) for name, holds in rules.items() if not name.endswith("_not_known"))}
    return {name for name in wanted if name and frame.schema[name] == pl.String}


def _text_of(holds: pl.Expr) -> str:
    """Return the column a rule looks at if it is the only one, else nothing."""
    roots = set(holds.meta.root_names())
    return roots.pop() if len(roots) == 1 else ""


def _rows_of(frame: pl.DataFrame, rules: Mapping[str, pl.Expr]) -> dict[str, Rows]:
    """Return the rules that some row breaks, each with the rows."""
    if not rules:
        return {}
    # Lazy, so that what several rules compute is computed once; an answer takes one bit per row.
    kept = frame.lazy().select(holds.alias(name) for name, holds in rules.items()).collect()
    failing = [answer for answer in kept if not answer.all()]
    return {answer.name: _where((~answer).fill_null(value=False)) for answer in failing}


def _where(answer: pl.Series) -> Rows:
    return answer.arg_true().to_numpy().astype(np.int64)


def _rows_of_texts(coded: Codes, holds: pl.Expr, column: pl.Series) -> Rows:
    """Return the rows that break a rule on one column of texts; each distinct text is checked once."""
    # The last text stands for null: a code of -1 leads there.
    texts = coded.texts.extend_constant(None, 1).alias(column.name).to_frame()
    is_broken = texts.select((~holds).fill_null(value=False)).to_series().to_numpy(writable=True)
    if not column.null_count():
        is_broken[-1] = False
    few = np.flatnonzero(is_broken)
    if few.size > _FEW:
        return np.flatnonzero(coded.spread(is_broken))
    few[few == len(coded.texts)] = -1
    return np.sort(np.concatenate([_NONE, *(np.flatnonzero(coded.code == code) for code in few)]))


def _superseded_rows(frame: pl.DataFrame, key: Sequence[str], failed: Rows, codes: Mapping[str, Codes]) -> Rows:
    """Return which sound rows have a later sound row with the same key."""
    texts = [name for name in key if name in codes]
    days = [name for name in key if frame.schema[name] == pl.Date]
    if len(key) == 2 and texts and days:
        found = _by_day(frame[days[0]], codes[texts[0]], failed)
        if found is not None:
            return found
    columns = frame.select(pl.Series(name, codes[name].code) if name in codes else pl.col(name) for name in key)
    if not failed.size and _rises(columns, key):
        return _NONE
    alive = columns.with_row_index("_row")
    rows = (alive.filter(_without(failed, frame.height)) if failed.size else alive).sort([*key, "_row"])
    is_next = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(-1)) for name in key)
    # Null equals the nothing behind the last row.
    same = rows.select("_row").filter(rows.select(is_next & (pl.int_range(pl.len()) < pl.len() - 1)).to_series())
    return np.sort(same["_row"].to_numpy().astype(np.int64))


def _rises(columns: pl.DataFrame, key: Sequence[str]) -> bool:
    """Return whether each row follows the one before it, in the order of the key or with its first column last."""
    if columns.height < LONG or any(columns[name].null_count() for name in key):
        return False
    for order in ([*key], [*key[1:], key[0]]):
        rises, equal = pl.lit(value=False), pl.lit(value=True)
        for name in order:
            value, before = pl.col(name), pl.col(name).shift(1)
            rises, equal = rises | (equal & (value > before)), equal & (value == before)
        if columns.lazy().select(rises.all()).collect().item():
            return True
    return False


def _by_day(dates: pl.Series, coded: Codes, failed: Rows) -> Rows | None:
    """Return which sound rows come again, for keys of a text and a date; None where some key is null or far off."""
    code, alive = coded.code, _without(failed, len(dates))
    has_null = dates.null_count() > 0 or code.min(initial=0) < 0
    if has_null and (alive & ((code < 0) | dates.is_null().to_numpy())).any():
        return None
    days = dates.to_physical()
    first, last = _ends(days)
    if (last - first + 1) * len(coded.texts) > _BITS_PER_ROW * len(days):
        first, last = _ends(days.filter(alive))
    places = (last - first + 1) * len(coded.texts)
    if places > _BITS_PER_ROW * len(days):
        return None
    again, end = np.empty(len(days), dtype=np.bool_), len(days)
    seen = np.zeros(places // 32 + 1, dtype=np.uint32)
    for chunk in reversed(days.get_chunks()):
        at = slice(end - len(chunk), end)
        mark_superseded(code[at], chunk.fill_null(0).to_numpy(), alive[at], first, last - first + 1, seen, again[at])
        end = at.start
    return np.flatnonzero(again)


def _ends(days: pl.Series) -> tuple[int, int]:
    first, last = cast("int | None", days.min()), cast("int | None", days.max())
    return (0, 0) if first is None or last is None else (first, last)


def _without(rows: Rows, size: int) -> npt.NDArray[np.bool_]:
    others = np.ones(size, dtype=np.bool_)
    others[rows] = False
    return others


def _reasons(broken: Mapping[str, Rows], lost: Rows) -> pl.DataFrame:
    """Name the rules each lost row broke; rows that broke the same ones are named together."""
    rows = pl.DataFrame({"row": lost}, schema={"row": pl.Int64})
    if not broken:
        return rows.with_columns(rule=pl.lit(DUPLICATE), detail=pl.lit(_AGAIN))
    names = {f"{k}": name for k, name in enumerate(broken)}
    told = rows.with_columns(
        pl.Series(k, ~_without(np.searchsorted(lost, broken[name]), lost.size)) for k, name in names.items()
    )
    why = pl.concat_list(pl.when(pl.col(k)).then(pl.lit(name)) for k, name in names.items()).list.drop_nulls()
    kinds = told.select(*names).unique(maintain_order=True).with_columns(why.alias("why"))
    kinds = kinds.with_columns(
        rule=pl.col("why").list.first().fill_null(DUPLICATE),
        detail=pl.col("why").list.join(", ").replace("", _AGAIN),
    )
    return told.join(kinds, on=list(names), how="left", maintain_order="left").select(*VERDICT_SCHEMA)
