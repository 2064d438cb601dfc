from datetime import date

import polars as pl
import pytest

from quant_core.market.contracts.split import validate
from quant_core.market.contracts.synthesis import Decisions, Selection
from quant_core.synthesis.selection import selection, selection_metrics, selection_stability


def winners(*days):
    rows = [(date(2020, 1, k + 1), f"X:{name}", "LONG") for k, names in enumerate(days) for name in names]
    return pl.DataFrame(rows, schema=["date", "symbol", "direction"], orient="row")


def test_winners_are_ranked_by_conviction_then_symbol_per_date():
    table = winners("ABCD", "AB").with_columns(
        cluster=pl.Series([1, 2, None, 1, 1, 1], dtype=pl.Int32),
        conviction=pl.Series([0.5, 0.9, 0.5, 0.8, 0.1, 0.2]),
        rank=pl.lit(1, dtype=pl.Int32),
        vetoes=pl.lit(""),
        unknown=pl.lit(""),
        stage=pl.Series([1, 2, 4, None, 1, 3], dtype=pl.Int8),
        is_selected=pl.Series([True, True, True, False, True, True]),
        reason=pl.lit("as it is"),
    )
    found = validate(selection(validate(table.select(*Decisions.dtypes), Decisions)), Selection)
    assert found.select("date", "symbol", "rank", "stage").rows() == [
        (date(2020, 1, 1), "X:B", 1, 2),
        (date(2020, 1, 1), "X:A", 2, 1),
        (date(2020, 1, 1), "X:C", 3, 4),
        (date(2020, 1, 2), "X:B", 1, 3),
        (date(2020, 1, 2), "X:A", 2, 1),
    ]


def test_stability_is_the_jaccard_index_of_neighbours():
    assert selection_stability(winners("AB", "AB", "BC", "D")).tolist() == [1.0, pytest.approx(1 / 3), 0.0]


def test_a_date_without_winners_is_stepped_over():
    assert selection_stability(winners("AB", "", "AB")).tolist() == [1.0]


def test_the_other_side_of_a_symbol_is_another_winner():
    table = winners("A", "A").with_columns(direction=pl.Series(["LONG", "SHORT"]))
    assert selection_stability(table).tolist() == [0.0]


def test_without_two_selections_there_is_no_stability_to_tell():
    assert selection_metrics(winners("AB")) == {}
    assert selection_metrics(winners("AB").clear()) == {}
    assert selection_metrics(winners("AB", "AC")) == {"synthesis.selection_stability": pytest.approx(1 / 3)}
