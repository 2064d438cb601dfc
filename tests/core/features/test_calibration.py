from __future__ import annotations

import numpy as np
import pytest

from quant_core.errors import UnknownNameError
from quant_core.features.predictability import entropy, entropy_length, entropy_z, hurst, hurst_length, hurst_z
from quant_core.features.predictability import tied_patterns as ties
from quant_core.statistics.calibration import (
    HIGHEST_SCORE,
    chi_square_p,
    half_normal_score,
    normal_score,
    null_quantiles,
    unit_root_p,
)
from quant_core.statistics.null_tables import DRAWS, FILE, NULLS, SCORES, quantiles

WINDOWS = {"entropy_5": 120, "hurst": 252}
MANY = 8_000


def scores(name: str, x: np.ndarray) -> np.ndarray:
    """Return the last row's normal scores of columns of returns."""
    if name == "hurst":
        return hurst_z(hurst(x), hurst_length(x))[-1]
    return entropy_z(entropy(x, ties(x)), entropy_length(x))[-1]


@pytest.mark.parametrize("name", sorted(NULLS))
def test_the_script_makes_the_table_again(name: str) -> None:
    null, rng = NULLS[name], np.random.default_rng(4)
    for n in (null.lengths[0], max(n for n in null.lengths if n <= WINDOWS[name] + 3)):
        row = null_quantiles(name, n)
        assert row is not None
        again = quantiles(null, n, MANY, rng)
        # Where the density is phi(z) per deviation, a quantile of M draws is off by sqrt(p (1 - p) / M) / phi(z).
        inner = slice(4, -4)
        deviation = row[SCORES.index(1.0)] - row[SCORES.index(0.0)]
        assert np.abs(again[inner] - row[inner]).max() < 0.15 * deviation


def test_the_table_is_small_rises_and_says_how_it_was_made() -> None:
    assert FILE.stat().st_size < 8_192
    text = FILE.read_text()
    assert f'"draws": {DRAWS}' in text
    for name, null in NULLS.items():
        for n in null.lengths:
            row = null_quantiles(name, n)
            assert row is not None
            assert (np.diff(row) > 0.0).all()


@pytest.mark.parametrize("name", sorted(NULLS))
@pytest.mark.parametrize("tail", ["normal", "uniform", "t"])
def test_scores_of_independent_returns_are_standard_normal_whatever_their_tails(name: str, tail: str) -> None:
    rng, shape = np.random.default_rng(5), (WINDOWS[name], MANY)
    draws = {"normal": rng.standard_normal, "uniform": rng.random, "t": lambda size: rng.standard_t(4, size)}
    z = scores(name, draws[tail](shape) * 0.02 - (0.01 if tail == "uniform" else 0.0))
    # Entropy knows ranks alone. Rescaled ranges of fat tails are a little narrower and lower.
    slack = 0.12 if name == "hurst" and tail == "t" else 0.04
    assert z.mean() == pytest.approx(0.0, abs=slack)
    assert z.std() == pytest.approx(1.0, abs=slack)
    assert (np.abs(z) < 0.25).mean() == pytest.approx(0.197, abs=0.02)


@pytest.mark.parametrize(("name", "n"), [("entropy_5", 93), ("entropy_5", 137), ("hurst", 110), ("hurst", 235)])
def test_between_the_rows_of_the_table_scores_are_standard_normal_too(name: str, n: int) -> None:
    values = NULLS[name].statistic(np.random.default_rng(6).standard_normal((n, MANY)))
    z = normal_score(values, np.full(MANY, float(n)), name)
    assert z.mean() == pytest.approx(0.0, abs=0.04)
    assert z.std() == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("name", sorted(NULLS))
def test_a_few_gaps_leave_scores_standard_normal(name: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((WINDOWS[name], MANY))
    x[rng.random(x.shape) < 0.01] = np.nan
    z = scores(name, x)
    known = z[~np.isnan(z)]
    assert known.size > 0.85 * MANY
    assert known.mean() == pytest.approx(0.0, abs=0.04)
    assert known.std() == pytest.approx(1.0, abs=0.04)


def test_ties_below_the_limit_do_not_move_the_score_and_above_it_there_is_none() -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((120, MANY))
    x[rng.random(x.shape) < 0.08] = 0.0
    share, z = ties(x)[-1], scores("entropy_5", x)
    assert np.isnan(z[share > 0.1]).all()
    assert not np.isnan(z[share <= 0.1]).any()
    assert 0.02 < (share > 0.1).mean() < 0.5
    assert z[share <= 0.1].mean() == pytest.approx(0.0, abs=0.05)


def test_nothing_is_said_of_fewer_than_90_values_or_beyond_the_table() -> None:
    values = np.full(4, 0.9)
    found = normal_score(values, np.array([89.0, 90.0, 511.0, 512.0]), "entropy_5")
    assert np.isnan(found).tolist() == [True, False, False, True]
    assert np.isnan(normal_score(np.array([np.nan]), np.array([120.0]), "entropy_5"))[0]


def test_scores_end_where_the_table_ends() -> None:
    found = normal_score(np.array([0.0, 1.0]), np.array([120.0, 120.0]), "entropy_5")
    assert found.tolist() == [-HIGHEST_SCORE, HIGHEST_SCORE]
    assert max(SCORES) == -min(SCORES) == HIGHEST_SCORE


def test_an_unknown_table_lists_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="hurst"):
        normal_score(np.ones(1), np.full(1, 120.0), "hurts")


def test_the_efficiency_of_independent_returns_has_standard_normal_scores() -> None:
    x = np.random.default_rng(9).standard_t(4, (120, MANY))
    z = half_normal_score(np.abs(x.sum(axis=0)) / np.sqrt(np.square(x).sum(axis=0)))
    assert z.mean() == pytest.approx(0.0, abs=0.04)
    assert z.std() == pytest.approx(1.0, abs=0.04)


def test_p_values_of_independent_returns_are_uniform_at_five_percent() -> None:
    from quant_core.features.predictability import adf, ljung_box

    x = np.random.default_rng(10).standard_normal((252, MANY)) * 0.01
    assert (chi_square_p(ljung_box(x)[-1], 5) < 0.05).mean() == pytest.approx(0.05, abs=0.012)
    assert (unit_root_p(adf(x)[-1]) < 0.05).mean() == pytest.approx(0.05, abs=0.012)
