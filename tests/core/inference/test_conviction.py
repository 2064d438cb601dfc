import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from quant_core.alpha.factors import Factors
from quant_core.errors import ConfigError, UnknownNameError
from quant_core.graph.registry import StageRegistry
from quant_core.inference.catalogue import Scored, Scorer, catalogue
from quant_core.inference.conviction import ConvictionParams, conviction, conviction_contract
from quant_core.market.contracts.features import ValueColumn, store_contract
from quant_core.market.contracts.split import validate

Conviction = conviction_contract(Factors)
NAMES = [name for name in Factors.dtypes if name not in ("date", "symbol")]
FACTS = {name: Factors.schema.columns[name].metadata for name in NAMES}
DIRECTIONAL = {name for name, facts in FACTS.items() if facts["directional"]}
LONG_ONLY = {name for name, facts in FACTS.items() if facts["is_long_only"]}
START = date(2024, 1, 1)


def table(rows):
    """Rows are (day, symbol, {factor: p}); factors not named are null."""
    filled = [
        {"date": START + timedelta(days=day), "symbol": symbol} | dict.fromkeys(NAMES) | values
        for day, symbol, values in rows
    ]
    return pl.DataFrame(filled, schema=Factors.dtypes)


def noise(seed, length=20, symbols=6, share=0.2):
    rng = np.random.default_rng(seed)
    p = rng.random((length * symbols, len(NAMES)))
    p[rng.random(p.shape) < share] = np.nan
    rows = [(r // symbols, f"X:{r % symbols}", dict(zip(NAMES, p[r].tolist(), strict=True))) for r in range(len(p))]
    return table(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def scored(frame, **params):
    table = conviction(frame, params=ConvictionParams(**params), contracts={"factors": Factors})
    return validate(table, Conviction)


def only(*names):
    return {name: 1.0 if name in names else 0.0 for name in NAMES}


def test_a_tiny_table_worked_out_by_hand():
    rows = [
        (0, "X:A", {"momentum": 0.9, "stability": 0.4}),
        (0, "X:B", {"momentum": 0.5, "stability": None}),
        (0, "X:C", {"momentum": None, "stability": None}),
    ]
    a, b, c = scored(table(rows), weights=only("momentum", "stability")).rows(named=True)
    assert (a["direction"], a["scorer"]) == ("LONG", "log_mps")
    assert a["conviction"] == pytest.approx(0.6, rel=1e-14)
    assert a["contribution_momentum"] == pytest.approx(np.log(0.9) / 2, rel=1e-14)
    assert a["contribution_stability"] == pytest.approx(np.log(0.4) / 2, rel=1e-14)
    assert a["contribution_skew"] is None
    assert (b["conviction"], b["coverage"]) == (pytest.approx(0.5 * np.exp(-0.25), rel=1e-14), 0.5)
    assert (c["conviction"], c["coverage"]) == (None, 0.0)


def test_weights_shift_belief_and_zero_leaves_a_factor_out():
    frame = table([(0, "X:A", {"momentum": 0.9, "stability": 0.4})])
    weights = only("momentum", "stability")
    [row] = scored(frame, weights=weights | {"momentum": 3.0}).rows(named=True)
    assert row["conviction"] == pytest.approx((0.9**3 * 0.4) ** 0.25, rel=1e-14)
    [row] = scored(frame, weights=weights | {"momentum": 0.0}).rows(named=True)
    assert (row["conviction"], row["coverage"]) == (pytest.approx(0.4, rel=1e-14), 1.0)
    assert row["contribution_momentum"] is None


def test_a_factor_no_symbol_of_the_sleeve_has_lowers_the_coverage_of_all():
    dark = ("liquidity", "amihud", "zero_return_share")
    rows = [(day, symbol, dict.fromkeys(set(NAMES) - set(dark), 0.6)) for day in (0, 1) for symbol in ("X:A", "X:B")]
    found = scored(table(rows))
    assert found["coverage"].to_list() == pytest.approx([1.0 - len(dark) / len(NAMES)] * 4)
    assert found["conviction"].to_list() == pytest.approx([0.6 * np.exp(-0.5 * len(dark) / len(NAMES))] * 4)


def test_a_factor_of_weight_zero_is_left_out_of_the_coverage_too():
    dark = ("liquidity", "amihud", "zero_return_share")
    frame = table([(0, "X:A", dict.fromkeys(set(NAMES) - set(dark), 0.6))])
    [row] = scored(frame, weights=dict.fromkeys(dark, 0.0)).rows(named=True)
    assert (row["coverage"], row["conviction"]) == (1.0, pytest.approx(0.6, rel=1e-14))


def test_contributions_and_penalty_add_up_for_both_directions():
    found = scored(noise(1), shorts=True).drop_nulls("conviction")
    total = found.select(pl.sum_horizontal("^contribution_.*$")).to_series().to_numpy()
    penalty = 0.5 * (1 - found["coverage"].to_numpy())
    np.testing.assert_allclose(total - penalty, np.log(found["conviction"].to_numpy()), atol=1e-13)


def test_a_short_mirrors_directional_factors_keeps_quality_and_is_silent_on_the_long_tail():
    frame = table([(0, "X:A", dict.fromkeys(NAMES, 0.8))])
    long, short = scored(frame, shorts=True).sort("direction").rows(named=True)
    for name in NAMES:
        expected = (
            None if name in LONG_ONLY else np.log(0.2 if name in DIRECTIONAL else 0.8) / (len(NAMES) - len(LONG_ONLY))
        )
        assert short[f"contribution_{name}"] == (None if expected is None else pytest.approx(expected, rel=1e-13))
        assert long[f"contribution_{name}"] == pytest.approx(np.log(0.8) / len(NAMES), rel=1e-13)
    assert (long["coverage"], short["coverage"]) == (1.0, pytest.approx(1.0 - len(LONG_ONLY) / len(NAMES)))


def test_the_short_of_a_mirrored_cross_section_is_the_long():
    weights = {name: 1.0 if name in DIRECTIONAL else 0.0 for name in NAMES}
    frame = noise(2)
    mirrored = frame.with_columns((1.0 - pl.col(name)).alias(name) for name in sorted(DIRECTIONAL))
    long = scored(frame, weights=weights)
    short = scored(mirrored, weights=weights, shorts=True).filter(pl.col("direction") == "SHORT")
    assert_frame_equal(short.drop("direction"), long.drop("direction"), abs_tol=1e-12)


def test_asking_for_shorts_changes_no_long():
    frame = noise(3)
    both = scored(frame, shorts=True)
    assert_frame_equal(both.filter(pl.col("direction") == "LONG"), scored(frame), check_exact=True)
    assert both.height == 2 * frame.height


def test_later_rows_change_nothing_before_them():
    frame = noise(4).with_columns(
        amihud=pl.when(pl.col("date") > START + timedelta(days=12)).then("amihud"),
    )
    cut = pl.col("date") <= START + timedelta(days=9)
    assert_frame_equal(scored(frame.filter(cut)), scored(frame).filter(cut), check_exact=True)


def test_the_order_of_rows_permutes_the_answer():
    frame = noise(5)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    assert_frame_equal(scored(shuffled).sort(Conviction.key), scored(frame).sort(Conviction.key), check_exact=True)


def test_every_row_in_comes_out_even_without_a_conviction():
    frame = noise(7, share=0.7)
    found = scored(frame)
    assert found.height == frame.height
    assert 0 < found["conviction"].null_count() < found.height
    assert (found["conviction"].is_null() == (found["coverage"] < 0.5)).all()


def test_an_empty_table_gives_an_empty_table():
    assert scored(Factors.empty(), shorts=True).is_empty()


def test_unknown_names_are_errors_with_the_near_matches():
    with pytest.raises(UnknownNameError, match="momentum"):
        scored(noise(8), weights={"momentun": 1.0})
    with pytest.raises(UnknownNameError, match="log_mps"):
        scored(noise(8), scorers=("log_mp",))


def test_weights_that_leave_nothing_or_are_negative_are_refused():
    with pytest.raises(ConfigError, match="weight 0"):
        scored(noise(9), weights=dict.fromkeys(NAMES, 0.0))
    with pytest.raises(ValidationError):
        ConvictionParams(weights={"momentum": -1.0})
    with pytest.raises(ValidationError):
        ConvictionParams(scorers=())


def test_each_scorer_speaks_for_itself_and_once(monkeypatch):
    def coin(probabilities, weights):
        rows = probabilities.shape[1]
        return Scored(np.full(rows, 0.5), np.ones(rows), np.full(probabilities.shape, np.nan))

    both = {"log_mps": catalogue()["log_mps"], "coin": Scorer(coin)}
    monkeypatch.setattr("quant_core.inference.conviction.catalogue", lambda: both)
    frame = noise(10)
    found = scored(frame, scorers=("coin", "log_mps", "coin"))
    assert found["scorer"].value_counts().sort("scorer").rows() == [("coin", 120), ("log_mps", 120)]
    assert_frame_equal(found.filter(pl.col("scorer") == "log_mps"), scored(frame), check_exact=True)


def test_the_ledger_gets_how_many_are_scored():
    found = scored(noise(11, share=0.7))
    told = conviction.metrics(found)
    assert told["inference.rows"] == 120
    assert told["inference.known"] == pytest.approx(1 - found["conviction"].null_count() / 120)
    assert conviction.metrics(Conviction.empty()) == {"inference.rows": 0.0}


def test_the_registry_works_out_the_columns_from_the_factors_it_holds():
    registry = StageRegistry.load("quant_core")
    spec = registry["inference.conviction"]
    assert list(spec.output.dtypes) == list(Conviction.dtypes)
    assert [name for name in spec.output.dtypes if name.startswith("contribution_")] == [
        f"contribution_{name}" for name in NAMES
    ]
    assert spec.input_contracts["factors"] is registry["alpha.factors"].output


def test_any_factor_table_will_do():
    columns = [
        ValueColumn("carry", "Carry.", 0.0, 1.0, {"directional": True, "is_long_only": False}),
        ValueColumn("value", "Value.", 0.0, 1.0, {"directional": False, "is_long_only": False}),
    ]
    given = store_contract("Factors", "Two factors.", columns)
    frame = pl.DataFrame({"date": [START], "symbol": ["X:A"], "carry": [0.2], "value": [0.8]})
    found = conviction(frame, params=ConvictionParams(shorts=True), contracts={"factors": given})
    long, short = validate(found, conviction_contract(given)).rows(named=True)
    assert (long["conviction"], short["conviction"]) == (pytest.approx(0.4), pytest.approx(0.8))


def test_importing_the_room_imports_no_other_room():
    code = "import sys, quant_core.inference.conviction; print(*sorted(m for m in sys.modules if 'quant_core' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in done.stdout.split() if name.count(".")}
    assert "inference" in rooms
    assert not rooms & {"ingest", "features", "alpha", "synthesis", "allocation", "backtest", "report"}
