from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaErrors

from quant_core.errors import ContractError
from quant_core.market.contracts.ingest import Bars, Raw, ReturnsSchema
from quant_core.market.contracts.portfolio import Orders
from quant_core.market.contracts.split import Contract, RowRule, excluded_rows, split, validate
from quant_core.market.contracts.synthesis import Decisions

DAY = date(2024, 1, 1)


def returns(rows: list[tuple[date | None, str | None, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=ReturnsSchema.dtypes, orient="row")


def test_rows_that_keep_the_contract_stay_in_their_order() -> None:
    frame = returns([(DAY, "US:B", 0.1), (DAY, "US:A", None)])
    parted = split(frame, ReturnsSchema)
    assert parted.valid.equals(frame)
    assert parted.exclusions.is_empty()


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ((None, "US:A", 0.1), "date_not_known"),
        ((DAY, None, 0.1), "symbol_not_known"),
        ((DAY, "no venue", 0.1), "symbol_malformed"),
        ((DAY, "US:A", float("nan")), "simple_return_not_finite"),
        ((DAY, "US:A", float("inf")), "simple_return_not_finite"),
        ((DAY, "US:A", 5.0001), "simple_return_out_of_range"),
        ((DAY, "US:A", -1.0001), "simple_return_out_of_range"),
    ],
)
def test_a_broken_row_leaves_under_the_first_rule_it_breaks(row: tuple[date, str, float], rule: str) -> None:
    parted = split(returns([(DAY, "US:Z", 0.0), row]), ReturnsSchema)
    assert parted.valid["symbol"].to_list() == ["US:Z"]
    assert parted.exclusions.select("rule", "row").rows() == [(rule, 1)]
    assert parted.excluded == {rule: 1}


@pytest.mark.parametrize("kept", [-1.0, 5.0, 0.0])
def test_the_bounds_themselves_are_allowed(kept: float) -> None:
    assert split(returns([(DAY, "US:A", kept)]), ReturnsSchema).valid.height == 1


def test_of_rows_with_one_key_the_last_stays() -> None:
    frame = returns([(DAY, "US:A", 0.1), (DAY, "US:B", 0.5), (DAY, "US:A", 0.2), (DAY, "US:A", 9.0)])
    parted = split(frame, ReturnsSchema)
    assert parted.valid.sort("symbol")["simple_return"].to_list() == [0.2, 0.5]
    assert parted.excluded == {"duplicate_key": 1, "simple_return_out_of_range": 1}


def test_an_excluded_row_keeps_all_it_said() -> None:
    parted = split(returns([(DAY, "US:A", 9.0)]), ReturnsSchema)
    assert parted.exclusions["record"][0] == '{"date":"2024-01-01","symbol":"US:A","simple_return":9.0}'
    assert parted.exclusions["date"][0] == DAY


def test_a_table_with_a_row_column_of_its_own_keeps_it_in_the_record() -> None:
    rows = [(3, DAY, "US:A", None), (7, DAY, "nowhere", 1.0)]
    frame = pl.DataFrame(rows, schema=["row", "date", "symbol", "close"], orient="row", infer_schema_length=None)
    frame = pl.concat([Raw.empty(), frame.cast({"close": pl.Float64})], how="diagonal").select(*Raw.dtypes)
    parted = split(frame, Raw)
    assert parted.exclusions.select("rule", "row").rows() == [("symbol_malformed", 1)]
    assert '"row":7' in parted.exclusions["record"][0]


def test_a_text_that_is_no_date_is_excluded_with_what_it_said() -> None:
    frame = pl.DataFrame({"row": [5], "date": ["2024-13-01"], "symbol": ["US:A"]})
    excluded = excluded_rows(frame, "date_not_a_date", "2024-13-01")
    assert excluded.select("row", "date").rows() == [(5, None)]
    assert excluded["record"][0] == '{"date":"2024-13-01","symbol":"US:A"}'


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pl.DataFrame({"date": [DAY], "symbol": ["US:A"]}), "lacks simple_return"),
        (returns([(DAY, "US:A", 0.1)]).with_columns(extra=1), "unknown column extra"),
        (returns([(DAY, "US:A", 0.1)]).with_columns(pl.col("simple_return").cast(pl.String)), "is String, not Float64"),
    ],
)
def test_a_table_of_another_shape_is_refused_as_a_whole(frame: pl.DataFrame, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        split(frame, ReturnsSchema)


def test_rules_across_columns_name_themselves() -> None:
    bar = {
        "date": DAY, "symbol": "US:A", "open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5, "volume": 1.0,
        "available_at": None, "life": 0, "is_provisional": False, "adjustment": 1.0, "flags": "",
    }  # fmt: skip
    rows = [bar, bar | {"high": 0.5}, bar | {"open": 3.0}, bar | {"close": 0.9}, bar | {"high": None}]
    frame = pl.DataFrame(rows, schema=Bars.dtypes).with_columns(
        pl.datetime(2024, 1, 2, time_zone="UTC").alias("available_at"),
        date=pl.Series([DAY + timedelta(days=i) for i in range(5)]),
    )
    parted = split(frame, Bars)
    assert parted.valid["date"].to_list() == [DAY, DAY + timedelta(days=4)]
    assert parted.exclusions["rule"].to_list() == ["high_below_low", "open_outside_range", "close_outside_range"]


def test_validate_refuses_what_split_would_exclude() -> None:
    frame = returns([(DAY, "US:A", 0.1), (DAY, "US:A", 0.2)])
    with pytest.raises(ContractError, match="duplicate_key"):
        validate(frame, ReturnsSchema)
    with pytest.raises(ContractError, match="simple_return"):
        validate(returns([(DAY, "US:A", 7.0)]), ReturnsSchema)


@pytest.mark.parametrize("contract", [Bars, ReturnsSchema, Orders, Decisions])
def test_an_empty_table_is_valid(contract) -> None:  # type: ignore[no-untyped-def]
    assert validate(contract.empty(), contract).is_empty()


VALUES = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-1, 5))
ROWS = st.tuples(
    st.one_of(st.none(), st.dates(DAY, DAY + timedelta(days=3))), st.sampled_from(["US:A", "US:B", "x", None]), VALUES
)


@given(st.lists(ROWS, max_size=30))
@settings(max_examples=80, deadline=None)
def test_no_row_is_lost_and_a_second_split_excludes_nothing(rows) -> None:  # type: ignore[no-untyped-def]
    frame = returns(rows)
    parted = split(frame, ReturnsSchema)
    assert parted.valid.height + parted.exclusions.height == frame.height
    assert sum(parted.excluded.values()) == parted.exclusions.height
    assert split(parted.valid, ReturnsSchema).exclusions.is_empty()
    assert set(parted.exclusions["row"]).isdisjoint(
        frame.with_row_index("row").join(parted.valid, on=frame.columns, how="semi")["row"].to_list()
    ) or parted.excluded.get("duplicate_key")
    validate(parted.valid, ReturnsSchema)


def pandera_keeps(frame: pl.DataFrame, contract: Contract) -> bool:
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        try:
            contract.schema.validate(frame, lazy=True)
        except SchemaErrors:
            return False
    return True


BARS = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["US:A", "US:B", "nowhere", "US:", None]),
        "close": st.sampled_from([1.0, 2.0, 0.0, -1.0, None]),
        "volume": st.sampled_from([0.0, 5.0, -0.5, None]),
        "life": st.sampled_from([0, 1, -1, None]),
        "flags": st.sampled_from(["", "jump", None]),
    }
)


@given(st.lists(BARS, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_rows_are_judged_as_by_the_model_itself(rows) -> None:  # type: ignore[no-untyped-def]
    same = {"date": DAY, "available_at": datetime(2024, 1, 2, tzinfo=UTC), "is_provisional": False, "adjustment": 1.0}
    frame = pl.DataFrame([same | row for row in rows], schema=Bars.dtypes)
    once = Contract("Bars", Bars.schema, ())
    parted = split(frame, once)
    assert parted.valid.height + parted.exclusions.height == len(rows)
    assert pandera_keeps(parted.valid, once)
    assert not any(pandera_keeps(frame[row], once) for row in parted.exclusions["row"])


def test_rows_without_a_key_may_repeat() -> None:
    frame = returns([(DAY, "US:A", 0.1)] * 3)
    assert split(frame, Contract("Loose", ReturnsSchema.schema, ())).exclusions.is_empty()


def test_two_rules_of_one_name_are_refused() -> None:
    rules = tuple(RowRule("small", pl.col("simple_return") < bound, "It is small.") for bound in (1.0, 2.0))
    with pytest.raises(ContractError, match="two rules on rows have one name"):
        split(returns([]), Contract("Twice", ReturnsSchema.schema, (), rules))


def test_what_validate_refuses_is_named_with_a_few_examples() -> None:
    frame = returns([(DAY + timedelta(days=k), "US:A", 9.0) for k in range(7)])
    with pytest.raises(ContractError) as refused:
        validate(frame, ReturnsSchema)
    assert str(refused.value).startswith("Returns: 7 rows break it, such as [('simple_return_out_of_range', ")
    assert str(refused.value).count("US:A") == 5


def test_a_split_names_the_contract_its_valid_rows_were_held_against() -> None:
    assert split(returns([(DAY, "US:A", 0.1)]), ReturnsSchema).contract is ReturnsSchema
    assert split(returns([(DAY, "US:A", 9.0)]), ReturnsSchema).contract is ReturnsSchema
