"""The settings of one Dagster run: launch values go before the resource's own fields, those before the environment.

Parameters of stages are resolved here too; graph/parameters.py decides which value wins.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from quant_core.errors import ConfigError, UsageError
from quant_core.graph.parameters import Plan, resolve_plan
from quant_core.graph.registry import StageRegistry
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings

PARTITION_TAG = "dagster/partition"
AS_OF_TAG = "quant/as_of"


@dataclass(frozen=True)
class RunSettings:
    """Where a run reads and writes, which engine computes, and its knowledge time.

    Attributes
    ----------
    settings : Settings
    as_of : str, optional
        Knowledge time (ISO); None: latest.
    """

    settings: Settings
    as_of: str | None

    @classmethod
    def of(cls, run: dg.DagsterRun | None, fields: Mapping[str, Any], required: Sequence[str]) -> "RunSettings":
        """Resolve the settings for a run, or for reading outside one.

        Parameters
        ----------
        run : DagsterRun, optional
        fields : mapping
            The resource's own `home`, `as_of` and `engine`.
        required : sequence of str
            Environment variables that must be set.

        Raises
        ------
        ConfigError
            One of `required` is not set, or a value is not allowed.
        """
        missing = [name for name in required if not os.environ.get(name)]
        if missing:
            raise ConfigError(f"{missing[0]} is not set; this environment has no default for it.")
        given = {**fields, **launch_values(run)}
        settings = Settings.from_environment(os.environ, home=given["home"], compute=given["engine"])
        tagged = run.tags.get(AS_OF_TAG) if run else None
        return cls(settings, tagged or given["as_of"])

    def plan(self, run: dg.DagsterRun, stages: StageRegistry) -> Plan:
        """Resolve and validate the parameters of every stage for the sleeve of a run.

        Raises
        ------
        UsageError
            The run has no partition.
        """
        sleeve = run.tags.get(PARTITION_TAG)
        if sleeve is None:
            raise UsageError("a run works on one sleeve; start it with --partition SLEEVE.")
        file = find_sleeve(sleeve, self.settings.sleeves)
        return resolve_plan(stages, file, overrides=launch_params(stages, run.run_config), environ=os.environ)


def launch_values(run: dg.DagsterRun | None) -> dict[str, Any]:
    """Return the launch's values for the fields of RunPlan; variables of the environment are resolved."""
    config: Mapping[str, Any] = run.run_config if run else {}
    given = ((config.get("resources") or {}).get("plan") or {}).get("config") or {}
    return {name: os.environ[value["env"]] if isinstance(value, Mapping) else value for name, value in given.items()}


def launch_params(stages: StageRegistry, run_config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters in the launch configuration, by stage id; a null means not given."""
    ops = run_config.get("ops") or {}
    given = {name.replace("__", ".", 1): (op or {}).get("config") or {} for name, op in ops.items()}
    return {id: _without_nulls(values) for id, values in given.items() if id in stages and _without_nulls(values)}


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    """Drop nulls, and tables that held nothing else; an empty table is a value."""
    kept = {k: _without_nulls(v) if isinstance(v, Mapping) else v for k, v in values.items() if v is not None}
    return {name: value for name, value in kept.items() if value != {} or values[name] == {}}
