from datetime import date

import polars as pl
import pytest

from quant_core.errors import ContractError
from quant_core.graph.finished import BUDGET_FROM_ROWS
from quant_core.graph.judge import judge
from quant_core.graph.stage import StageSpec, TableRule
from quant_core.market.contracts.ingest import ReturnsSchema
from quant_core.market.contracts.split import Split, excluded_rows


def returns(*values: float | None) -> pl.DataFrame:
    rows = [(date(2024, 1, 1 + i), "US:A", value) for i, value in enumerate(values)]
    return pl.DataFrame(rows, schema=ReturnsSchema.dtypes, orient="row")


def never_empty(frame: pl.DataFrame) -> str | None:
    """The table has rows."""
    return None if frame.height else "no rows"


def spec(**given: object) -> StageSpec:
    return StageSpec("ingest.returns", lambda: None, {}, ReturnsSchema, **given)  # type: ignore[arg-type,return-value]


def test_rows_that_break_the_contract_become_exclusions() -> None:
    done = judge(spec(), returns(0.1, 9.0), rows_in={})
    assert done.valid.height == 1
    assert done.excluded == {"simple_return_out_of_range": 1}
    assert done.broken == ()


def test_the_stages_own_exclusions_are_kept_beside_those_of_the_contract() -> None:
    own = excluded_rows(returns(0.5), "toxic_bar", "came back")
    done = judge(spec(conserves="bars"), Split(returns(0.1, 9.0), own), rows_in={"bars": 3})
    assert done.excluded == {"simple_return_out_of_range": 1, "toxic_bar": 1}
    assert done.broken == ()


def test_a_lost_row_breaks_the_conservation_law() -> None:
    done = judge(spec(conserves="bars"), returns(0.1), rows_in={"bars": 2})
    assert done.broken == ("conservation: 2 rows in, 1 kept + 0 excluded out.",)


@pytest.mark.parametrize(("budgets", "is_over"), [({"*": 0.5}, False), ({"*": 0.49}, True), ({"other": 0.0}, False)])
def test_exclusions_over_their_budget_fail_the_stage(budgets: dict[str, float], is_over: bool) -> None:
    done = judge(spec(budgets=budgets), returns(0.1, 9.0), rows_in={})
    assert bool(done.broken) is is_over


@pytest.mark.parametrize(("rows", "is_over"), [(BUDGET_FROM_ROWS - 1, False), (BUDGET_FROM_ROWS, True)])
def test_the_budget_of_one_rule_is_judged_from_a_thousand_rows_on(rows: int, is_over: bool) -> None:
    own = excluded_rows(returns(*[0.5] * 20), "toxic_bar", "came back")
    many = pl.concat([returns(0.1)] * (rows - 20)).with_columns(
        date=pl.date(1990, 1, 1) + pl.duration(days=pl.int_range(pl.len()))
    )
    done = judge(spec(budgets={"toxic_bar": 0.01}), Split(many, own), rows_in={})
    assert bool(done.broken) is is_over


def test_rows_that_live_on_in_another_one_count_neither_as_rows_nor_as_lost() -> None:
    copies = excluded_rows(returns(*[0.5] * 8), "duplicate_row", "came again")
    parted = Split(returns(0.1, 9.0), copies)
    assert judge(spec(budgets={"*": 0.6}, carried=["duplicate_row"]), parted, rows_in={}).broken == ()
    assert judge(spec(budgets={"*": 0.4}, carried=["duplicate_row"]), parted, rows_in={}).broken == (
        "budget: * excluded 1 of 2 rows, more than its share of 0.4.",
    )
    assert judge(spec(budgets={"*": 0.6}), parted, rows_in={}).broken


def test_a_blocking_rule_breaks_and_a_warning_only_warns() -> None:
    blocked = judge(spec(rules=(TableRule("rows", never_empty),)), returns(), rows_in={})
    warned = judge(spec(rules=(TableRule("rows", never_empty, "warn"),)), returns(), rows_in={})
    assert (blocked.broken, warned.broken) == (("rows: no rows",), ())
    assert warned.warnings == ("rows: no rows",)
    assert TableRule("rows", never_empty).doc == "The table has rows."


def test_metrics_are_taken_of_what_is_kept() -> None:
    done = judge(spec(metrics=lambda frame: {"rows": float(frame.height)}), returns(0.1, 9.0), rows_in={})
    assert done.metrics == {"rows": 1.0}


def test_a_result_of_another_shape_is_an_error() -> None:
    with pytest.raises(ContractError):
        judge(spec(), returns(0.1).drop("symbol"), rows_in={})
