"""A stage becomes an asset: load, call the one function the script calls too, hand over for the commit.

Parameters come from the plan of the run alone; the config class only shows and takes them. Tables are read and
committed in io_managers.py.
"""

import functools
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from quant_assets.assets.code import reaches, room_version
from quant_assets.assets.shell import shell
from quant_assets.failures import Failing
from quant_assets.io_managers import key_of
from quant_assets.metadata import excluded_table
from quant_assets.partitions import partitioned_checks
from quant_assets.resources.run_setup import RunPlan
from quant_core.graph.finished import Finished
from quant_core.graph.landing import Landing
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import execute_stage, mask_own_secrets
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import Contract, Split
from quant_core.settings import ThreadSafeConfig

CONTRACT_CHECK = "contract"
OWNERS = ("team:quant",)
# For stages that touch the outside world; the source itself retries several times before it gives up.
RETRIES = dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def asset_of(
    spec: StageSpec,
    stages: StageRegistry,
    sleeves: dg.PartitionsDefinition[str],
    read: Collection[str] = (),
) -> dg.AssetsDefinition:
    """Return the asset of a stage.

    Parameters
    ----------
    spec : StageSpec
    stages : StageRegistry
        Where the contracts of its inputs are found.
    sleeves : PartitionsDefinition
    read : collection of stage ids
        Stages it reads in any sleeve. Those that not every sleeve reads are dependencies that a run loads itself, if
        its own sleeve names a column of them.
    """
    key, output = key_of(spec.id), polars_type(spec.output)
    condition = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
    module = spec.function.__module__
    return dg.asset(
        key=key,
        ins={argument: _input(source, stages) for argument, source in _wired_inputs(spec).items()},
        deps=[key_of(id) for id in sorted({*read, *spec.parents} - _wired_stages(spec))],
        partitions_def=sleeves,
        dagster_type=output,
        group_name=spec.room,
        description=f"{spec.doc}\n\nOne row: {spec.output.doc}",
        kinds={"parquet", "polars"} | ({"numba"} if reaches(module, "kernels") else set()),
        owners=OWNERS,
        tags={"quant/room": spec.room},
        op_tags={"quant/stage": spec.id},
        metadata=_definition_metadata(spec),
        code_version=room_version(".".join(module.split(".")[:2])),
        check_specs=[_contract_check(spec, key, sleeves)],
        automation_condition=condition if spec.inputs else None,
        retry_policy=RETRIES if spec.is_edge else None,
    )(_body(spec))


def _body(spec: StageSpec) -> Any:
    config_class = shell(spec.params)

    def body(
        context: dg.AssetExecutionContext,
        config: config_class,  # type: ignore[valid-type]  # made at run time; shown in the Launchpad, read by RunPlan
        plan: RunPlan,
        **inputs: pl.DataFrame,
    ) -> Iterator[dg.Output[Finished] | dg.AssetCheckResult]:
        own = plan.stages[spec.id]
        finished = _execute(own, plan, {**inputs, **_load_other_inputs(own, plan)}, context.log.info)
        verdict = _verdict(finished)
        if finished.broken:
            plan.evidence.refuse(plan.run.run_id, spec.id, plan.run.plan.sleeve.name, list(finished.broken))
            yield verdict
            raise dg.Failure(f"{spec.id}: {' '.join(finished.broken)}", allow_retries=False)
        for warning in finished.warnings:
            context.log.warning(f"stage={spec.id} {warning}")
        yield dg.Output(finished)
        yield verdict  # after the output: a check that comes first keeps automation from starting what follows

    body.__name__, body.__doc__ = spec.id.replace(".", "__"), spec.doc
    return body


def _execute(
    spec: StageSpec, plan: RunPlan, inputs: Mapping[str, pl.DataFrame], tell: Callable[[str], None]
) -> Finished:
    landing = Landing(plan.evidence, plan.run.plan.sleeve.name, plan.run.run_id, tell=tell, mask=mask_own_secrets)
    with Failing(spec.id) as failing, ThreadSafeConfig.use(plan.settings):
        return execute_stage(spec, inputs, plan.run.plan, compute=plan.compute, as_of=plan.run.as_of, landing=landing)
    raise failing.failure


def _verdict(finished: Finished) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=CONTRACT_CHECK,
        passed=not finished.broken,
        description=" ".join(finished.broken or finished.warnings) or "Every rule is met.",
        metadata={
            "rows": finished.valid.height,
            "excluded_rows": finished.exclusions.height,
            "excluded": excluded_table(finished.excluded),
            "broken": dg.MetadataValue.json(list(finished.broken)),
            "warnings": dg.MetadataValue.json(list(finished.warnings)),
        },
    )


def _wired_inputs(spec: StageSpec) -> dict[str, str]:
    """Return the inputs Dagster hands over: the first of each parent, as Dagster knows one input per asset and step.

    The run loads the tables of a pattern itself: they differ between sleeves, and only some columns of each are read.
    """
    first: dict[str, str] = {}
    for argument, source in spec.inputs.items():
        if not spec.is_in_pattern(argument):
            first.setdefault(source.partition("#")[0], argument)
    return {argument: spec.inputs[argument] for argument in first.values()}


def _wired_stages(spec: StageSpec) -> set[str]:
    return {source.partition("#")[0] for source in _wired_inputs(spec).values()}


def _load_other_inputs(spec: StageSpec, plan: RunPlan) -> dict[str, pl.DataFrame]:
    """Load the inputs Dagster does not hand over: the tables of a pattern, and a second part of one parent."""
    reader = plan.reader(plan.run.plan.sleeve.name)
    return reader.frames(spec, only=spec.inputs.keys() - _wired_inputs(spec).keys())


def _input(source: str, stages: StageRegistry) -> dg.AssetIn:
    stage, _, part = source.partition("#")
    if part:
        return dg.AssetIn(key_of(stage), metadata={"part": part})
    return dg.AssetIn(key_of(stage), dagster_type=polars_type(stages[stage].output))


def _contract_check(spec: StageSpec, key: dg.AssetKey, sleeves: dg.PartitionsDefinition[str]) -> dg.AssetCheckSpec:
    lines = [f"- {rule.name}: {rule.doc}" for rule in spec.output.row_rules]
    lines += [f"- {rule.name} ({rule.severity}s): {rule.doc}" for rule in spec.rules]
    lines += [f"- budget: at most {share:.0%} of rows excluded by {rule}" for rule, share in spec.budgets.items()]
    if spec.conserves:
        lines.append(f"- conservation: every row of {spec.conserves} is kept or excluded with its reason")
    with partitioned_checks():
        return dg.AssetCheckSpec(
            CONTRACT_CHECK,
            asset=key,
            description="\n".join(["The gate: a result that breaks a rule is not committed.", *lines]),
            blocking=True,
            partitions_def=sleeves,
        )


def _definition_metadata(spec: StageSpec) -> dict[str, Any]:
    return {
        "dagster/column_schema": polars_type(spec.output).metadata["schema"].value,
        "contract": spec.output.name,
        "key": ", ".join(spec.output.key),
        "stage": f"{spec.function.__module__}.{spec.function.__name__}",
    }


@functools.cache
def polars_type(contract: Contract) -> dg.DagsterType:
    """Return the Dagster type of a contract's tables, with the columns the UI shows.

    dagster-pandera's own type expects pandas and would validate once more; the IO manager does that.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # pandera_schema_to_dagster_type is marked beta
        from dagster_pandera import pandera_schema_to_dagster_type

        known = pandera_schema_to_dagster_type(contract.schema)
    return dg.DagsterType(
        lambda _, value: isinstance(value, (pl.DataFrame, Split)),
        name=known.unique_name,
        description=contract.doc,
        metadata=known.metadata,
        typing_type=pl.DataFrame,
    )
