from datetime import date

import polars as pl
import pytest

from quant_core.errors import ContractError, UsageError
from quant_core.market.contracts.ingest import ReturnsSchema
from quant_core.market.contracts.validate_io import validate_io

GOOD = pl.DataFrame([(date(2024, 1, 1), "US:A", 0.1)], schema=ReturnsSchema.dtypes, orient="row")
BAD = GOOD.with_columns(simple_return=pl.lit(9.0))


class Model:
    @validate_io(returns=ReturnsSchema, output=ReturnsSchema)
    def doubled(self, returns: pl.DataFrame) -> pl.DataFrame:
        return returns.with_columns(pl.col("simple_return") * 2)


class Louder(Model):
    def doubled(self, returns: pl.DataFrame) -> pl.DataFrame:
        return super().doubled(returns)


@pytest.mark.parametrize("model", [Model(), Louder()])
def test_good_tables_pass_through_unchanged(model: Model) -> None:
    assert model.doubled(GOOD)["simple_return"].to_list() == [0.2]
    assert model.doubled(returns=GOOD).height == 1


@pytest.mark.parametrize("model", [Model(), Louder()])
def test_a_bad_argument_and_a_bad_result_are_named_also_in_subclasses(model: Model) -> None:
    with pytest.raises(ContractError, match="argument returns: Returns"):
        model.doubled(BAD)
    with pytest.raises(ContractError, match="result: Returns"):
        model.doubled(GOOD.with_columns(simple_return=pl.lit(4.0)))
    with pytest.raises(ContractError, match="is LazyFrame, not a table"):
        model.doubled(GOOD.lazy())  # type: ignore[arg-type]


def test_a_name_the_function_lacks_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="no argument 'bars'"):
        validate_io(bars=ReturnsSchema)(len)
