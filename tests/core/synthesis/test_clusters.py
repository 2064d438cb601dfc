from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from quant_core.graph.compute import SerialCompute
from quant_core.market.calendar import walk_forward
from quant_core.market.contracts.split import validate
from quant_core.market.contracts.synthesis import Clusters
from quant_core.synthesis.clusters import ClusterParams, cluster_metrics, clusters, default_clusters, ward_labels


class ThreadedCompute:
    name = "threads"

    def map(self, function, items, *, shared=None, cost=None):
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda item: function(item, shared), items))


def days(count):
    return pl.Series("date", [date(2020, 1, 1) + timedelta(days=k) for k in range(count)])


def names(count):
    return [f"X:S{j:02d}" for j in range(count)]


def blocks(rng, rows=260, groups=(5, 3, 4), noise=0.4):
    factors = rng.normal(size=(rows, len(groups)))
    own = [factors[:, [g]] + noise * rng.normal(size=(rows, size)) for g, size in enumerate(groups)]
    return 0.01 * np.hstack(own)


def returns_table(values, symbols=None):
    symbols = symbols or names(values.shape[1])
    rows, columns = values.shape
    return pl.DataFrame(
        {
            "date": np.repeat(days(rows).to_numpy(), columns),
            "symbol": list(symbols) * rows,
            "simple_return": values.ravel(),
        }
    ).with_columns(pl.col("date").cast(pl.Date), pl.col("simple_return").fill_nan(None))


def everybody(symbols):
    return pl.DataFrame(
        {"symbol": list(symbols), "start": date(2020, 1, 1), "end": None, "is_eligible": True, "reason": "member"},
        schema_overrides={"end": pl.Date},
    )


def clustered(returns, *, universe=None, schedule=None, compute=None, train=200, **params):
    universe = everybody(returns["symbol"].unique().sort()) if universe is None else universe
    if schedule is None:
        schedule = walk_forward(returns["date"].unique().sort(), train=train, test=20, step=20)
    table = clusters(returns, universe, schedule, params=ClusterParams(**params), compute=compute or SerialCompute())
    return validate(table, Clusters).sort("date", "symbol")


def partition(table):
    groups = table.group_by("date", "cluster").agg(pl.col("symbol").sort()).sort("date", "cluster")
    return {(day, tuple(symbols)) for day, _, symbols in groups.iter_rows()}


def test_planted_groups_are_found_and_labelled_by_size_then_first_symbol():
    table = clustered(returns_table(blocks(np.random.default_rng(1), groups=(3, 5, 3))), clusters=3)
    assert table["date"].n_unique() == 4
    for _, group in table.group_by("date"):
        assert group.sort("symbol")["cluster"].to_list() == [2] * 3 + [1] * 5 + [3] * 3


@pytest.mark.parametrize(
    ("size", "expected"), [(1, 1), (3, 3), (4, 4), (9, 4), (20, 6), (100, 12), (400, 25), (538, 25), (1240, 25)]
)
def test_without_a_key_the_number_of_clusters_grows_with_the_root_within_bounds(size, expected):
    assert default_clusters(size) == expected


@pytest.mark.parametrize(("wanted", "found"), [(1, 1), (2, 2), (6, 6), (50, 12)])
def test_a_given_number_of_clusters_stands_up_to_the_number_of_symbols(wanted, found):
    table = clustered(returns_table(blocks(np.random.default_rng(2))), clusters=wanted)
    assert table.group_by("date").agg(pl.col("cluster").n_unique())["cluster"].to_list() == [found] * 4


def test_the_tree_agrees_with_merging_by_hand():
    rho = np.array([[1.0, 0.9, 0.1, 0.0], [0.9, 1.0, 0.0, 0.1], [0.1, 0.0, 1.0, 0.8], [0.0, 0.1, 0.8, 1.0]])
    assert ward_labels(rho, 2).tolist() == [1, 1, 2, 2]
    assert ward_labels(rho, 3).tolist() == [1, 1, 2, 3]


def test_returns_after_a_rebalance_change_nothing_at_it():
    rng = np.random.default_rng(3)
    values = blocks(rng, rows=300)
    other = values.copy()
    other[240:] = rng.normal(size=other[240:].shape)
    before, after = clustered(returns_table(values)), clustered(returns_table(other))
    cut = days(300)[239]
    assert before.filter(pl.col("date") <= cut).equals(after.filter(pl.col("date") <= cut))
    assert not before.equals(after)


def test_appended_dates_change_nothing_before_them():
    values = blocks(np.random.default_rng(4), rows=300)
    short, long = clustered(returns_table(values[:245])), clustered(returns_table(values))
    assert short.equals(long.filter(pl.col("date") <= short["date"].max()))


def test_returns_before_the_train_block_are_not_read():
    rng = np.random.default_rng(5)
    values = blocks(rng, rows=200)
    other = values.copy()
    other[:100] = rng.normal(size=(100, 12))
    train = walk_forward(days(200), train=100, test=20, step=100).tail(1)
    assert train["train_start"].to_list() == [days(200)[100]]
    kept = {"schedule": train, "lookbacks": (60, 100, 200)}
    assert clustered(returns_table(values), **kept).equals(clustered(returns_table(other), **kept))


def test_a_lookback_longer_than_the_train_block_is_left_out_and_if_all_are_the_block_answers():
    table = returns_table(blocks(np.random.default_rng(6), rows=100))
    some = clustered(table, train=100, lookbacks=(60, 200))
    assert some.equals(clustered(table, train=100, lookbacks=(60,)))
    assert clustered(table, train=40, lookbacks=(60, 200)).equals(clustered(table, train=40, lookbacks=(40,)))


def test_the_order_of_rows_does_not_matter():
    table = returns_table(blocks(np.random.default_rng(7)))
    assert clustered(table).equals(clustered(table.sample(fraction=1.0, shuffle=True, seed=1)))


def test_other_names_give_the_same_groups():
    values = blocks(np.random.default_rng(8))
    order = np.random.default_rng(9).permutation(12)
    renamed = [names(12)[j] for j in order]
    back = dict(zip(renamed, names(12), strict=True))
    permuted = clustered(returns_table(values, renamed)).with_columns(pl.col("symbol").replace_strict(back))
    assert partition(permuted) == partition(clustered(returns_table(values)))


def test_threads_give_the_bits_of_one():
    values = blocks(np.random.default_rng(10), rows=400)
    values[np.random.default_rng(11).random(values.shape) < 0.05] = np.nan
    table = returns_table(values)
    assert clustered(table).equals(clustered(table, compute=ThreadedCompute()))


def test_only_members_of_the_date_are_clustered():
    table = returns_table(blocks(np.random.default_rng(12)))
    universe = everybody(names(12)).with_columns(
        pl.when(pl.col("symbol") == "X:S03").then(days(260)[205]).otherwise("end").alias("end"),
        (pl.col("symbol") != "X:S07").alias("is_eligible"),
    )
    found = clustered(table, universe=universe)
    assert "X:S07" not in found["symbol"].to_list()
    assert found.filter(pl.col("symbol") == "X:S03")["date"].to_list() == [days(260)[199]]


def test_too_few_recent_returns_or_a_constant_series_leave_a_symbol_out():
    values = blocks(np.random.default_rng(13), rows=200)
    values[-60:, 0] = np.nan
    values[-19:, 0] = 0.01
    values[:, 1] = 0.0
    values[:-20, 2] = np.nan
    found = clustered(returns_table(values))["symbol"].to_list()
    assert found == names(12)[2:]


def test_many_zero_returns_do_not_leave_a_symbol_out():
    values = blocks(np.random.default_rng(14), rows=200)
    values[::3, 0] = 0.0
    values[1::3, 0] = 0.0
    assert clustered(returns_table(values))["symbol"].to_list() == names(12)


def test_a_date_without_anybody_has_no_rows_and_one_symbol_is_one_cluster():
    table = returns_table(blocks(np.random.default_rng(15), rows=200, groups=(1,)))
    assert clustered(table)["cluster"].to_list() == [1]
    nobody = everybody(names(1)).with_columns(is_eligible=False)
    assert clustered(table, universe=nobody).is_empty()


def test_metrics_count_clusters_and_weigh_the_largest():
    table = pl.DataFrame({"date": [1, 1, 1, 1, 2, 2], "cluster": [1, 1, 1, 2, 1, 2]})
    assert cluster_metrics(table) == {"synthesis.mean_clusters": 2.0, "synthesis.largest_cluster_share": 0.625}
    assert cluster_metrics(table.clear()) == {}


@pytest.mark.parametrize("params", [{"lookbacks": ()}, {"lookbacks": (1,)}, {"clusters": 0}, {"threshold": 0.7}])
def test_unusable_params_are_refused(params):
    with pytest.raises(ValidationError):
        ClusterParams(**params)
