"""Technical indicators against TA-Lib, symbol by symbol, and technical ratings against the original repository.

The ratings are not the original's to the last vote, some of its rules having been mended: they correlate above 0.98.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from benchmarks.contest import Contest, Entry, Skipped, faster, lacking, named, scaled, topic
from benchmarks.extremes import each
from benchmarks.market import bars, long_table
from benchmarks.original import NAME, lacking_original, of_original, original
from quant_core.features import compute_features
from quant_core.kernels.technical import wilder_adx, wilder_rsi

Matrix = npt.NDArray[np.float64]
WINDOW = 14


@topic("technicals")
def technicals(share: float) -> Iterator[Entry]:
    T, N = scaled(1_260, share, least=150), scaled(1_000, share, least=8)
    made = bars(T, N)
    one_life = np.zeros((T, N))
    for name, kernel, inputs, targets in (
        ("ADX", wilder_adx, ("high", "low", "close"), (faster(1.5),)),
        ("RSI", wilder_rsi, ("close",), ()),
    ):
        title = f"{name} {WINDOW}, {T:,} x {N:,}"
        if why := lacking("talib"):
            yield Skipped(title, "TA-Lib", why)
            continue
        talib = partial(getattr(import_module("talib"), name), timeperiod=WINDOW)
        yield Contest(
            name=title,
            peer=f"{named('TA-Lib')}, a loop over symbols",
            ours=partial(answer, kernel, *(made[column] for column in inputs), one_life, WINDOW, np.empty((T, N))),
            theirs=partial(each, talib, np.empty((N, T)), *(np.ascontiguousarray(made[column].T) for column in inputs)),
            agree=is_transpose,
            moved=8 * T * N * (len(inputs) + 1),
            elements=T * N,
            targets=targets,
        )
    yield from _ratings(scaled(1_260, share, least=400), scaled(20, share, least=2))


def _ratings(T: int, N: int) -> Iterator[Entry]:
    title = f"technical rating, {T:,} x {N:,}"
    if why := lacking_original("pandas_ta_classic"):
        yield Skipped(title, NAME, why)
        return
    table = long_table(bars(T, N))
    frames = [part.drop("symbol").to_pandas().set_index("date") for part in table.partition_by("symbol")]
    yield Contest(
        name=title,
        peer=f"{original()}, on {named('pandas-ta-classic')}",
        ours=partial(compute_features, table, ["recommend_all"], calendar="XNYS", threads=1),
        theirs=partial(ratings, of_original("utils.technicals").TechnicalRatings, frames),
        agree=are_ratings,
        moved=5 * 8 * table.height,
        elements=table.height,
    )


def answer(kernel: Any, *given: Any) -> Matrix:
    kernel(*given)
    out: Matrix = given[-1]
    return out


def is_transpose(ours: Matrix, theirs: Matrix) -> None:
    """Compare with TA-Lib, which seeds its sums with one bar fewer: what is left of that after 120 bars is nothing."""
    np.testing.assert_allclose(ours[120:], theirs.T[120:], rtol=1e-6)


def ratings(theirs: Any, frames: Sequence[pd.DataFrame]) -> Matrix:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.concatenate([theirs.calculate_recommend_all_series(frame).to_numpy() for frame in frames])


def are_ratings(ours: pl.DataFrame, theirs: Matrix) -> None:
    mine = ours["recommend_all"].to_numpy()
    known = np.isfinite(mine) & np.isfinite(theirs)
    assert known.mean() > 0.4
    correlation = float(np.corrcoef(mine[known], theirs[known])[0, 1])
    assert correlation > 0.98, f"the ratings correlate {correlation:.3f}"
