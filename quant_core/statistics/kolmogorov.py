"""The two-sample Kolmogorov-Smirnov test without scipy.stats, which takes a second to load; same bits.

The distance is counted here. Its probability is scipy's, by the same formulas in the same order of operations; the few
arguments that need a formula not written here are handed to scipy.stats itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_PI_2, _PI_4, _PI_6 = np.pi**2, np.pi**4, np.pi**6
_ROOT_OF_2PI, _ROOT_OF_3 = np.sqrt(2 * np.pi), np.sqrt(3)
_LONG = 140
_SMIRNOV_FROM, _NOTHING_FROM = 2.2, 370.0
_FEW, _CLOSE = 100_000, 1.4


def kolmogorov_distance(first: Values, second: Values) -> float:
    """Return the largest distance between the empirical distributions of two samples, without NaN."""
    first, second = np.sort(first), np.sort(second)
    both = np.concatenate([first, second])
    apart = np.searchsorted(first, both, side="right") / first.size
    apart -= np.searchsorted(second, both, side="right") / second.size
    return float(max(np.clip(-apart.min(), 0, 1), apart.max()))


def kolmogorov_p(distance: float, first: int, second: int) -> float:
    """Return the probability of at least this distance between samples of these sizes from one distribution.

    The one-sample law at the effective size of the two, as `scipy.stats.ks_2samp` has it with `method="asymp"`.

    Source: Simard & L'Ecuyer (2011), Journal of Statistical Software 39(11); Pelz & Good (1976), Journal of the Royal
    Statistical Society B 38(2).
    """
    large, small = sorted([float(first), float(second)], reverse=True)
    size, x = int(np.round(large * small / (large + small))), np.float64(distance)
    steps = size * x
    squared = steps * x
    is_plain = size > _LONG and 1.0 < steps < size - 1 and (size > _FEW or size * x**1.5 > _CLOSE)
    if not is_plain:
        from scipy.stats import kstwo

        return float(np.clip(kstwo.sf(x, size), 0, 1))
    if x < 0.5 and squared >= _NOTHING_FROM:
        return 0.0
    if x >= 0.5 or squared >= _SMIRNOV_FROM:
        from scipy.special import smirnov

        return float(np.clip(2 * smirnov(size, x), 0.0, 1.0))
    return float(np.clip(1.0 - _pelz_good(size, x), 0.0, 1.0))


def _pelz_good(size: int, x: np.float64) -> np.float64:
    """Return the probability of a smaller distance: four terms in powers of 1 / sqrt(size), by theta functions."""
    z = np.sqrt(size) * x
    z2, z3, z4, z6 = z**2, z**3, z**4, z**6
    q = np.exp(-_PI_2 / 8 / z2)
    first = (-z2, _PI_2 / 4)
    second = (6 * z6 + 2 * z4, (2 * z4 - 5 * z2) * _PI_2 / 4, _PI_4 * (1 - 2 * z2) / 16)
    third = (
        -30 * z6 - 90 * z**8,
        _PI_2 * (135 * z4 - 96 * z6) / 4,
        _PI_4 * (-60 * z2 + 212 * z4) / 16,
        _PI_6 * (5 - 30 * z2) / 64,
    )
    terms = np.zeros(4)
    last = int(np.ceil(16 * z / np.pi))
    for k in range(last, 0, -1):
        m = 2 * k - 1
        m2, m4, m6 = m**2, m**4, m**6
        terms *= np.power(q, 8 * k)
        terms += np.array(
            [
                1.0,
                first[0] + first[1] * m2,
                second[0] + second[1] * m2 + second[2] * m4,
                third[0] + third[1] * m2 + third[2] * m4 + third[3] * m6,
            ]
        )
    terms *= q
    terms *= _ROOT_OF_2PI
    terms /= np.array([z, 6 * z4, 72 * z**7, 6480 * z**10])
    ks = np.arange(last, 0, -1)
    squares, shift = ks**2, np.pi * ks
    powers = np.exp(-_PI_2 / 2 / z2) ** squares
    terms[2] += np.sum(squares * powers) * (_PI_2 * _ROOT_OF_2PI / (-36 * z3))
    rest = np.sum((_ROOT_OF_3 * z + shift) * (_ROOT_OF_3 * z - shift) * squares * powers)
    terms[3] += rest * (_PI_2 * _ROOT_OF_2PI / (216 * z6))
    terms /= np.power(size * 1.0, np.arange(4) / 2.0)
    return np.float64(sum(terms))
