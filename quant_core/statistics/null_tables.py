"""Makes null_tables.json: `python -m quant_core.statistics.null_tables`, some minutes. Reading it is calibration.py's.

What a statistic is on independent normal values of a given number, as quantiles, by simulation with seeds that are
fixed. Permutation entropy depends on ranks alone, so that its rows hold for any continuous distribution; the Hurst
exponent's are checked against fat tails by the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quant_core.kernels._jit import Matrix
from quant_core.kernels.complexity import move_permutation_entropy
from quant_core.kernels.scaling import estimate_hurst

FILE = Path(__file__).with_suffix(".json")
SEED = 20_240_229
DRAWS = 400_000
SCORES = tuple(k / 4 for k in range(-12, 13))
"""Normal scores of the quantiles: from -3 to 3, beyond which so many draws say little."""


class Null(NamedTuple):
    """A statistic whose distribution is simulated: `statistic` of matrices [n, draws], at each n of `lengths`."""

    statistic: Callable[[Matrix], Matrix]
    lengths: tuple[int, ...]


def entropy_5(x: Matrix) -> Matrix:
    """Return the permutation entropy of order 5 of whole columns."""
    return np.asarray(move_permutation_entropy.apply(x, len(x), 5, 1)[-1])


def hurst(x: Matrix) -> Matrix:
    """Return the Hurst exponent of whole columns, blocks from 8 rows to half of them."""
    exponents = np.empty(x.shape[1])
    estimate_hurst(x, 8, 2, 1, exponents)
    return exponents


NULLS: Mapping[str, Null] = {
    "entropy_5": Null(entropy_5, (90, 95, 100, 106, 112, 120, 130, 142, 156, 172, 192, 220, 252, 300, 360, 430, 511)),
    # In pairs: another block size, or another block of the largest size, fits in between.
    "hurst": Null(hurst, (90, 95, 96, 127, 128, 191, 192, 255, 256, 383, 384, 511)),
}


def quantiles(null: Null, n: int, draws: int, rng: np.random.Generator) -> Matrix:
    """Return the statistic's quantiles at SCORES over `draws` series of n independent normal values."""
    from scipy.special import ndtr

    # A constant number of columns at a time: the draws, and so the table, depend on nothing but the seed.
    parts = [null.statistic(rng.standard_normal((n, 2_000))) for _ in range(draws // 2_000)]
    return np.asarray(np.quantile(np.concatenate(parts), ndtr(SCORES)))


def main() -> None:
    """Write the file."""
    tables = {}
    for place, (name, null) in enumerate(NULLS.items()):
        found = {n: quantiles(null, n, DRAWS, np.random.default_rng([SEED, place, n])) for n in null.lengths}
        tables[name] = {str(n): [round(float(value), 5) for value in row] for n, row in found.items()}
    lines = []
    for name, table in tables.items():
        rows = ",\n".join(f'    "{n}": {json.dumps(row, separators=(",", ":"))}' for n, row in table.items())
        lines.append(f'  "{name}": {{\n{rows}\n  }}')
    head = f'  "draws": {DRAWS},\n  "seed": {SEED},\n  "scores": {json.dumps(SCORES, separators=(",", ":"))}'
    FILE.write_text("{\n" + ",\n".join([head, *lines]) + "\n}\n")


if __name__ == "__main__":
    main()
