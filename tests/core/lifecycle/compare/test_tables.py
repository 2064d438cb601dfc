from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from quant_core.lifecycle.compare.tables import table_diff

KEY = ("date", "symbol")
SCHEMA = {"date": pl.Int64(), "symbol": pl.String(), "price": pl.Float64(), "note": pl.String()}
Table = dict[tuple[int, str | None], tuple[float | None, str | None]]

tables = st.dictionaries(
    st.tuples(st.integers(0, 3), st.sampled_from(["A", "B", None])),
    st.tuples(st.sampled_from([None, 0.0, 1.0, 2.5]), st.sampled_from([None, "x", "y"])),
)


def as_frame(table: Table, order: list[Any]) -> pl.DataFrame:
    rows = [(*key, *table[key]) for key in sorted(table, key=lambda key: (order.index(key[0]), str(key)))]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(tables, tables, st.permutations(range(4)), st.permutations(range(4)))
def test_a_diff_counts_what_a_look_at_each_row_counts(
    first: Table, second: Table, before: list[int], after: list[int]
) -> None:
    found = table_diff(as_frame(first, before), as_frame(second, after), KEY)
    shared = first.keys() & second.keys()
    changed = [key for key in shared if first[key] != second[key]]
    prices = [(first[key][0], second[key][0]) for key in shared if first[key][0] != second[key][0]]
    steps = [abs(a - b) for a, b in prices if a is not None and b is not None]
    assert found.rows == (len(first), len(second))
    assert (found.added, found.removed) == (len(second.keys() - shared), len(first.keys() - shared))
    assert found.changed == len(changed)
    assert ("price" in found.columns) == bool(prices)
    if prices:
        assert found.columns["price"].cells == len(prices)
        assert found.columns["price"].largest == max(steps, default=None)
    assert {row[0] for row in found.examples} == {
        mark for mark, count in (("+", found.added), ("-", found.removed), ("~", found.changed)) if count
    }


def test_columns_that_only_one_has_are_told_apart_from_cells() -> None:
    first = pl.DataFrame({"date": [1], "symbol": ["A"], "price": [1.0], "old": [1]})
    second = pl.DataFrame({"date": [1], "symbol": ["A"], "price": [1], "new": [1]})
    found = table_diff(first, second, KEY)
    assert found.schema_change == ("new", "old", "price")
    assert (found.added, found.removed, found.changed, found.columns) == (0, 0, 0, {})
    assert not found.is_empty
