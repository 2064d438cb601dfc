"""Every error the core raises, and the exit code the command line gives it.

Rules about data live in `market/contracts`; this module only names what can go wrong.

QuantError
├── UsageError                 the caller asked for something that cannot be (exit 2)
│   ├── UnknownNameError       a name no catalogue holds; lists the near matches
│   └── MissingExtraError      a command or mode whose optional package is not installed
├── ConfigError                a sleeve file, parameter or setting is wrong (exit 4)
│   └── UnknownKeyError        a name in a file or variable no catalogue holds; also an UnknownNameError
├── DataError                  the data cannot be used (exit 4)
│   ├── SourceError            a source cannot be read
│   │   └── UnavailableError   it did not answer for now: asking again later may help
│   ├── ContractError          a table breaks its contract as a whole
│   ├── PanelError             a matrix and its labels disagree
│   ├── WindowError            too few bars for what was asked
│   └── CalendarError          a date or calendar name outside what is known
├── InfeasibleError            constraints no portfolio can meet (exit 4)
├── GateError                  a blocking rule refused the result of a stage (exit 1)
├── EvidenceError              the ledger or the store cannot vouch for something (exit 1)
│   ├── IntegrityError         stored bytes differ from what was recorded
│   ├── TamperedError          the ledger's chain is broken
│   ├── TornTailError          the ledger ends in an unacknowledged, incomplete line (exit 3)
│   ├── MissingVersionError    a table has no committed version
│   └── ReplayError            a run computed again came to other hashes
├── ConflictError              somebody else committed first (exit 5)
└── EngineError                a compute engine failed; never answered by another engine (exit 1)
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class QuantError(Exception):
    """Root of every error this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(QuantError):
    """Raised when a call or command asks for something that cannot be."""

    exit_code = 2


class UnknownNameError(UsageError):
    """Raised when a name is in no catalogue."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = get_close_matches(name, self.known, n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else f"Known: {', '.join(self.known) or 'none'}."
        super().__init__(f"unknown {kind} {name!r}. {hint}")

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, list[str]]]:  # travels between processes
        return type(self), (self.kind, self.name, self.known)


class MissingExtraError(UsageError):
    """Raised when a feature needs an optional package that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(f"{what} needs the optional packages: pip install 'quant-assets[{extra}]'.")

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:  # travels between processes
        return type(self), (self.what, self.extra)


class ConfigError(QuantError):
    """Raised when a sleeve file, a parameter or a setting is wrong."""

    exit_code = 4


class UnknownKeyError(ConfigError, UnknownNameError):
    """Raised when a sleeve file, a variable or a parameter names what no catalogue holds."""


class DataError(QuantError):
    """Raised when data cannot be used as it is."""

    exit_code = 4


class SourceError(DataError):
    """Raised when a source is missing, empty or unreadable."""


class UnavailableError(SourceError):
    """Raised when a source did not answer, or not in time: asking again later may help."""


class ContractError(DataError):
    """Raised when a table breaks its contract as a whole: columns, types, keys."""


class PanelError(DataError):
    """Raised when a matrix and its labels disagree."""


class WindowError(DataError):
    """Raised when there are too few bars for the window asked for."""


class CalendarError(DataError):
    """Raised for a calendar name or a date nobody knows."""


class InfeasibleError(QuantError):
    """Raised when no portfolio meets the constraints."""

    exit_code = 4


class GateError(QuantError):
    """Raised when a blocking rule refuses the result of a stage; nothing was committed."""


class EvidenceError(QuantError):
    """Raised when the ledger or the store cannot vouch for something."""


class IntegrityError(EvidenceError):
    """Raised when stored bytes differ from the hash that was recorded."""


class TamperedError(EvidenceError):
    """Raised when the ledger's hash chain is broken."""


class TornTailError(EvidenceError):
    """Raised when the ledger ends in an incomplete line nobody acknowledged."""

    exit_code = 3


class MissingVersionError(EvidenceError):
    """Raised when a table has no committed version to read."""


class ReplayError(EvidenceError):
    """Raised when a run that was computed again did not come to the recorded hashes."""


class ConflictError(QuantError):
    """Raised when another writer committed a version this run did not know of."""

    exit_code = 5


class EngineError(QuantError):
    """Raised when a compute engine fails. No other engine takes over silently."""
