"""Resources of each environment, chosen by QUANT_ENV. dagster.yaml configures Dagster's own database."""

from collections.abc import Mapping
from typing import ClassVar

from quant_assets.io_managers import PanderaParquetIOManager
from quant_assets.resources.run_setup import RunPlan
from quant_core.errors import UnknownNameError


class LocalPlan(RunPlan):
    """Everything embedded. Defaults: `.quant` of the checkout and one process."""


class TestPlan(RunPlan):
    """Like local, and never in the checkout."""

    required: ClassVar[tuple[str, ...]] = ("QUANT_HOME",)


class ProductionPlan(RunPlan):
    """No defaults: home, sleeves and engine must all be set, or no run starts."""

    required: ClassVar[tuple[str, ...]] = ("QUANT_HOME", "QUANT_SLEEVES", "QUANT_COMPUTE")


ENVIRONMENTS: Mapping[str, type[RunPlan]] = {"local": LocalPlan, "test": TestPlan, "production": ProductionPlan}


def resources_of(environment: str, *, package: str) -> dict[str, RunPlan | PanderaParquetIOManager]:
    """Return the resources of an environment, for the stages of `package`.

    Raises
    ------
    UnknownNameError
        No environment of that name.
    """
    if environment not in ENVIRONMENTS:
        raise UnknownNameError("environment", environment, ENVIRONMENTS)
    chosen, stages = ENVIRONMENTS[environment], package

    class Plan(chosen):  # type: ignore[valid-type,misc]  # one class per environment and package
        __doc__ = chosen.__doc__
        package: ClassVar[str] = stages

    plan = Plan()
    return {"plan": plan, "io_manager": PanderaParquetIOManager(plan=plan)}
