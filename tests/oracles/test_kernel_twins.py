"""Every kernel that fills an `out` equals its slow twin: same name, plain Python, one window at a time."""

from __future__ import annotations

import numpy as np
import pytest

from quant_core.kernels import moving, ordered, paths
from tests.kernels import KERNELS, arguments, modules, twin, twins_of
from tests.oracles.twins.paths import move_drawdown

WITHOUT_PANELS = {
    "columns",
    "scatter",
    "doubling",
    "exact",
    "block_windows",
    "threads",
    "_jit",
    "workspace",
    "accounting",
    "bar_defects",
    "health",
    "keys",
}


def matrix() -> np.ndarray:
    rng = np.random.default_rng(17)
    x = rng.standard_t(4, (70, 5)) * 0.02
    x[rng.random(x.shape) < 0.12] = np.nan
    x[20:50, 1] = 0.013
    x[30:50, 2] = 0.0
    x[:, 3] = np.nan
    x[:, 4] = np.round(x[:, 4], 2)
    return x


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_file_of_kernels_has_a_file_of_twins(module: str) -> None:
    assert (twins_of(module) is None) == (module in WITHOUT_PANELS)


@pytest.mark.parametrize(("window", "min_count"), [(12, 9), (12, 5), (25, 1), (8, 5)])
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_the_kernel_equals_its_slow_twin(name: str, window: int, min_count: int) -> None:
    given = arguments(name, matrix(), window=window, min_count=min_count)
    expected = twin(name)(*given)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(KERNELS[name].apply(*given), expected, rtol=1e-11, atol=1e-13)


def test_todays_drawdown_equals_its_slow_twin() -> None:
    x = matrix()
    np.testing.assert_allclose(
        paths.move_drawdown.apply(x, 15, 5, False), move_drawdown(x, 15, 5, is_worst=False), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1, 0.29])
def test_the_number_of_worst_returns_is_exact_for_every_sample_size(level: float) -> None:
    hundredths = round(level * 100)
    for n in range(1, 260):
        x = np.arange(n, dtype=float)[:, None]
        k = max(1, n * hundredths // 100)
        assert ordered.move_cvar.apply(x, n, level, 1)[-1, 0] == (k - 1) / 2


def test_machine_code_rounds_like_python() -> None:
    x = matrix()[:30, :2]
    for plain, args in (
        (moving.move_std, (12, 7)),
        (paths.move_autocorrelation, (12, 1, 7)),
        (ordered.move_median, (9, 2)),
    ):
        out = np.empty(x.shape)
        with np.errstate(invalid="ignore"):
            plain.python(x, *args, out)
        assert np.array_equal(out, plain.apply(x, *args), equal_nan=True)
