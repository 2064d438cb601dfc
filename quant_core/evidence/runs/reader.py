"""Reading a home: which runs there were, and which version of a table a reader gets. Who may write: commits.py."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from quant_core.errors import EvidenceError, IntegrityError, MissingVersionError
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.ledger.reader import FILE_NAME, LedgerReader
from quant_core.evidence.runs.index import Index, Run
from quant_core.evidence.store.reader import StoreReader
from quant_core.evidence.store.refs import DataRef, Part


class EvidenceReader:
    """One home: its tables, its ledger, and what its records add up to. Nothing here changes it.

    Safe among threads and processes; each process keeps its own index and catches up before it answers.
    """

    ledger: LedgerReader
    store: StoreReader

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        if self.home.exists() and not self.home.is_dir():
            raise EvidenceError(f"{self.home} is not a folder; a home holds the ledger and the store.")
        self.store = StoreReader(self.home, advice=self._advice)
        self.ledger = LedgerReader(self.home / FILE_NAME)
        self._index = Index()
        self._gate = threading.RLock()

    def landed_batches(self, stage: str, sleeve: str) -> tuple[Record, ...]:
        """Return the batches that were landed for a table, oldest first, whatever became of their runs."""
        with self._current_index() as index:
            return index.landed_batches(stage, sleeve)

    def last_commit(self, stage: str, sleeve: str) -> int:
        """Return the seq of the last commit of a table by any run, a look at the past included; -1 for none."""
        with self._current_index() as index:
            return index.last_commit(stage, sleeve)

    def resolve(
        self,
        stage: str,
        sleeve: str,
        *,
        run_id: str | None = None,
        parents: Iterable[str] = (),
        part: Part = "valid",
    ) -> DataRef:
        """Return the version of a table a reader gets.

        In this order: the commit of its own run; of its parent and root runs as given; the head at the
        seq its genesis pinned. Outside a run, the newest head. A run with a knowledge time reads no head, which
        knows more: only what a run with the same one committed.
        """
        with self._current_index() as index:
            if run_id is None:
                found = index.head(stage, sleeve)
            else:
                run = index.run(run_id)
                family = [run, *(index.run(parent) for parent in parents if index.knows(parent))]
                own = (commit for member in family if (commit := member.commit_of(stage, sleeve)))
                as_of = run.genesis.data.get("as_of")
                pinned = run.pinned_seq
                found = next(own, None) or (
                    index.head(stage, sleeve, at=pinned)
                    if as_of is None
                    else index.past(stage, sleeve, as_of, at=pinned)
                )
            known = ", ".join(f"{name} of {owner}" for name, owner in index.heads()) or "nothing"
        if found is None:
            seen = "" if run_id is None else f" that run {run_id} may read"
            raise MissingVersionError(f"{stage} of {sleeve} has no committed version{seen}. Committed by now: {known}.")
        return ref_in(found, part)

    def heads(self, *, at: int | None = None) -> dict[tuple[str, str], Record]:
        """Return the newest commit of every table, by stage and sleeve; with `at`, the newest up to that seq.

        What a run with a knowledge time (`as_of` in its genesis) commits is its own and never a head.
        """
        with self._current_index() as index:
            return dict(index.heads(at=at))

    def runs(self) -> tuple[Run, ...]:
        """Return all runs in the order they were opened."""
        with self._current_index() as index:
            return tuple(index.runs())

    def knows(self, run_id: str) -> bool:
        """Return whether a run of that id was opened."""
        with self._current_index() as index:
            return index.knows(run_id)

    def run(self, run_id: str) -> Run:
        """Return one run: genesis, commits, outcome; UnknownNameError if it was never opened."""
        with self._current_index() as index:
            return index.run(run_id)

    def last_seq(self) -> int:
        """Return the number of the ledger's last record, -1 if it is empty: what a run that opens now would pin."""
        with self._current_index() as index:
            return index.last_seq

    def collection_record(self, path: str) -> Record | None:
        """Return the record that says a version was deleted on purpose, by the version's path; None if none does."""
        with self._current_index() as index:
            return index.collection_record(path)

    def _advice(self, ref: DataRef) -> str:
        """Say what became of a version that is not there, and how to have it again."""
        with self._current_index() as index:
            gone = index.collection_record(ref.path)
            owner = index.owner(ref.stage, ref.sleeve, ref.sha256)
        run = "the run that made it" if owner is None else f"run {owner}, which committed it"
        if gone is None:
            return f"No record says it was collected: it is lost. Restore it, or replay {run}."
        return f"It was collected (seq {gone.seq}). Replay {run}."

    @contextmanager
    def _current_index(self) -> Iterator[Index]:
        with self._gate:
            self._index.catch_up(self.ledger)
            yield self._index


def ref_in(commit: Record, part: Part = "valid") -> DataRef:
    """Return the reference a commit record holds for one of its parts."""
    data = commit.data
    if part not in data:
        raise MissingVersionError(f"{data['stage']} of {data['sleeve']} came without {part} (seq {commit.seq}).")
    try:
        return DataRef(stage=data["stage"], sleeve=data["sleeve"], part=part, **data[part])
    except ValidationError as error:
        raise IntegrityError(f"record {commit.seq} names no possible version: {error}") from error
