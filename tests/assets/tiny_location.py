"""The job of the tiny graph, for executors that build it anew in another process."""

import os

from dagster import JobDefinition

from quant_assets.location import code_location


def pipeline() -> JobDefinition:
    """Return the job."""
    return code_location(os.environ, package="tiny_graph").resolve_job_def("sleeve_pipeline")
