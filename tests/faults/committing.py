"""Commits one table in a home and can be killed at a point of the protocol; run as a script by the tests beside it."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import polars as pl

from quant_core.evidence.files.kill_points import Point, watch_points
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.refs import DataRef

STAGE, SLEEVE = "features.trend", "us"
ROWS = 150_000  # more than one row group


def table(number: int, rows: int = ROWS) -> pl.DataFrame:
    """Return rows that are the same for the same number, and no others."""
    return pl.DataFrame({"row": np.arange(rows), "value": np.random.default_rng(number).normal(size=rows)})


def commit(evidence: Evidence, run_id: str, number: int, rows: int = ROWS) -> DataRef:
    """Open a run and commit table `number` with exclusions of its own."""
    evidence.open_run(run_id, {})
    write = evidence.store.write
    valid = write(table(number, rows), stage=STAGE, sleeve=SLEEVE, key=["row"])
    lost = write(table(-number % 1_000_003, 3), stage=STAGE, sleeve=SLEEVE, key=["row"], part="exclusions")
    evidence.commit(run_id=run_id, stage=STAGE, sleeve=SLEEVE, valid=valid, exclusions=lost, facts={"number": number})
    evidence.close_run(run_id, "ok", {})
    return valid


class Killer:
    """Kills this process when a point is reached the n-th time."""

    def __init__(self, point: str, nth: int) -> None:
        self.point, self.left = point, nth

    def __call__(self, point: Point) -> None:
        self.left -= point == self.point
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    home, run, which, at, times = sys.argv[1:]
    with watch_points(Killer(at, int(times))):
        commit(Evidence(Path(home)), run, int(which))
