from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_core.errors import ContractError, UnknownNameError
from quant_core.graph.catalog import Catalog
from quant_core.market.contracts.split import validate
from quant_core.market.contracts.synthesis import AtomReturns, Atoms
from quant_core.synthesis import atoms as room
from quant_core.synthesis.atoms import AtomParams, atom_returns, atoms, find_excess_short_gains, sign_faults
from quant_core.synthesis.logics import Logic, logics

DAYS = [date(2022, 1, 1) + timedelta(days=k) for k in range(4)]


def selection(*rows):
    labels = pl.DataFrame(rows, schema=["date", "symbol", "direction"], orient="row")
    return labels.with_columns(
        cluster=pl.lit(1, dtype=pl.Int32), conviction=pl.lit(0.5), stage=pl.lit(1, dtype=pl.Int8), rank=pl.lit(1)
    )


def returns(**series):
    rows = [(day, f"X:{name}", r) for name, values in series.items() for day, r in zip(DAYS, values, strict=True)]
    schema = {"date": pl.Date, "symbol": pl.String, "simple_return": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def named(*rows, logic="trend"):
    table = atoms(selection(*rows), params=AtomParams()).with_columns(logic=pl.lit(logic))
    return validate(table, Atoms)


def streams(table, raw):
    return validate(atom_returns(table, raw), AtomReturns).sort("atom", "date")


def test_an_atom_is_named_for_symbol_logic_and_direction():
    table = named((DAYS[0], "CME_MINI:ES1!", "LONG"), (DAYS[0], "X:A", "SHORT"))
    assert table["atom"].to_list() == ["CME_MINI:ES1!_trend_LONG", "X:A_trend_SHORT"]
    assert table["logic"].unique().to_list() == ["trend"]


def test_a_long_atom_is_the_return_and_a_short_one_its_negative_capped_at_one():
    raw = returns(A=[None, 0.1, -1.0, 2.5])
    found = streams(named((DAYS[2], "X:A", "LONG"), (DAYS[2], "X:A", "SHORT")), raw)
    assert found["atom_return"].to_list() == [0.1, -1.0, 2.5, -0.1, 1.0, -1.0]
    assert found["date"].to_list() == DAYS[1:] * 2


def test_an_atom_selected_often_has_one_stream_over_all_known_dates():
    raw = returns(A=[0.1, None, 0.0, 0.2], B=[0.0] * 4)
    found = streams(named((DAYS[1], "X:A", "LONG"), (DAYS[3], "X:A", "LONG")), raw)
    assert found.select("date", "atom_return").rows() == [(DAYS[0], 0.1), (DAYS[2], 0.0), (DAYS[3], 0.2)]


def test_without_atoms_there_are_no_streams():
    assert streams(named((DAYS[0], "X:A", "LONG")).clear(), returns(A=[0.1] * 4)).is_empty()


def test_the_order_of_rows_does_not_matter_and_streams_are_causal():
    raw = returns(A=[0.1, 0.2, -0.1, 0.3], B=[0.0, 1.5, -0.2, 0.1])
    table = named((DAYS[0], "X:A", "LONG"), (DAYS[0], "X:B", "SHORT"))
    found = streams(table, raw)
    assert streams(table.reverse(), raw.sample(fraction=1.0, shuffle=True, seed=1)).equals(found)
    early = pl.col("date") < DAYS[2]
    assert streams(table, raw.filter(early)).equals(found.filter(early))


def contrarian(panel):
    path = np.full(panel.shape, np.nan)
    path[1:] = -np.sign(panel.values[:-1])
    return panel.like(path)


def test_another_logic_flips_its_own_exposure_and_a_short_exposure_is_capped(monkeypatch):
    book = Catalog("logic", {"contrarian": Logic("contrarian", contrarian)})
    monkeypatch.setattr(room, "logics", lambda: book)
    raw = returns(A=[0.1, 2.0, -0.5, 3.0])
    long = streams(named((DAYS[0], "X:A", "LONG"), logic="contrarian"), raw)
    assert long.select("date", "atom_return").rows() == [(DAYS[1], -1.0), (DAYS[2], 0.5), (DAYS[3], 3.0)]
    short = streams(named((DAYS[0], "X:A", "SHORT"), logic="contrarian"), raw)
    assert short["atom_return"].to_list() == [2.0, -0.5, -1.0]


def test_an_unknown_logic_lists_the_near_matches():
    assert list(logics()) == ["trend"]
    with pytest.raises(UnknownNameError, match="trend"):
        AtomParams(logic="trned")


def test_right_signs_have_no_faults():
    rng = np.random.default_rng(1)
    raw = returns(A=rng.uniform(-1, 3, 4).tolist(), B=rng.uniform(-1, 3, 4).tolist())
    table = named((DAYS[0], "X:A", "LONG"), (DAYS[0], "X:A", "SHORT"), (DAYS[1], "X:B", "SHORT"))
    assert sign_faults(table, atom_returns(table, raw), raw).is_empty()


@pytest.mark.parametrize(
    ("atom", "spoil", "fault"),
    [
        ("X:A_trend_LONG", -pl.col("atom_return"), "long_mismatch"),
        ("X:A_trend_SHORT", -pl.col("atom_return"), "short_not_inverted"),
        ("X:A_trend_LONG", pl.lit(None, dtype=pl.Float64), "missing_stream"),
    ],
)
def test_a_wrong_sign_or_a_lost_bar_is_a_fault(atom, spoil, fault):
    raw = returns(A=[0.1, 0.2, -0.3, 0.4])
    table = named((DAYS[0], "X:A", "LONG"), (DAYS[0], "X:A", "SHORT"))
    is_hit = (pl.col("atom") == atom) & (pl.col("date") == DAYS[2])
    spoilt = atom_returns(table, raw).with_columns(
        pl.when(is_hit).then(spoil).otherwise("atom_return").alias("atom_return")
    )
    found = sign_faults(table, spoilt.drop_nulls(), raw)
    assert found.select("date", "atom", "fault").rows() == [(DAYS[2], atom, fault)]


def test_a_stream_without_a_return_is_a_fault():
    raw = returns(A=[0.1, 0.2, -0.3, 0.4])
    table = named((DAYS[0], "X:A", "LONG"))
    found = sign_faults(table, atom_returns(table, raw), raw.filter(pl.col("date") > DAYS[0]))
    assert found.select("date", "fault").rows() == [(DAYS[0], "missing_return")]


@pytest.mark.parametrize(
    ("side", "sign", "fault"), [("LONG", -1.0, "long_mismatch"), ("SHORT", -1.0, "short_not_inverted")]
)
def test_the_stage_refuses_streams_of_the_wrong_sign(monkeypatch, side, sign, fault):
    upside_down = Logic("trend", lambda panel: panel.like(np.full(panel.shape, sign)))
    monkeypatch.setattr(room, "logics", lambda: Catalog("logic", {"trend": upside_down}))
    with pytest.raises(ContractError, match=f"4 bars.*{fault}"):
        atom_returns(named((DAYS[0], "X:A", side)), returns(A=[0.1, 0.2, -0.3, 0.4]))


def test_the_stage_refuses_streams_that_lose_a_bar(monkeypatch):
    def late(panel):
        path = np.ones(panel.shape)
        path[0] = np.nan
        return panel.like(path)

    monkeypatch.setattr(room, "logics", lambda: Catalog("logic", {"trend": Logic("trend", late)}))
    with pytest.raises(ContractError, match=r"1 bars.*missing_stream"):
        atom_returns(named((DAYS[0], "X:A", "LONG")), returns(A=[0.1, 0.2, -0.3, 0.4]))


def test_a_short_that_gains_more_than_everything_is_refused():
    raw = returns(A=[0.1, 2.0, -0.3, 0.4])
    good = atom_returns(named((DAYS[0], "X:A", "SHORT"), (DAYS[0], "X:A", "LONG")), raw)
    assert find_excess_short_gains(good) is None
    assert "a sign is wrong" in find_excess_short_gains(good.with_columns(atom_return=-3.0 * pl.col("atom_return")))
