"""Opening a Dagster run in the ledger, once for all its processes, after closing the dead runs before it.

How a run ended is read in outcomes.py; parameters and settings come from run_settings.py.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from quant_assets.outcomes import close_finished_runs
from quant_core.evidence.files.documents import make_folder
from quant_core.evidence.files.writer import Writer, boot_id, process_start
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.parameters import Plan
from quant_core.graph.runner import open_run


@dataclass(frozen=True)
class OpenRun:
    """A run with a settled plan, whose `genesis` is in the ledger.

    Attributes
    ----------
    run_id : str
        Dagster's.
    plan : Plan
    as_of : str, optional
        Knowledge time (ISO); None: latest.
    parents : tuple of str
        Runs this one re-executes, nearest first.
    """

    run_id: str
    plan: Plan
    as_of: str | None
    parents: tuple[str, ...]


class StepEvidence(Evidence):
    """Evidence for which a run belongs to the process that starts its steps: between two steps it is not dead."""

    def __init__(self, home: Path, starter: int) -> None:
        super().__init__(home)
        self._starter = starter

    def open_run(self, run_id: str, payload: Mapping[str, Any], *, owner: Writer | None = None) -> Record:
        """Open a run; its default owner is the process that starts its steps."""
        return super().open_run(run_id, payload, owner=owner or _process(self._starter))


def open_dagster_run(
    evidence: Evidence, run: dg.DagsterRun, plan: Plan, *, as_of: str | None, compute: str, instance: Any
) -> OpenRun:
    """Open a run in the ledger, or find it open under the same plan.

    Parameters
    ----------
    evidence : Evidence
    run : DagsterRun
    plan : Plan
    as_of : str, optional
    compute : str
        Name of the engine.
    instance : DagsterInstance, optional
        Where the ends of earlier runs are read; None: they are not read.

    Raises
    ------
    ConflictError
        The run is open under another sleeve, knowledge time or other parameters.
    """
    facts = {
        "started_by": "dagster",
        "dagster_run_id": run.run_id,
        "parent_run": run.parent_run_id,
        "root_run": run.root_run_id,
    }
    with _opening(evidence.home):
        if instance is not None:
            close_finished_runs(evidence, instance)
        evidence.abandon_dead()
        evidence.sweep()
        open_run(evidence, plan, run_id=run.run_id, as_of=as_of, compute=compute, facts=facts)
    parents = tuple(dict.fromkeys(other for other in (run.parent_run_id, run.root_run_id) if other))
    return OpenRun(run.run_id, plan, as_of, parents)


@contextmanager
def _opening(home: Path) -> Iterator[None]:
    """Let one process at a time open runs: steps that start together would each pin a different state of the ledger."""
    with (make_folder(home / "cache") / "opening.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _process(pid: int) -> Writer | None:
    started = process_start(pid)
    return None if started is None else Writer(pid=pid, boot_id=boot_id(), started=started)
