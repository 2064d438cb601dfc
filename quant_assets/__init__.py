"""The pipeline as Dagster assets. What a stage computes lives in quant_core, which knows nothing of this package."""
