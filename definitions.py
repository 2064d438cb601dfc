"""What `dagster -m definitions` loads: the code location of quant_assets. How it is put together: location.py there.

The assets are quant_core's stages, one per function marked `@stage`; the partitions are the files in config/sleeves.
Set QUANT_HOME for another home, QUANT_SLEEVES for other sleeves, QUANT_ENV for another environment and
QUANT_EXECUTOR=multiprocess for a process per step.
"""

import os

import dagster as dg

from quant_assets.location import code_location, warn_without_home


@dg.definitions
def defs() -> dg.Definitions:
    """Return the code location; made when it is asked for, not at import."""
    warn_without_home(os.environ)
    return code_location(os.environ)
