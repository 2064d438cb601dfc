"""Verifies the ledger of a home: intact, torn at the end or tampered with. The pass over its lines: walk.py."""

from __future__ import annotations

from collections.abc import Iterable

from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.reader import LedgerReader
from quant_core.evidence.verification.parallel_verify import verify_in_processes
from quant_core.evidence.verification.report import VerifyReport


def verify_ledger(ledger: LedgerReader, anchors: Iterable[Anchor] = (), *, processes: int = 0) -> VerifyReport:
    """Check every byte of a ledger as it is now, and that it extends every anchor.

    Parameters
    ----------
    ledger : LedgerReader
    anchors : iterable of Anchor
        See ledger/anchors.py for where they are stored.
    processes : int
        Extra worker processes for the sealed segments of a long ledger.
    """
    with ledger.snapshot() as segments:
        return verify_in_processes(processes, segments, tuple(anchors))
