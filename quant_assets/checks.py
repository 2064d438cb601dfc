"""Audits: asset checks that read a committed table again, bytes and rows. Gates, before the commit, are in assets/."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from quant_assets.io_managers import key_of
from quant_assets.partitions import partitioned_checks
from quant_assets.resources.run_setup import RunPlan
from quant_core.errors import DataError, EvidenceError
from quant_core.evidence.store.store import Store
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import validate

# Tables where a wrong byte would cost most. Later stages read the others, which hashes them.
AUDITED = ("ingest.bars", "ingest.returns", "allocation.weights", "backtest.equity")


def audits(stages: Sequence[StageSpec], sleeves: dg.PartitionsDefinition[str]) -> list[dg.AssetChecksDefinition]:
    """Return an audit of each of `stages` that is worth one."""
    return [audit_of(spec, sleeves) for spec in stages if spec.id in AUDITED]


def audit_of(spec: StageSpec, sleeves: dg.PartitionsDefinition[str]) -> dg.AssetChecksDefinition:
    """Return the check that the current version still hashes to its name and keeps its contract in full depth."""

    def audit(context: dg.AssetCheckExecutionContext, plan: RunPlan) -> dg.AssetCheckResult:
        reader = plan.reader(plan.run.plan.sleeve.name)
        refs = [reader.ref(spec.id), reader.ref(f"{spec.id}#exclusions")]
        shown: dict[str, Any] = {"sha256": refs[0].sha256, "rows": refs[0].rows, "excluded_rows": refs[1].rows}
        try:
            # A store of its own has seen no file yet and hashes each.
            valid, _ = (Store(plan.evidence.home).read(ref) for ref in refs)
            validate(valid, spec.output)
        except (EvidenceError, DataError) as error:
            return dg.AssetCheckResult(passed=False, description=str(error), metadata=shown)
        return dg.AssetCheckResult(passed=True, metadata=shown)

    with partitioned_checks():
        return dg.asset_check(
            asset=key_of(spec.id),
            name="audit",
            description="The stored bytes hash to the SHA-256 in the ledger, and every row keeps the contract.",
            partitions_def=sleeves,
        )(audit)
