"""Numbers that were measured once and decided: what predictability is on noise, on trends, on nothing."""

from __future__ import annotations

import numpy as np
import pytest

from quant_core.features import predictability as features
from quant_core.kernels.complexity import move_permutation_entropy
from quant_core.kernels.moving import move_kurtosis, move_skewness
from quant_core.kernels.scaling import estimate_hurst
from quant_core.synthesis.vetoes import EFFICIENCY, ENTROPY, HURST

MANY = 8_000


def noise(rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, MANY))


def column(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values[:, None], dtype=np.float64)


def kaufman(x: np.ndarray) -> np.ndarray:
    """Return abs(sum x) / sum abs(x), which the self-normalised efficiency replaces."""
    return np.abs(x.sum(axis=0)) / np.abs(x).sum(axis=0)


@pytest.mark.parametrize(("n", "mean"), [(60, 0.784), (120, 0.878), (250, 0.945), (500, 0.975), (2000, 0.994)])
def test_the_entropy_of_noise_is_far_from_one_on_short_windows(n: int, mean: float) -> None:
    x = noise(n)[:, : 2_000_000 // n]
    found = move_permutation_entropy.apply(np.ascontiguousarray(x), n, 5, 1)[-1]
    assert found.mean() == pytest.approx(mean, abs=0.003)


def test_hurst_of_noise_is_one_half_once_its_expectation_is_taken_off() -> None:
    exponents = np.empty(MANY)
    estimate_hurst(noise(252), 8, 2, 252, exponents)
    assert exponents.mean() == pytest.approx(0.495, abs=0.004)
    assert exponents.std() == pytest.approx(0.062, abs=0.003)
    # The slope of ln E[R/S] over 8, 16, 32 and 64 is 0.5905: that much more, and noise has 0.583 uncorrected.
    assert exponents.mean() + 0.0905 == pytest.approx(0.583, abs=0.006)


def test_kaufmans_ratio_on_noise_is_one_over_the_root_of_the_window_and_ours_half_normal() -> None:
    x = noise(120)
    assert 0.0895 < kaufman(x).mean() < 0.0955
    own = features.efficiency(x)[-1]
    assert own.mean() == pytest.approx(np.sqrt(2.0 / np.pi), abs=0.015)


def test_a_straight_trend_has_no_entropy_and_all_the_efficiency_there_is() -> None:
    rising = column(np.arange(1.0, 301.0))
    assert features.entropy(rising, features.tied_patterns(rising))[-1, 0] == 0.0
    assert features.entropy_z(np.zeros((1, 1)), np.full((1, 1), 120.0))[0, 0] == -3.0
    steady = column(np.full(300, 0.01))
    assert kaufman(steady)[0] == pytest.approx(1.0)
    assert features.efficiency(steady)[-1, 0] == pytest.approx(np.sqrt(120.0))


def test_an_alternating_series_has_little_entropy_and_no_efficiency() -> None:
    sign = column(np.where(np.arange(300) % 2, 1.0, -1.0))
    assert move_permutation_entropy.apply(sign, 120, 5, 100)[-1, 0] == pytest.approx(0.1448, abs=1e-3)
    assert features.efficiency(sign)[-1, 0] == pytest.approx(0.0, abs=1e-12)
    # Two values make every pattern a tie: the feature does not speak of the rule that orders them.
    assert np.isnan(features.entropy(sign, features.tied_patterns(sign))).all()


@pytest.mark.parametrize("value", [0.0, 0.01])
def test_constant_returns_have_no_shape_no_memory_and_no_entropy(value: float) -> None:
    x = column(np.full(300, value))
    tied = features.tied_patterns(x)
    unknown = [
        features.entropy(x, tied),
        features.hurst(x),
        features.dfa(x),
        features.autocorrelation(x),
        features.ljung_box(x),
        features.variance_ratio(x),
        features.memory_depth(x),
        features.half_life(x),
        features.adf(x),
        move_skewness.apply(x, 252, 227),
        move_kurtosis.apply(x, 252, 227),
    ]
    assert all(np.isnan(found).all() for found in unknown)
    assert tied[-1, 0] == 1.0


def test_a_window_without_a_whole_pattern_is_not_known_rather_than_orderly() -> None:
    x = noise(300)[:, :1].copy()
    x[::5] = np.nan
    assert np.isnan(move_permutation_entropy.apply(x, 120, 5, 1)).all()


def test_half_to_two_thirds_of_noise_pass_the_three_vetoes_of_predictability() -> None:
    x = noise(252, seed=2) * 0.02
    entropy = features.entropy(x, features.tied_patterns(x))
    z = features.entropy_z(entropy, features.entropy_length(x))[-1]
    efficiency = features.efficiency(x)[-1]
    hurst = features.hurst_z(features.hurst(x), features.hurst_length(x))[-1]
    passes = [
        ~ENTROPY.fires(z, ENTROPY.strict),
        ~EFFICIENCY.fires(efficiency, EFFICIENCY.strict),
        ~HURST.fires(hurst, HURST.strict),
    ]
    alone = [float(one.mean()) for one in passes]
    assert alone == pytest.approx([0.841, 0.841, 0.803], abs=0.02)
    together = np.logical_and.reduce(passes).mean()
    assert 0.50 <= together <= 0.65
    assert together == pytest.approx(np.prod(alone), abs=0.02)


def test_a_trend_and_a_reversal_are_told_from_noise() -> None:
    rng, path = np.random.default_rng(3), np.zeros((252, 500))
    for t in range(1, 252):
        path[t] = 0.6 * path[t - 1] + rng.standard_normal(500)
    for x, sign in ((path, 1.0), (np.diff(path, axis=0, prepend=0.0), -1.0)):
        z = features.hurst_z(features.hurst(x), features.hurst_length(x))[-1]
        assert sign * np.nanmean(z) > 0.8
        assert sign * (np.nanmean(features.variance_ratio(x)[-1]) - 1.0) > 0.4
        assert np.nanmean(features.ljung_box_p(features.ljung_box(x))[-1]) < 0.10
