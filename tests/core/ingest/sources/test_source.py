from typing import Any

import polars as pl
import pytest

from quant_core.errors import ConfigError, UnknownNameError
from quant_core.graph.stage import NoParams
from quant_core.ingest.raw import RawParams, raw
from quant_core.ingest.sources.source import Source, source, sources
from quant_core.market.sleeves import Sleeve

SLEEVE = Sleeve(name="mine", calendar="24/7")


def test_every_source_is_found_by_its_kind_and_says_what_it_reads() -> None:
    found = sources()
    assert {"parquet", "simulator", "skfolio_sp500"} <= set(found)
    assert all(entry.doc for entry in found.values())


def test_an_unknown_kind_names_the_near_one(new_landing: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"source kind 'parket'. Did you mean parquet"):
        raw(params=RawParams(kind="parket"), sleeve=SLEEVE, as_of=None, landing=new_landing())


def test_a_sleeve_without_a_kind_is_told_the_kinds(new_landing: Any) -> None:
    with pytest.raises(ConfigError, match="needs kind, one of ") as caught:
        raw(params=RawParams(), sleeve=SLEEVE, as_of=None, landing=new_landing())
    for kind in ("binance_dump", "ccxt", "folder", "parquet", "simulator", "yfinance"):
        assert kind in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "x.csv", "colums": {}}, "colums: Extra inputs"),
        ({}, "path: Field required"),
        ({"path": 5}, "path: Input should be a valid string"),
        ({"path": "x.csv", "columns": {"Adj": "adjusted"}}, "columns: .*each name must stand for another one of date"),
        ({"path": "x.csv", "columns": {"a": "close", "b": "close"}}, "columns: .*each name must stand for another"),
        ({"path": "x.csv", "venue": "A:B"}, "venue: String should match"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sources()["parquet"].options(options)


def test_a_source_is_a_function_with_a_kind_and_its_own_parameters() -> None:
    @source("none", params=NoParams)
    def none(params: NoParams, sleeve: Sleeve) -> pl.DataFrame:
        """Return nothing."""
        return pl.DataFrame({"seen": [sleeve.name]})

    assert isinstance(none, Source)
    assert (none.name, none.doc) == ("none", "Return nothing.")
    assert none(NoParams(), SLEEVE)["seen"].to_list() == ["mine"]
