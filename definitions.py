"""The code location that `dagster -m definitions` loads; quant_assets/location.py builds it.

The assets are quant_core's stages, one per function marked `@stage`; the partitions are the files in config/sleeves.
Set QUANT_HOME for another home, QUANT_SLEEVES for other sleeves, QUANT_ENV for another environment and
QUANT_EXECUTOR=multiprocess for a process per step.
"""

import os

import dagster as dg

from quant_assets.location import code_location, warn_without_home


@dg.definitions
def defs() -> dg.Definitions:
    """Return the code location; it is built on request, not at import."""
    warn_without_home(os.environ)
    return code_location(os.environ)
