from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_core import features
from quant_core.alpha.catalogue import catalogue
from quant_core.alpha.factors import Factors
from quant_core.alpha.factors import factors as factors_stage
from quant_core.alpha.sleeve_factors import FactorParams
from quant_core.market.contracts.split import validate
from tests.builders import intervals

FAMILIES = ("trend", "volatility", "predictability", "liquidity", "tail")
START = date(2024, 1, 1)


def factors(*, universe, params=FactorParams(), **tables):  # noqa: B008 - frozen
    return factors_stage(tables, universe, params=params)


def days(count):
    return [START + timedelta(days=i) for i in range(count)]


def family_columns(family):
    return [name for name, entry in features.catalogue().items() if entry.family == family]


def family_table(family, rows=()):
    """Rows are dicts; features not named are null."""
    names = family_columns(family)
    schema = {"date": pl.Date, "symbol": pl.String} | dict.fromkeys(names, pl.Float64)
    return pl.DataFrame([dict.fromkeys(names) | row for row in rows], schema=schema)


def everything_off():
    return {family: family_table(family) for family in FAMILIES}


def members(*spans):
    rows = [(symbol, first, last, True, "member") for symbol, first, last in spans]
    return intervals(rows)


def market(seed, length=12, symbols=("X:A", "X:B", "X:C", "X:D", "X:E")):
    rng = np.random.default_rng(seed)
    keys = [(day, symbol) for day in days(length) for symbol in symbols]
    tables = {}
    for family in FAMILIES:
        values = rng.standard_normal((len(keys), len(family_columns(family))))
        values[rng.random(values.shape) < 0.15] = np.nan
        rows = [
            {"date": day, "symbol": symbol} | dict(zip(family_columns(family), row, strict=True))
            for (day, symbol), row in zip(keys, values.tolist(), strict=True)
        ]
        tables[family] = family_table(family, rows).with_columns(pl.col(pl.Float64).fill_nan(None))
    universe = members(*((symbol, START + timedelta(days=i), None) for i, symbol in enumerate(symbols)))
    return tables, universe


def test_a_small_cross_section_worked_out_by_hand():
    [day] = days(1)
    trend = [{"date": day, "symbol": s, "momentum": v} for s, v in (("X:A", 0.3), ("X:B", 0.1), ("X:C", None))]
    calm = [{"date": day, "symbol": s, "volatility": v} for s, v in (("X:A", 0.2), ("X:B", 0.2), ("X:C", 0.1))]
    tables = everything_off() | {
        "trend": family_table("trend", trend),
        "volatility": family_table("volatility", calm),
    }
    found = factors(**tables, universe=members(*((s, day, None) for s in ("X:A", "X:B", "X:C"))))
    assert found["symbol"].to_list() == ["X:A", "X:B", "X:C"]
    assert found["momentum"].to_list() == [0.75, 0.25, None]
    # lower is better: C has rank 1 of 3, A and B share ranks 2 and 3
    assert found["stability"].to_list() == pytest.approx([1 / 3, 1 / 3, 1 - 0.5 / 3])


def test_who_is_not_eligible_has_no_row_and_no_part_in_the_ranking():
    [first, second] = days(2)
    values = {"X:A": 1.0, "X:B": 2.0, "X:C": 3.0}
    rows = [{"date": d, "symbol": s, "momentum": v} for d in (first, second) for s, v in values.items()]
    tables = everything_off() | {"trend": family_table("trend", rows)}
    universe = members(("X:A", first, None), ("X:B", second, None), ("X:Z", first, None))
    universe = universe.vstack(intervals([("X:C", first, None, False, "halted")]))
    found = factors(**tables, universe=universe)
    assert found.select("date", "symbol", "momentum").rows() == [
        (first, "X:A", 0.5),
        (second, "X:A", 0.25),
        (second, "X:B", 0.75),
    ]


def test_a_family_that_is_off_leaves_its_factors_null_and_the_others_alone():
    tables, universe = market(1)
    whole = factors(**tables, universe=universe)
    partial = factors(**tables | {"liquidity": family_table("liquidity")}, universe=universe)
    off = [e.name for e in catalogue().values() if set(e.inputs) & set(family_columns("liquidity"))]
    assert {"liquidity", "amihud", "zero_return_share"} == set(off)
    assert all(partial[name].null_count() == partial.height for name in off)
    assert_frame_equal(partial.drop(off), whole.drop(off))


def test_a_feature_no_table_has_leaves_its_factor_null():
    tables, universe = market(2)
    found = factors(**tables | {"trend": tables["trend"].drop("momentum")}, universe=universe)
    assert found["momentum"].null_count() == found.height > 0
    validate(found, Factors)


def test_a_feature_known_nowhere_leaves_its_factor_null():
    tables, universe = market(3)
    hidden = tables["liquidity"].with_columns(amihud=pl.lit(None, dtype=pl.Float64))
    found = factors(**tables | {"liquidity": hidden}, universe=universe)
    assert found["amihud"].null_count() == found.height > found["liquidity"].null_count()


def test_with_every_family_off_the_table_is_empty_and_keeps_its_contract():
    found = factors(**everything_off(), universe=members(("X:A", START, None)))
    assert found.is_empty()
    validate(found, Factors)


def test_with_nobody_eligible_the_table_is_empty_and_keeps_its_contract():
    tables, _ = market(4)
    found = factors(**tables, universe=members())
    assert found.is_empty()
    validate(found, Factors)


def test_every_eligible_member_with_a_row_in_any_family_has_a_row():
    tables, universe = market(5, length=8)
    thinned = tables | {
        "tail": tables["tail"].filter(pl.col("symbol") != "X:A"),
        "trend": tables["trend"].filter(pl.col("date") > days(3)[-1]),
    }
    found = factors(**thinned, universe=universe)
    expected = [(day, s) for i, day in enumerate(days(8)) for j, s in enumerate("ABCDE") if i >= j]
    assert found.select("date", "symbol").rows() == [(day, f"X:{s}") for day, s in expected]
    assert found.filter(pl.col("symbol") == "X:A")["cvar"].null_count() == 8
    validate(found, Factors)


def test_a_member_without_a_bar_on_a_date_has_no_row_there():
    tables, universe = market(9, length=8)
    halted = (pl.col("symbol") == "X:B") & (pl.col("date") == days(5)[-1])
    found = factors(**{family: table.filter(~halted) for family, table in tables.items()}, universe=universe)
    assert found.filter(halted).is_empty()
    assert found.filter(pl.col("date") == days(5)[-1])["symbol"].to_list() == ["X:A", "X:C", "X:D", "X:E"]


def test_later_rows_change_nothing_before_them():
    tables, universe = market(6)
    cut = days(7)[-1]
    early = {family: table.filter(pl.col("date") <= cut) for family, table in tables.items()}
    whole = factors(**tables, universe=universe).filter(pl.col("date") <= cut)
    assert_frame_equal(factors(**early, universe=universe), whole, check_exact=True)


def test_the_order_of_rows_does_not_matter():
    tables, universe = market(7)
    shuffled = {family: table.sample(fraction=1.0, shuffle=True, seed=3) for family, table in tables.items()}
    assert_frame_equal(factors(**shuffled, universe=universe), factors(**tables, universe=universe), check_exact=True)


def test_names_of_symbols_carry_no_meaning():
    tables, universe = market(8)
    names = {"X:A": "X:E", "X:B": "X:D", "X:C": "X:C", "X:D": "X:B", "X:E": "X:A"}

    def renamed(table):
        return table.with_columns(pl.col("symbol").replace_strict(names))

    found = factors(**{f: renamed(t) for f, t in tables.items()}, universe=renamed(universe))
    expected = renamed(factors(**tables, universe=universe)).sort("date", "symbol")
    assert_frame_equal(found, expected, check_exact=True)


def test_the_stage_reports_how_much_is_known():
    [day] = days(1)
    rows = [{"date": day, "symbol": s, "momentum": v} for s, v in (("X:A", 1.0), ("X:B", None))]
    tables = everything_off() | {"trend": family_table("trend", rows)}
    found = factors(**tables, universe=members(("X:A", day, None), ("X:B", day, None)))
    assert factors_stage.metrics(found)["alpha.known.momentum"] == 0.5
    assert factors_stage.metrics(found)["alpha.known.liquidity"] == 0.0
    assert factors_stage.metrics(Factors.empty()) == {}
