"""Checks that every version the ledger names is in the store with the recorded bytes. Nothing is changed here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from quant_core.errors import EvidenceError, IntegrityError, MissingVersionError
from quant_core.evidence.files.safe_paths import open_below
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.evidence.upkeep.references import Reference, find_store_files, members, references

Kind = Literal["damaged", "missing", "collected", "unreferenced", "temp", "foreign"]
_SHOWN = 3
_MEND = "Restore the files, or replay a run that committed them."


@dataclass(frozen=True)
class Finding:
    """A file that differs from the ledger, or that the ledger does not name.

    Attributes
    ----------
    kind : str
        `damaged`: other bytes than were recorded, or unreadable. `missing`: named but absent, and never collected.
        `collected`: deleted on purpose. `unreferenced`: a complete version that no record names; a writer killed before
        its commit leaves one. `temp`: an unfinished file. `foreign`: a file that a store does not write.
    path : str
        Relative to the home.
    detail : str
    runs : tuple of str
        Who committed it.
    """

    kind: Kind
    path: str
    detail: str
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScrubReport:
    """The result of a scrub.

    Attributes
    ----------
    versions, sound : int
        Versions the ledger names, and those of them whose bytes have the recorded hash.
    bytes : int
        Bytes read.
    findings : tuple of Finding
    """

    versions: int
    sound: int
    bytes: int
    findings: tuple[Finding, ...]

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def document(self) -> dict[str, Any]:
        """Return the JSON object that `quant store scrub --json` prints; fields are only ever added."""
        findings = [{**vars(finding), "runs": list(finding.runs)} for finding in self.findings]
        return {"versions": self.versions, "sound": self.sound, "bytes": self.bytes, "findings": findings}

    def raise_for_faults(self) -> None:
        """Raise an error if versions are damaged or lost; other findings are not faults.

        Raises
        ------
        IntegrityError
            A version has other bytes than were recorded.
        MissingVersionError
            Versions are lost, and none is damaged.
        """
        damaged, missing = self.of("damaged"), self.of("missing")
        if damaged:
            raise IntegrityError(f"other bytes than were recorded: {_join_paths(damaged)}. {_MEND}")
        if missing:
            raise MissingVersionError(f"lost, missing and never collected: {_join_paths(missing)}. {_MEND}")


def scrub(evidence: EvidenceReader, *, progress: Callable[[str], None] = lambda path: None) -> ScrubReport:
    """Hash every version the ledger names, even if it was checked before, and list all other files in the store.

    Parameters
    ----------
    evidence : EvidenceReader
    progress : callable
        Called with the path of each version, before it is read.

    Raises
    ------
    TamperedError
        The ledger itself is damaged.
    """
    # Files first: a version committed while the ledger is read is not in this list, and is looked up by name.
    there = find_store_files(evidence.store.root, evidence.home)
    known = references(evidence)
    for entry in [entry for entry in known.values() if entry.ref.form == "list"]:
        with suppress(EvidenceError):  # the list itself is reported as missing or damaged
            for member in members(evidence, entry):
                known.setdefault(member.ref.path, member)
    findings: list[Finding] = []
    size = 0
    for path, entry in sorted(known.items()):
        progress(path)
        finding, read = _check_version(evidence, entry)
        findings += [] if finding is None else [finding]
        size += read
    sound = len(known) - len(findings)
    for path in sorted(there.versions):
        if path not in known:
            findings.append(Finding("unreferenced", path, f"{there.versions[path]} bytes no record names"))
    findings += [Finding("temp", path, "an unfinished file") for path in there.temps]
    findings += [Finding("foreign", path, "nothing a store writes") for path in there.foreign]
    return ScrubReport(len(known), sound, size, tuple(findings))


def _join_paths(findings: Sequence[Finding]) -> str:
    named = ", ".join(finding.path for finding in findings[:_SHOWN])
    return named + (f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else "")


def _check_version(evidence: EvidenceReader, entry: Reference) -> tuple[Finding | None, int]:
    """Return the finding about a version, None if it is sound, and how many bytes of it were read."""
    ref, runs = entry.ref, tuple(entry.runs)
    try:
        descriptor = open_below(evidence.store.root, PurePosixPath(ref.path).parts[1:])
        with os.fdopen(descriptor, "rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except FileNotFoundError:
        gone = evidence.collection_record(ref.path)
        if gone is not None and gone.seq > entry.seq:
            return Finding("collected", ref.path, f"seq {gone.seq}", runs), 0
        return Finding("missing", ref.path, "not there, and no record says it was collected", runs), 0
    except (OSError, IntegrityError) as error:
        return Finding("damaged", ref.path, str(error), runs), 0
    if sha256 != ref.sha256:
        return Finding("damaged", ref.path, f"{size} bytes that hash to {sha256[:12]}", runs), size
    return None, size
