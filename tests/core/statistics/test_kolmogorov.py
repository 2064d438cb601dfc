import numpy as np
import pytest
from scipy.stats import ks_2samp, kstwo

from quant_core.statistics.kolmogorov import kolmogorov_distance, kolmogorov_p


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.05, 0.2, 3.0])
@pytest.mark.parametrize(("first", "second"), [(500, 500), (700, 9_000), (20_000, 3_001)])
@pytest.mark.parametrize("digits", [1, 15])
def test_the_test_of_two_samples_is_scipys_to_the_bit(first: int, second: int, shift: float, digits: int) -> None:
    rng = np.random.default_rng(20260101)
    left, right = (np.round(rng.normal(size=size), digits) for size in (first, second))
    asked = ks_2samp(left + shift, right, method="asymp")
    distance = kolmogorov_distance(left + shift, right)
    assert (distance, kolmogorov_p(distance, first, second)) == (asked.statistic, asked.pvalue)


@pytest.mark.parametrize("size", [2, 100, 500, 1_000, 50_000])
def test_the_probability_is_scipys_to_the_bit_at_every_distance(size: int) -> None:
    scale = 1.0 / np.sqrt(size)
    for distance in [1e-6, 0.3 / size, 1.5 / size, 0.2 * scale, 0.6 * scale, scale, 1.4 * scale, 4 * scale, 0.6, 1.0]:
        x = min(distance, 1.0)
        assert kolmogorov_p(x, 2 * size, 2 * size) == float(np.clip(kstwo.sf(x, size), 0, 1)), x
