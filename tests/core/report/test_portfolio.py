from datetime import date

import polars as pl
import pytest

from quant_core.errors import ContractError
from quant_core.market.contracts import portfolio as contracts
from quant_core.market.contracts import synthesis
from quant_core.market.contracts.split import validate
from quant_core.report.portfolio import portfolio

OLD, NEW = date(2020, 1, 31), date(2020, 2, 28)


def weights(*rows):
    made = [(day, method, f"{s}_trend_LONG", s, "LONG", w) for day, method, s, w in rows]
    return pl.DataFrame(made, schema=contracts.Weights.dtypes, orient="row")


def decisions(*rows):
    made = [(day, s, "LONG", 1, 0.7, 1, "", "", 1, True, reason) for day, s, reason in rows]
    return pl.DataFrame(made, schema=synthesis.Decisions.dtypes, orient="row")


def rebalances(*days):
    made = [(k, day, k, day, day, None, None) for k, day in enumerate(days)]
    return pl.DataFrame(made, schema=contracts.Schedule.dtypes, orient="row")


BOTH = rebalances(OLD, NEW)


def atoms(*rows):
    made = [(day, f"{s}_trend_LONG", s, "trend", "LONG", cluster, 0.7) for day, s, cluster in rows]
    return pl.DataFrame(made, schema=synthesis.Atoms.dtypes, orient="row")


def test_positions_of_the_last_rebalance_carry_conviction_cluster_and_reason():
    found = portfolio(
        weights(
            (OLD, "hrp", "US:A", 1.0), (NEW, "hrp", "US:B", 0.6), (NEW, "hrp", "US:C", 0.0), (NEW, "ew", "US:C", 0.5)
        ),
        atoms((OLD, "US:A", 3), (NEW, "US:B", 2), (NEW, "US:C", 4)),
        decisions((NEW, "US:B", "selected_strict"), (NEW, "US:C", "selected_forced"), (OLD, "US:A", "selected_strict")),
        BOTH.reverse(),
    )
    assert found.select("method", "symbol", "weight", "cluster", "conviction", "reason").rows() == [
        ("ew", "US:C", 0.5, 4, 0.7, "selected_forced"),
        ("hrp", "US:B", 0.6, 2, 0.7, "selected_strict"),
    ]
    validate(found, contracts.TodaysPortfolio)


def test_a_last_rebalance_that_selected_nothing_leaves_no_position_from_the_one_before():
    found = portfolio(
        weights((OLD, "hrp", "US:A", 1.0)),
        atoms((OLD, "US:A", 1)),
        decisions((OLD, "US:A", "selected_strict"), (NEW, "US:A", "vetoed")),
        BOTH,
    )
    assert found.is_empty()
    validate(found, contracts.TodaysPortfolio)


def test_a_last_rebalance_that_could_judge_nobody_leaves_no_position_from_the_one_before():
    held = weights((OLD, "hrp", "US:A", 1.0)), atoms((OLD, "US:A", 1)), decisions((OLD, "US:A", "selected_strict"))
    assert portfolio(*held, BOTH).is_empty()
    assert portfolio(*held, rebalances(OLD)).height == 1


def test_a_position_nobody_decided_is_an_error():
    with pytest.raises(ContractError, match="US:A_trend_LONG without an atom or a decision"):
        portfolio(weights((NEW, "hrp", "US:A", 1.0)), atoms((NEW, "US:A", 1)), decisions((NEW, "US:B", "vetoed")), BOTH)


def test_a_position_without_an_atom_is_an_error():
    with pytest.raises(ContractError, match="US:A_trend_LONG without an atom"):
        portfolio(weights((NEW, "hrp", "US:A", 1.0)), atoms(), decisions((NEW, "US:A", "selected_strict")), BOTH)


def test_nothing_at_all_gives_an_empty_portfolio():
    validate(portfolio(weights(), atoms(), decisions(), BOTH), contracts.TodaysPortfolio)
