"""Tables between assets: committed through the ledger, read by reference, checked against their contract both ways.

assets/factory.py decides what a refused result means for the run; evidence/store/store.py handles bytes and hashes.
"""

import dagster as dg
import polars as pl
from pydantic import PrivateAttr

from quant_assets.metadata import column_schema, table_metadata
from quant_assets.resources.run_setup import RunPlan
from quant_core.errors import ContractError
from quant_core.evidence.store.refs import DataRef
from quant_core.graph.commit import commit_result
from quant_core.graph.finished import Finished
from quant_core.graph.judge import judge
from quant_core.graph.stage import Derived, PerSleeve, StageSpec
from quant_core.lifecycle.compare.changes import changes_of
from quant_core.market.contracts.rule_names import with_current_names
from quant_core.market.contracts.split import EXCLUSION_SCHEMA, Split, validate

EXCLUSIONS = "exclusions"
UNPARTITIONED = "_"


def key_of(stage: str) -> dg.AssetKey:
    """Return the asset key of a stage: "alpha.factors" is alpha/factors."""
    return dg.AssetKey(stage.split("."))


def stage_of(key: dg.AssetKey) -> str:
    """Return the stage id of an asset key."""
    return ".".join(key.path)


class PanderaParquetIOManager(dg.ConfigurableIOManager):
    """Commits what a stage yields as a Parquet version with its exclusions; loads the version the run may read."""

    plan: dg.ResourceDependency[RunPlan]

    # Equal bytes under one contract are checked once per process.
    _valid_versions: set[tuple[str, str]] = PrivateAttr(default_factory=set)

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame | Split) -> None:
        """Judge, commit and describe the result of a stage.

        Raises
        ------
        GateError, ContractError, ConflictError
            The rules, the contract or another run forbid the commit; nothing was committed.
        """
        spec = self.plan.stages[stage_of(context.asset_key)]
        sleeve = context.asset_partition_key if context.has_asset_partitions else UNPARTITIONED
        reader = self.plan.reader(sleeve)
        finished = obj if isinstance(obj, Finished) else self._judge_result(spec, obj, sleeve)
        committed = commit_result(reader, spec, finished)
        self._valid_versions.add((spec.id, committed.ref.sha256))
        context.step_context.set_data_version(context.asset_key, dg.DataVersion(committed.ref.sha256))
        changes = changes_of(reader.evidence, spec, committed, finished.valid)
        shown = table_metadata(committed, finished, reader.evidence.home, changes)
        if spec.given is not None and isinstance(spec.declared, PerSleeve | Derived):
            shown["dagster/column_schema"] = column_schema(spec.output)
        context.add_output_metadata(shown)

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """Return the valid rows of the table behind an input, or another part of it if the input names one.

        Raises
        ------
        MissingVersionError, IntegrityError
            The version is missing, or its bytes are not those recorded.
        ContractError
            The version breaks the contract of the stage that made it.
        """
        spec = self.plan.stages[stage_of(context.asset_key)]
        sleeve = context.asset_partition_key if context.has_asset_partitions else UNPARTITIONED
        reader = self.plan.reader(sleeve)
        part = (context.definition_metadata or {}).get("part")
        ref = reader.ref(f"{spec.id}#{part}" if part else spec.id)
        return with_current_names(self._check_contract(spec, ref, reader.evidence.store.read(ref)))

    def _judge_result(self, spec: StageSpec, result: pl.DataFrame | Split, sleeve: str) -> Finished:
        reader = self.plan.reader(sleeve)
        rows_in = {argument: reader.ref(source).rows for argument, source in spec.inputs.items()}
        return judge(spec, result, rows_in=rows_in)

    def _check_contract(self, spec: StageSpec, ref: DataRef, frame: pl.DataFrame) -> pl.DataFrame:
        if ref.part == EXCLUSIONS:
            if dict(frame.schema) != EXCLUSION_SCHEMA:
                raise ContractError(f"{spec.id}: its exclusions have the columns {dict(frame.schema)}.")
        elif ref.part == "valid" and (spec.id, ref.sha256) not in self._valid_versions:
            validate(frame, spec.output)
            self._valid_versions.add((spec.id, ref.sha256))
        return frame
