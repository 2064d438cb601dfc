"""The report of a verification: faults, verdict and error. The pass that finds the faults: walk.py."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from quant_core.errors import EvidenceError, TamperedError, TornTailError
from quant_core.evidence.ledger.inspection import Fault, describe_fault


class VerifyReport(BaseModel):
    """The result of a verification. `records` counts complete lines, good or not; `head` is the hash of the last."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    records: int
    head: str
    faults: tuple[Fault, ...]
    root: str = ""
    segments: int = 1
    checkpoints: int = 0
    anchors: int = 0

    @property
    def ok(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    @property
    def verdict(self) -> Literal["intact", "torn_tail", "unknown_format", "tampered"]:
        """The gravest of the faults. A torn tail was never acknowledged, and the next append removes it."""
        kinds = {fault.kind for fault in self.faults}
        if kinds - {"torn_tail", "unknown_format"}:
            return "tampered"
        if "unknown_format" in kinds:
            return "unknown_format"
        return "torn_tail" if kinds else "intact"

    def raise_for_faults(self) -> None:
        """Raise the error of the verdict; do nothing if the ledger is intact."""
        if self.ok:
            return
        errors = {"torn_tail": TornTailError, "unknown_format": EvidenceError, "tampered": TamperedError}
        raise errors[self.verdict](f"the ledger is {self.verdict}: " + "; ".join(map(describe_fault, self.faults[:5])))
