"""Features of each symbol at each bar: one function each, one file and one table per family."""

from quant_core.features.catalogue import catalogue
from quant_core.features.compute import compute_features, compute_panel

__all__ = ["catalogue", "compute_features", "compute_panel"]
