"""The code location: assets, checks, job, schedules, sensors and resources, from the stages and sleeve files found."""

import warnings
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

from quant_assets.assets import stage_assets
from quant_assets.assets.tracking import tracking_asset
from quant_assets.checks import audits
from quant_assets.environments import resources_of
from quant_assets.jobs import sleeve_pipeline
from quant_assets.partitions import sleeve_partitions
from quant_assets.schedules import close_schedule
from quant_assets.sensors import canceled_runs, failed_runs, finished_runs, raw_files, stale_tables
from quant_core.errors import UnknownNameError
from quant_core.graph.registry import StageRegistry
from quant_core.market.sleeves import SleeveFile, find_sleeve, sleeve_files
from quant_core.settings import Settings

# A process that has used polars must not be forked: the threads of its pool are gone in the child, which waits for them
# for ever. The modules preloaded here are imported and nothing else.
EXECUTORS: Mapping[str, dg.ExecutorDefinition] = {
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": ["quant_assets.location"]}}}
    ),
}


def code_location(
    environ: Mapping[str, str], *, package: str = "quant_core", today: date | None = None
) -> dg.Definitions:
    """Build the code location.

    Parameters
    ----------
    environ : mapping
        QUANT_SLEEVES (folder of sleeve files), QUANT_ENV (local, test, production), QUANT_EXECUTOR (in_process,
        multiprocess).
    package : str
        Python package whose rooms hold the stages.
    today : date, optional
        Schedules know the calendars up to it. Default: the day it is (UTC).

    Raises
    ------
    QuantError
        A sleeve file, an environment or an executor is not what it must be; nothing is loaded without it.
    """
    folder = Settings.from_environment(environ).sleeves
    stages = StageRegistry.load(package)
    sleeves = sleeve_partitions(folder)
    files = [find_sleeve(name, folder) for name in sleeve_files(folder)]
    job = sleeve_pipeline()
    day = today or datetime.now(UTC).date()
    return dg.Definitions(
        assets=[*stage_assets(stages, sleeves, files), tracking_asset(stages, sleeves)],
        asset_checks=audits(stages.order_stages(), sleeves),
        jobs=[job],
        schedules=[close_schedule(file, job, today=day) for file in files],
        sensors=[raw_files(raw_paths(files), job), failed_runs, finished_runs, canceled_runs, stale_tables()],
        resources=resources_of(environ.get("QUANT_ENV", "local"), package=package),
        executor=_executor(environ.get("QUANT_EXECUTOR", "in_process")),
    )


def raw_paths(files: list[SleeveFile]) -> dict[str, Path]:
    """Return the raw file or folder of every sleeve whose source names one."""
    return {file.sleeve.name: Path(file.source["path"]) for file in files if isinstance(file.source.get("path"), str)}


def warn_without_home(environ: Mapping[str, str]) -> None:
    """Warn if Dagster would keep the history of runs in a temporary folder."""
    if not environ.get("DAGSTER_HOME"):
        message = "DAGSTER_HOME is not set: the history of runs goes to a temporary folder. export DAGSTER_HOME=$PWD"
        warnings.warn(message, stacklevel=2)


def _executor(name: str) -> dg.ExecutorDefinition:
    if name not in EXECUTORS:
        raise UnknownNameError("executor", name, EXECUTORS)
    return EXECUTORS[name]
