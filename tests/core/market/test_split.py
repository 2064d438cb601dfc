from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import ContractError
from quant_core.market.contracts.ingest import Bars, Raw, ReturnsSchema
from quant_core.market.contracts.portfolio import Orders
from quant_core.market.contracts.split import excluded_rows, split, validate
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
        ((None, "US:A", 0.1), "date:known"),
        ((DAY, None, 0.1), "symbol:known"),
        ((DAY, "no venue", 0.1), "symbol:str_matches"),
        ((DAY, "US:A", float("nan")), "simple_return:finite"),
        ((DAY, "US:A", float("inf")), "simple_return:finite"),
        ((DAY, "US:A", 5.0001), "simple_return:in_range"),
        ((DAY, "US:A", -1.0001), "simple_return:in_range"),
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
    assert parted.excluded == {"duplicate_key": 1, "simple_return:in_range": 1}


def test_an_excluded_row_keeps_all_it_said() -> None:
    parted = split(returns([(DAY, "US:A", 9.0)]), ReturnsSchema)
    assert parted.exclusions["record"][0] == '{"date":"2024-01-01","symbol":"US:A","simple_return":9.0}'
    assert parted.exclusions["date"][0] == DAY


def test_a_table_with_a_row_column_of_its_own_keeps_it_in_the_record() -> None:
    rows = [(3, DAY, "US:A", None), (7, DAY, "nowhere", 1.0)]
    frame = pl.DataFrame(rows, schema=["row", "date", "symbol", "close"], orient="row", infer_schema_length=None)
    frame = pl.concat([Raw.empty(), frame.cast({"close": pl.Float64})], how="diagonal").select(*Raw.dtypes)
    parted = split(frame, Raw)
    assert parted.exclusions.select("rule", "row").rows() == [("symbol:str_matches", 1)]
    assert '"row":7' in parted.exclusions["record"][0]


def test_a_text_that_is_no_date_is_excluded_with_what_it_said() -> None:
    frame = pl.DataFrame({"row": [5], "date": ["2024-13-01"], "symbol": ["US:A"]})
    excluded = excluded_rows(frame, "date:not_a_date", "2024-13-01")
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
        "available_at": None, "life": 0, "is_provisional": False, "flags": "",
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
