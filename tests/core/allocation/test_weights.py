import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_core.allocation.weights import WeightsParams, weights
from quant_core.errors import ConfigError, InfeasibleError, PanelError, UnknownNameError
from quant_core.graph.compute import SerialCompute
from quant_core.market.calendar import walk_forward
from quant_core.market.contracts.portfolio import Weights
from quant_core.market.contracts.split import validate
from quant_core.market.contracts.synthesis import AtomReturns, Atoms, Clusters

START = date(2024, 1, 1)
ALL = ("equal_weight", "inverse_volatility", "hrp", "minimum_variance")


def day(row):
    return START + timedelta(days=row)


class World:
    """Twelve symbols in six clusters, all selected at each of the rebalances."""

    def __init__(self, size=80, width=12, seed=0, train=40, clusters=6):
        rng = np.random.default_rng(seed)
        self.values = rng.normal(0, 0.01, (size, 1)) + rng.normal(0, 0.02, (size, width)) * np.linspace(0.5, 2, width)
        self.names = [f"X:{j:02d}" for j in range(width)]
        self.schedule = walk_forward(pl.Series("date", [day(t) for t in range(size)]), train=train, test=10, step=10)
        dates = self.schedule["date"].to_list()
        atoms = [(d, f"{n}_trend_LONG", n, "trend", "LONG", None, 0.5) for d in dates for n in self.names]
        self.atoms = pl.DataFrame(atoms, schema=Atoms.dtypes, orient="row")
        labels = [(d, n, j % clusters + 1) for d in dates for j, n in enumerate(self.names)]
        self.clusters = pl.DataFrame(labels, schema=Clusters.dtypes, orient="row")

    @property
    def atom_returns(self):
        rows = [
            (day(t), f"{n}_trend_LONG", self.values[t, j])
            for t in range(self.values.shape[0])
            for j, n in enumerate(self.names)
            if not np.isnan(self.values[t, j])
        ]
        return pl.DataFrame(rows, schema=AtomReturns.dtypes, orient="row")

    def weights(self, compute=None, **params):
        found = weights(
            self.atoms, self.atom_returns, self.clusters, self.schedule,
            params=WeightsParams(**params), compute=compute or SerialCompute(),
        )  # fmt: skip
        validate(found.valid, Weights)
        return found


def matrix(table, method, when):
    return table.filter((pl.col("method") == method) & (pl.col("date") == when)).sort("atom")["weight"].to_numpy()


def test_each_method_weighs_each_rebalance_within_the_caps():
    world = World()
    found = world.weights(methods=ALL).valid
    assert found.height == 4 * 5 * 12
    labels = np.arange(12) % 6
    for method in ALL:
        for when in world.schedule["date"]:
            row = matrix(found, method, when)
            assert row.sum() == pytest.approx(1.0, abs=1e-12)
            assert row.max() <= 0.20 + 1e-12
            assert max(row[labels == c].sum() for c in range(6)) <= 0.25 + 1e-12


def test_the_default_is_equal_weight():
    world = World()
    found = world.weights().valid
    assert found["method"].unique().to_list() == ["equal_weight"]
    np.testing.assert_allclose(matrix(found, "equal_weight", day(39)), 1 / 12, rtol=1e-14)


def test_weights_know_only_their_train_rows():
    world, other = World(), World()
    other.values[50:] *= -7.0
    other.values[:10] += 1.0
    one, two = world.weights(methods=ALL).valid, other.weights(methods=ALL).valid
    inside = pl.col("date") == day(49)
    assert one.filter(inside).equals(two.filter(inside))
    assert not one.equals(two)


def test_wealth_the_caps_cannot_hold_is_cash_and_the_ledger_says_how_much():
    world = World(width=4, clusters=4)
    found = world.weights(methods=ALL).valid
    for method in ALL:
        np.testing.assert_allclose(matrix(found, method, day(39)), 0.2, atol=1e-12)
    assert weights.metrics(found) == pytest.approx({f"allocation.cash.{method}": 0.2 for method in ALL})


def test_wealth_the_caps_cannot_hold_may_be_an_error():
    with pytest.raises(InfeasibleError, match=r"2024-02-09.*at most 0\.8000"):
        World(width=4, clusters=4).weights(infeasible="error")
    assert World().weights(infeasible="error").valid.height == 60


def test_an_atom_with_too_little_history_is_left_out_with_its_reason():
    world = World()
    world.values[:35, 3] = np.nan
    found = world.weights(methods=("equal_weight", "hrp"))
    assert matrix(found.valid, "hrp", day(39)).size == 11
    assert matrix(found.valid, "hrp", day(79)).size == 12
    told = found.exclusions.select("rule", "date", "symbol", "row").rows()
    assert told == [("short_history", day(39), "X:03", 3), ("short_history", day(49), "X:03", 15)]
    assert found.exclusions["detail"][0].startswith("5 train bars known")
    assert "X:03_trend_LONG" in found.exclusions["record"][0]


def test_the_history_needed_is_a_parameter():
    world = World()
    world.values[:35, 3] = np.nan
    assert world.weights(min_observations=5).exclusions.is_empty()
    assert world.weights(min_observations=25).excluded == {"short_history": 2}
    assert world.weights(min_observations=26).excluded == {"short_history": 3}


def test_an_atom_that_was_not_clustered_stands_alone_under_the_asset_cap():
    world = World(width=6, clusters=1)
    world.clusters = world.clusters.filter(pl.col("symbol").is_in(["X:00", "X:01"]))
    found = matrix(world.weights().valid, "equal_weight", day(39))
    np.testing.assert_allclose(found, [0.125, 0.125, 0.1875, 0.1875, 0.1875, 0.1875])


def test_a_short_atom_is_weighed_by_its_own_stream_with_a_positive_weight():
    world = World()
    short = pl.col("symbol") == "X:00"
    world.atoms = world.atoms.with_columns(direction=pl.when(short).then(pl.lit("SHORT")).otherwise("direction"))
    found = world.weights(methods=ALL).valid.filter(short)
    assert found["direction"].unique().to_list() == ["SHORT"]
    assert (found["weight"] > 0.0).all()


def test_any_engine_gives_the_same_bits():
    class Threads:
        name = "threads"

        def map(self, function, items, *, shared=None, cost=None):
            travelled = pickle.loads(pickle.dumps((list(items), shared)))
            with ThreadPoolExecutor(2) as pool:
                return list(pool.map(lambda item: function(item, travelled[1]), travelled[0]))

    world = World()
    assert world.weights(methods=ALL).valid.equals(world.weights(Threads(), methods=ALL).valid)


def test_the_order_of_the_rows_does_not_matter():
    world = World()
    plain = world.weights(methods=ALL).valid.sort("date", "method", "atom")
    world.atoms = world.atoms.sample(fraction=1.0, shuffle=True, seed=1)
    world.clusters = world.clusters.sample(fraction=1.0, shuffle=True, seed=2)
    assert world.weights(methods=ALL).valid.sort("date", "method", "atom").equals(plain)


def test_nothing_selected_is_an_empty_table():
    world = World()
    world.atoms = world.atoms.clear()
    assert world.weights().valid.is_empty()


def test_all_atoms_left_out_at_a_rebalance_leave_it_without_rows():
    world = World()
    world.values[:30] = np.nan
    found = world.weights()
    assert found.valid["date"].min() == day(49)
    assert found.excluded == {"short_history": 12}


def test_the_default_caps_are_the_numbers_decided():
    params = WeightsParams()
    assert (params.asset_cap, params.cluster_cap, params.infeasible) == (0.20, 0.25, "cash")


def test_names_and_settings_that_cannot_be_are_refused():
    with pytest.raises(UnknownNameError, match="hrp"):
        World().weights(methods=("equal_weight", "hpr"))
    with pytest.raises(ConfigError, match="headline 'hrp' is not among"):
        WeightsParams(headline="hrp")
    with pytest.raises(ConfigError, match="at least one, each once"):
        WeightsParams(methods=("hrp", "hrp"))
    with pytest.raises(ConfigError):
        WeightsParams(methods=())
    assert WeightsParams(methods=ALL).first == "equal_weight"
    assert WeightsParams(methods=ALL, headline="hrp").first == "hrp"


def test_atoms_outside_the_schedule_are_refused():
    world = World()
    world.atoms = world.atoms.with_columns(pl.col("date").dt.offset_by("1d"))
    with pytest.raises(PanelError, match="not a rebalance"):
        world.weights()
