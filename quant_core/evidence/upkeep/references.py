"""The files of the store that the ledger names, and those a collection must leave. Deleting: collect.py."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from quant_core.evidence.files.documents import is_temp
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.index import COMMIT, LANDED, Run, table_of
from quant_core.evidence.runs.reader import EvidenceReader, ref_in
from quant_core.evidence.store.refs import DataRef, Part

KEPT_VERSIONS = 5
"""Number of newest versions that a collection keeps of a table that can be computed again."""

PINNED, RELEASED, PROMOTED = "pinned", "released", "promoted"

_VERSION = re.compile(r"[0-9a-f]{64}\.parquet")


@dataclass
class Reference:
    """A version that the ledger names.

    Attributes
    ----------
    ref : DataRef
    runs : list of str
        Runs that landed or committed it, in order, each once.
    seq : int
        Seq of the newest record that names it.
    """

    ref: DataRef
    runs: list[str] = field(default_factory=list)
    seq: int = -1


@dataclass(frozen=True)
class StoreFiles:
    """The files in the store.

    Attributes
    ----------
    versions : dict of path to bytes
        Regular files named like versions; paths are relative to the home.
    temps, foreign : tuple of str
        Unfinished files of writers, and all other files, links included.
    """

    versions: dict[str, int]
    temps: tuple[str, ...]
    foreign: tuple[str, ...]


def references(evidence: EvidenceReader) -> dict[str, Reference]:
    """Return every version that was ever landed or committed, by its path.

    Raises
    ------
    TamperedError
        The ledger is damaged, so the versions it names are not known.
    IntegrityError
        A record names a version that cannot exist.
    """
    known: dict[str, Reference] = {}
    for record in evidence.ledger.records():
        if record.kind in {LANDED, COMMIT}:
            for ref in refs_in(record):
                entry = known.setdefault(ref.path, Reference(ref))
                entry.seq = record.seq
                if record.run_id not in entry.runs:
                    entry.runs.append(record.run_id)
    return known


def members(evidence: EvidenceReader, entry: Reference) -> tuple[Reference, ...]:
    """Return the versions a list names; each has the runs and seq of the list."""
    return tuple(Reference(ref, entry.runs, entry.seq) for ref in evidence.store.versions(entry.ref))


def refs_in(record: Record) -> Iterator[DataRef]:
    """Yield the versions a `landed` or `commit` record names."""
    parts: tuple[Part, ...] = get_args(Part)
    return (ref_in(record, part) for part in parts if part in record.data)


def find_store_files(store: Path, home: Path) -> StoreFiles:
    """List the files of a store without following links."""
    versions: dict[str, int] = {}
    temps: list[str] = []
    foreign: list[str] = []
    for folder, below, names in os.walk(store):
        for name in sorted([*names, *(name for name in below if Path(folder, name).is_symlink())]):
            path = Path(folder, name)
            where = path.relative_to(home).as_posix()
            try:
                size = path.lstat().st_size
            except FileNotFoundError:
                continue  # a temp that was published or removed meanwhile
            if path.is_symlink() or not path.is_file():
                foreign.append(where)
            elif _VERSION.fullmatch(name):
                versions[where] = size
            else:
                (temps if is_temp(name) else foreign).append(where)
    return StoreFiles(versions, tuple(sorted(temps)), tuple(sorted(foreign)))


def kept_paths(evidence: EvidenceReader, known: dict[str, Reference], recomputable: Container[str]) -> set[str]:
    """Return the paths that a collection leaves.

    `recomputable` are the stages whose tables replay computes to the same bytes. Kept are: every version of all other
    tables; the last `KEPT_VERSIONS` of a recomputable table, counted for runs with and without a knowledge time; the
    versions that open, pinned or promoted runs committed or read.
    """
    kept = {path for path, entry in known.items() if entry.ref.stage not in recomputable}
    runs = {run.run_id: run for run in evidence.runs()}
    newest: dict[tuple[str, str, bool], list[Record]] = {}
    for run in runs.values():
        is_past = run.genesis.data.get("as_of") is not None
        for record in run.commits:
            newest.setdefault((*table_of(record), is_past), []).append(record)
    for records in newest.values():
        kept |= {ref.path for record in _last_versions(records) for ref in refs_in(record)}
    by_hash: dict[str, set[str]] = {}
    for path, entry in known.items():
        by_hash.setdefault(entry.ref.sha256, set()).add(path)
    for run in runs.values():
        if run.outcome is None:
            heads = evidence.heads(at=run.pinned_seq).values()
            kept |= {ref.path for record in heads for ref in refs_in(record)}
        if run.outcome is None or is_held(run):
            kept |= {ref.path for record in run.commits for ref in refs_in(record)}
            parents = (sha256 for record in run.commits for sha256 in record.data["facts"].get("parents", {}).values())
            kept |= {path for sha256 in parents for path in by_hash.get(sha256, ())}
    return kept


def is_held(run: Run) -> bool:
    """Return whether a run was promoted, or pinned and not released since."""
    marks = [note.kind for note in run.notes if note.kind in {PINNED, RELEASED, PROMOTED}]
    return PROMOTED in marks or [mark for mark in marks if mark != PROMOTED][-1:] == [PINNED]


def pin(evidence: Evidence, run_id: str, *, release: bool = False) -> Record:
    """Record that the versions of a run are to be kept; with `release`, that they need not be kept any longer.

    Raises
    ------
    UnknownNameError
        No such run.
    """
    evidence.run(run_id)
    return evidence.note(run_id, RELEASED if release else PINNED, {})


def _last_versions(records: list[Record]) -> list[Record]:
    """Return all commits of the last `KEPT_VERSIONS` different versions of a table."""
    last: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.seq, reverse=True):
        sha256 = record.data["valid"]["sha256"]
        if sha256 in last or len(last) < KEPT_VERSIONS:
            last.setdefault(sha256, []).append(record)
    return [record for same in last.values() for record in same]
