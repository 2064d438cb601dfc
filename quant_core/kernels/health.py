"""The kernel that finds, row by row, when a symbol's data were too broken to trust and when they recovered.

What counts as a defect, and when it was known, is decided in ingest/health.py. Rows come in as arrays sorted by symbol
and session, with `offsets` marking where each symbol starts and the last one ends.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quant_core.kernels._jit import kernel

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]

SILENT, QUARANTINED, EXTENDED, READMITTED = 0, 1, 2, 3


@kernel
def find_quarantines(
    session: Ints,
    is_defect: Mask,
    offsets: Ints,
    window: int,
    least: int,
    share: float,
    term: int,
    verdict: Codes,
    first: Ints,
    defects: Ints,
) -> None:
    """Quarantine a symbol while too many of its rows are defects, each verdict for `term` sessions.

    session: [R], ordinal, never falling within a symbol; is_defect: [R], a defect became known with the row; offsets:
    [S + 1]; verdict, first, defects: [R], filled: the decision at the row, the first row it counts, and the defects
    from there to the row.

    A symbol that is not in quarantine is checked at the last row of each session over its trailing `window` rows, from
    `least` rows on: with a share of defects above `share` it is quarantined. At its first row `term` or more sessions
    later the rows since the verdict are checked the same way: it is readmitted, or the verdict is extended by another
    `term`. Fewer than `least` rows extend it too, and count again in the next check. No row counts in two verdicts
    against the symbol.
    """
    for k in range(offsets.size - 1):
        left, count, is_out, due = offsets[k], 0, False, 0
        for i in range(offsets[k], offsets[k + 1]):
            count += is_defect[i]
            while not is_out and i - left >= window:
                count -= is_defect[left]
                left += 1
            verdict[i], first[i], defects[i] = SILENT, left, count
            if i + 1 < offsets[k + 1] and session[i + 1] == session[i]:
                continue
            is_enough = i - left + 1 >= least
            is_bad = is_enough and count / (i - left + 1) > share
            if is_out and session[i] >= due:
                verdict[i] = EXTENDED if is_bad or not is_enough else READMITTED
            elif not is_out and is_bad:
                verdict[i] = QUARANTINED
            if verdict[i] != SILENT:
                is_out, due = verdict[i] != READMITTED, session[i] + term
            if verdict[i] != SILENT and is_bad:
                left, count = i + 1, 0
