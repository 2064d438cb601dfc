"""Reading a home: its runs, and which version of a table a reader gets. Writing: commits.py."""

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
    """A home to read from: its tables, its ledger and its runs. Nothing here changes it.

    Safe to use from threads and processes; each process keeps its own index and updates it before each answer.
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
        """Return the `landed` records of a table, oldest first, however their runs ended."""
        with self._current_index() as index:
            return index.landed_batches(stage, sleeve)

    def last_commit(self, stage: str, sleeve: str) -> int:
        """Return the seq of the last commit of a table by any run, runs with a knowledge time included; -1 for none."""
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

        In a run it is, in this order: the commit of the run itself; that of the parent and root runs as given; the
        head at the seq its genesis pinned. Outside a run it is the newest head. A run with a knowledge time reads no
        heads, which may know more, but what a run with the same knowledge time committed.
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
            raise MissingVersionError(f"{stage} of {sleeve} has no committed version{seen}. Committed so far: {known}.")
        return ref_in(found, part)

    def heads(self, *, at: int | None = None) -> dict[tuple[str, str], Record]:
        """Return the newest commit of every table, by stage and sleeve; with `at`, the newest up to that seq.

        A version committed by a run with a knowledge time (`as_of` in its genesis) is never a head.
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
        """Return the number of the ledger's last record, -1 if it is empty: a run that opens now pins it."""
        with self._current_index() as index:
            return index.last_seq

    def collection_record(self, path: str) -> Record | None:
        """Return the last `collected` record of a version, by its path; None if it was never collected."""
        with self._current_index() as index:
            return index.collection_record(path)

    def _advice(self, ref: DataRef) -> str:
        """Return why a version is missing and how to restore it."""
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
    """Return the reference of one part of a `commit` or `landed` record."""
    data = commit.data
    if part not in data:
        raise MissingVersionError(f"{data['stage']} of {data['sleeve']} came without {part} (seq {commit.seq}).")
    try:
        return DataRef(stage=data["stage"], sleeve=data["sleeve"], part=part, **data[part])
    except ValidationError as error:
        raise IntegrityError(f"record {commit.seq} names a version that cannot exist: {error}") from error
