"""Which resources an environment runs with, chosen by QUANT_ENV. The database of Dagster is dagster.yaml's business."""

from collections.abc import Callable, Mapping

import dagster as dg

from quant_assets.io_managers import PanderaParquetIOManager
from quant_assets.resources.plan import RunPlan
from quant_core.errors import UnknownNameError

Resources = dict[str, RunPlan | PanderaParquetIOManager]


def local(package: str) -> Resources:
    """Everything embedded: home and engine from the environment, else `.quant` of the checkout and serial."""
    return _around(RunPlan(package=package))


def test(package: str) -> Resources:
    """Like local, serial, and never in the checkout: QUANT_HOME must be given."""
    return _around(RunPlan(home=dg.EnvVar("QUANT_HOME"), engine="serial", package=package))


def production(package: str) -> Resources:
    """Nothing by default: QUANT_HOME and QUANT_COMPUTE must be given, else no run starts."""
    return _around(RunPlan(home=dg.EnvVar("QUANT_HOME"), engine=dg.EnvVar("QUANT_COMPUTE"), package=package))


ENVIRONMENTS: Mapping[str, Callable[[str], Resources]] = {"local": local, "test": test, "production": production}


def resources_of(environment: str, *, package: str) -> Resources:
    """Return the resources of an environment.

    Raises
    ------
    UnknownNameError
        No environment of that name.
    """
    if environment not in ENVIRONMENTS:
        raise UnknownNameError("environment", environment, ENVIRONMENTS)
    return ENVIRONMENTS[environment](package)


def _around(plan: RunPlan) -> Resources:
    return {"plan": plan, "io_manager": PanderaParquetIOManager(plan=plan)}
