import polars as pl
import pytest

from quant_core.market.contracts.rule_names import (
    current_counts,
    current_name,
    current_text,
    is_equal_under_current_names,
    with_current_names,
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("close:greater_than", "close_not_positive"),
        ("volume:greater_than_or_equal_to", "volume_negative"),
        ("date:greater_than_or_equal_to", "date_too_low"),
        ("date:less_than_or_equal_to", "date_too_high"),
        ("simple_return:in_range", "simple_return_out_of_range"),
        ("kind:isin", "kind_not_allowed"),
        ("symbol:str_matches", "symbol_malformed"),
        ("close:known", "close_not_known"),
        ("high:finite", "high_not_finite"),
        ("known_at:not_a_time", "known_at_not_a_time"),
        ("notional_matches", "notional_mismatch"),
        ("toxic_bar", "toxic_bar"),
        ("close_not_positive", "close_not_positive"),
    ],
)
def test_an_old_rule_has_the_name_of_its_defect(old: str, new: str) -> None:
    assert current_name(old) == new
    assert current_name(new) == new


def test_counts_of_both_names_are_of_one_rule() -> None:
    counts = {"close:greater_than": 2, "close_not_positive": 3, "toxic_bar": 1}
    assert current_counts(counts) == {"close_not_positive": 5, "toxic_bar": 1}


def test_texts_keep_all_that_is_no_rule() -> None:
    text = "symbol X:A and 10:30, excluded by close:greater_than, low:known"
    assert current_text(text) == "symbol X:A and 10:30, excluded by close_not_positive, low_not_known"


def test_tables_are_equal_whatever_the_order_of_their_names() -> None:
    old = pl.DataFrame({"rule": ["volume:known", "zeta"], "row": [2, 1], "detail": ["volume:known", None]})
    new = pl.DataFrame({"rule": ["zeta", "volume_not_known"], "row": [1, 2], "detail": [None, "volume_not_known"]})
    assert with_current_names(old)["rule"].to_list() == ["volume_not_known", "zeta"]
    assert is_equal_under_current_names(old, new)
    assert not is_equal_under_current_names(old, new.with_columns(row=pl.col("row") + 1))
