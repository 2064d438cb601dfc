from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_core.synthesis.ladder import LadderParams, ladder

GOLDEN = Path(__file__).parents[2] / "golden" / "synthesis"
VERDICT = ["rank", "vetoes", "stage", "reason"]
COLUMNS = {
    "cluster": pl.Int32,
    "conviction": pl.Float64,
    "rank": pl.Int32,
    "stage": pl.Int8,
    "kurtosis": pl.Float64,
    "missing_metadata": pl.Int32,
}


def read_golden(stage):
    golden = pl.read_csv(GOLDEN / f"ladder_stage_{stage}.csv", schema_overrides=COLUMNS)
    return golden.with_columns(pl.col("vetoes").fill_null(""))


def candidates(rows):
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows)
    absent = {
        "direction": pl.lit("LONG"),
        "cluster": pl.lit(1),
        "identity": pl.col("symbol").str.slice(2),
        "sector": pl.lit(None, dtype=pl.String),
        "is_eligible": pl.lit(value=True),
        "is_benchmark": pl.lit(value=False),
    }
    frame = frame.with_columns(**{name: value for name, value in absent.items() if name not in frame.columns})
    return frame.with_columns(pl.col("cluster").cast(pl.Int32))


def reasons(frame, **policy):
    found = ladder(candidates(frame), LadderParams(**policy))
    return dict(found.select(pl.col("symbol").str.slice(2), "reason").iter_rows())


def winners(frame, **policy):
    return sorted(name for name, reason in reasons(frame, **policy).items() if reason.startswith("selected"))


def crowd(convictions, **columns):
    return {"symbol": [f"X:{chr(65 + j)}" for j in range(len(convictions))], "conviction": convictions, **columns}


@pytest.mark.parametrize(
    ("stage", "policy"),
    [
        (1, {"floor": 4, "cap": 6, "top": 2}),
        (2, {"floor": 4, "cap": 6, "top": 2}),
        (3, {"floor": 4, "cap": 6, "top": 1}),
        (4, {"floor": 6, "cap": 8, "top": 1}),
    ],
)
def test_the_golden_table_of_each_stage_is_kept(stage, policy):
    golden = read_golden(stage)
    found = ladder(candidates(golden.drop(VERDICT)), LadderParams(**policy))
    assert found["stage"].max() == stage
    assert found.select("symbol", *VERDICT).rows() == golden.select("symbol", *VERDICT).rows()
    assert found["is_selected"].to_list() == golden["stage"].is_not_null().to_list()


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_candidates_does_not_matter(stage, seed):
    golden = read_golden(stage)
    frame = candidates(golden.drop(VERDICT))
    policy = LadderParams(floor=5, cap=6, top=2)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    assert ladder(shuffled, policy).equals(ladder(frame, policy))


def test_equal_convictions_are_ordered_by_symbol():
    assert winners(crowd([0.5, 0.5, 0.5]), floor=1, cap=3, top=2) == ["A", "B"]
    assert winners(crowd([0.5, 0.5, 0.5], cluster=[1, 2, 3]), floor=1, cap=2, top=2) == ["A", "B"]


def test_relaxing_stops_as_soon_as_the_floor_is_met():
    frame = crowd([0.9, 0.8, 0.7], cluster=[1, 2, 3], efficiency=[0.5, 0.15, 0.01])
    assert winners(frame, floor=1, cap=3) == ["A"]
    assert winners(frame, floor=2, cap=3) == ["A", "B"]
    assert winners(frame, floor=3, cap=3) == ["A", "B", "C"]


def test_hardening_holds_through_stage_two_and_does_not_compound():
    # Median 0.9: limits 0.75 and 1.25, not 1.0 and 1.5, and not 0.5 and 1.0.
    frame = crowd([0.9, 0.8, 0.7, 0.6, 0.5], cluster=[1, 1, 1, 1, 2], entropy_z=[1.3, 1.2, 0.9, 0.7, 0.6])
    assert reasons(frame, floor=3, cap=5, top=2) == {
        "A": "vetoed",
        "B": "selected_relaxed",
        "C": "outranked",
        "D": "selected_strict",
        "E": "selected_strict",
    }


def test_without_hardening_the_same_candidates_pass_at_the_plain_limits():
    frame = crowd([0.9, 0.8, 0.7, 0.6, 0.5], cluster=[1, 1, 1, 1, 2], entropy_z=[1.3, 1.2, 0.9, 0.7, 0.6])
    assert winners(frame, floor=3, cap=5, top=2, hardening_median=2.0) == ["C", "D", "E"]


def test_the_cap_keeps_the_best_and_names_the_rest():
    assert reasons(crowd([0.2, 0.9, 0.4], cluster=[1, 2, 3]), floor=1, cap=2) == {
        "A": "over_cap",
        "B": "selected_strict",
        "C": "selected_strict",
    }


def test_forced_recruits_of_empty_clusters_displace_no_strict_winner():
    # Two strict winners miss the floor of 4; clusters 2 to 4 force one each and only two seats are free.
    frame = crowd([0.9, 0.8, 0.7, 0.2, 0.1], cluster=[2, 3, 4, 1, 1], efficiency=[0.0, 0.0, 0.0, 0.5, 0.5])
    assert reasons(frame, floor=4, cap=4) == {
        "A": "selected_forced",
        "B": "selected_forced",
        "C": "over_cap",
        "D": "selected_strict",
        "E": "selected_strict",
    }


def test_sizes_without_keys_follow_the_eligible_symbols_not_the_rows():
    frame = candidates(crowd([0.9 - j / 100 for j in range(12)], cluster=[1 + j % 6 for j in range(12)]))
    strict = ladder(frame, LadderParams())
    assert strict["is_selected"].sum() == 6
    vetoed = ladder(frame.with_columns(kurtosis=pl.lit(99.0), cluster=pl.lit(1)), LadderParams())
    assert vetoed["is_selected"].sum() == 4
    outsiders = frame.with_columns(pl.col("symbol").str.replace("X:", "Z:"), is_eligible=False)
    assert ladder(pl.concat([frame, outsiders]), LadderParams())["is_selected"].sum() == 6


def test_a_full_sector_makes_room_for_others_through_the_next_stages():
    frame = crowd(
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        cluster=[1, 1, 1, 2, 2, 2],
        sector=["tech", "tech", "tech", "bank", "oil", None],
        efficiency=[0.5, 0.5, 0.5, 0.5, 0.01, 0.01],
    )
    assert reasons(frame, floor=5, cap=6, sector_limit=0.4) == {
        "A": "selected_strict",
        "B": "selected_strict",
        "C": "over_sector_limit",
        "D": "selected_strict",
        "E": "selected_fallback",
        "F": "selected_fallback",
    }


def test_of_two_sides_of_one_symbol_only_the_better_competes():
    frame = {
        "symbol": ["X:A", "X:A", "X:B", "X:B"],
        "direction": ["LONG", "SHORT"] * 2,
        "conviction": [0.7, 0.3, 0.2, 0.8],
    }
    found = ladder(candidates(frame), LadderParams(floor=1, cap=4)).select("symbol", "direction", "reason").rows()
    assert found == [
        ("X:A", "LONG", "selected_strict"),
        ("X:A", "SHORT", "outranked"),
        ("X:B", "LONG", "outranked"),
        ("X:B", "SHORT", "selected_strict"),
    ]


def test_each_direction_of_a_cluster_has_its_own_seats():
    frame = {
        "symbol": [f"X:{name}" for name in "ABCD"],
        "direction": ["LONG", "LONG", "SHORT", "SHORT"],
        "conviction": [0.9, 0.8, 0.7, 0.6],
    }
    assert winners(frame, floor=1, cap=4, top=1) == ["A", "C"]


def test_the_other_venue_steps_in_when_the_better_one_is_vetoed():
    frame = {
        "symbol": ["X:A", "Y:A", "X:B"],
        "conviction": [0.9, 0.8, 0.1],
        "zero_return_share": [0.5, 0.0, 0.0],
    }
    found = ladder(candidates(frame), LadderParams(floor=2, cap=3))
    assert dict(found.select("symbol", "reason").iter_rows()) == {
        "X:A": "vetoed",
        "Y:A": "selected_strict",
        "X:B": "selected_strict",
    }


def by_symbol(frame, **policy):
    return dict(ladder(candidates(frame), LadderParams(**policy)).select("symbol", "reason").iter_rows())


def test_one_identity_wins_once_whatever_the_cluster_of_its_venues():
    frame = {"symbol": ["X:T", "Y:T"], "conviction": [0.8, 0.9], "cluster": [1, 2]}
    for floor in (1, 3):
        assert by_symbol(frame, floor=floor, cap=3) == {"X:T": "other_venue", "Y:T": "selected_strict"}


def test_an_empty_cluster_is_not_forced_full_with_another_venue_of_a_winner():
    frame = {
        "symbol": ["X:T", "Y:T", "Y:U", "X:U", "X:V"],
        "conviction": [0.9, 0.8, 0.7, 0.6, 0.5],
        "cluster": [1, 2, 2, 3, 3],
        "efficiency": [0.5, 0.0, 0.0, 0.0, 0.0],
    }
    assert by_symbol(frame, floor=3, cap=5) == {
        "X:T": "selected_strict",
        "Y:T": "vetoed",
        "Y:U": "selected_forced",
        "X:U": "vetoed",
        "X:V": "selected_forced",
    }


def test_nobody_enters_against_missing_metadata_or_without_membership_at_any_stage():
    frame = crowd([0.9, 0.8, 0.7], missing_metadata=[1, 0, 0], is_eligible=[True, False, True])
    assert reasons(frame, floor=3, cap=3) == {"A": "vetoed", "B": "not_eligible", "C": "selected_strict"}


def test_an_empty_cross_section_has_an_empty_verdict():
    frame = candidates(crowd([0.9], efficiency=[0.5])).clear()
    found = ladder(frame, LadderParams())
    assert found.is_empty()
    assert found.schema["stage"] == pl.Int8


def random_candidates(rng, size):
    def maybe(values, share):
        return [None if rng.random() < share else value for value in values]

    sides = rng.choice(["LONG", "SHORT"], size).tolist()
    frame = pl.DataFrame(
        {
            "symbol": [f"{rng.choice(['X', 'Y'])}:T{rng.integers(0, size)}" for _ in range(size)],
            "direction": sides,
            "cluster": maybe(rng.integers(1, 5, size).tolist(), 0.1),
            "conviction": maybe((rng.integers(1, 9, size) / 10).tolist(), 0.1),
            "sector": maybe(rng.choice(["a", "b", "c", "d"], size).tolist(), 0.3),
            "is_eligible": (rng.random(size) < 0.9).tolist(),
            "efficiency": maybe(np.abs(rng.normal(size=size) * 0.3).tolist(), 0.2),
            "kurtosis": maybe((rng.random(size) * 25).tolist(), 0.2),
            "missing_metadata": (rng.random(size) < 0.1).astype(int).tolist(),
        }
    ).unique(["symbol", "direction"], keep="first", maintain_order=True)
    eligible = pl.col("is_eligible").first().over("symbol")
    cluster = pl.col("cluster").first().over("symbol")
    return candidates(frame.with_columns(eligible, cluster))


def climbed_by_hand(frame, policy, floor, cap):
    rows = frame.sort("symbol", "direction").to_dicts()
    rows.sort(key=lambda row: -(row["conviction"] or 0.0))
    won = {}

    def vetoed(row, efficiency):
        low = row["efficiency"] is not None and row["efficiency"] < efficiency
        fat = row["kurtosis"] is not None and row["kurtosis"] > 20.0
        return low or fat or row["missing_metadata"] > 0

    def key(row):
        return row["symbol"], row["direction"]

    def won_in(test):
        return sum(1 for row in rows if key(row) in won and test(row))

    def kept():
        size = min(cap, len(won))
        while True:
            seats, taken, fit = max(1, int(policy.sector_limit * size + 1e-9)), {}, []
            for row in sorted((row for row in rows if key(row) in won), key=lambda row: won[key(row)]):
                taken[row["sector"]] = taken.get(row["sector"], 0) + 1
                if row["sector"] is None or taken[row["sector"]] <= seats:
                    fit.append(key(row))
            if min(cap, len(fit)) == size:
                return {name: won[name] for name in fit[:cap]}
            size = min(cap, len(fit))

    def same_venue(row):
        return lambda other: other["identity"] == row["identity"]

    live = [row for row in rows if row["is_eligible"] and row["conviction"] is not None]
    for stage, efficiency in ((1, policy.strict_limits["efficiency"]), (2, policy.relaxed_limits["efficiency"])):
        for row in live:
            seat = won_in(lambda other, r=row: (other["cluster"], other["direction"]) == (r["cluster"], r["direction"]))
            if row["cluster"] and not vetoed(row, efficiency) and seat < policy.top and not won_in(same_venue(row)):
                first = next(r for r in live if r["cluster"] and same_venue(row)(r) and not vetoed(r, efficiency))
                if first is row:
                    won[key(row)] = stage
        if len(kept()) >= floor:
            return kept()
    for row in live:
        is_met = won_in(lambda o, r=row: o["cluster"] == r["cluster"]) or won_in(same_venue(row))
        if row["cluster"] and not row["missing_metadata"] and not is_met:
            won[key(row)] = 3
    while len(kept()) < floor:
        left = [r for r in live if not r["missing_metadata"] and key(r) not in won and not won_in(same_venue(r))]
        if not left:
            break
        won[key(min(left, key=lambda row: won_in(lambda o: o["cluster"] == row["cluster"])))] = 4
    return kept()


@pytest.mark.parametrize("seed", range(60))
def test_the_ladder_agrees_with_climbing_by_hand(seed):
    rng = np.random.default_rng(seed)
    frame = random_candidates(rng, int(rng.integers(1, 40)))
    floor = int(rng.integers(1, 12))
    policy = LadderParams(floor=floor, cap=floor + int(rng.integers(0, 6)), top=int(rng.integers(1, 4)))
    found = ladder(frame, policy).filter("is_selected")
    selected = {
        (symbol, side): stage for symbol, side, stage in found.select("symbol", "direction", "stage").iter_rows()
    }
    assert selected == climbed_by_hand(frame, policy, policy.floor, policy.cap)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_in_the_promises_of_the_ladder_hold(seed):
    rng = np.random.default_rng(1000 + seed)
    frame = random_candidates(rng, int(rng.integers(5, 80)))
    policy = LadderParams(floor=6, cap=10, top=2)
    found = ladder(frame, policy)
    chosen = found.filter("is_selected")
    assert found.select(frame.columns).equals(frame.sort("symbol", "direction"))
    assert (found["stage"].is_not_null() == found["is_selected"]).all()
    assert (found["reason"].str.starts_with("selected") == found["is_selected"]).all()
    assert chosen.height <= 10
    assert chosen.filter(pl.col("missing_metadata") > 0).is_empty()
    assert chosen["is_eligible"].all()
    assert chosen["conviction"].null_count() == 0
    assert not chosen.select("cluster", "identity").is_duplicated().any()
    seats = chosen.filter(pl.col("stage") <= 2).group_by("cluster", "direction").len()["len"]
    assert seats.max() is None or seats.max() <= 2
    sectors = chosen.drop_nulls("sector").group_by("sector").len()["len"]
    assert sectors.max() is None or sectors.max() <= max(1, int(0.4 * chosen.height))
