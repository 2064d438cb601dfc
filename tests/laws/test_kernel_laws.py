"""Laws of every moving and cross-sectional kernel, found by name; a new kernel meets them without an edit here."""

from __future__ import annotations

import inspect
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tests.kernels import KERNELS
from tests.kernels import arguments as sampled

MOVING = sorted(name for name in KERNELS if name.startswith("move_"))
ROWS = sorted(name for name in KERNELS if name.endswith("_rows"))
WINDOW = 9
SCALARS = {"window": WINDOW, "min_count": 6}


def matrix(seed: int = 3, rows: int = 60, columns: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(0.0, 0.02, (rows, columns))
    x[rng.random(x.shape) < 0.1] = np.nan
    x[20:45, 1] = 0.01
    x[:, 2] = np.nan
    x[10:20, 3] = 0.0
    return x


def arguments(name: str, x: np.ndarray) -> list[Any]:
    return sampled(name, x, **SCALARS)


def answer(name: str, x: np.ndarray) -> np.ndarray:
    return KERNELS[name].apply(*arguments(name, x))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(np.where(np.isnan(a), 9e99, a).view(np.int64), np.where(np.isnan(b), 9e99, b).view(np.int64))


def frozen_slice(values: Any) -> Any:
    if not isinstance(values, np.ndarray):
        return values
    wide = np.zeros((values.shape[0] * 2, values.shape[1] * 3), dtype=values.dtype)
    wide[::2, ::3] = values
    view = wide[::2, ::3]
    view.flags.writeable = False
    return view


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_cell_of_out_is_filled_and_no_input_is_touched(name: str) -> None:
    given = arguments(name, matrix())
    before = [value.copy() if isinstance(value, np.ndarray) else value for value in given]
    first, second = np.full(matrix().shape, 7e77), np.full(matrix().shape, -7e77)
    KERNELS[name](*given, first)
    KERNELS[name](*given, second)
    assert same_bits(first, second)
    assert np.isfinite(first).any()
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(given, before, strict=True) if a is not None)


def kernels_of_other_layouts() -> list[object]:
    """Return all kernels, most of them marked slow: each is compiled again for every other layout of its arguments."""
    fast = {"move_zero_share", "scale_rows"}
    return [pytest.param(name, marks=[] if name in fast else [pytest.mark.slow]) for name in sorted(KERNELS)]


@pytest.mark.parametrize("name", kernels_of_other_layouts())
def test_read_only_and_strided_inputs_give_the_same_bits(name: str) -> None:
    given = arguments(name, matrix())
    out = np.empty(matrix().shape)
    KERNELS[name](*[frozen_slice(value) for value in given], out)
    assert same_bits(out, answer(name, matrix()))


@pytest.mark.parametrize("name", MOVING)
def test_a_longer_matrix_has_the_same_beginning(name: str) -> None:
    x = matrix()
    given, whole = arguments(name, x), answer(name, x)
    for end in (1, WINDOW, 33):
        cut = [value[:end] if isinstance(value, np.ndarray) else value for value in given]
        assert same_bits(KERNELS[name].apply(*cut), whole[:end])


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("huge", [1e17, -1e300, np.inf])
def test_a_huge_value_leaves_no_trace_once_it_has_left_the_window(name: str, huge: float) -> None:
    x, y = matrix(), matrix()
    y[5] = huge
    given = [y if value is x else value for value in arguments(name, x)]
    assert same_bits(KERNELS[name].apply(*given)[5 + WINDOW :], answer(name, x)[5 + WINDOW :])


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_permuting_columns_permutes_the_answer(name: str) -> None:
    order = np.array([4, 2, 0, 6, 5, 1, 3])
    given = arguments(name, matrix())
    moved = [np.ascontiguousarray(value[:, order]) if isinstance(value, np.ndarray) else value for value in given]
    left, right = KERNELS[name].apply(*moved), KERNELS[name].apply(*given)[:, order]
    if name in ROWS:
        np.testing.assert_allclose(left, right, rtol=1e-13)
    else:
        assert same_bits(left, right)


@pytest.mark.parametrize("name", MOVING)
def test_a_column_is_computed_the_same_in_any_company(name: str) -> None:
    given, whole = arguments(name, matrix()), answer(name, matrix())
    for j in range(7):
        alone = [np.ascontiguousarray(v[:, j : j + 1]) if isinstance(v, np.ndarray) else v for v in given]
        assert same_bits(KERNELS[name].apply(*alone), whole[:, j : j + 1])


@pytest.mark.parametrize("name", MOVING)
def test_too_few_known_values_give_no_number(name: str) -> None:
    x = matrix()
    given = arguments(name, x)
    out = KERNELS[name].apply(*given)
    assert np.isnan(out[:, 2]).all()
    assert np.isnan(out[: SCALARS["min_count"] - 2]).all()
    names = list(inspect.signature(KERNELS[name]).parameters)[:-1]
    nothing = [0 if p == "min_count" else v for p, v in zip(names, given, strict=True)]
    assert np.isnan(KERNELS[name].apply(*nothing)[:, 2]).all()


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_no_rows_and_no_columns_are_no_fault(name: str) -> None:
    for shape in ((0, 3), (4, 0), (1, 1)):
        given = [
            np.full(shape, fill_value=0, dtype=value.dtype) if isinstance(value, np.ndarray) else value
            for value in arguments(name, matrix())
        ]
        assert KERNELS[name].apply(*given).shape == shape


def peak_of(name: str, rows: int, columns: int) -> int:
    given, out = arguments(name, matrix(rows=rows, columns=columns)), np.empty((rows, columns))
    KERNELS[name](*given, out)
    peaks = []
    for _ in range(3):  # what the interpreter allocates beside it comes and goes
        tracemalloc.start()
        KERNELS[name](*given, out)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return min(peaks)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_a_second_call_allocates_nothing_that_grows_with_dates_or_symbols(name: str) -> None:
    usual = peak_of(name, 300, 128)
    assert peak_of(name, 1200, 128) < usual + 2_000
    # A strip is up to 1,024 columns wide.
    assert name in ROWS or peak_of(name, 40, 2048) < peak_of(name, 40, 1024) + 2_000
