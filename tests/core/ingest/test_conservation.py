from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quant_core.graph.judge import judge
from quant_core.ingest.bars import bars
from quant_core.ingest.cleaning.jumps_and_stalls import FLAGS
from quant_core.market.contracts.ingest import Actions, Bars, Raw
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve

DAY, SIZE, SYMBOLS = date(2024, 1, 1), 64, 3  # a Monday
SLEEVE = Sleeve(name="x", calendar="24/5")
PRICES = ("open", "high", "low", "close")
# What each defect does to a row, and the rule that must take it; None: the row stays.
DEFECTS: dict[str, str | None] = {
    "null_close": "close_not_known",
    "zero_close": "close_not_positive",
    "zero_open": "open_not_positive",
    "negative_high": "high_not_positive",
    "negative_low": "low_not_positive",
    "negative_volume": "volume_negative",
    "high_below_low": "high_below_low",
    "open_outside": "open_outside_range",
    "close_outside": "close_outside_range",
    "copy": "duplicate_row",
    "restated": "restated_row",
    "late": "restated_row",
    "weekend": "off_session",
    "spike": "toxic_bar",
    "crash": "toxic_bar",
    "stray": "far_future",
    "early": "far_future",
    "null_open": None,
    "null_volume": None,
    "zero_volume": None,
    "doubled": None,
}
# One contract rule can be broken by a row of its own only; these are never broken here: no source can send them.
OUT_OF_REACH = {"date_not_known", "symbol_not_known", "symbol_malformed"}
PLAN = st.lists(st.sampled_from(["none", *DEFECTS]), max_size=14)
LIMITS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Land = Callable[[pl.DataFrame], pl.DataFrame]


def sessions() -> list[date]:
    return [day for k in range(2 * SIZE) if (day := DAY + timedelta(days=k)).weekday() < 5][:SIZE]


def clean(seed: int) -> pl.DataFrame:
    """Bars of some symbols on the sessions of weekdays; next to further symbols three rows of a date are thin."""
    rng = np.random.default_rng(seed)
    size = SYMBOLS * SIZE
    close = 100.0 * np.exp(0.01 * rng.standard_normal(size))
    frame = pl.DataFrame(
        {
            "date": sessions() * SYMBOLS,
            "symbol": np.repeat([f"A:S{k}" for k in range(SYMBOLS)], SIZE),
            "open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": close * 10,
        }
    )  # fmt: skip
    crowd = pl.DataFrame({"symbol": [f"B:C{k:02d}" for k in range(70)]}).join(frame[:5].drop("symbol"), how="cross")
    stamp = pl.lit(None, pl.Datetime("us", "UTC"))
    return pl.concat([frame, crowd.select(frame.columns)]).with_columns(known_at=stamp)


def corrupted(plan: list[str], seed: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """Plant each defect of the plan into a row of its own, far enough from the next; say what must be excluded."""
    frame, extra, expected = clean(seed), [], dict[str, int]()
    rows = [symbol * SIZE + k for symbol in range(SYMBOLS) for k in range(6, SIZE - 6, 10)]
    changes: list[tuple[int, dict[str, Any]]] = []
    for at, defect in zip(rows, plan, strict=False):
        if defect == "none":
            continue
        row = frame.row(at, named=True)
        changed = defective(defect, row)
        if defect in ("copy", "restated", "weekend", "stray", "early"):
            extra.append(changed)
        elif defect == "late":
            # The row in its place says something else; the sound one comes later.
            extra.append(row | {"known_at": datetime(2025, 1, 1, tzinfo=UTC)})
            changes.append((at, changed))
        else:
            changes.append((at, changed))
        if (rule := DEFECTS[defect]) is not None:
            expected[rule] = expected.get(rule, 0) + 1
    told = frame.rows(named=True)
    for at, changed in changes:
        told[at] = changed
    before = [row for row in extra if row["known_at"] is None]
    after = [row for row in extra if row["known_at"] is not None]
    return pl.DataFrame([*before, *told, *after], schema=frame.schema), expected


def defective(defect: str, row: dict[str, Any]) -> dict[str, Any]:
    what, _, column = defect.rpartition("_")
    if what in ("null", "zero", "negative"):
        return row | {column: {"null": None, "zero": 0.0, "negative": -1.0}[what]}
    change: dict[str, Any] = {
        "high_below_low": {"high": row["low"], "low": row["high"]},
        "open_outside": {"open": row["high"] * 1.1},
        "close_outside": {"close": row["low"] * 0.9},
        "restated": {"volume": 1.0},
        "late": {"volume": 1.0},
        "weekend": {"date": row["date"] + timedelta(days=5 - row["date"].weekday())},
        "stray": {"date": date(2031, 1, 6) + timedelta(days=7 * (row["date"] - DAY).days)},
        "early": {"date": sessions()[-2], "known_at": datetime(2024, 1, 2, tzinfo=UTC)},
        "spike": {name: row[name] * 30.0 for name in PRICES},
        "crash": {name: row[name] * 0.03 for name in PRICES},
        "doubled": {name: row[name] * 1.9 for name in PRICES},
    }.get(defect, {})
    return row | change


def parted(landed: pl.DataFrame) -> Split:
    done = judge(bars, bars(landed, Actions.empty(), sleeve=SLEEVE), rows_in={"raw": landed.height})
    assert not [said for said in done.broken if not said.startswith("budget")]
    return done


def without_places(lost: pl.DataFrame) -> pl.DataFrame:
    """Exclusions but for the numbers of rows, in an order of their own."""
    return lost.drop("row").with_columns(pl.col("detail").str.replace(r"row \d+", "row")).sort(pl.all())


@LIMITS
@example(plan=["stray", *["none"] * 5, "stray", *["none"] * 5, "stray"], seed=0)  # three on one date
@given(plan=PLAN, seed=st.integers(0, 99))
def test_every_row_leaves_once_under_the_rule_that_was_broken(plan: list[str], seed: int, landing: Land) -> None:
    rows, expected = corrupted(plan, seed)
    landed = landing(rows)
    found = parted(landed)
    assert found.excluded == dict(sorted(expected.items()))
    assert found.valid.height + found.exclusions.height == landed.height
    assert found.exclusions["row"].n_unique() == found.exclusions.height
    told = {row["row"]: row for row in landed.select("row", "date", "symbol").iter_rows(named=True)}
    assert all(
        told[row["row"]] == row for row in found.exclusions.select("row", "date", "symbol").iter_rows(named=True)
    )


@LIMITS
@given(plan=PLAN, seed=st.integers(0, 99))
def test_the_valid_rows_of_a_run_lose_nothing_more(plan: list[str], seed: int, landing: Land) -> None:
    first = parted(landing(corrupted(plan, seed)[0])).valid
    again = parted(landing(first.select("date", "symbol", *PRICES, "volume")))
    assert again.exclusions.is_empty()
    assert again.valid.drop("flags").equals(first.drop("flags"))


@LIMITS
@given(plan=PLAN, seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_where_rows_stand_says_nothing_only_when_they_came(
    plan: list[str], seed: int, shuffle: Any, landing: Land
) -> None:
    landed = landing(corrupted(plan, seed)[0])
    order = list(range(landed.height))
    shuffle.shuffle(order)
    found, moved = parted(landed), parted(landed[order])
    assert moved.valid.equals(found.valid)
    assert moved.exclusions.sort("row").equals(found.exclusions.sort("row"))
    assert parted(landed).exclusions.equals(found.exclusions)


@LIMITS
@given(plan=PLAN, seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_rows_of_other_keys_may_arrive_in_any_order(plan: list[str], seed: int, shuffle: Any, landing: Land) -> None:
    rows = corrupted(plan, seed)[0]
    keys = rows.select("date", "symbol").unique(maintain_order=True).with_row_index("key")
    rank = list(range(keys.height))
    shuffle.shuffle(rank)
    # Rows with one key stay in their order.
    moved = rows.join(keys.with_columns(rank=pl.Series(rank)), on=["date", "symbol"], how="left", maintain_order="left")
    moved = moved.sort("rank", maintain_order=True).select(rows.columns)
    found, then = parted(landing(rows)), parted(landing(moved))
    assert then.valid.equals(found.valid)
    assert without_places(then.exclusions).equals(without_places(found.exclusions))


CHAOS = st.lists(
    st.tuples(
        st.integers(0, 19),
        st.sampled_from(["A:X", "A:Y"]),
        st.lists(st.sampled_from([1.0, 1.1, 1.2, 7.0, 0.1, 0.0, -1.0, None]), min_size=5, max_size=5),
        st.sampled_from([None, None, datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 20, tzinfo=UTC)]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=CHAOS)
def test_no_row_of_any_mess_is_lost_or_kept_twice(rows: list[Any], landing: Land) -> None:
    frame = pl.DataFrame(
        [(DAY + timedelta(days=k), symbol, *values, stamp) for k, symbol, values, stamp in rows],
        schema={name: Raw.dtypes[name] for name in ("date", "symbol", *PRICES, "volume", "known_at")},
        orient="row",
    )
    landed = landing(frame)
    always = Sleeve(name="x", calendar="24/7")
    found = bars(landed, Actions.empty(), sleeve=always)
    lost = landed.filter(~pl.col("row").is_in(found.exclusions["row"].implode()))
    assert found.valid.height + found.exclusions.height == landed.height
    assert found.exclusions["row"].is_unique().all()
    assert found.valid.select("date", "symbol", *PRICES, "volume").equals(
        lost.sort("symbol", "date").select("date", "symbol", *PRICES, "volume")
    )
    again = bars(landing(found.valid.select("date", "symbol", *PRICES, "volume")), Actions.empty(), sleeve=always)
    # Of prices that dance without end a trial counts other bars once the toxic ones are gone.
    assert not {*again.excluded} - {"toxic_bar"}


def test_every_rule_on_rows_of_the_contract_is_planted() -> None:
    rules = {name for name, holds in Bars.holds.items() if set(holds.meta.root_names()) <= set(Raw.dtypes)}
    finite = {name for name in rules if name.endswith("_not_finite")}
    assert rules - finite - OUT_OF_REACH == {rule for rule in DEFECTS.values() if rule in rules}


@pytest.mark.parametrize("code", range(1 << len(FLAGS)))
def test_flags_are_named_in_their_order(code: int) -> None:
    from quant_core.ingest.cleaning.jumps_and_stalls import _FLAGS

    assert _FLAGS[code] == ",".join(name for k, name in enumerate(FLAGS) if code >> k & 1)
