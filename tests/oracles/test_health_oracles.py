"""The slow twin of the health kernel: every window is counted anew, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.kernels import health as kernels
from quant_core.kernels.health import EXTENDED, QUARANTINED, READMITTED, SILENT

Row = tuple[int, int, int]
ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60)


def find_quarantines(
    session: Sequence[int], is_defect: Sequence[bool], *, window: int, least: int, share: float, term: int
) -> list[Row]:
    """Verdict, first row judged and defects at each row of one symbol."""
    answers: list[Row] = []
    judged_from, due = 0, None
    for i in range(len(session)):
        start = max(judged_from, i - window + 1) if due is None else judged_from
        rows = list(is_defect[start : i + 1])
        is_bad = len(rows) >= least and sum(rows) / len(rows) > share
        is_last_of_session = i + 1 == len(session) or session[i + 1] != session[i]
        verdict = SILENT
        if is_last_of_session and due is None and is_bad:
            verdict = QUARANTINED
        elif is_last_of_session and due is not None and session[i] >= due:
            verdict = READMITTED if len(rows) >= least and not is_bad else EXTENDED
        answers.append((verdict, start, sum(rows)))
        if verdict != SILENT:
            due = None if verdict == READMITTED else session[i] + term
        if verdict != SILENT and is_bad:
            judged_from = i + 1
        judged_from = max(judged_from, start) if due is None else judged_from
    return answers


@settings(max_examples=150, deadline=None)
@given(
    symbols=st.lists(ROWS, max_size=4),
    window=st.integers(1, 12),
    least=st.integers(1, 6),
    share=st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]),
    term=st.integers(1, 10),
)
def test_the_health_kernel_agrees_with_counting_every_window_anew(
    symbols: list[list[tuple[int, bool]]], window: int, least: int, share: float, term: int
) -> None:
    limits = {"window": window, "least": least, "share": share, "term": term}
    sessions = [np.cumsum([step for step, _ in rows]).tolist() for rows in symbols]
    defects = [[is_defect for _, is_defect in rows] for rows in symbols]
    starts = np.cumsum([0, *map(len, symbols)])
    expected = [
        (verdict, int(start) + first, count)
        for start, session, is_defect in zip(starts, sessions, defects, strict=False)
        for verdict, first, count in find_quarantines(session, is_defect, **limits)
    ]
    size = int(starts[-1])
    verdict, first, count = np.full(size, 99, np.int8), np.full(size, -9, np.int64), np.full(size, -9, np.int64)
    kernels.find_quarantines(
        np.array([day for days in sessions for day in days], np.int64),
        np.array([is_defect for rows in defects for is_defect in rows], np.bool_),
        starts.astype(np.int64),
        window,
        least,
        share,
        term,
        verdict,
        first,
        count,
    )
    assert list(zip(verdict.tolist(), first.tolist(), count.tolist(), strict=True)) == expected
