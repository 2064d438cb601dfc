from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_core.market.panel import Mask
from quant_core.market.universe import universe_mask

DAY = date(2024, 1, 1)
EVENTS = st.sampled_from(
    ["calm"] * 6 + ["up", "back", "down", "spike", "crash", "shy", "dip", "gap", "long_gap", "broken", "stall"]
)
SHIFTS = {"up": 8.0, "back": 0.125, "down": 0.05, "spike": 30.0, "crash": 0.01, "shy": 3.0, "dip": 0.3}
PATHS = st.lists(st.tuples(EVENTS, st.integers(1, 6)), min_size=2, max_size=12)


def path_of(events: list[tuple[str, int]]) -> list[float | None]:
    """Closes of one symbol that live through the events named, each a number of bars long."""
    close, level = [100.0], 100.0
    for k, (event, size) in enumerate(events):
        if event in ("gap", "long_gap"):
            close += [None] * (size if event == "gap" else 18 + size)
        elif event == "broken":
            close += [-1.0] * (15 + 2 * size)
        elif event == "stall":
            close += [level] * (16 + 2 * size)
        else:
            shift = SHIFTS.get(event, 1.0)
            close += [level * shift * (1.0 + 0.01 * ((k + j) % 5)) for j in range(size)]
            level *= shift if event in ("up", "back", "down") else 1.0
    return close


def members(done: Any, days: list[date], symbols: list[str]) -> Mask:
    return universe_mask(done.universe, pl.Series(days), symbols)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, min_size=1, max_size=3), share=st.floats(0.1, 0.95))
def test_who_is_a_member_at_a_date_does_not_depend_on_later_data(
    paths: list[Any], share: float, ingest: Callable[..., Any], closes_of: Callable[..., pl.DataFrame]
) -> None:
    made = {f"A:S{k}": path_of(path) for k, path in enumerate(paths)}
    size = max(len(path) for path in made.values())
    # As many whole series as holey ones, or the calendar would look wrong.
    made |= {name: [1.0 + 0.1 * (k % 3) for k in range(size)] for name in ("A:ALL", "A:ALL2", "A:ALL3")}
    landed = closes_of(made)
    cut = DAY + timedelta(days=int(share * len(made["A:ALL"])))
    # The budget of defects per symbol judges all rows a run may know; it is set aside here.
    options = {"floor": 3, "defect_share": 1.0}
    full, then = ingest(landed, **options), ingest(landed.filter(pl.col("date") <= cut), **options)
    days = [DAY + timedelta(days=k) for k in range((cut - DAY).days + 1)]
    symbols = sorted(made)
    assert np.array_equal(members(full, days, symbols), members(then, days, symbols))


def test_events_known_at_a_date_are_those_of_a_run_at_that_date(ingest: Any, closes_of: Any) -> None:
    gappy = [1.0, 1.1, None, 1.2, *[None] * 25, *[1.0, 1.1] * 20]
    landed = closes_of({"A:X": gappy, "A:ALL": [1.0, 1.2] * (len(gappy) // 2)})
    full = ingest(landed).lives
    for days in range(1, len(gappy)):
        cut = DAY + timedelta(days=days)
        then = ingest(landed.filter(pl.col("date") <= cut)).lives
        known = full.filter(pl.col("known_at").dt.date() <= cut + timedelta(days=1))
        assert known.sort("symbol", "date", "event").equals(then.sort("symbol", "date", "event"))


@pytest.mark.parametrize("as_of", ["2021-11-20", "2022-06-01", "2023-03-05"])
def test_an_earlier_run_of_the_whole_room_agrees_with_the_later_one(ingest_source: Any, as_of: str) -> None:
    defects = {"toxic_spikes": 20, "stale_runs": 10, "restated_rows": 10, "negative_prices": 20}
    full = ingest_source("simulator", defects=defects)
    then = ingest_source("simulator", defects=defects, as_of=as_of)
    last = date.fromisoformat(as_of) - timedelta(days=1)
    assert then.bars["date"].max() == last  # the bar of the day itself is known at its end
    days = pl.date_range(full.bars["date"].min(), last, "1d", eager=True).to_list()
    symbols = sorted(set(full.bars["symbol"]))
    assert np.array_equal(members(full, days, symbols), members(then, days, symbols))
    settled = then.bars.filter(~pl.col("is_provisional"))
    assert settled.join(full.bars, on=full.bars.columns, how="anti").is_empty()


def test_an_earlier_run_still_shows_the_bar_whose_trial_was_open(ingest: Any, closes_of: Any) -> None:
    landed = closes_of({"A:X": [10.0, 11.0, 300.0, 12.0, 11.0]})
    then = ingest(landed.filter(pl.col("date") <= DAY + timedelta(days=2)))
    assert then.bars.sort("date").select("close", "is_provisional").rows()[-1] == (300.0, True)
    assert then.return_at("A:X", DAY + timedelta(days=2)) is None
    assert ingest(landed).excluded() == {"toxic_bar": 1}
