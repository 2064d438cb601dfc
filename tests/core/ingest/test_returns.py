from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from quant_core.graph.judge import judge
from quant_core.ingest.returns import padding, returns

DAY = date(2024, 1, 1)


def test_a_return_is_the_close_over_the_symbols_own_close_before(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [10.0, 11.0, None, 12.1], "A:Y": [5.0, 4.0, 5.0, 4.5]}))
    ordered = done.returns.sort("symbol", "date")["simple_return"].to_list()
    assert ordered == [
        None,
        pytest.approx(0.1),
        pytest.approx(0.1),
        None,
        pytest.approx(-0.2),
        0.25,
        pytest.approx(-0.1),
    ]


def test_no_return_crosses_lives_and_none_is_told_while_a_jump_is_on_trial(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [1.0, 10.0, 10.0, 10.0, 10.5], "A:Y": [1.0, 1.1, 1.0, 1.1, 11.0]}))
    ordered = done.returns.sort("symbol", "date")["simple_return"].to_list()
    assert ordered[:5] == [None, None, 0.0, 0.0, pytest.approx(0.05)]
    assert ordered[9] is None


def test_a_real_fall_is_told_on_its_own_date(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [10.0, 0.5, 0.5, 0.6, 0.5]}))
    assert done.return_at("A:X", DAY + timedelta(days=1)) == pytest.approx(-0.95)


def test_a_removed_spike_leaves_no_fall_below_eighty_percent_behind(ingest_source: Any) -> None:
    done = ingest_source("simulator", defects={"toxic_spikes": 40})
    known = done.returns["simple_return"].drop_nulls()
    assert done.excluded()["toxic_bar"] == 60
    assert known.min() > -0.8
    assert known.max() < 5.0
    assert done.returns["simple_return"].null_count() == done.bars["symbol"].n_unique()


def test_every_bar_has_one_return(ingest: Any, closes_of: Any) -> None:
    done = ingest(closes_of({"A:X": [10.0, 11.0], "A:Y": [5.0, 4.0]}))
    assert (
        done.returns.select("date", "symbol")
        .sort("symbol", "date")
        .equals(done.bars.select("date", "symbol").sort("symbol", "date"))
    )
    assert judge(returns, returns(done.bars), rows_in={"bars": 4}).broken == ()


def test_padded_symbols_are_told(ingest: Any, closes_of: Any) -> None:
    half = [1.0, 1.0, 1.1, 1.2] * 70
    table = ingest(closes_of({"A:PAD": half, "A:OK": [1.0, 1.1] * 140})).returns
    assert padding(table) is None
    assert padding(table.with_columns(simple_return=pl.col("simple_return") * 0.0)) == (
        "2 symbols have mostly zero returns, such as ['A:OK', 'A:PAD']."
    )
