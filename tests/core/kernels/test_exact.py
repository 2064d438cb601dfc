from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quant_core.kernels import exact, moving, pairs, trend_lines

Moving = Callable[[np.ndarray, int, int], np.ndarray]

KERNELS: dict[str, Moving] = {
    "sum": moving.move_sum.apply,
    "mean": moving.move_mean.apply,
    "std": moving.move_std.apply,
    "correlation": lambda x, *args: pairs.move_correlation.apply(x, partner_of(x), *args),
    "covariance": lambda x, *args: pairs.move_covariance.apply(x, partner_of(x), *args),
    "slope": trend_lines.move_slope.apply,
}


def partner_of(x: np.ndarray) -> np.ndarray:
    """Return a second series whose value at t depends on that of the first alone."""
    with np.errstate(invalid="ignore", over="ignore"):
        y = np.cos(x * 1e3) + x * 0.25
    y[np.abs(x) == 0.125] = np.nan
    return y


def hostile(rows: int = 400) -> np.ndarray:
    """Return columns that no single grid holds: wide ranges, outliers, growth, gaps, late starts, ties, tiny values."""
    rng = np.random.default_rng(5)
    x = rng.normal(0.0, 0.02, (rows, 14))
    x[:, 1] *= 10.0 ** rng.integers(-18, 18, rows)
    x[:, 2] = np.exp(np.cumsum(rng.normal(0.0, 1.5, rows)))
    x[[70, 71, 120, 190], 3] = [1e17, -3e300, 1e17, 1e-300]
    x[rng.random(rows) < 0.3, 4] = np.nan
    x[:90, 5] = np.nan
    x[:, 6] = np.where(rng.random(rows) < 0.5, 1.0, 2.0**-53)
    x[:, 7] = rng.choice([1.0, 2.0**-53, -(2.0**-106), 2.0**-30], rows)
    x[:, 8] = 5e-324 * rng.integers(-9, 9, rows)
    x[:, 9] = 1e300 * rng.normal(size=rows)
    x[:, 10] = rng.choice([0.0, -0.0, 1e-17, 0.125], rows)
    x[:, 11] = np.nan
    x[90:, 12] *= 1e6
    x[rng.integers(0, rows, 9), 13] = [np.inf, -np.inf, np.nan] * 3
    return x


def bits(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), 9e99, values).view(np.int64)


def exact_sum(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    try:
        return math.fsum(known)
    except OverflowError:
        return math.nan


@pytest.mark.parametrize("window", [1, 2, 5, 20, 67])
def test_a_moving_sum_is_the_exact_sum_rounded_once(window: int) -> None:
    x = hostile()
    out = moving.move_sum.apply(x, window, 1)
    for t in range(len(x)):
        part = x[max(0, t - window + 1) : t + 1]
        expected = [exact_sum(column) if np.isfinite(column).any() else math.nan for column in part.T]
        assert np.array_equal(bits(out[t]), bits(np.array(expected) + 0.0)), t


@pytest.mark.parametrize("window", [2, 7, 20])
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_window_has_the_bits_it_has_alone(name: str, window: int) -> None:
    x = hostile(300)
    least = max(2, window // 2)
    whole = KERNELS[name](x, window, least)
    for t in range(window - 1, len(x), 3):
        alone = KERNELS[name](x[t - window + 1 : t + 1].copy(), window, least)
        assert np.array_equal(bits(whole[t]), bits(alone[-1])), t


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_blocks_strips_and_company_change_no_bit(name: str) -> None:
    x = np.tile(hostile(200), (1, 90))[:, :1100]
    whole = KERNELS[name](x, 11, 4)
    assert np.array_equal(bits(whole[:, 1000:1070]), bits(KERNELS[name](x[:, 1000:1070].copy(), 11, 4)))
    assert np.array_equal(bits(whole[:157]), bits(KERNELS[name](x[:157].copy(), 11, 4)))


@settings(deadline=None)  # the first call compiles
@given(arrays(np.float64, 12, elements=st.floats(width=64, allow_nan=False, allow_infinity=False)))
def test_the_total_of_terms_is_python_s_exact_sum(terms: np.ndarray) -> None:
    expected = exact_sum(terms)
    total = exact.exact_total(terms, len(terms), np.empty(exact.PARTIALS))
    # Where a partial sum would leave the range, Python raises or not by the order; ours does not know the total.
    assert math.isnan(total) or total == expected
    assert not math.isnan(total) or np.abs(terms * 2.0**-9).sum() > 1e308 * 2.0**-9


def test_a_value_that_needs_more_limbs_does_not_fit() -> None:
    extractor, ratio = exact.extractor_of(1.0, 20), exact.ratio_of_limbs(20)
    assert exact.fits_in_limbs(0.1, extractor, ratio, 2)
    assert not exact.fits_in_limbs(2.0**-200, extractor, ratio, 2)
    assert not exact.fits_in_limbs(1.0, math.nan, ratio, 2)
    assert math.isnan(exact.extractor_of(1e300, 20))


def test_a_tie_is_left_to_the_last_bits() -> None:
    total, is_sure = exact.slide_three(1.0, 0.0, 1.5 * 2.0**8, 2.0**-40, 0.0, 2.0**-53, 2.0**-110)[3::2]
    assert (total, is_sure) == (1.0, False)
