"""Writes permutation_entropy.json: `python -m tests.golden.complexity.make`, where antropy is installed.

Series without ties, because antropy leaves the order of equal values to an unstable sort.
"""

from __future__ import annotations

import json
from pathlib import Path

import antropy
import numpy as np

CASES = [(n, order) for n in (90, 120, 252, 1260) for order in (3, 4, 5, 6)]


def series(n: int) -> np.ndarray:
    """Return n different numbers in no order: squares modulo a prime, distinct up to half of it."""
    return np.array([(7919 * k * k) % 10007 for k in range(1, n + 1)], dtype=float)


def main() -> None:
    found = [[n, order, float(antropy.perm_entropy(series(n), order, 1, normalize=True))] for n, order in CASES]
    lines = ",\n".join(f"    {json.dumps(row)}" for row in found)
    text = f'{{\n  "antropy": "{antropy.__version__}",\n  "rows": [\n{lines}\n  ]\n}}\n'
    Path(__file__).with_name("permutation_entropy.json").write_text(text)


if __name__ == "__main__":
    main()
