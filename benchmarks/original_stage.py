"""The feature stage of the original repository, at one date, against the same statistics from our kernels.

Compared to 1e-12: momentum (annual mean), stability (1 / annual volatility), permutation entropy, absolute skewness,
excess kurtosis, expected shortfall, and the Hurst exponent up to the expected value of noise, which theirs leaves out.
Timed, but not compared, because the definition changed: efficiency (theirs over the sum of absolute returns, whose
noise level moves with the tails; ours over the root of the sum of squares). Theirs fills what is not known with
numbers (entropy 1, Hurst 0.5, shortfall -0.1), ours leaves it unknown; the data here are complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.contest import Contest, Entry, Skipped, faster, scaled, topic
from benchmarks.original import NAME, lacking_original, of_original, original
from quant_core.kernels._jit import Kernel
from quant_core.kernels.complexity import move_permutation_entropy
from quant_core.kernels.moving import move_kurtosis, move_mean, move_skewness, move_std
from quant_core.kernels.ordered import move_cvar
from quant_core.kernels.paths import move_efficiency
from quant_core.kernels.scaling import estimate_hurst
from quant_core.kernels.threads import run_blocks

Matrix = npt.NDArray[np.float64]
LOOKBACK, YEAR = 120, 252


@topic("original_stage")
def original_stage(share: float) -> Iterator[Entry]:
    # Whole scores of rows: there theirs, values up to an interpolated quantile, and ours, whole observations, are one.
    T, N = 20 * scaled(25, share, least=8), scaled(1_000, share, least=4)
    title = f"statistics of {N:,} x {T:,} at the last date"
    if why := lacking_original():
        yield Skipped(title, f"feature stage of {NAME}", why)
        return
    returns = np.random.default_rng(1).normal(0.0005, 0.02, (T, N))
    frame = pd.DataFrame(returns, columns=[f"S{j:04d}" for j in range(N)])
    context = of_original("pipelines.selection.base").SelectionContext(run_id="one", returns_df=frame)
    stage = of_original("pipelines.selection.stages.feature_engineering").FeatureEngineeringStage()
    for threads, times in ((1, 50.0), (2, 100.0)):
        yield Contest(
            name=title,
            peer=f"feature stage of {original()}",
            ours=partial(statistics, returns, threads),
            theirs=partial(stages_answer, stage, context),
            agree=are_statistics,
            moved=returns.nbytes,
            elements=8 * N,
            threads=(threads, 1),
            targets=(faster(times),),
        )


def stages_answer(stage: Any, context: Any) -> pd.DataFrame:
    store: pd.DataFrame = stage.execute(context).feature_store
    return store


def statistics(returns: Matrix, threads: int) -> dict[str, Matrix]:
    """Return each statistic of the whole history of each symbol."""
    T, N = returns.shape
    names = ("mean", "deviation", "entropy", "efficiency", "hurst", "skewness", "kurtosis", "shortfall")
    found = {name: np.empty(N) for name in names}

    def compute(part: slice) -> None:
        block = np.ascontiguousarray(returns[:, part])
        tail = block[-LOOKBACK:]
        last = partial(_last, block, T)
        found["mean"][part] = last(move_mean, T)
        found["deviation"][part] = last(move_std, T)
        found["skewness"][part] = last(move_skewness, T)
        found["kurtosis"][part] = last(move_kurtosis, T)
        found["shortfall"][part] = last(move_cvar, 0.05, T)
        estimate_hurst(block, 8, 2, T, found["hurst"][part])
        found["entropy"][part] = _last(tail, LOOKBACK, move_permutation_entropy, 5, 1)
        found["efficiency"][part] = _last(tail, LOOKBACK, move_efficiency, LOOKBACK)

    run_blocks(compute, N, threads=threads)
    return found


def _last(x: Matrix, window: int, kernel: Kernel[..., None], *rest: float) -> Matrix:
    """Return what a moving kernel says of the last row."""
    answer: Matrix = kernel.apply(x, window, *rest)[-1]
    return answer


def are_statistics(ours: dict[str, Matrix], theirs: pd.DataFrame) -> None:
    """Compare what is defined alike, to 1e-12."""
    expected = {
        "momentum": ours["mean"] * YEAR,
        "stability": 1.0 / (ours["deviation"] * np.sqrt(YEAR) + 1e-9),
        "entropy": ours["entropy"],
        "skew": np.abs(ours["skewness"]),
        "kurtosis": ours["kurtosis"],
        "cvar": ours["shortfall"],
    }
    # Theirs is folded about 1/2, and first lies higher by one number for all: the slope of what is expected of noise.
    slope = np.median(1.0 - theirs["hurst_clean"].to_numpy() / 2.0 - ours["hurst"])
    expected["hurst_clean"] = 1.0 - 2.0 * np.abs(ours["hurst"] + slope - 0.5)
    for name, values in expected.items():
        np.testing.assert_allclose(values, theirs[name].to_numpy(), rtol=1e-12, atol=1e-12, err_msg=name)
