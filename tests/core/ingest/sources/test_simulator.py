from typing import Any

import numpy as np
import polars as pl
import pytest

from quant_core.errors import ConfigError, SourceError
from quant_core.ingest.sources.simulator import RETURN_BOUNDS, SimulatedMarket, SimulatorParams, simulate
from quant_core.ingest.sources.source import sources
from quant_core.market.calendar import calendar
from quant_core.market.panel import Matrix

EVERY_DEFECT = {
    "duplicate_rows": 12, "restated_rows": 8, "high_below_low": 6, "negative_prices": 4, "off_range": 6,
    "toxic_spikes": 8, "stale_runs": 4,
}  # fmt: skip


def simulated(name: str = "24/7", **options: Any) -> SimulatedMarket:
    return simulate(SimulatorParams.model_validate(options), calendar(name))


def mean_ic(scores: Matrix, later: Matrix) -> tuple[float, float]:
    """Mean over bars of the correlation across symbols of scores at t with returns of t+1, and its standard error."""
    found = []
    for score, change in zip(scores[:-1], later[1:], strict=True):
        both = np.isfinite(score) & np.isfinite(change)
        if both.sum() > 20:
            found.append(np.corrcoef(score[both], change[both])[0, 1])
    return float(np.mean(found)), float(np.std(found) / np.sqrt(len(found)))


def test_one_seed_is_one_market_and_another_seed_another() -> None:
    assert simulated(bars=300).rows.equals(simulated(bars=300).rows)
    assert not simulated(bars=300).rows.equals(simulated(bars=300, seed=8).rows)


@pytest.mark.parametrize("ic", [0.0, 0.06, 0.2])
def test_the_signal_is_as_strong_as_stated(ic: float) -> None:
    truth = simulated(ic=ic)
    measured, error = mean_ic(truth.signal.values, truth.truth.values)
    assert measured == pytest.approx(ic, abs=3.5 * error)
    assert error < 0.005


def test_past_returns_see_a_part_of_the_signal() -> None:
    truth = simulated(ic=0.1)
    path = np.cumsum(np.log1p(np.nan_to_num(truth.truth.values)), axis=0)
    momentum = np.full_like(path, np.nan)
    momentum[60:] = path[60:] - path[:-60]
    momentum[:150] = np.nan
    measured, error = mean_ic(momentum, truth.truth.values)
    assert 4 * error < measured < 0.1


def test_every_planted_defect_is_found_and_nothing_else(ingest_source: Any) -> None:
    expected = simulated(defects=EVERY_DEFECT).expected
    done = ingest_source("simulator", defects=EVERY_DEFECT)
    assert done.excluded() == dict(sorted(expected.items()))
    assert expected["toxic_bar"] == 12
    assert expected["stalled"] == 44
    clean = ingest_source("simulator")
    assert clean.lost.is_empty()
    assert not clean.bars["is_provisional"].any()


def test_a_defect_changes_its_own_bars_only(ingest_source: Any) -> None:
    clean, dirty = ingest_source("simulator").bars, ingest_source("simulator", defects=EVERY_DEFECT).bars
    columns = ["date", "symbol", "open", "close", "volume"]
    flat = dirty.filter(~pl.col("flags").str.contains("stall")).select(columns)
    unchanged = flat.join(clean.select(columns), on=columns, how="inner").height
    assert flat.height - unchanged <= 4 * 4  # the first bars of a stale run, not flagged yet


def test_listings_and_deaths_are_those_stated(ingest_source: Any) -> None:
    truth = simulated(late=0.25, deaths=5)
    done = ingest_source("simulator", late=0.25, deaths=5)
    died = done.lives.filter(pl.col("event") == "death")["symbol"].sort().to_list()
    assert died == list(truth.deaths)
    late = done.bars.group_by("symbol").agg(pl.col("date").min()).filter(pl.col("date") > done.bars["date"].min())
    assert late.height == 24


def test_the_market_opens_on_the_sessions_of_its_calendar_only(ingest_source: Any) -> None:
    done = ingest_source("simulator", "XNYS", bars=300)
    assert done.lost.is_empty()
    assert done.bars["date"].n_unique() == 300


def test_honest_bars_are_plausible() -> None:
    rows, truth = simulated().rows, simulated().truth.values
    known = truth[np.isfinite(truth)]
    assert known.min() >= RETURN_BOUNDS[0]
    assert known.max() <= RETURN_BOUNDS[1]
    traded = rows.select((pl.col("close") * pl.col("volume")).alias("value"))["value"]
    assert 1e5 < traded.quantile(0.05) < traded.quantile(0.95) < 1e10
    spread = (known - known.mean()) / known.std()
    assert np.mean(spread**4) > 4.0  # tails fatter than normal


def test_more_defects_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(SourceError, match="defects asked for; this market has room for"):
        simulated(bars=300, defects={"toxic_spikes": 5000})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"symbols": 10}, "symbols: Input should be greater than or equal to 80"),
        ({"start": "2021-02-30"}, "start: Value error"),
        ({"defects": {"stale_run": 1}}, "defects.stale_run: Extra inputs"),
    ],
)
def test_options_out_of_bounds_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sources()["simulator"].options(options)
