"""The pipeline as Dagster assets. quant_core computes the stages and knows nothing of this package."""
