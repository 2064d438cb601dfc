"""Translates how a Dagster run ended into the ledger's words. run_setup.py and sensors.py close runs."""

import dagster as dg
from dagster._core.execution.plan.objects import ErrorSource  # distinguishes an interrupt from a fault; not exported

from quant_core.errors import UnknownNameError
from quant_core.evidence.runs.commits import Evidence, Outcome

_ENDS = {"STEP_SUCCESS": "ok", "STEP_FAILURE": "failed", "STEP_SKIPPED": "skipped"}


def steps_by_result(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[str]]:
    """Return the steps of a run under ok, failed, skipped, cancelled and unfinished, by stage id, each list sorted."""
    result: dict[str, str] = dict.fromkeys(planned_steps(instance, run_id), "unfinished")
    for record in instance.get_records_for_run(run_id).records:
        event = record.event_log_entry.dagster_event
        if event is None or event.step_key is None or event.event_type_value not in _ENDS:
            continue
        is_interrupt = event.is_step_failure and event.step_failure_data.error_source == ErrorSource.INTERRUPT
        result[event.step_key] = "cancelled" if is_interrupt else _ENDS[event.event_type_value]
    names = ("ok", "failed", "skipped", "cancelled", "unfinished")
    return {name: sorted(_stage_of(step) for step, end in result.items() if end == name) for name in names}


def starter_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """Return the process that starts the steps of a run, None while the run itself is being started.

    Neither the executor nor the parent process shows it: the run of a code server is a child process, too.
    """
    started = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_START, limit=1).records
    event = started[0].event_log_entry.dagster_event if started else None
    return event.pid if event else None


def planned_steps(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Return the steps Dagster planned to run; none if it never made a plan."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.execution_plan_snapshot_id is None:
        return []
    return list(instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).step_keys_to_execute)


def outcome_of(instance: dg.DagsterInstance, run_id: str, steps: dict[str, list[str]]) -> Outcome:
    """Return how a run that goes no further ended."""
    run = instance.get_run_by_id(run_id)
    stopping = {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}
    if steps["cancelled"] or (run is not None and run.status in stopping):
        return "cancelled"
    return "failed" if steps["failed"] or steps["skipped"] or steps["unfinished"] else "ok"


def close_run(evidence: Evidence, instance: dg.DagsterInstance, run_id: str) -> bool:
    """Close a run that goes no further in the ledger; the first outcome of a run is final.

    Returns
    -------
    bool
        Whether the ledger knows the run: one that is stopped before its plan stood was never opened.
    """
    try:
        evidence.run(run_id)
    except UnknownNameError:
        return False
    steps = steps_by_result(instance, run_id)
    evidence.close_run(run_id, outcome_of(instance, run_id, steps), steps)
    return True


def close_finished_runs(evidence: Evidence, instance: dg.DagsterInstance) -> None:
    """Close every run that Dagster saw end and that is still open: its steps had processes and no sensor ran."""
    for run in evidence.runs():
        if run.outcome is None and run.genesis.data.get("started_by") == "dagster":
            known = instance.get_run_by_id(run.run_id)
            if known is not None and known.is_finished:
                close_run(evidence, instance, run.run_id)


def close_if_last(evidence: Evidence, instance: dg.DagsterInstance, run_id: str, stage: str) -> bool:
    """Close a run as ok from inside its last step; return whether every other step had succeeded."""
    steps = steps_by_result(instance, run_id)
    left = {step for end, names in steps.items() if end != "ok" for step in names} - {stage}
    if not left:
        evidence.close_run(run_id, "ok", {"ok": steps["ok"], "failed": []})
    return not left


def _stage_of(step: str) -> str:
    return step.replace("__", ".", 1)
