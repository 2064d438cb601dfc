"""Deletes versions that can be computed again and files that no record names. Files that must stay: references.py.

Each deletion is recorded in the ledger before it is done, so that collected versions differ from lost ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from quant_core.errors import EvidenceError, MissingVersionError
from quant_core.evidence.files.documents import flush_path
from quant_core.evidence.ledger.transaction import Entry
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.index import COLLECTED
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.evidence.upkeep.references import Reference, find_store_files, kept_paths, members, references
from quant_core.evidence.verification.verify import verify_ledger

MARGIN = timedelta(days=1)
"""Least age of a file to delete: longer than a run takes from writing its first table to committing its last."""

_GROUP = 100
_NAMED = 5


@dataclass(frozen=True)
class Candidate:
    """A file to delete.

    Attributes
    ----------
    path : str
        Relative to the home.
    bytes : int
    reason : "old version" or "unreferenced"
    runs : tuple of str
        Runs that committed it; any of them can be replayed.
    """

    path: str
    bytes: int
    reason: Literal["old version", "unreferenced"]
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """The files a collection deletes, or would delete.

    Attributes
    ----------
    candidates : tuple of Candidate
    kept, young : int
        Versions left because they are needed, and because they are younger than the margin.
    temps : tuple of str
        Unfinished files of writers that have ended.
    is_done : bool
        Whether the files were deleted; else this is a plan.
    """

    candidates: tuple[Candidate, ...]
    kept: int
    young: int
    temps: tuple[str, ...] = ()
    is_done: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of the candidates."""
        return sum(candidate.bytes for candidate in self.candidates)

    def document(self) -> dict[str, Any]:
        """Return the JSON object that `quant store gc --json` prints; fields are only ever added."""
        return {
            "deleted": self.is_done,
            "bytes": self.bytes,
            "kept": self.kept,
            "young": self.young,
            "temps": list(self.temps),
            "candidates": [{**vars(candidate), "runs": list(candidate.runs)} for candidate in self.candidates],
        }


def plan_collection(
    evidence: EvidenceReader, recomputable: Container[str], *, margin: timedelta = MARGIN
) -> Collection:
    """Return the collection that `collect` would carry out.

    Parameters
    ----------
    evidence : EvidenceReader
    recomputable : container of stage ids
        Stages whose tables replay computes to the same bytes; old versions of all others are kept.
    margin : timedelta
        Files younger than this are left.

    Raises
    ------
    MissingVersionError
        The ledger is missing, so it is not known what is needed.
    TamperedError, IntegrityError
        The ledger fails its check, or a list of versions it names cannot be read.
    """
    _check_ledger(evidence)
    return _plan_collection(evidence, recomputable, margin)


def collect(evidence: Evidence, recomputable: Container[str], *, margin: timedelta = MARGIN) -> Collection:
    """Delete old versions that a replay can compute, files that no record names, and temps of killed writers.

    The ledger is locked meanwhile. A version that is written again counts as young, so its commit finds it.

    Raises
    ------
    EvidenceError
        A file cannot be deleted; those before it are deleted and recorded in the ledger.
    MissingVersionError, TamperedError, IntegrityError
        As `plan_collection`.
    """
    _check_ledger(evidence)
    with evidence.lock_ledger() as ledger:
        plan = _plan_collection(evidence, recomputable, margin)
        for start in range(0, len(plan.candidates), _GROUP):
            group = plan.candidates[start : start + _GROUP]
            ledger.append_all([Entry(COLLECTED, _collected_data(candidate), "") for candidate in group])
            _delete(evidence.home, group)
    return Collection(plan.candidates, plan.kept, plan.young, _relative_names(evidence, evidence.sweep()), is_done=True)


def _check_ledger(evidence: EvidenceReader) -> None:
    """Raise unless the ledger is intact: a file that a damaged ledger fails to name would be deleted."""
    if not evidence.ledger.path.is_file():
        raise MissingVersionError(
            f"no ledger at {evidence.ledger.path}, so it is not known what is needed. Check --home."
        )
    report = verify_ledger(evidence.ledger)
    if report.verdict != "torn_tail":
        report.raise_for_faults()


def _plan_collection(evidence: EvidenceReader, recomputable: Container[str], margin: timedelta) -> Collection:
    there = find_store_files(evidence.store.root, evidence.home)
    known = references(evidence)
    kept = kept_paths(evidence, known, recomputable)
    for entry in [entry for entry in known.values() if entry.ref.form == "list" and entry.ref.path in kept]:
        named = {member.ref.path: member for member in members(evidence, entry)}
        kept |= named.keys()
        known = named | known
    candidates, young = [], 0
    oldest = time.time() - margin.total_seconds()
    for path, size in sorted(there.versions.items()):
        if path in kept:
            continue
        if (evidence.home / path).lstat().st_mtime > oldest:
            young += 1
        else:
            candidates.append(_candidate(path, size, known.get(path)))
    return Collection(tuple(candidates), len(kept & set(there.versions)), young, there.temps)


def _candidate(path: str, size: int, entry: Reference | None) -> Candidate:
    if entry is None:
        return Candidate(path, size, "unreferenced")
    return Candidate(path, size, "old version", tuple(entry.runs))


def _collected_data(candidate: Candidate) -> dict[str, Any]:
    return {
        "path": candidate.path,
        "sha256": PurePosixPath(candidate.path).stem,
        "bytes": candidate.bytes,
        "reason": candidate.reason,
        "runs": list(candidate.runs[-_NAMED:]),
    }


def _delete(home: Path, group: Sequence[Candidate]) -> None:
    folders = set()
    for candidate in group:
        path = home / candidate.path
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise EvidenceError(
                f"cannot delete {path}: {error.strerror}. Make it writable, then run `quant store gc` again."
            ) from error
        folders.add(path.parent)
    for folder in sorted(folders):
        flush_path(folder)


def _relative_names(evidence: EvidenceReader, paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(evidence.home).as_posix() for path in paths)
