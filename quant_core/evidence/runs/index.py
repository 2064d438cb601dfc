"""An index of the ledger's records: runs, commits, heads. The rules for appending are in commits.py."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from quant_core.errors import UnknownNameError
from quant_core.evidence.ledger.chain import Position, Record
from quant_core.evidence.ledger.reader import LedgerReader

GENESIS, LANDED, COMMIT, REFUSED, OUTCOME = "genesis", "landed", "commit", "refused", "outcome"
COLLECTED = "collected"


@dataclass(frozen=True, slots=True)
class Run:
    """One run as recorded in the ledger. Without an outcome it is still running, or its process has ended."""

    run_id: str
    genesis: Record
    commits: tuple[Record, ...]
    refused: tuple[Record, ...]
    outcome: Record | None
    notes: tuple[Record, ...]

    @property
    def pinned_seq(self) -> int:
        """Last seq this run reads; it does not see later commits of others."""
        return int(self.genesis.data["pins"]["seq"])

    @property
    def python(self) -> str | None:
        """Version of the Python that opened the run; None where the record lacks it."""
        version = self.genesis.data.get("host", {}).get("python")
        return None if version is None else str(version)

    def commit_of(self, stage: str, sleeve: str) -> Record | None:
        """Return the last commit of that table by this run, None if it has none."""
        mine = (record for record in reversed(self.commits) if table_of(record) == (stage, sleeve))
        return next(mine, None)


class Index:
    """Records by run and by table. It grows with the ledger: `catch_up` reads only new records."""

    def __init__(self) -> None:
        self._place = Position()
        self._runs: dict[str, list[Record]] = {}
        self._versions: dict[tuple[str, str], list[Record]] = {}
        self._past: dict[tuple[str, str], list[Record]] = {}
        self._last_commit: dict[tuple[str, str], int] = {}
        self._landed: dict[tuple[str, str], list[Record]] = {}
        self._collected: dict[str, Record] = {}

    @property
    def last_seq(self) -> int:
        """Number of the last record in the index, -1 before the first."""
        return self._place.seq - 1

    def catch_up(self, ledger: LedgerReader) -> None:
        """Add the records appended since the last call."""
        for record, place in ledger.since(self._place):
            if record.kind == GENESIS:
                self._runs[record.run_id] = [record]
            elif record.run_id in self._runs:
                self._runs[record.run_id].append(record)
            if record.kind == LANDED:
                self._landed.setdefault(table_of(record), []).append(record)
            if record.kind == COLLECTED:
                self._collected[record.data["path"]] = record
            if record.kind == COMMIT:
                self._last_commit[table_of(record)] = record.seq
                kept = self._past if self._as_of(record.run_id) is not None else self._versions
                kept.setdefault(table_of(record), []).append(record)
            self._place = place

    def _as_of(self, run_id: str) -> str | None:
        """Return the knowledge time of a run, None if it has none. Versions of a run with one are never heads."""
        moment = self._runs[run_id][0].data.get("as_of") if run_id in self._runs else None
        return None if moment is None else str(moment)

    def knows(self, run_id: str) -> bool:
        """Return whether that run was opened."""
        return run_id in self._runs

    def run(self, run_id: str) -> Run:
        """Return one run; UnknownNameError if it was never opened."""
        if run_id not in self._runs:
            raise UnknownNameError("run", run_id, self._runs)
        genesis, *later = self._runs[run_id]
        by_kind: dict[str, list[Record]] = {LANDED: [], COMMIT: [], REFUSED: [], OUTCOME: []}
        notes: list[Record] = []
        for record in later:
            by_kind.get(record.kind, notes).append(record)
        outcome = by_kind[OUTCOME][0] if by_kind[OUTCOME] else None
        return Run(run_id, genesis, tuple(by_kind[COMMIT]), tuple(by_kind[REFUSED]), outcome, tuple(notes))

    def runs(self) -> Iterator[Run]:
        """Return all runs in the order they were opened."""
        return map(self.run, self._runs)

    def head(self, stage: str, sleeve: str, *, at: int | None = None) -> Record | None:
        """Return the newest commit of a table; with `at`, the newest up to that seq."""
        versions = self._versions.get((stage, sleeve), [])
        count = len(versions) if at is None else bisect_right(versions, at, key=attrgetter("seq"))
        return versions[count - 1] if count else None

    def past(self, stage: str, sleeve: str, as_of: str, *, at: int) -> Record | None:
        """Return the newest commit of a table, up to the seq `at`, of a run with that knowledge time."""
        versions = self._past.get((stage, sleeve), [])
        known = (record for record in reversed(versions) if record.seq <= at and self._as_of(record.run_id) == as_of)
        return next(known, None)

    def landed_batches(self, stage: str, sleeve: str) -> tuple[Record, ...]:
        """Return the `landed` records of a table, oldest first."""
        return tuple(self._landed.get((stage, sleeve), ()))

    def owner(self, stage: str, sleeve: str, sha256: str) -> str | None:
        """Return the run that last landed or committed a version of a table; None if no record names it."""
        table = stage, sleeve
        known = (*self._landed.get(table, ()), *self._versions.get(table, ()), *self._past.get(table, ()))
        naming = [record for record in known if any(part.get("sha256") == sha256 for part in _parts(record))]
        return max(naming, key=attrgetter("seq")).run_id if naming else None

    def collection_record(self, path: str) -> Record | None:
        """Return the last `collected` record of a version, by its path; None if it was never collected."""
        return self._collected.get(path)

    def last_commit(self, stage: str, sleeve: str) -> int:
        """Return the seq of the last commit of a table by any run, runs with a knowledge time included; -1 for none."""
        return self._last_commit.get((stage, sleeve), -1)

    def heads(self, *, at: int | None = None) -> Mapping[tuple[str, str], Record]:
        """Return the newest commit of every table, by stage and sleeve; with `at`, the newest up to that seq."""
        found = {table: self.head(*table, at=at) for table in sorted(self._versions)}
        return {table: record for table, record in found.items() if record is not None}


def table_of(commit: Record) -> tuple[str, str]:
    """Return stage and sleeve of a `commit` or `landed` record."""
    return commit.data["stage"], commit.data["sleeve"]


def _parts(record: Record) -> Iterator[Mapping[str, object]]:
    return (data for data in record.data.values() if isinstance(data, dict))
