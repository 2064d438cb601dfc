"""Prepares a home for Dagster and the tracker: `python -m quant_assets.home /abs/home`.

The dagster.yaml of the checkout has the same text with the relative folder `.quant`.
"""

import os
import sys
from pathlib import Path

from quant_core.errors import UsageError
from quant_core.evidence.files.documents import write_document

_TEMPLATE = """\
# Dagster's own storage. A relative base_dir follows the working directory: run `dagster` from the checkout with
# DAGSTER_HOME=$PWD, or write this file with absolute folders: python -m quant_assets.home /abs/home
storage:
  sqlite:
    base_dir: {folder}/storage
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: {folder}/logs
local_artifact_storage:
  module: dagster._core.storage.root
  class: LocalArtifactStorage
  config:
    base_dir: {folder}/artifacts
telemetry:
  enabled: false
nux:
  enabled: false
# Two runs at a time: each one uses the machine well already.
concurrency:
  runs:
    max_concurrent_runs: 2
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  cancel_timeout_seconds: 180
  poll_interval_seconds: 30
# Loading the definitions takes seconds, on a busy machine more.
code_servers:
  local_startup_timeout: 300
  reload_timeout: 300
sensors:
  use_threads: true
  num_workers: 2
schedules:
  use_threads: true
  num_workers: 2
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 7
      failure: 30
      success: 90
"""


def dagster_yaml(folder: str) -> str:
    """Return the instance configuration that keeps everything below `folder`."""
    return _TEMPLATE.format(folder=folder)


def dagster_home(home: Path) -> Path:
    """Write `dagster/dagster.yaml` under `home` unless it is there; return the value for DAGSTER_HOME.

    Raises
    ------
    UsageError
        `home` is relative: Dagster would take it from wherever it is started.
    """
    if not home.is_absolute():
        raise UsageError(f"home {str(home)!r} is relative; give an absolute folder.")
    folder = home / "dagster"
    if not (folder / "dagster.yaml").exists():
        write_document(folder / "dagster.yaml", dagster_yaml(str(folder)).encode())
    return folder


def prepare(home: Path) -> Path:
    """Create everything under `home` that takes time or must be absolute; return the value for DAGSTER_HOME."""
    folder = dagster_home(home)
    from quant_assets.resources.tracking import create_store  # the door to mlflow: takes seconds

    create_store(home)
    return folder


def create_dagster_storage(folder: Path) -> None:
    """Create the databases of the Dagster instance configured in `folder`.

    Two processes that start at once would both create the tables, and one of them would fail.
    """
    import dagster as dg

    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.get_runs(limit=1)
        instance.get_asset_keys(limit=1)
        instance.all_instigator_state()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m quant_assets.home /abs/home")
    prepared = prepare(Path(sys.argv[1]))
    create_dagster_storage(Path(os.environ.get("DAGSTER_HOME", prepared)))
    sys.stdout.write(f"export DAGSTER_HOME={prepared}\n")
