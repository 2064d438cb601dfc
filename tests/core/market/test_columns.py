from typing import Annotated

import pandera.polars as pa
import polars as pl
import pytest

from quant_core.errors import ContractError
from quant_core.graph.registry import StageRegistry
from quant_core.market.contracts.columns import TableRow, column, columns_of, declaration_of
from quant_core.market.contracts.split import contract, split

STAGES = StageRegistry.load("quant_core")


class _Dated(TableRow):
    date: pl.Date = column(description="Day.")


class _Level(_Dated):
    """One level at one date.

    The second paragraph is for readers of the code.
    """

    level: pl.Float64 = column(gt=0.0, le=2.0, nullable=True, description="Level.")
    side: pl.String = column(isin=["UP", "DOWN"], description="Side.")
    seen_at: Annotated[pl.Datetime, "us", "UTC"] = column(description="When it was seen.")


class _Modelled(pa.DataFrameModel):
    """One level at one date."""

    date: pl.Date = pa.Field(description="Day.")
    level: pl.Float64 = pa.Field(gt=0.0, le=2.0, nullable=True, description="Level.")


def test_a_class_declares_name_doc_and_columns_inherited_ones_first():
    declared = declaration_of(_Level)
    assert (declared.name, declared.doc) == ("Level", "One level at one date.")
    assert [(c.name, c.kind, c.nullable) for c in declared.columns] == [
        ("date", pl.Date(), False),
        ("level", pl.Float64(), True),
        ("side", pl.String(), False),
        ("seen_at", pl.Datetime("us", "UTC"), False),
    ]


def test_an_unknown_bound_is_an_error_that_names_the_known_ones():
    with pytest.raises(ContractError, match=r"no bound 'above'.*within, gt, ge"):
        column(description="Level.", above=1.0)


def test_a_pandera_model_makes_the_same_contract_as_a_class():
    own, modelled = contract(_Level, key=("date",)), contract(_Modelled, key=("date",))
    assert own.doc == modelled.doc
    assert [own.columns[name] for name in modelled.columns] == list(modelled.columns.values())
    frame = pl.DataFrame({"date": [None, None], "level": [1.0, 3.0]}, schema=modelled.dtypes)
    assert split(frame, modelled).exclusions["rule"].to_list() == ["date_not_known", "date_not_known"]


@pytest.mark.parametrize("stage", STAGES)
def test_panderas_model_holds_what_the_contract_declares(stage):
    output = STAGES[stage].output
    assert {c.name: c for c in columns_of(output.schema)} == output.columns
    assert (output.schema.name, output.schema.description) == (output.name, output.doc)
    for name, modelled in output.schema.columns.items():
        assert [check.error for check in modelled.checks] == list(output.columns[name].rendered_checks().values())
