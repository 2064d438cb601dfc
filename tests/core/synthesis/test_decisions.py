from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_core.errors import InfeasibleError, UnknownNameError
from quant_core.graph.compute import SerialCompute
from quant_core.market.calendar import walk_forward
from quant_core.market.contracts.split import validate
from quant_core.market.contracts.synthesis import Decisions
from quant_core.market.sleeves import Sleeve
from quant_core.synthesis.decisions import DecisionParams, decision_metrics, decisions

ROWS, STEP = 60, 20
DAYS = [date(2021, 1, 1) + timedelta(days=k) for k in range(ROWS)]
NAMES = [f"X:S{j}" for j in range(8)]
FAMILIES = {
    "predictability": ["efficiency"],
    "volatility": ["volatility"],
    "liquidity": ["zero_return_share"],
    "tail": ["kurtosis"],
}


def panel_table(rng, columns, low, high):
    grid = pl.DataFrame({"date": [day for day in DAYS for _ in NAMES], "symbol": NAMES * ROWS})
    values = {name: rng.uniform(low, high, grid.height) for name in columns}
    return grid.with_columns(**{name: pl.Series(v) for name, v in values.items()})


def world(seed=1):
    rng = np.random.default_rng(seed)
    schedule = walk_forward(pl.Series("date", DAYS), train=20, test=STEP, step=STEP)
    conviction = panel_table(rng, ["conviction"], 0.1, 0.9).with_columns(
        direction=pl.lit("LONG"), scorer=pl.lit("log_mps"), coverage=pl.lit(1.0)
    )
    clusters = conviction.join(schedule, on="date", how="semi").select(
        "date", "symbol", (pl.col("symbol").str.slice(3).cast(pl.Int32) % 3 + 1).alias("cluster")
    )
    universe = pl.DataFrame(
        {"symbol": NAMES, "start": DAYS[0], "end": None, "is_eligible": True, "reason": "member"},
        schema_overrides={"end": pl.Date},
    )
    families = {name: panel_table(rng, columns, 0.15, 0.29) for name, columns in FAMILIES.items()}
    return {"conviction": conviction, "clusters": clusters, "universe": universe, "schedule": schedule, **families}


def decided(tables, *, sleeve=None, **params):
    sleeve = {"name": "mine", "calendar": "24/7"} | (sleeve or {})
    given = {name: table for name, table in tables.items() if name not in FAMILIES}
    families = {name: table for name, table in tables.items() if name in FAMILIES}
    table = decisions(
        **given,
        features=families,
        params=DecisionParams(**params),
        compute=SerialCompute(),
        sleeve=Sleeve(**sleeve),
    )
    return validate(table, Decisions).sort("date", "symbol", "direction")


def changed(tables, name, **expressions):
    return tables | {name: tables[name].with_columns(**expressions)}


def at(table, symbol, day=DAYS[19]):
    return table.filter((pl.col("symbol") == symbol) & (pl.col("date") == day)).to_dicts()


def test_every_eligible_member_of_every_rebalance_has_one_row():
    found = decided(world())
    assert found.select("date", "symbol").rows() == [(DAYS[k], name) for k in (19, 39, 59) for name in NAMES]
    assert found["direction"].unique().to_list() == ["LONG"]
    assert set(found["unknown"]) == {"entropy,hurst"}


def test_both_directions_are_judged_where_both_are_scored():
    tables = world()
    short = tables["conviction"].with_columns(direction=pl.lit("SHORT"), conviction=1.0 - pl.col("conviction"))
    tables["conviction"] = pl.concat([tables["conviction"], short.filter(pl.col("date") > DAYS[30])])
    found = decided(tables)
    assert found.group_by("date").len().sort("date")["len"].to_list() == [8, 16, 16]
    assert not found.filter("is_selected").select("date", "symbol").is_duplicated().any()


def test_an_eligible_symbol_without_a_score_keeps_its_row():
    tables = world()
    null = pl.when(pl.col("symbol") == "X:S1").then(None).otherwise("conviction")
    tables = changed(tables, "conviction", conviction=null)
    tables["conviction"] = tables["conviction"].filter(pl.col("symbol") != "X:S2")
    found = decided(tables)
    for symbol in ("X:S1", "X:S2"):
        (row,) = at(found, symbol)
        assert (row["reason"], row["conviction"], row["is_selected"]) == ("no_conviction", None, False)


def test_nobody_scored_at_all_is_a_long_row_each_without_conviction():
    tables = world()
    tables["conviction"] = tables["conviction"].clear()
    found = decided(tables)
    assert found.height == 24
    assert set(found["reason"]) == {"no_conviction"}


def test_a_scored_symbol_that_is_not_eligible_is_told_so():
    tables = changed(world(), "universe", end=pl.when(pl.col("symbol") == "X:S3").then(DAYS[25]).otherwise("end"))
    found = decided(tables)
    assert at(found, "X:S3")[0]["reason"] != "not_eligible"
    assert at(found, "X:S3", DAYS[39])[0]["reason"] == "not_eligible"


def test_only_the_named_scorer_counts():
    tables = world()
    other = tables["conviction"].with_columns(scorer=pl.lit("challenger"), conviction=1.0 - pl.col("conviction"))
    both = tables | {"conviction": pl.concat([tables["conviction"], other])}
    assert decided(both).equals(decided(tables))
    assert not decided(both, scorer="challenger").equals(decided(tables))
    with pytest.raises(UnknownNameError, match="Did you mean log_mps"):
        decided(tables, scorer="log_msp")


def test_statistics_are_those_of_the_rebalance_date():
    tables = world()
    spike = pl.when((pl.col("symbol") == "X:S4") & (pl.col("date") == DAYS[19])).then(99.0).otherwise("kurtosis")
    found = decided(changed(tables, "tail", kurtosis=spike))
    assert [at(found, "X:S4", DAYS[k])[0]["vetoes"].count("kurtosis") for k in (19, 39, 59)] == [1, 0, 0]
    day_after = pl.when(pl.col("date") == DAYS[20]).then(99.0).otherwise("kurtosis")
    assert decided(changed(tables, "tail", kurtosis=day_after)).equals(decided(tables))


def test_a_family_that_is_off_is_unknown_and_vetoes_nobody():
    tables = world()
    tables["predictability"] = tables["predictability"].clear()
    found = decided(tables)
    assert set(found["unknown"]) == {"efficiency,entropy,hurst"}
    assert not found["vetoes"].str.contains("efficiency").any()


def test_a_statistic_is_taken_from_whichever_family_has_it():
    tables = world()
    moved = tables["predictability"].with_columns(entropy_z=pl.lit(2.0))
    found = decided(tables | {"predictability": moved})
    assert found["vetoes"].str.contains("entropy").all()
    assert set(found["unknown"]) == {"hurst"}


@pytest.mark.parametrize("name", ["conviction", "predictability", "volatility", "liquidity", "tail"])
def test_what_comes_after_a_rebalance_changes_nothing_at_it(name):
    tables, other = world(1), world(2)
    later = pl.col("date") > DAYS[39]
    mixed = tables | {name: pl.concat([tables[name].filter(~later), other[name].filter(later)])}
    early = pl.col("date") <= DAYS[39]
    assert decided(mixed).filter(early).equals(decided(tables).filter(early))


def test_the_order_of_rows_does_not_matter():
    tables = world()
    shuffled = {name: table.sample(fraction=1.0, shuffle=True, seed=3) for name, table in tables.items()}
    shuffled["schedule"] = tables["schedule"]
    assert decided(shuffled).equals(decided(tables))


def test_a_sleeve_with_sectors_limits_them_and_tells_whose_is_not_known():
    tables = changed(world(), "clusters", cluster=pl.lit(1, dtype=pl.Int32))
    sectors = dict.fromkeys(NAMES[:4], "tech") | {"X:S4": "bank", "X:S5": "oil"}
    found = decided(tables, sleeve={"sectors": sectors}, floor=5, cap=8, top=8)
    assert at(found, "X:S7")[0]["unknown"] == "entropy,hurst,sector"
    assert at(found, "X:S0")[0]["unknown"] == "entropy,hurst"
    for _, day in found.filter("is_selected").group_by("date"):
        tech = day["symbol"].is_in(NAMES[:4]).sum()
        assert 1 <= tech <= 0.4 * day.height
    assert "over_sector_limit" in found["reason"].to_list()


def test_sectors_no_selection_could_keep_apart_are_an_error():
    sectors = {name: "tech" if j else "bank" for j, name in enumerate(NAMES)}
    with pytest.raises(InfeasibleError, match="bank, tech can hold at most 80%"):
        decided(world(), sleeve={"sectors": sectors})
    assert decided(world(), sleeve={"sectors": sectors}, sector_limit=0.5).height == 24


def test_required_metadata_keeps_out_who_lacks_it_at_every_stage():
    tables = world()
    found = decided(tables, sleeve={"sectors": {"X:S0": "a", "X:S1": "b"}}, required_metadata=("sector",))
    assert set(found.filter("is_selected")["symbol"]) <= {"X:S0", "X:S1"}
    assert found.filter(~pl.col("symbol").is_in(["X:S0", "X:S1"]))["vetoes"].str.contains("metadata").all()
    with pytest.raises(UnknownNameError, match="sector"):
        DecisionParams(required_metadata=("sectr",))


def test_the_benchmark_of_the_sleeve_is_spared_the_hurst_band():
    tables = changed(world(), "predictability", hurst_z=pl.lit(0.0))
    found = decided(tables, sleeve={"benchmark": "X:S0"})
    assert not any("hurst" in row["vetoes"] for row in at(found, "X:S0"))
    assert all("hurst" in row["vetoes"] for row in at(found, "X:S1"))


def test_one_coin_wins_once_whatever_its_venues_quotes_and_units():
    names = {
        "X:S0": "BINANCE:BTCUSDT.P",
        "X:S1": "COINBASE:BTCUSD",
        "X:S2": "BYBIT:1000PEPEUSDT.P",
        "X:S3": "BINANCE:PEPEUSDT",
    }
    renamed = {
        name: table.with_columns(pl.col("symbol").replace(names)) if "symbol" in table.columns else table
        for name, table in world().items()
    }
    for tables, winners in ((world(), 8), (renamed, 6)):
        found = decided(tables, floor=8, cap=8, top=8).filter("is_selected")
        assert found.group_by("date").len()["len"].to_list() == [winners] * 3
    for twins in (["BINANCE:BTCUSDT.P", "COINBASE:BTCUSD"], ["BYBIT:1000PEPEUSDT.P", "BINANCE:PEPEUSDT"]):
        assert found.filter(pl.col("symbol").is_in(twins)).group_by("date").len()["len"].to_list() == [1, 1, 1]


def rules():
    return {rule.name: rule for rule in decisions.rules}


def wild(**changes):
    tables = changed(world(), "volatility", volatility=changes.get("volatility", pl.lit(3.0)))
    return decided(tables | {"schedule": walk_forward(pl.Series("date", DAYS), train=20, test=10, step=10)})


def test_a_veto_that_kills_the_whole_universe_on_every_date_is_refused_by_name():
    said = rules()["universal_veto"].check(wild())
    assert said == "volatility: fired on all 40 candidates of all dates."
    assert rules()["universal_veto"].severity == "block"


def test_a_veto_that_spares_one_candidate_on_one_date_is_not_universal():
    is_spared = (pl.col("symbol") == "X:S0") & (pl.col("date") == DAYS[59])
    assert rules()["universal_veto"].check(wild(volatility=pl.when(is_spared).then(1.0).otherwise(3.0))) is None


@pytest.mark.parametrize(("symbols", "dates", "is_judged"), [(5, 5, True), (4, 5, False), (5, 4, False)])
def test_a_small_honest_sleeve_may_be_vetoed_throughout(symbols, dates, is_judged):
    found = wild()
    few = pl.col("symbol").is_in(NAMES[:symbols]) & pl.col("date").is_in(found["date"].unique().sort()[:dates])
    assert (rules()["universal_veto"].check(found.filter(few)) is not None) == is_judged


def test_who_is_not_eligible_makes_no_sleeve_larger():
    few = pl.col("symbol").is_in(NAMES[:4])
    found = wild().with_columns(reason=pl.when(few).then("reason").otherwise(pl.lit("not_eligible")))
    assert rules()["universal_veto"].check(found) is None


def test_an_empty_selection_on_all_dates_is_refused_with_its_reasons():
    tables = world()
    tables["conviction"] = tables["conviction"].clear()
    rule = rules()["nothing_selected"]
    assert rule.check(decided(tables)) == "nobody was selected on any date: no_conviction 24."
    assert rule.check(Decisions.empty()) == "nobody was selected on any date: no candidates."
    assert rule.check(decided(world())) is None
    assert rule.severity == "block"


def test_a_universe_without_members_gives_an_empty_table_under_the_contract():
    tables = changed(world(), "universe", is_eligible=pl.lit(value=False))
    tables["conviction"] = tables["conviction"].clear()
    assert decided(tables).is_empty()


def test_metrics_tell_how_many_and_how_strictly():
    table = pl.DataFrame(
        {
            "date": [1, 1, 2, 2, 3],
            "is_selected": [True, True, True, False, False],
            "stage": [1, 1, 2, None, None],
            "vetoes": ["", "", "kurtosis", "", "entropy"],
            "unknown": ["", "hurst,sector", "hurst", "sector", ""],
        }
    )
    assert decision_metrics(table) == {
        "synthesis.mean_selected": 1.0,
        "synthesis.stage1_share": pytest.approx(1 / 3),
        "synthesis.vetoed_share": 0.4,
        "synthesis.unknown_sector_share": 0.4,
    }
    assert decision_metrics(table.clear()) == {}
